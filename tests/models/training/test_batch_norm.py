"""Batch normalization folds into the layers before it."""

import torch

from cnnvis_lab.models import generators
from cnnvis_lab.models.training import batch_norm


def test_folding_batch_normalization_keeps_the_function():
    torch.manual_seed(0)
    net = batch_norm.add_batch_norm(generators.assemble(generators.SPECS["generator_FL1"]))
    codes = torch.rand(4, 384)
    net(codes * 3)  # updates the running statistics
    net.eval()
    folded = batch_norm.fold_batch_norm(net)
    assert set(folded.state_dict()) == set(
        generators.assemble(generators.SPECS["generator_FL1"]).state_dict()
    )
    assert torch.allclose(net(codes), folded(codes), atol=1e-4)

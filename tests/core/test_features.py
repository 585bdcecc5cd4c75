"""Features and class scores in batches equal those of one pass."""

import pytest
import torch
from torch import nn

from cnnvis_lab.core import NameNotFound, features

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_do_not_change_features_or_scores(net, batch):
    images = torch.rand(7, 3, 8, 8)
    outputs = features.extract(net, images, ["1", "3"], batch=batch)
    assert list(outputs) == ["1", "3"]
    assert torch.allclose(outputs["1"], net[:2](images), atol=1e-6)
    assert torch.allclose(features.predict(net, images, batch=batch), net(images), atol=1e-6)
    assert not outputs["3"].requires_grad


def test_an_unknown_layer_is_refused(net):
    with pytest.raises(NameNotFound, match="no layer named 'conv'"):
        features.extract(net, torch.rand(1, 3, 8, 8), ["conv"])

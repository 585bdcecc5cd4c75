"""Images reconstructed from perturbed activations, by a decoder and by optimization."""

import pytest
import torch
from support import small_chain
from torch import Tensor

from cnnvis_lab.core import features
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation.cases import perturbed_codes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return small_chain.images()


CASES = [perturbation.Case("none"), perturbation.Case("least active"), perturbation.Case("most")]


def test_a_decoder_reconstructs_images_from_the_perturbed_activations(images):
    model, decoder = small_chain.model(), small_chain.decoder()
    found = perturbation.reconstruct_by_decoder(model, "relu2", images, CASES, decoder, seed=1)
    for own, (change, by) in zip(found, CASES, strict=True):
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=1)
        assert torch.equal(own, decoder.draw(codes))
    apart = (found - images).flatten(2).norm(dim=2).mean(1)
    assert torch.allclose(perturbation.errors_by_case(found, images, 4.0), apart / 4)


def test_optimization_comes_nearest_to_its_own_perturbation_or_gives_gray(images):
    model, two = small_chain.model(), images[:2]
    model.net.conv2.bias -= 12  # most maps become inactive, so that the other half is everything
    found = perturbation.reconstruct_by_optimization(
        model, ["conv1", "relu2"], two, CASES, steps=60
    )
    for layer, reconstructions in found.items():
        assert reconstructions.shape == (3, *two.shape)
        codes = perturbed_codes(model, layer, two, CASES)
        again = torch.stack(
            [features.extract(model, own, [layer])[layer] for own in reconstructions]
        )
        for case, code in enumerate(codes):
            apart = (again - code).flatten(1).norm(dim=1)
            if code.any():
                assert apart.argmin() == case and apart[case] < 0.7 * code.norm()
            else:
                assert (layer, case) == ("relu2", 2)
    assert (found["relu2"][2] == 0.5).all() and not codes[2].any()

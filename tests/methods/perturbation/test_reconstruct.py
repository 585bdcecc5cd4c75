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
    reconstructed = perturbation.reconstruct_by_decoder(
        model, "relu2", images, CASES, decoder, seed=1
    )
    for of_case, (change, by) in zip(reconstructed, CASES, strict=True):
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=1)
        assert torch.equal(of_case, decoder.draw(codes))
    distances = (reconstructed - images).flatten(2).norm(dim=2).mean(1)
    assert torch.allclose(perturbation.errors_by_case(reconstructed, images, 4.0), distances / 4)


def test_optimization_is_nearest_to_its_perturbation_and_gray_if_nothing_is_active(images):
    model, targets = small_chain.model(), images[:2]
    # Most maps become inactive, so that dropping the most active ones drops everything.
    model.net.conv2.bias -= 12
    by_layer = perturbation.reconstruct_by_optimization(
        model, ["conv1", "relu2"], targets, CASES, steps=60
    )
    for layer, reconstructions in by_layer.items():
        assert reconstructions.shape == (3, *targets.shape)
        codes = perturbed_codes(model, layer, targets, CASES)
        features_of_cases = torch.stack(
            [features.extract(model, of_case, [layer])[layer] for of_case in reconstructions]
        )
        for case, code in enumerate(codes):
            distances = (features_of_cases - code).flatten(1).norm(dim=1)
            if code.any():
                assert distances.argmin() == case and distances[case] < 0.7 * code.norm()
            else:
                assert (layer, case) == ("relu2", 2)
    assert (by_layer["relu2"][2] == 0.5).all() and not codes[2].any()

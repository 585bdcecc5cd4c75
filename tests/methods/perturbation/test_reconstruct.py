"""Images reconstructed from perturbed activations, by a decoder and by optimization."""

import pytest
import torch
from support import small_chain

from cnnvis_lab.core import features
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation.cases import perturbed_codes
from cnnvis_lab.methods.perturbation.reconstruct import (
    reconstruct_by_decoder,
    reconstruct_by_optimization,
)

pytestmark = pytest.mark.usefixtures("one_thread")


CASES = [perturbation.Case("none"), perturbation.Case("least active"), perturbation.Case("most")]


def test_a_decoder_reconstructs_images_from_the_perturbed_activations(images):
    model, decoder = small_chain.model(), small_chain.decoder()
    reconstructed = reconstruct_by_decoder(model, "relu2", images, CASES, decoder, seed=1)
    for of_case, (change, by) in zip(reconstructed, CASES, strict=True):
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=1)
        assert torch.equal(of_case, decoder.draw(codes))


def test_both_methods_reconstruct_where_they_can_and_errors_are_distances(images):
    model, decoder, layers = (
        small_chain.model(),
        small_chain.decoder(),
        {"a": "conv1", "b": "relu2"},
    )
    cases = dict(zip("xyz", CASES, strict=True))
    found = perturbation.reconstruct(
        model, layers, images[:2], cases, decoders={"relu2": decoder}, unit=4.0, steps=2, seed=1
    )
    assert {method: [*own] for method, own in found.by_method.items()} == {
        "decoder": ["b"],
        "optimization": ["a", "b"],
    }
    decoded = reconstruct_by_decoder(model, "relu2", images[:2], CASES, decoder, seed=1)
    assert torch.equal(found.by_method["decoder"]["b"], decoded)
    for method, by_layer in found.by_method.items():
        for layer, errors in found.errors(method).items():
            distances = (by_layer[layer] - images[:2]).flatten(2).norm(dim=2) / 4
            assert torch.allclose(errors, distances)
    outcomes = found.outcomes()
    assert outcomes.unit == 4
    means = list(outcomes.errors("a", cases).values())
    assert means == pytest.approx(found.errors("optimization")["a"].mean(1).tolist())


def test_optimization_is_nearest_to_its_perturbation_and_gray_if_nothing_is_active(images):
    model, targets = small_chain.model(), images[:2]
    # Most maps become inactive, so that dropping the most active ones drops everything.
    model.net.conv2.bias -= 12
    by_layer = reconstruct_by_optimization(model, ["conv1", "relu2"], targets, CASES, steps=60)
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

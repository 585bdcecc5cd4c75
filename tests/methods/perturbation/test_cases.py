"""Cases of perturbation: layers, variants and orders."""

import pytest
import torch
from support import small_chain

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound, features, perturbations
from cnnvis_lab.methods import inversion, perturbation
from cnnvis_lab.models import decoders

pytestmark = pytest.mark.usefixtures("one_thread")


def test_perturbed_layers_follow_relus_and_end_with_one_number_per_class(images):
    model = small_chain.model()
    expected = {"conv1": "relu1", "conv2": "relu2", "logits": "mean"}
    assert perturbation.perturbed_layers(model) == expected
    assert perturbation.perturbed_layers(model, ["logits", "pool"]) == {
        "logits": "mean",
        "pool": "pool",
    }
    with pytest.raises(NameNotFound, match="relu1"):
        perturbation.perturbed_layers(model, ["relu"])
    scores = features.extract(model, images, ["mean"])["mean"]
    assert torch.equal(scores.flatten(1), model(images))
    mini = perturbation.perturbed_layers(models.load("alexnet_mini", weights="random"))
    assert mini == {alias: decoders.SPECS[f"decoder_{alias}"].layer for alias in mini}


def test_a_relu_is_found_after_normalization_but_not_if_it_runs_twice():
    resnet = models.load("resnet18", weights="random", input_size=32)
    layers = perturbation.perturbed_layers(resnet)
    assert layers["conv1"] == "relu" and layers["logits"] == "logits"
    assert all(layers[layer] == layer for layer in layers if layer.startswith("layer"))
    inside = perturbation.perturbed_layers(resnet, ["layer1.0.conv1"])
    assert inside == {"layer1.0.conv1": "layer1.0.conv1"}


def test_class_scores_are_the_networks_output_and_not_its_class_maps(images):
    model = small_chain.model()
    assert features.extract(model, images, ["logits"])["logits"].ndim == 4
    assert torch.allclose(features.predict(model, images, batch=3), model(images), atol=1e-6)
    flipped = images.flip(3)
    same_class = (model(flipped).argmax(1) == model(images).argmax(1)).float()
    assert torch.equal(inversion.consistency(model, flipped, images), same_class)


@pytest.mark.parametrize("signed", [True, False])
def test_the_variants_differ_in_which_half_is_dropped(signed):
    codes = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    codes = codes if signed else codes.relu()
    importance = torch.rand(codes.shape, generator=torch.Generator().manual_seed(2))
    for title, variant in perturbation.VARIANTS.items():
        assert list(variant)[:2] == ["unperturbed", "binarized"] and len(variant) == 5
        drops_from_all = "all" in title
        for name in ("smallest", "largest"):
            case = variant[f"{name} 50 % dropped"]
            assert (case.by == "gradient") == ("gradient" in title)
            changed = perturbations.PERTURBATIONS[case.change](codes, importance, 0)
            dropped = ((changed == 0) & ((codes != 0) | drops_from_all)).flatten(1).sum(1)
            candidates = torch.full((3,), 100) if drops_from_all else (codes != 0).flatten(1).sum(1)
            if signed or not drops_from_all:
                assert torch.equal(dropped, (candidates / 2).round().long())


def test_each_order_drops_the_entries_that_it_names():
    codes = torch.arange(1.0, 11).view(1, 10)
    for (name, fraction), case in perturbation.dropping_cases([0.3]).items():
        dropped = set((case.change(codes, codes, 0) == 0).nonzero()[:, 1].tolist())
        expected = {"smallest": {0, 1, 2}, "largest": {7, 8, 9}}.get(name.split(",")[0])
        assert dropped == expected if expected else len(dropped) == 3
        assert case.by == ("gradient" if "gradient" in name else "magnitude") and fraction == 0.3
    assert {*perturbation.dropping_cases([0.0]).values()} == {perturbation.Case("none")}


def test_score_cases_keep_the_largest_or_the_others_and_levels_are_those_of_the_bits():
    model, codes = small_chain.model(), torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    every, largest, others = perturbation.score_cases(model)  # of four scores, three
    cases = perturbation.score_cases(model)
    assert (every, largest, others) == ("all scores", "3 largest", "the others")
    kept = [(cases[name].change(codes, codes, 0) != 0).tolist()[0] for name in (largest, others)]
    assert kept == [[True, True, True, False], [False, False, False, True]]
    for bits, case in perturbation.quantization_cases([1, 2]).items():
        assert len(case.change(torch.arange(50.0).view(1, 50), codes, 0).unique()) == 2**bits


def test_every_nth_layer_is_chosen_and_those_to_keep():
    layers = {label: f"{label}.relu" for label in "abcde"}
    assert perturbation.every_nth(layers, 1) == layers
    assert [*perturbation.every_nth(layers, 2)] == ["b", "d"]
    assert [*perturbation.every_nth(layers, 2, ["e.relu"])] == ["b", "d", "e"]
    assert perturbation.every_nth({"a": "b"}, 4) == {"a": "b"}  # rather than none


def test_example_layers_are_the_last_ones_unless_the_network_has_the_surveys():
    assert perturbation.example_layers(small_chain.model(), ["CL5"]) == {
        "conv1": "relu1",
        "conv2": "relu2",
    }
    assert perturbation.score_layer(small_chain.model()) == {"logits": "mean"}
    mini = models.load("alexnet_mini", weights="random")
    assert perturbation.example_layers(mini, ["CL5"]) == {"CL5": "CL5.relu"}


def test_decoders_are_found_by_the_layer_that_they_invert():
    assert perturbation.layers_and_decoders(small_chain.model())[1:] == ({}, {})
    _, plain, robust = perturbation.layers_and_decoders(models.load("alexnet_mini"))
    assert {*robust} <= {*plain} and all(plain[layer].spec.layer == layer for layer in plain)
    assert all(decoder.name.endswith("_perturbed") for decoder in robust.values())


def test_exactness_is_measured_as_exact_and_detects_wrong_perturbations(monkeypatch):
    codes = torch.randn(1, 96, 55, 55, generator=torch.Generator().manual_seed(0)).relu()
    exactness = perturbation.exactness({"a": codes, "b": codes[:, :3]})
    assert exactness.norm < 1e-6 and (exactness.signs, exactness.zeros) == (0, 0)
    replaced = perturbations.PERTURBATIONS | {
        "binarized": lambda codes, importance, seed: 2 * perturbations.binarize(codes),
        "dropout active": lambda codes, importance, seed: perturbations.drop(codes, codes, 0.99),
    }
    monkeypatch.setattr(perturbations, "PERTURBATIONS", replaced)
    monkeypatch.setattr(perturbations, "binarize", lambda codes: codes + 1)
    wrong = perturbation.exactness({"a": codes[:, :3], "b": codes})
    assert wrong.norm > 0.5 and wrong.signs > 1000 and wrong.zeros > 1000

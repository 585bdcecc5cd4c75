"""Cases of perturbation: outcomes as computed directly, layers, variants and orders."""

import pytest
import torch
from support import small_chain
from torch import Tensor

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound, features, perturbations
from cnnvis_lab.methods import inversion, perturbation
from cnnvis_lab.models import decoders

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return small_chain.images()


CASES = {
    "by name": perturbation.Case("binarised"),
    "by gradient": perturbation.Case("least active", "gradient"),
    "a function": perturbation.Case(perturbation.quantize(2)),
    "at random": perturbation.Case("dropout"),
}


def test_an_outcome_is_the_error_of_the_decoder_and_the_accuracy_of_the_network(images):
    model, decoder = small_chain.model(), small_chain.decoder()
    outcomes = perturbation.outcomes(
        model, "relu2", images, small_chain.CLASSES, CASES.values(), decoder, unit=2.0, seed=4
    )
    assert list(outcomes) == list(CASES.values())
    for change, by in CASES.values():
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=4)
        error = (decoder.draw(codes) - images).flatten(1).norm(dim=1).mean() / 2
        accuracy = (model.net[5:](codes).argmax(1) == small_chain.CLASSES).float().mean()
        assert outcomes[change, by].error == pytest.approx(float(error), rel=1e-5)
        assert outcomes[change, by].accuracy == pytest.approx(float(accuracy))
    assert len({outcome.error for outcome in outcomes.values()}) == len(CASES)
    without_decoder = perturbation.outcomes(
        model, "relu2", images, small_chain.CLASSES, [CASES["by name"]]
    )
    assert torch.tensor([o.error for o in without_decoder.values()]).isnan().all()


def test_unchanged_activations_keep_the_predictions(images):
    model = small_chain.model()
    predicted = model(images).argmax(1)
    assert len(predicted.unique()) > 1
    none = perturbation.Case("none")
    assert perturbation.outcomes(model, "conv1", images, predicted, [none])[none].accuracy == 1


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
        assert list(variant) == ["none", "binarised", "dropout", "least", "most"]
        drops_from_all = "all" in title
        for name in ("least", "most"):
            case = variant[name]
            assert (case.by == "gradient") == ("gradient" in title)
            changed = perturbations.PERTURBATIONS[case.change](codes, importance, 0)
            dropped = ((changed == 0) & ((codes != 0) | drops_from_all)).flatten(1).sum(1)
            candidates = torch.full((3,), 100) if drops_from_all else (codes != 0).flatten(1).sum(1)
            if signed or not drops_from_all:
                assert torch.equal(dropped, (candidates / 2).round().long())


def test_each_order_drops_the_entries_that_it_names():
    codes = torch.arange(1.0, 11).view(1, 10)
    for name, (case,) in perturbation.dropping_cases([0.3]).items():
        dropped = set((case.change(codes, codes, 0) == 0).nonzero()[:, 1].tolist())
        expected = {"least": {0, 1, 2}, "most": {7, 8, 9}}.get(name.split(",")[0])
        assert dropped == expected if expected else len(dropped) == 3
        assert case.by == (name.split(", ")[1] if ", " in name else "magnitude")
    assert {case for (case,) in perturbation.dropping_cases([0.0]).values()} == {
        perturbation.Case("none")
    }


def test_exactness_is_measured_as_exact_and_detects_wrong_perturbations(monkeypatch):
    codes = torch.randn(1, 96, 55, 55, generator=torch.Generator().manual_seed(0)).relu()
    exactness = perturbation.exactness(codes)
    assert exactness.norm < 1e-6 and (exactness.signs, exactness.zeros) == (0, 0)
    replaced = perturbations.PERTURBATIONS | {
        "binarised": lambda codes, importance, seed: 2 * perturbations.binarize(codes),
        "dropout active": lambda codes, importance, seed: perturbations.drop(codes, codes, 0.99),
    }
    monkeypatch.setattr(perturbations, "PERTURBATIONS", replaced)
    monkeypatch.setattr(perturbations, "binarize", lambda codes: codes + 1)
    wrong = perturbation.exactness(codes)
    assert wrong.norm > 0.5 and wrong.signs > 1000 and wrong.zeros > 1000

"""What changed codes cost: by hand the same, in a planted order, and drawn as they are."""

import pytest
import torch
from support import small_chain
from torch import Tensor

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound, features, perturbations
from cnnvis_lab.methods import inversion, perturbation
from cnnvis_lab.methods.perturbation import cases
from cnnvis_lab.models import decoders, generators, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return small_chain.pictures()


CASES = {
    "by name": perturbation.Case("binarised"),
    "by gradient": perturbation.Case("least active", "gradient"),
    "a function": perturbation.Case(perturbation.quantize(2)),
    "at random": perturbation.Case("dropout"),
}


def test_an_outcome_is_what_decoder_and_network_say_of_the_changed_codes(images):
    model, painter = small_chain.model(), small_chain.painter()
    found = perturbation.outcomes(
        model, "relu2", images, small_chain.CLASSES, CASES.values(), painter, unit=2.0, seed=4
    )
    assert list(found) == list(CASES.values())
    for change, by in CASES.values():
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=4)
        error = (painter.draw(codes) - images).flatten(1).norm(dim=1).mean() / 2
        right = (model.net[5:](codes).argmax(1) == small_chain.CLASSES).float().mean()
        assert found[change, by].error == pytest.approx(float(error), rel=1e-5)
        assert found[change, by].accuracy == pytest.approx(float(right))
    assert len({outcome.error for outcome in found.values()}) == len(CASES)
    without = perturbation.outcomes(model, "relu2", images, small_chain.CLASSES, [CASES["by name"]])
    assert torch.tensor([o.error for o in without.values()]).isnan().all()


def test_only_known_readings_are_drawn():
    assert perturbation.variant_cases("halves of what fires")["least"].change == "least active"
    with pytest.raises(NameNotFound, match="halves of what fires"):
        perturbation.variant_cases("halves of what fire")


def test_unchanged_codes_keep_the_networks_own_answers(images):
    model = small_chain.model()
    own = perturbation.predicted_classes(model, images)
    assert torch.equal(own, model(images).argmax(1)) and len(own.unique()) > 1
    none = perturbation.Case("none")
    assert perturbation.outcomes(model, "conv1", images, own, [none])[none].accuracy == 1


def test_places_lie_behind_relus_and_end_with_one_number_a_class(images):
    model = small_chain.model()
    expected = {"conv1": "relu1", "conv2": "relu2", "logits": "mean"}
    assert perturbation.perturbed_layers(model) == expected
    assert perturbation.perturbed_layers(model, ["logits", "pool"]) == {
        "logits": "mean",
        "pool": "pool",
    }
    with pytest.raises(NameNotFound, match="relu1"):
        perturbation.perturbed_layers(model, ["relu"])
    told = features.extract(model, images, ["mean"])["mean"]
    assert torch.equal(told.flatten(1), model(images))
    mini = perturbation.perturbed_layers(models.load("alexnet_mini", weights="random"))
    assert mini == {word: decoders.spec_of(f"decoder_{word}").layer for word in mini}


def test_a_relu_is_found_behind_normalisation_but_not_where_it_runs_twice():
    resnet = models.load("resnet18", weights="random", input_size=32)
    places = perturbation.perturbed_layers(resnet)
    assert places["conv1"] == "relu" and places["logits"] == "logits"
    assert all(places[word] == word for word in places if word.startswith("layer"))
    inside = perturbation.perturbed_layers(resnet, ["layer1.0.conv1"])
    assert inside == {"layer1.0.conv1": "layer1.0.conv1"}


def test_class_scores_are_the_networks_output_and_not_its_class_maps(images):
    model = small_chain.model()
    assert features.extract(model, images, ["logits"])["logits"].ndim == 4
    assert torch.allclose(features.predict(model, images, batch=3), model(images), atol=1e-6)
    moved = images.flip(3)
    named = (model(moved).argmax(1) == model(images).argmax(1)).float()
    assert torch.equal(inversion.consistency(model, moved, images), named)


@pytest.mark.parametrize("signed", [True, False])
def test_the_variants_differ_in_which_half_goes(signed):
    codes = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    codes = codes if signed else codes.relu()
    matters = torch.rand(codes.shape, generator=torch.Generator().manual_seed(2))
    for title, variant in perturbation.VARIANTS.items():
        assert list(variant) == ["none", "binarised", "dropout", "least", "most"]
        of_all = "all" in title
        for name in ("least", "most"):
            case = variant[name]
            assert (case.by == "gradient") == ("gradient" in title)
            changed = perturbation.get_perturbation(case.change)(codes, matters, 0)
            gone = ((changed == 0) & ((codes != 0) | of_all)).flatten(1).sum(1)
            among = torch.full((3,), 100) if of_all else (codes != 0).flatten(1).sum(1)
            if signed or not of_all:
                assert torch.equal(gone, (among / 2).round().long())


def test_orders_drop_what_they_say():
    codes = torch.arange(1.0, 11).view(1, 10)
    for name, (case,) in perturbation.dropping_cases([0.3]).items():
        gone = set((case.change(codes, codes, 0) == 0).nonzero()[:, 1].tolist())
        expected = {"least": {0, 1, 2}, "most": {7, 8, 9}}.get(name.split(",")[0])
        assert gone == expected if expected else len(gone) == 3
        assert case.by == (name.split(", ")[1] if ", " in name else "magnitude")
    assert {case for (case,) in perturbation.dropping_cases([0.0]).values()} == {
        perturbation.Case("none")
    }


def test_the_changes_are_exact_and_a_wrong_one_is_seen(monkeypatch):
    codes = torch.randn(1, 96, 55, 55, generator=torch.Generator().manual_seed(0)).relu()
    found = perturbation.exactness(codes)
    assert found.norm < 1e-6 and (found.signs, found.zeros) == (0, 0)
    everywhere = perturbations.PERTURBATIONS | {
        "binarised": lambda codes, matters, seed: 2 * perturbations.binarize(codes),
        "dropout active": lambda codes, matters, seed: perturbations.drop(codes, codes, 0.99),
    }
    monkeypatch.setattr(perturbations, "PERTURBATIONS", everywhere)
    monkeypatch.setattr(perturbations, "binarize", lambda codes: codes + 1)
    wrong = perturbation.exactness(codes)
    assert wrong.norm > 0.5 and wrong.signs > 1000 and wrong.zeros > 1000


def test_shipped_decoders_are_found_by_layer_and_only_for_the_shipped_network(
    tmp_path, monkeypatch
):
    for name in ("decoder_CL5", "decoder_FL3_perturbed"):
        file = tmp_path / f"{name}.safetensors"
        weights.write_half(decoders.build(name), file)
        weights.register(tmp_path / "decoders.json", name, {}, file)
    monkeypatch.setattr(decoders, "TABLE", tmp_path / "decoders.json")
    monkeypatch.setattr(generators, "WEIGHTS", tmp_path)
    model = models.load("alexnet_mini")
    image = torch.rand(1, 3, 128, 128)
    assert list(decoders.decoders_for(model)) == ["CL5"]
    assert list(decoders.decoders_for(model, "_perturbed")) == ["FL3"]
    painter = decoders.decoders_for(model)["CL5"]
    codes = features.extract(model, image, [painter.spec.layer])[painter.spec.layer]
    assert painter.draw(codes).shape == image.shape
    others = (
        models.load("alexnet_mini", weights="random"),
        models.load("zfnet_mini"),
        small_chain.model(),
    )
    assert not any(decoders.decoders_for(other) for other in others)


SHOWN = [perturbation.Case("none"), perturbation.Case("least active"), perturbation.Case("most")]


def test_a_decoder_draws_the_changed_codes(images):
    model, painter = small_chain.model(), small_chain.painter()
    found = perturbation.reconstruct_by_decoder(model, "relu2", images, SHOWN, painter, seed=1)
    for own, (change, by) in zip(found, SHOWN, strict=True):
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=1)
        assert torch.equal(own, painter.draw(codes))
    apart = (found - images).flatten(2).norm(dim=2).mean(1)
    assert torch.allclose(perturbation.errors_by_case(found, images, 4.0), apart / 4)


def test_descent_comes_nearer_to_each_changed_code_than_to_others_or_shows_gray(images):
    model, two = small_chain.model(), images[:2]
    model.net.conv2.bias -= 12  # most of its maps fall silent, so that the other half is all
    found = perturbation.reconstruct_by_optimization(
        model, ["conv1", "relu2"], two, SHOWN, steps=60
    )
    for layer, pictures in found.items():
        assert pictures.shape == (3, *two.shape)
        codes = cases.perturbed_codes(model, layer, two, SHOWN)
        again = torch.stack([features.extract(model, own, [layer])[layer] for own in pictures])
        for case, code in enumerate(codes):
            apart = (again - code).flatten(1).norm(dim=1)
            if code.any():
                assert apart.argmin() == case and apart[case] < 0.7 * code.norm()
            else:
                assert (layer, case) == ("relu2", 2)
    assert (found["relu2"][2] == 0.5).all() and not codes[2].any()

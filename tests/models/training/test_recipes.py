"""The training conditions differ from the baseline in one thing each, and are looked into alike."""

from dataclasses import asdict

import pytest
import torch
from support.masking import mask_units
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.core.receptive_field import receptive_fields
from cnnvis_lab.data.scenes import CLASS_NAMES
from cnnvis_lab.methods import deconvnet, perturbation
from cnnvis_lab.methods.dissection import conv_layers
from cnnvis_lab.models import architectures, registry
from cnnvis_lab.models.training import classifier
from cnnvis_lab.models.weights import register, write_half

BASELINE = "alexnet_mini"
DIFFERS = {
    **{f"{BASELINE}_repeat{n}": {"seed": n} if n else {} for n in range(4)},
    f"{BASELINE}_no_dropout": {"dropout": 0.0},
    f"{BASELINE}_batch_norm": {"batch_norm": True},
    f"{BASELINE}_half_width": {"family": f"{BASELINE}_half_width"},
}
NORMALISED = f"{BASELINE}_batch_norm"


def _built(name: str) -> nn.Sequential:
    return classifier.ClassifierTrainer(classifier.RECIPES[name]).net


@pytest.mark.parametrize("name", DIFFERS)
def test_a_condition_is_the_plain_one_but_for_one_thing(name):
    plain = f"{BASELINE}_repeat0"
    one, other = (asdict(classifier.RECIPES[key]) for key in (plain, name))
    assert {key: other[key] for key in one if one[key] != other[key]} == DIFFERS[name]
    own = asdict(classifier.RECIPES[BASELINE])
    assert {key for key in own if own[key] != asdict(classifier.RECIPES[NORMALISED])[key]} == {
        "folded"
    }
    assert set(DIFFERS) == {key for key in classifier.RECIPES if key.startswith(f"{BASELINE}_")}


def test_each_condition_is_built_as_its_name_says():
    plain, repeat = _built(f"{BASELINE}_repeat0"), _built(f"{BASELINE}_repeat1")
    assert [name for name, _ in plain.named_children()] == [n for n, _ in repeat.named_children()]
    assert not torch.equal(plain.conv1.weight, repeat.conv1.weight)
    names = {name: dict(_built(name).named_children()) for name in DIFFERS}
    assert not any(key.startswith("drop") for key in names[f"{BASELINE}_no_dropout"])
    order = [*names[NORMALISED]]
    normed = [order[i - 1] for i, key in enumerate(order) if key.startswith("bn")]
    assert normed == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    half = names[f"{BASELINE}_half_width"]
    for key, layer in plain.named_children():
        if key != "fc8" and hasattr(layer, "weight"):
            assert 2 * len(half[key].weight) == len(layer.weight)


def _busy(net: nn.Sequential) -> nn.Sequential:
    """Give its normalisations something to do, as a training would."""
    drawn = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values, low, high in [
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2),
                (module.weight.data, -1, 2),
                (module.bias.data, -0.5, 0.5),
            ]:
                values.copy_(low + (high - low) * torch.rand(len(values), generator=drawn))
    return net


@pytest.fixture
def normalised(tmp_path, monkeypatch) -> models.Model:
    """A shipped network of the batch norm condition, untrained."""
    recipe, path = classifier.RECIPES[NORMALISED], tmp_path / f"{NORMALISED}.safetensors"
    write_half(_busy(_built(NORMALISED)), path)
    options = {"dropout": recipe.dropout, "batch_norm": recipe.batch_norm}
    row = {"family": recipe.family, "options": options, "classes": CLASS_NAMES, "accuracy": 0.5}
    register(tmp_path / "table.json", NORMALISED, row, path)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    return models.load(NORMALISED)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_with_batch_norm_the_surveys_names_are_what_each_relu_reads_and_gives(normalised, images):
    words = [
        *normalised.default_layers(),
        *(f"{word}.relu" for word in [*normalised.default_layers()][:-1]),
    ]
    raw = [f"conv{n}" for n in range(1, 6)]
    acts = hooks.activations(normalised, images, [*words, *raw])
    for word in [word for word in words if word.endswith(".relu")]:
        before = acts[word.removesuffix(".relu")]
        assert (before < 0).any() and torch.equal(acts[word], before.relu())
    for number, name in enumerate(raw, 1):
        norm = normalised.net.get_submodule(f"bn{number}")
        assert torch.equal(acts[f"CL{number}"], norm(acts[name]))
        assert not torch.allclose(acts[f"CL{number}"], acts[name], atol=0.1)
    assert torch.equal(acts["FL3"], normalised(images))
    assert conv_layers(normalised) == [f"CL{n}.relu" for n in range(1, 6)]


def test_with_batch_norm_receptive_fields_are_the_baselines(normalised):
    words = [*normalised.default_layers()]
    plain = models.load(architectures.build(BASELINE, 16), input_size=128)
    plain = models.Model(plain.net, plain.card, registry.survey_layers(BASELINE))
    assert receptive_fields(normalised, words, 128) == receptive_fields(plain, words, 128)


@pytest.mark.parametrize("layer", ["CL2", "CL3.relu", "FL1"])
def test_with_batch_norm_pruning_removes_what_masking_silences(normalised, images, layer):
    keep = {layer: range(0, 40, 3)}
    with mask_units(normalised, keep):
        wanted = normalised(images)
    assert torch.allclose(perturbation.prune(normalised, keep)(images), wanted, atol=1e-4)


def test_with_batch_norm_the_gradient_projected_back_is_autograds(normalised, images):
    picture = images[:1].clone().requires_grad_()
    strongest = hooks.activations(normalised, picture, ["CL4"])["CL4"][0, 3].max()
    (wanted,) = torch.autograd.grad(strongest, picture)
    found = deconvnet.project(normalised, images[:1], "CL4:3", rule="gradient", start_value=1.0)
    assert torch.allclose(found.pixels[0, 0], wanted[0], atol=1e-6) and wanted.any()

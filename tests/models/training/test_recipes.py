"""Each training condition differs from the baseline in one field; all methods apply to it."""

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
NORMALIZED = f"{BASELINE}_batch_norm"


def _built(name: str) -> nn.Sequential:
    return classifier.ClassifierTrainer(classifier.RECIPES[name]).net


@pytest.mark.parametrize("name", DIFFERS)
def test_a_condition_differs_from_the_plain_one_in_one_field(name):
    plain = f"{BASELINE}_repeat0"
    one, other = (asdict(classifier.RECIPES[key]) for key in (plain, name))
    assert {key: other[key] for key in one if one[key] != other[key]} == DIFFERS[name]
    assert set(DIFFERS) == {key for key in classifier.RECIPES if key.startswith(f"{BASELINE}_")}


def test_each_condition_builds_the_network_of_its_name():
    plain, repeat = _built(f"{BASELINE}_repeat0"), _built(f"{BASELINE}_repeat1")
    assert [name for name, _ in plain.named_children()] == [n for n, _ in repeat.named_children()]
    assert not torch.equal(plain.conv1.weight, repeat.conv1.weight)
    names = {name: dict(_built(name).named_children()) for name in DIFFERS}
    assert not any(key.startswith("drop") for key in names[f"{BASELINE}_no_dropout"])
    order = [*names[NORMALIZED]]
    normed = [order[i - 1] for i, key in enumerate(order) if key.startswith("bn")]
    assert normed == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    half = names[f"{BASELINE}_half_width"]
    for key, layer in plain.named_children():
        if key != "fc8" and hasattr(layer, "weight"):
            assert 2 * len(half[key].weight) == len(layer.weight)


def _randomize_norms(net: nn.Sequential) -> nn.Sequential:
    """Give its batch normalizations random statistics and parameters, as after training."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values, low, high in [
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2),
                (module.weight.data, -1, 2),
                (module.bias.data, -0.5, 0.5),
            ]:
                values.copy_(low + (high - low) * torch.rand(len(values), generator=generator))
    return net


@pytest.fixture
def normalized(tmp_path, monkeypatch) -> models.Model:
    """A shipped network of the batch norm condition, untrained."""
    recipe, path = classifier.RECIPES[NORMALIZED], tmp_path / f"{NORMALIZED}.safetensors"
    write_half(_randomize_norms(_built(NORMALIZED)), path)
    options = {"dropout": recipe.dropout, "batch_norm": recipe.batch_norm}
    row = {"family": recipe.family, "options": options, "classes": CLASS_NAMES, "accuracy": 0.5}
    register(tmp_path / "table.json", NORMALIZED, row, path)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    return models.load(NORMALIZED)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_with_batch_norm_the_surveys_names_are_the_inputs_and_outputs_of_the_relus(
    normalized, images
):
    layers = [
        *normalized.default_layers(),
        *(f"{word}.relu" for word in [*normalized.default_layers()][:-1]),
    ]
    raw = [f"conv{n}" for n in range(1, 6)]
    acts = hooks.activations(normalized, images, [*layers, *raw])
    for word in [word for word in layers if word.endswith(".relu")]:
        before = acts[word.removesuffix(".relu")]
        assert (before < 0).any() and torch.equal(acts[word], before.relu())
    for number, name in enumerate(raw, 1):
        norm = normalized.net.get_submodule(f"bn{number}")
        assert torch.equal(acts[f"CL{number}"], norm(acts[name]))
        assert not torch.allclose(acts[f"CL{number}"], acts[name], atol=0.1)
    assert torch.equal(acts["FL3"], normalized(images))
    assert conv_layers(normalized) == [f"CL{n}.relu" for n in range(1, 6)]


def test_with_batch_norm_receptive_fields_equal_the_baselines(normalized):
    layers = [*normalized.default_layers()]
    plain = models.load(architectures.build(BASELINE, 16), input_size=128)
    plain = models.Model(plain.net, plain.card, registry.survey_layers(BASELINE))
    assert receptive_fields(normalized, layers, 128) == receptive_fields(plain, layers, 128)


@pytest.mark.parametrize("layer", ["CL2", "CL3.relu", "FL1"])
def test_with_batch_norm_a_pruned_network_equals_the_masked_one(normalized, images, layer):
    keep = {layer: range(0, 40, 3)}
    with mask_units(normalized, keep):
        expected = normalized(images)
    assert torch.allclose(perturbation.prune(normalized, keep)(images), expected, atol=1e-4)


def test_with_batch_norm_the_gradient_rule_equals_autograd(normalized, images):
    image = images[:1].clone().requires_grad_()
    maximum = hooks.activations(normalized, image, ["CL4"])["CL4"][0, 3].max()
    (expected,) = torch.autograd.grad(maximum, image)
    projection = deconvnet.project(
        normalized, images[:1], "CL4:3", rule="gradient", start_value=1.0
    )
    assert torch.allclose(projection.pixels[0, 0], expected[0], atol=1e-6) and expected.any()

"""Projections against a DeconvNet written out layer by layer, and properties of any network."""

import copy
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable

import pytest
import torch
from support import tensor_images
from torch import Tensor, nn
from torch.nn import functional as F

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, backward, hooks
from cnnvis_lab.core.backward import RULES, relu_rules
from cnnvis_lab.core.receptive_field import receptive_fields
from cnnvis_lab.core.statistics import TopK, tally
from cnnvis_lab.data.images import load
from cnnvis_lab.methods.deconvnet import project, top_projections
from cnnvis_lab.models import architectures


def _noise(count: int) -> tensor_images.TensorImages:
    return tensor_images.TensorImages(tensor_images.noise(count, 32, seed=7).images.double())


def _model(net: nn.Module, size: int) -> models.Model:
    return models.load(net, input_size=size).double()


def _random(family: str, batch_norm: bool = False) -> models.Model:
    """A network of the family with random normalization layers, some of negative scale."""
    torch.manual_seed(0)
    net = architectures.build(family, 4, batch_norm=batch_norm)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.weight, 0.5, 0.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.bias)
    model = _model(net, 128)
    model.layer_aliases |= {f"CL{n}": f"net.conv{n}" for n in range(1, 6)}
    return model


@pytest.fixture(scope="module")
def small() -> models.Model:
    """A small network with overlapping and overhanging pools, groups, strides and normalization."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2, 1),
        nn.ReLU(),
        nn.LocalResponseNorm(3, 0.1),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.Conv2d(6, 8, 3, 1, 1, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(8, 8, 3, 1, 0),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 25, 5),
    )
    nn.init.normal_(net[4].bias, -0.2)
    return _model(net, 32)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(2)).double()


def _windows(module: nn.MaxPool2d, x: Tensor, fill: float) -> Tensor:
    """Every pooling window's values, (n, channels, 9, windows), of the padded maps."""
    border = F.pad(x, (module.padding,) * 2 + (module.padding,) * 2, value=fill)
    reach = border.shape[-1] - 3
    count = -(-reach // 2) if module.ceil_mode else reach // 2
    hang = 2 * count + 3 - border.shape[-1]
    border = F.pad(border, (0, max(hang, 0), 0, max(hang, 0)), value=fill)
    unfolded = F.unfold(border, 3, stride=2)
    return unfolded.view(len(x), x.shape[1], 9, -1)


def _unpool(module: nn.MaxPool2d, x: Tensor, signal: Tensor) -> Tensor:
    """Put each value at the position of its window's maximum."""
    windows = _windows(module, x, -torch.inf)
    placed = F.one_hot(windows.argmax(2), 9).transpose(2, 3) * signal.flatten(2).unsqueeze(2)
    size = 2 * (signal.shape[-1] - 1) + 3
    maps = F.fold(placed.flatten(1, 2), size, 3, stride=2)
    pad, input_size = module.padding, x.shape[-1]
    maps = F.pad(maps, (0, max(0, input_size + pad - size)) * 2)
    return maps[..., pad : pad + input_size, pad : pad + input_size]


def _unfilter(module: nn.Conv2d, x: Tensor, signal: Tensor) -> Tensor:
    """Add every kernel, times its signal, at the position of its window."""
    parts = []
    for kernels, part in zip(
        module.weight.chunk(module.groups), signal.chunk(module.groups, 1), strict=True
    ):
        columns = kernels.flatten(1).T @ part.flatten(2)
        size, pad = x.shape[-2:], module.padding
        parts.append(F.fold(columns, size, module.kernel_size, 1, pad, module.stride))
    return torch.cat(parts, 1)


REVERSED: dict[type, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    nn.Conv2d: _unfilter,
    nn.ReLU: lambda module, x, signal: signal.clamp(min=0),
    nn.MaxPool2d: _unpool,
    nn.LocalResponseNorm: lambda module, x, signal: signal,
    nn.BatchNorm2d: lambda m, x, s: s * (m.weight / (m.running_var + m.eps) ** 0.5).view(-1, 1, 1),
    nn.BatchNorm1d: lambda m, x, s: s * m.weight / (m.running_var + m.eps) ** 0.5,
    nn.Dropout: lambda module, x, signal: signal,
    nn.Flatten: lambda module, x, signal: signal.view_as(x),
    nn.Linear: lambda module, x, signal: signal @ module.weight,
}


@torch.no_grad()
def _reference_projection(model: models.Model, image: Tensor, layer: str, unit: int) -> Tensor:
    """Zeiler and Fergus's DeconvNet: one image, one unit, down a chain of layers."""
    activations, inputs = (image[None] - model.mean) / model.std, []
    for name, module in model.net.named_children():
        inputs.append((module, activations))
        activations = module(activations)
        if name == layer:
            break
    signal = torch.zeros_like(activations)
    position = activations[0, unit].argmax()
    signal[0, unit].view(-1)[position] = activations[0, unit].max().clamp(min=0)
    for module, received in reversed(inputs):
        signal = REVERSED[type(module)](module, received, signal)
    return (signal / model.std)[0]


@pytest.mark.parametrize(
    ("family", "batch_norm"),
    [("alexnet_mini", False), ("caffenet_mini", False), ("zfnet_mini", True)],
)
def test_projections_equal_those_of_a_deconvnet_written_layer_by_layer(family, batch_norm):
    model = _random(family, batch_norm)
    image = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(3)).double()
    layers = ["conv1", "pool1", "conv2", "relu3", "conv5", "fc6", "fc8"]
    activations = hooks.activations(model, image[None], layers)
    units = [int(activations[layer][0].flatten(1).amax(1).argmax()) for layer in layers[:5]]
    units += [int(activations[layer][0].argmax()) for layer in layers[5:]]  # the most active units
    projections = project(
        model, image[None], [f"{x}:{y}" for x, y in zip(layers, units, strict=True)]
    )
    for index, (layer, unit) in enumerate(zip(layers, units, strict=True)):
        expected = _reference_projection(model, image, layer, unit)
        close = torch.allclose(projections.pixels[0, index], expected, atol=1e-11, rtol=1e-8)
        assert close and expected.any(), layer


@pytest.mark.parametrize("rule", RULES)
def test_projecting_units_and_images_together_equals_projecting_each_alone(small, images, rule):
    targets = ["0:1", "8:3", "0:4", "11:0", "8:3"]
    together = project(small, images, targets, rule=rule, start_value=1)
    pieces = project(small, images, targets, rule=rule, start_value=1, memory_limit=1)
    assert torch.allclose(together.pixels, pieces.pixels, atol=1e-12)
    for i, image in enumerate(images):
        for j, target in enumerate(targets):
            alone = project(small, image[None], target, rule=rule, start_value=1)
            assert torch.allclose(alone.pixels[0, 0], together.pixels[i, j], atol=1e-12)
            assert torch.equal(alone.positions[0, 0], together.positions[i, j])


def test_the_highest_activation_of_a_map_is_projected_with_its_value(small, images):
    projections = project(small, images, ["8:2", "11:3"], rule="gradient")
    ones = project(small, images, ["8:2", "11:3"], rule="gradient", start_value=1)
    activations = hooks.activations(small, images, ["8", "11"])
    assert torch.equal(projections.activations[:, 0], activations["8"][:, 2].amax((1, 2)))
    assert torch.equal(projections.activations[:, 1], activations["11"][:, 3])
    for image, (y, x) in enumerate(projections.positions[:, 0].tolist()):
        assert activations["8"][image, 2, y, x] == projections.activations[image, 0]
    factors = projections.activations.clamp(min=0)[..., None, None, None]
    assert torch.allclose(projections.pixels, ones.pixels * factors, atol=1e-12)


def test_the_gradient_of_a_class_equals_that_of_autograd(small, images):
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(small(leaf)[:, 4].sum(), leaf)
    projections = project(small, images, "11:4", rule="gradient", start_value=1.0)
    assert torch.allclose(projections.pixels[:, 0], expected, atol=1e-12)


def test_projections_from_before_and_after_a_relu_agree_and_are_zero_if_inactive(small):
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(5)).double()
    images[3:] *= 0.01
    for rule in RULES:
        before, after = (
            project(small, images, [f"{layer}:{u}" for u in range(8)], rule=rule)
            for layer in ("5", "6")
        )
        assert torch.allclose(before.pixels, after.pixels, atol=1e-12)
        active = before.activations > 0
        assert torch.equal(before.pixels.flatten(2).any(2), active)
        assert active.any() and not active.all()


@pytest.mark.parametrize("rule", ["deconvnet", "gradient", "linear"])
def test_nothing_is_projected_outside_the_receptive_field(small, rule):
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(6)).double()
    for layer in ("0", "3", "4"):
        field = receptive_fields(small, [layer], 32)[layer]
        projections = project(
            small, images, [f"{layer}:{u}" for u in range(6)], rule=rule, start_value=1
        )
        positions = projections.positions.flatten(0, 1).tolist()
        for projection, (row, column) in zip(
            projections.pixels.flatten(0, 1), positions, strict=True
        ):
            y0, x0, y1, x1 = (max(edge, 0) for edge in field.box((row, column)))
            inside = projection[:, y0:y1, x0:x1]
            assert inside.any() and (projection != 0).sum() == (inside != 0).sum()
        assert len({tuple(position) for position in positions}) > 20  # including the border


@pytest.mark.parametrize("memory", [1, 2**30])
def test_top_projections_are_those_of_the_top_images_cropped_to_their_boxes(small, memory):
    dataset = _noise(12)
    top = top_projections(small, dataset, ["3", "11"], k=4, memory_limit=memory)
    uncropped = project(small, dataset.batch(range(12)), [f"3:{u}" for u in range(6)])
    projected, patches = top["3"], top["3"].patches(dataset)
    best = uncropped.activations.topk(4, dim=0)
    assert torch.equal(projected.images, best.indices.T)
    assert torch.allclose(projected.activations, best.values.T)
    for unit in range(6):
        for rank, image in enumerate(projected.images[unit].tolist()):
            y0, x0, y1, x1 = projected.boxes[unit, rank].tolist()
            whole = uncropped.pixels[image, unit]
            cropped = projected.projections[unit, rank]
            assert torch.allclose(cropped, whole[:, y0:y1, x0:x1], atol=1e-12)
            assert torch.equal(patches[unit, rank], dataset.batch([image])[0, :, y0:y1, x0:x1])
            assert whole.abs().sum() == pytest.approx(float(cropped.abs().sum()))
    full = top["11"]
    assert full.projections.shape == (5, 4, 3, 32, 32)
    assert torch.equal(full.boxes, torch.tensor([0, 0, 32, 32]).expand(5, 4, 4))


def test_selected_units_and_an_earlier_search_give_the_same_rows(small):
    dataset, top_images = _noise(6), {"8": TopK(9)}
    tally(small, dataset.batches(4), {"8": [top_images["8"]]})
    all_units = top_projections(small, dataset, ["8"])["8"]
    options = {"units": {"8": [5, 2]}, "top_images": top_images}
    selected = top_projections(small, dataset, ["8"], **options)["8"]
    assert all_units.images.shape == (8, 6)  # the dataset has no ninth
    assert selected.units.tolist() == [5, 2]
    assert torch.equal(selected.projections, all_units.select([5, 2]).projections)
    assert torch.equal(selected.patches(dataset), all_units.select([5, 2]).patches(dataset))
    fewer = top_projections(small, dataset, ["8"], k=2, **options)["8"]
    assert torch.equal(fewer.images, selected.images[:, :2])
    assert torch.allclose(fewer.projections, selected.projections[:, :2])


def test_mistakes_are_refused_in_one_line(small, images):
    cases = [
        (InputError, "unit 9 of 8: it has 8 units", {"targets": ["8:1", "8:9"]}),
        (InputError, "layer:unit", {"targets": "8"}),
        (InputError, "no target", {"targets": []}),
        (InputError, "expected activation, or a number", {"start_value": "value"}),
        (NameNotFound, "did you mean guided", {"rule": "gided"}),
        (NameNotFound, "layer", {"targets": "conv9:1"}),
    ]
    for error, match, wrong in cases:
        with pytest.raises(error, match=match) as refusal:
            project(small, images, **{"targets": "8:1", **wrong})
        assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="unit 8 of 8: it has 8"):
        top_projections(small, _noise(2), ["8"], units={"8": [8]})
    broken = _noise(2)
    broken.images[1] = torch.nan
    for memory in (1, 2**30):
        with pytest.raises(InputError, match="returned NaN"):
            top_projections(small, broken, ["8"], memory_limit=memory)


def test_projecting_leaves_no_hooks_and_requires_no_gradients_of_weights(small, images):
    before = small(images)
    project(small, images, ["8:1", "11:1"], rule="guided")
    with pytest.raises(InputError):
        project(small, images, "8:99")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())
    assert not any(parameter.requires_grad for parameter in small.parameters())
    assert torch.equal(small(images), before)


def test_a_network_trained_on_photographs_agrees_with_autograd(shared_data):
    weights = shared_data / "weights" / "squeezenet1_1.safetensors"
    model = models.load("squeezenet1_1", weights=weights)
    path = next((shared_data / "imagenet_sample").glob("*owl.JPEG"))
    image = load(path, 224)[None]
    predicted = int(model(image).argmax())
    for target in ("features.6:3", f"logits:{predicted}"):
        projections = project(model, image, target, start_value=1)
        layer, unit = target.split(":")
        leaf = image.clone().requires_grad_()
        with relu_rules.relu_rule("deconvnet"):
            output = hooks.activations(model, leaf, [layer])[layer]
        (expected,) = torch.autograd.grad(output[0, int(unit)].max(), leaf)
        assert torch.allclose(
            projections.pixels[0], expected, atol=1e-4 * float(expected.abs().max())
        )
        assert expected.any()


def test_preparation_is_kept_until_the_network_changes(monkeypatch):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3)]
    net, images = nn.Sequential(*layers).eval(), torch.rand(2, 3, 12, 12)
    built, original = [], backward.BackwardNetwork.__init__

    def build(self, *args, **kwargs) -> None:
        built.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(backward.BackwardNetwork, "__init__", build)
    first = project(net, images[:1], ["3:1"]).pixels
    assert project(net, images[:1], ["3:1"]).pixels.equal(first) and len(built) == 1
    other = project(net, images[1:], ["3:1"]).pixels
    assert len(built) == 1 and not other.equal(first)
    assert not built[0]._source.cache.calls  # no activations stay in memory
    with torch.no_grad():
        net[1].weight *= 3
    changed = project(net, images[:1], ["3:1"], start_value=1.0).pixels
    fresh = project(copy.deepcopy(net), images[:1], ["3:1"], start_value=1.0).pixels
    assert len(built) == 3 and changed.equal(fresh)
    reference = weakref.ref(net)
    del net, layers
    gc.collect()
    assert reference() is None


PROJECTS = """
import sys, torch
from cnnvis_lab import models
from cnnvis_lab.methods import deconvnet
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
deconvnet.project(models.load(net, input_size=32), torch.rand(1, 3, 32, 32), ["2:1"])
with torch.device("meta"):  # how the layout in a file's header is checked
    models.generators.assemble(models.decoders.SPECS["decoder_FL1"])
assert "torch._dynamo" not in sys.modules
"""


def test_projections_and_layouts_of_files_do_not_wait_for_torchs_compiler():
    subprocess.run([sys.executable, "-c", PROJECTS], check=True)

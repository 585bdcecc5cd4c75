"""A user's own network is copied and probed, and stays as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, copies


class Small(nn.Module):
    """A classifier with in-place ReLUs that keeps its features."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = [self.relu(self.norm(self.conv(x)))]
        return self.head(self.kept[0].mean((2, 3)))


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    return Small()


def _images(channels: int = 3, size: tuple[int, int] = (16, 16)) -> Tensor:
    return torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(1))


def test_the_callers_network_stays_as_it_was_and_goes_on_training(net):
    net.train()
    net.conv.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    model = models.load(net, input_size=16)
    assert all(module.training for module in net.modules()) and net.relu.inplace
    assert [p.requires_grad for p in net.parameters()] == [False] * 2 + [True] * 4
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    scores = model(_images())
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    net(_images()).square().sum().backward()
    optimizer.step()
    assert not torch.equal(net.head.weight, before["head.weight"])
    assert torch.equal(model(_images()), scores)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_becomes_one_of_32_bits(net, kind):
    net = net.eval().to(kind)
    expected = models.load(copy.deepcopy(net).float(), input_size=16)(_images())
    model = models.load(net, input_size=16)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.dtype for p in net.parameters()} == {kind}
    assert torch.allclose(model(_images()), expected)


def test_a_network_without_weights_or_on_several_devices_is_refused_in_one_line(net):
    with pytest.raises(InputError, match=r"Small has weights on meta.*one device"):
        models.load(net.to("meta"), input_size=16)


def test_a_network_is_loaded_in_any_grad_mode():
    with torch.inference_mode():
        model = models.load(Small(), input_size=16)
    assert not any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers()))
    images = _images().requires_grad_()
    model(images).sum().backward()
    assert images.grad is not None


def test_a_compiled_or_wrapped_network_is_unwrapped(net):
    expected = models.load(net, input_size=16)(_images())
    inside = copy.deepcopy(net.eval())
    inside.conv = torch.compile(inside.conv)
    compiled_in_place = copy.deepcopy(net)
    compiled_in_place.compile()
    wrapped = nn.DataParallel(copy.deepcopy(net))
    for given in (torch.compile(net), inside, compiled_in_place, wrapped):
        model = models.load(given, input_size=16)
        assert [*dict(model.net.named_modules())][1:] == ["conv", "norm", "relu", "head"]
        assert model.card.name == "Small" and torch.equal(model(_images()), expected)
    assert isinstance(wrapped, nn.DataParallel) and hasattr(inside.conv, "_orig_mod")


@pytest.mark.filterwarnings("ignore")
def test_networks_whose_layers_hooks_cannot_reach_are_refused(net):
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    traced = torch.jit.trace(chain, torch.rand(1, 3, 8, 8))
    exported = torch.export.export(chain, (torch.rand(1, 3, 8, 8),)).module()
    inside = nn.Sequential(traced)
    for hidden in (traced, torch.jit.script(chain), exported, inside):
        with pytest.raises(InputError, match=r"hides its layers; give the nn\.Module"):
            models.load(hidden, input_size=8)
    assert models.load(torch.fx.symbolic_trace(chain), input_size=8)(torch.rand(1, 3, 8, 8)).ndim


class Failing(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x * mask


@pytest.mark.parametrize(
    "failing",
    [
        *(Failing(kind("too small\nsecond line")) for kind in (ValueError, AssertionError)),
        *(Failing(kind("too small")) for kind in (KeyError, IndexError, ZeroDivisionError)),
        TwoInputs(),
    ],
)
def test_whatever_a_network_raises_becomes_one_line(failing):
    with pytest.raises(InputError, match="takes no 16x16 image of 3 channels") as caught:
        models.load(failing, input_size=16)
    reason = "missing 1 required" if isinstance(failing, TwoInputs) else "too small"
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_that_cannot_be_copied_is_refused_in_one_line(net, tmp_path):
    with (tmp_path / "log").open("w") as file:
        net.log = file
        with pytest.raises(InputError, match="Small cannot be copied"):
            models.load(net, input_size=16)


def test_kept_activations_do_not_hinder_copies(net):
    net(_images())
    assert not net.kept[0].is_leaf
    copied = copies.copy_network(net, shared=net.parameters())
    assert torch.equal(copied.kept[0], net.kept[0]) and copied.kept[0].is_leaf
    assert {*map(id, copied.parameters())} == {*map(id, net.parameters())}
    assert {*map(id, copied.buffers())}.isdisjoint(map(id, net.buffers()))
    assert models.load(net, input_size=16)(_images()).shape == (2, 4)


class HeadFirst(nn.Module):
    """Defines its layers in another order than that in which they run."""

    def __init__(self, *, last: nn.Module | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(8, 10)
        self.second, self.first = nn.Conv2d(10, 8, 3), nn.Conv2d(3, 10, 3)
        self.decoy, self.last = nn.Linear(8, 10), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        features = self.second(self.first(x)).mean((2, 3))
        scores = self.head(features)
        self.decoy(features)
        return self.last(scores)


@pytest.mark.parametrize("last", [nn.Identity(), nn.LogSoftmax(1), nn.Softmax(1), nn.Sigmoid()])
def test_roles_are_those_of_the_first_pass_and_not_of_the_order_of_definition(last):
    torch.manual_seed(0)
    model = models.load(HeadFirst(last=last), input_size=16)
    assert model.layer_aliases["logits"] == "net.head"
    assert model.first_conv() == "first"
    assert list(model.default_layers()) == ["first", "second", "logits"]
    changed = models.load(HeadFirst(last=last), input_size=16, classes=[*"abcdefghij"])
    assert changed.layer_aliases["logits"] == "net.head"


def test_a_convolution_whose_maps_are_averaged_scores_the_classes():
    layers = [nn.Conv2d(3, 7, 3), nn.Conv2d(7, 7, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    assert models.load(nn.Sequential(*layers), input_size=16).layer_aliases["logits"] == "net.1"


def test_a_head_without_a_module_of_its_own_is_the_network_itself():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.weight = nn.Conv2d(3, 6, 3), nn.Parameter(torch.rand(4, 6))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean((2, 3)) @ self.weight.T

    model = models.load(Functional(), input_size=16)
    assert model.layer_aliases["logits"] == "net" and model.card.classes[3] == "class 3"


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize("size", [16, (24, 10)])
def test_any_number_of_channels_and_any_rectangle(channels, size):
    model = models.load(Small(channels), input_size=size)
    height, width = (16, 16) if size == 16 else size
    assert model.channels == channels and model.card.input_size == size
    assert model(_images(channels, (height, width))).shape == (2, 4)
    assert model.layer_shapes(["conv"])["conv"] == (6, height, width)
    assert model.kernels().shape == (6, channels, 3, 3)
    assert model.trace_calls().scores.shape == (1, 4)
    with pytest.raises(InputError, match=f"images of 5 channels: the network takes {channels}"):
        model(_images(5))
    with pytest.raises(InputError, match="takes no 16x16 image of 5 channels"):
        models.load(Small(channels), input_size=16, channels=5)


def test_gray_networks_see_the_gray_values_of_rgb_images_and_the_reverse():
    gray, color = models.load(Small(1), input_size=16), models.load(Small(3), input_size=16)
    images = _images(3)
    luminance = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    assert torch.allclose(gray(images), gray(luminance), atol=1e-6)
    assert torch.allclose(color(luminance), color(luminance.repeat(1, 3, 1, 1)), atol=1e-6)


@pytest.mark.parametrize(("channels", "groups"), [(3, 3), (4, 2), (6, 3), (3, 1)])
def test_the_kernels_of_a_grouped_convolution_drawn_on_the_image_reproduce_the_layer(
    channels, groups
):
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 12, 5, groups=groups), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = models.load(nn.Sequential(*layers), input_size=16)
    conv, images = model.net[0], _images(channels)
    shift = (model.kernels() * model.mean).sum((1, 2, 3))
    whole = nn.functional.conv2d(images, model.kernels(), conv.bias - shift)
    assert torch.allclose(whole, conv(model.normalize(images)), atol=1e-5)


def test_a_lazy_network_is_built_by_the_first_pass():
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    assert models.load(lazy, input_size=8)(torch.rand(1, 3, 8, 8)).shape == (1, 5)


def test_the_input_size_of_an_own_module_is_found_by_trying_and_named_where_it_is_missing(tmp_path):
    layers = nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 24 * 24, 3)
    assert models.find_input_size(nn.Sequential(*layers)) == 28
    with pytest.raises(InputError, match=r"give input_size=PIXELS.*; it takes 28, for example"):
        models.load(nn.Sequential(*layers))
    assert models.find_input_size(Small(), [(24, 40)]) == (24, 40)
    assert models.find_input_size("resnet18") is None
    code = "from torch import nn\nnet = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))"
    (tmp_path / "own.py").write_text(code)
    assert models.find_input_size(f"{tmp_path}/own.py:net", [32]) == 64
    with pytest.raises(InputError, match="takes no 224x224 image"):
        models.find_input_size(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)))

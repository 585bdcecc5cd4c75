"""Receptive fields agree with published ones and with gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import alexnet, googlenet, resnet18, squeezenet1_1

from cnnvis_lab.core import InputError, hooks
from cnnvis_lab.core.receptive_field import layer_table, receptive_fields
from cnnvis_lab.models import architectures


def _all_positive(net: nn.Module) -> nn.Module:
    """Give every path a positive gradient, and replace maxima, which hide inputs, by means."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, mean)
    return net.eval().double()


def _gradient_box(net: nn.Module, layer: str, size: int) -> tuple:
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    output = hooks.activations(net, image, [layer])[layer]
    y, x = output.shape[-2] // 2, output.shape[-1] // 2
    (gradient,) = torch.autograd.grad(output[0, :, y, x].sum(), image)
    rows, columns = gradient[0].abs().sum(0).nonzero().T
    box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    return (y, x), tuple(int(edge) for edge in box)


def _clipped(box: tuple, size: int) -> tuple:
    return tuple(min(max(edge, 0), size) for edge in box)


def test_alexnet_has_its_published_receptive_fields():
    net = alexnet(weights=None).eval()
    layers = [f"features.{n}" for n in (0, 3, 6, 8, 10)]
    fields = receptive_fields(net, layers, 224)
    assert [f.size[0] for f in fields.values()] == [11, 51, 99, 131, 163]
    assert [f.stride[0] for f in fields.values()] == [4, 8, 16, 16, 16]


@pytest.mark.parametrize(
    ("net", "layers", "size"),
    [
        (alexnet(weights=None), ["features.3", "features.10"], 224),
        (resnet18(weights=None), ["layer1.0", "layer2.1"], 192),
        (squeezenet1_1(weights=None), ["features.4", "features.12"], 224),
        (googlenet(weights=None, init_weights=False), ["inception3a", "inception4a"], 224),
        (architectures.build("alexnet_mini", 4), ["conv2", "conv3"], 128),
        (architectures.build("zfnet_mini", 4), ["conv2", "pool2"], 128),
        (architectures.build("caffenet_mini", 4), ["conv2", "conv3"], 128),
    ],
    ids=["alexnet", "resnet18", "squeezenet", "googlenet", "mini", "zf mini", "caffe mini"],
)
def test_receptive_fields_are_the_boxes_of_nonzero_gradients(net, layers, size):
    net = _all_positive(net)
    fields = receptive_fields(net.float(), layers, size)
    net.double()
    for layer in layers:
        position, box = _gradient_box(net, layer, size)
        assert _clipped(fields[layer].box(position), size) == box, layer


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)),
        min_size=1,
        max_size=3,
    )
)
def test_receptive_fields_of_any_stack_of_convolutions_agree_with_gradients(layers):
    modules, channels = [], 3
    for kernel, stride, padding, dilation in layers:
        modules.append(nn.Conv2d(channels, 2, kernel, stride, padding, dilation))
        channels = 2
    net = _all_positive(nn.Sequential(*modules))
    last = str(len(modules) - 1)
    size = 260  # so large that the central unit's field reaches no border
    field = receptive_fields(net.float(), [last], size)[last]
    position, box = _gradient_box(net.double(), last, size)
    assert field.box(position) == box


def test_functional_operations_count_like_modules():
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 2, 5, padding=2)
            self.out = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            both = torch.cat([self.a(x).relu(), torch.sigmoid(self.b(x))], 1)
            return self.out(nn.functional.max_pool2d(both, 2))

    field = receptive_fields(Functional(), ["out"], 32)["out"]
    assert field.size == (6, 6) and field.stride == (2, 2) and field.offset == (-2, -2)


def test_fully_connected_layers_see_the_whole_image_and_pixel_shuffles_are_refused():
    net = architectures.build("alexnet_mini", 4).eval()
    field = receptive_fields(net, ["fc6"], 128)["fc6"]
    assert field.size == (128, 128) and field.stride == (0, 0)
    shuffled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3))
    with pytest.raises(InputError, match="is unknown"):
        receptive_fields(shuffled, ["2"], 16)


def test_the_layer_table_lists_every_leaf_in_order_with_its_weights():
    net = architectures.build("alexnet_mini", 16).eval()
    rows = layer_table(net, 128)
    assert [row.name for row in rows] == [name for name, _ in net.named_children()]
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in net.parameters())
    assert rows[0].shape == (48, 31, 31) and rows[0].kind == "Conv2d"

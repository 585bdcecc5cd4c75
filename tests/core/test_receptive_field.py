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


class _Head(nn.Module):
    """Applies a function behind a convolution, in front of another one."""

    def __init__(self, function, channels: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(channels, 4, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def _reached(net: nn.Module, layer: str, size: int) -> tuple:
    """Return the pixels that a NaN must be placed in to reach the middle position of a layer."""
    net, reached = net.eval(), []
    for axis in (0, 1):
        images = torch.zeros(size, 3, size, size)
        images.movedim(2 + axis, 1)[range(size), range(size)] = torch.nan
        with torch.no_grad():
            output = torch.cat([hooks.activations(net, i[None], [layer])[layer] for i in images])
        y, x = output.shape[-2] // 2, output.shape[-1] // 2
        lines = output[:, :, y, x].isnan().any(1).nonzero().flatten()
        reached.append((int(lines.min()), int(lines.max()) + 1))
    return (y, x), tuple(zip(*reached, strict=True))


_FOLLOWED = {
    "zero padding": nn.ZeroPad2d((3, 0, 0, 2)),
    "cut": lambda x: x[:, :, 2:, 3:-1],
    "every second": lambda x: x[:, :, 1::2, ::2],
    "replicate": nn.ReplicationPad2d((2, 1, 0, 3)),
    "channel slices": lambda x: torch.cat([x[:, 1:2] * 0.5 + 1, x[:, :3]], 1),
    "one channel": lambda x: torch.stack([x[:, i] for i in (3, 1, 0, 2)], 1),
    "channels last": lambda x: nn.functional.layer_norm(x.permute(0, 2, 3, 1), [4]).movedim(-1, 1),
    "linear": lambda x: (x.permute(0, 2, 3, 1) @ torch.eye(4)).permute(0, 3, 1, 2),
    "shuffled channels": lambda x: x.view(1, 2, 2, *x.shape[2:]).transpose(1, 2).flatten(1, 2),
    "tokens": lambda x: x.flatten(2).mT.matmul(torch.eye(4)).mT.view_as(x),
    "norm of channels": lambda x: nn.functional.normalize(x, dim=1),
    "rows": lambda x: x - x.mean(3, keepdim=True),
    "columns": lambda x: x.softmax(2),
    "transposed map": nn.Sequential(nn.Conv2d(4, 4, (5, 1), (2, 1)), nn.AvgPool2d((1, 3), (1, 2))),
    "adaptive": nn.AdaptiveAvgPool2d(12),
}  # fmt: skip


@pytest.mark.parametrize("name", _FOLLOWED)
def test_pads_slices_permutes_and_norms_are_followed(name):
    torch.manual_seed(0)
    net = _Head(_FOLLOWED[name])
    field = receptive_fields(net, ["last"], 36)["last"]
    (y, x), (low, high) = _reached(net, "last", 36)
    box = field.box((y, x))
    for axis in (0, 1):
        if field.stride[axis]:
            assert (box[axis], box[2 + axis]) == (low[axis], high[axis])
        else:
            assert (low[axis], high[axis]) == (0, 36) == (box[axis], box[2 + axis])


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("kernel", [3, 4])
def test_padding_modes_and_even_kernels_are_followed(mode, kernel):
    net = nn.Sequential(
        nn.Conv2d(3, 2, kernel, padding="same", padding_mode=mode),
        nn.Conv2d(2, 2, 3, padding=(1, 0), padding_mode=mode),
    )
    field = receptive_fields(net, ["1"], 24)["1"]
    position, (low, high) = _reached(net, "1", 24)
    assert field.box(position) == (*low, *high) and field.stride == (1, 1)


class _SqueezeExcitation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize(
    "module",
    [
        _SqueezeExcitation(),
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 24, 24]),
        nn.InstanceNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Sequential(nn.Flatten(2), nn.Linear(576, 576), nn.Unflatten(2, (24, 24))),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_mixes_all_positions_has_the_whole_image_as_its_field(module):
    net = _Head(module).eval()
    field = receptive_fields(net, ["last"], 24)["last"]
    assert field == ((24, 24), (0, 0), (0, 0))
    _, (low, high) = _reached(net, "last", 24)
    assert (low, high) == ((0, 0), (24, 24))


def test_an_unpooling_network_is_listed_with_its_field_unknown():
    class Unpooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
            self.last = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.unpool(*self.pool(x)))

    rows = layer_table(Unpooling(), 16)
    assert [row.field for row in rows if row.name == "last"] == [None]


@pytest.mark.parametrize("channels", [1, 4])
def test_fields_of_rectangles_with_any_number_of_channels(channels):
    net = nn.Sequential(nn.Conv2d(channels, 2, (3, 5)), nn.AdaptiveAvgPool2d(1))
    fields = receptive_fields(net, ["0", "1"], (20, 12))
    assert fields["0"].size == (3, 5) and fields["1"].size == (20, 12)

"""Reversed linear layers are adjoints, rules follow their formulas, the rest is refused."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import googlenet, resnet18, shufflenet_v2_x0_5, squeezenet1_1

from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.core.backward import (
    RULES,
    BackwardNetwork,
    BackwardRule,
    ForwardCache,
    cache_forward,
    find_window,
    relu_rules,
)


def _normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _wrapped(layer: nn.Module) -> nn.Sequential:
    """A network of one layer, in eval mode and double precision, with random parameters."""
    net = nn.Sequential(layer).double().eval()
    for number, tensor in enumerate([*net.parameters(), *net.buffers()]):
        if tensor.is_floating_point():
            with torch.no_grad():
                tensor.copy_(_normal(*tensor.shape, seed=number + 7).abs() + 0.1)
    for parameter in net.parameters():
        with torch.no_grad():
            parameter *= _normal(*parameter.shape, seed=3).sign()
    return net


def _back(net: nn.Module, images: Tensor, layer: str, signals: Tensor, rule: str) -> Tensor:
    """Propagate signal i backward with the switches of image i."""
    cache = cache_forward(net, images, [layer])
    network = BackwardNetwork(net, cache, layer, len(signals), rule)
    return network(cache, signals, torch.arange(len(images)))


class Shuffled(nn.Module):
    """Branches, sums, concatenation, slices, a shuffle of channels: all linear."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.3) / 0.7
        halves = torch.cat([self.left(x), self.right(x) + x], 1).chunk(2, 1)
        joined = torch.stack(halves, 2).flatten(1, 2)[:, 1:]
        joined += 1
        return joined.view(len(x), -1).unsqueeze(2).mean(2) - 2 * joined.flatten(1)


LINEAR = {
    "conv": nn.Conv2d(4, 6, 3),
    "padded": nn.Conv2d(4, 6, (3, 5), padding=(1, 3)),
    "strided": nn.Conv2d(4, 6, 5, stride=3, padding=2),
    "strided, window smaller than stride": nn.Conv2d(4, 6, 2, stride=(3, 4)),
    "strided, over many channels": nn.Sequential(
        nn.Conv2d(4, 20, 1), nn.Conv2d(20, 6, (5, 4), stride=(2, 3), padding=(2, 1))
    ),
    "grouped": nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "grouped and strided": nn.Conv2d(4, 8, (4, 3), stride=(2, 1), padding=1, groups=4),
    "dilated": nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "dilated and strided": nn.Conv2d(4, 6, 3, stride=2, dilation=3),
    "same": nn.Conv2d(4, 6, (3, 5), padding="same", dilation=2),
    "one pixel wide, over the border": nn.Conv2d(4, 6, 1, padding=1),
    "mirrored border": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "as wide as the image": nn.Conv2d(4, 6, (9, 11)),
    "linear": nn.Linear(11, 5),
    "batch norm": nn.BatchNorm2d(4),
    "mean pool": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "global pool": nn.AdaptiveAvgPool2d((1, 2)),
    "transposed": nn.ConvTranspose2d(4, 3, 3, stride=2),
    "flat": nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Identity()),
    "shuffled": Shuffled(),
}


@pytest.mark.parametrize("rule", ["deconvnet", "gradient"])
@pytest.mark.parametrize("kind", LINEAR)
def test_a_reversed_linear_layer_is_the_adjoint_for_full_sparse_and_zero_signals(kind, rule):
    net, images = _wrapped(LINEAR[kind]), _normal(2, 4, 9, 11)
    with torch.no_grad():
        output = net(images)
        linear = output - net(torch.zeros_like(images))  # without the biases
    everywhere = _normal(*output.shape, seed=1)
    corner, one = torch.zeros_like(output), torch.zeros_like(output)
    corner[..., -2:] = everywhere[..., -2:]
    one.view(2, -1)[:, 0] = 1
    for signals in (everywhere, corner, one, torch.zeros_like(output)):
        back = _back(net, images, "0", signals, rule)
        assert torch.allclose((linear * signals).sum(), (images * back).sum(), atol=1e-10)


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1},
    {"kernel_size": 3, "stride": 2, "dilation": 2},
]


@pytest.mark.parametrize("options", POOLS)
def test_unpooling_is_the_adjoint_of_pooling_at_fixed_switches(options):
    net, images = nn.Sequential(nn.MaxPool2d(**options)).eval(), _normal(2, 3, 10, 12)
    switches = F.max_pool2d(images, **options, return_indices=True)[1].flatten(2)
    others = _normal(2, 3, 10, 12, seed=1)
    pooled = others.flatten(2).gather(2, switches)  # linear, because the switches are fixed
    signals = _normal(*net(images).shape, seed=2)
    back = _back(net, images, "0", signals, "deconvnet")
    assert torch.allclose((pooled * signals.flatten(2)).sum(), (others * back).sum())


def test_unpooling_the_maxima_keeps_them_in_place():
    images = _normal(2, 3, 8, 8).abs()
    net = nn.Sequential(nn.MaxPool2d(2)).eval()
    back = _back(net, images, "0", net(images), "deconvnet")
    nonzero = back != 0
    assert torch.equal(back[nonzero], images[nonzero])
    assert torch.equal(nonzero.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5)), torch.ones(2, 3, 4, 4))


def test_without_switches_unpooling_writes_to_the_center_of_each_window_for_any_image():
    net = nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True)).eval()
    backs = [
        _back(net, _normal(1, 1, 8, 8, seed=s), "0", torch.ones(1, 1, 5, 5), "deconvnet_centred")
        for s in (0, 1)
    ]
    assert torch.equal(*backs)
    # the last window extends beyond the border
    assert backs[0][0, 0].nonzero().unique().tolist() == [0, 2, 4, 6, 7]


def test_relus_transform_signals_by_the_formula_of_each_rule():
    net, x, r = nn.Sequential(nn.ReLU()).eval(), _normal(4, 3, 5, 5), _normal(4, 3, 5, 5, seed=1)
    formulas = {
        "gradient": r * (x > 0),
        "deconvnet": r.clamp(min=0),
        "guided": r.clamp(min=0) * (x > 0),
        "linear": r,
    }
    for rule, expected in formulas.items():
        assert torch.equal(_back(net, x, "0", r, rule), expected)


def test_local_response_normalization_passes_signals_unchanged_or_by_its_gradient():
    net = nn.Sequential(nn.LocalResponseNorm(5, alpha=0.5, beta=0.75, k=2.0)).eval()
    images, signals = _normal(2, 7, 3, 3), _normal(2, 7, 3, 3, seed=1)
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf), leaf, signals)
    for rule in RULES.values():
        back = _back(net, images, "0", signals, rule)
        assert torch.allclose(back, gradient if rule.normalized else signals)
    assert not torch.allclose(gradient, signals, atol=1e-2)


def _autograd(net: nn.Module, images: Tensor, layer: str, signals: Tensor, rule: str) -> Tensor:
    leaf = images.clone().requires_grad_()
    with relu_rules.relu_rule(rule):
        output = hooks.activations(net, leaf, [layer])[layer]
    return torch.autograd.grad(output, leaf, signals)[0]


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (lambda: googlenet(weights=None, init_weights=False), "inception3b"),  # functional ReLUs
        (lambda: resnet18(weights=None), "layer2"),  # shared, in place; sums in place
        (lambda: squeezenet1_1(weights=None), "features.7"),  # ceil mode
        (lambda: shufflenet_v2_x0_5(weights=None), "stage2"),  # shuffled channels
    ],
)
def test_real_networks_agree_with_autograd_under_every_relu_rule(build, layer):
    torch.manual_seed(0)
    net = build().double().eval()
    images = torch.rand(2, 3, 48, 64, dtype=torch.float64)
    signals = _normal(*cache_forward(net, images, [layer]).outputs[layer].shape)
    for rule in ("gradient", "deconvnet", "guided"):
        expected = _autograd(net, images, layer, signals, rule)
        back = _back(net, images, layer, signals, rule)
        assert torch.allclose(back, expected, atol=1e-10 * float(expected.abs().max()))


def test_all_rules_are_the_gradient_where_everything_is_positive():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 5, 3), nn.ReLU()
    )
    net = net.double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    images = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    signals = cache_forward(net, images, ["4"]).outputs["4"]
    gradient = _autograd(net, images, "4", signals, "gradient")
    for rule in ("gradient", "deconvnet", "guided", "desalinet", "linear"):
        assert torch.allclose(_back(net, images, "4", signals, rule), gradient)


def test_a_custom_rule_may_combine_properties_of_the_named_rules():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)).eval()
    images, signals = _normal(1, 1, 4, 4), _normal(1, 1, 2, 2, seed=1)
    combined = _back(
        net, images, "1", signals, BackwardRule(masked=True, rectified=False, switches=False)
    )
    spread = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    spread[..., ::2, ::2] = signals
    assert torch.equal(combined, spread * (images > 0))


class InPlaceReLUs(nn.Module):
    """ReLUs as a statement, in place through a keyword, and as a method."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        F.relu_(x)
        x = F.relu(input=self.second(x), inplace=True)
        return (x - 0.1).relu()


@pytest.mark.parametrize("rule", ["gradient", "deconvnet", "guided"])
def test_in_place_relus_are_reversed_in_every_spelling(rule):
    torch.manual_seed(0)
    net, images = nn.Sequential(InPlaceReLUs()).double().eval(), _normal(2, 3, 9, 9)
    signals = _normal(*net(images).shape, seed=1)
    back = _back(net, images, "0", signals, rule)
    assert torch.allclose(back, _autograd(net, images, "0", signals, rule))


def test_each_of_many_signals_follows_the_switches_of_its_image():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2)).eval()
    images = torch.rand(3, 3, 10, 10)
    cache = cache_forward(net, images, ["2"])
    index = torch.tensor([2, 0, 2, 1, 2])
    signals = _normal(5, *cache.outputs["2"].shape[1:], dtype=torch.float32)
    network = BackwardNetwork(net, cache, "2", 5)
    together = network(cache, signals, index)
    for number, which in enumerate(index.tolist()):
        alone = _back(
            net, images[which : which + 1], "2", signals[number : number + 1], "deconvnet"
        )
        assert torch.allclose(together[number], alone[0], atol=1e-6)
    other = cache_forward(
        net, images.flip(0), ["2"]
    )  # one reversed network serves any forward pass
    assert torch.allclose(network(other, signals, 2 - index), together, atol=1e-6)


class Odd(nn.Module):
    """A network with a given module, or any function of a map, between two convolutions."""

    def __init__(self, odd: object) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.odd = odd if isinstance(odd, nn.Module) else _Function(odd)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.odd(self.conv(x)))


class _Function(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens).view_as(x)


IRREVERSIBLE = {
    "softmax": nn.Softmax(1),
    "instance_norm": nn.InstanceNorm2d(4),
    "scaled_dot_product_attention": Attention(),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "conv2d of two signals": lambda x: torch.cat([F.conv2d(x, x[:1, :, :1, :1])] * 4, 1),
    "gt": lambda x: x.where(x > 0, 2 * x),
    "mul over a regrouped batch": lambda x: (x.view(-1, 2, 6, 6) * x.view(-1, 2, 6, 6)).view_as(x),
    "detach": lambda x: x / x.norm().detach(),
    "batch_norm": nn.BatchNorm2d(4, track_running_stats=False),
    "relu over a regrouped batch": lambda x: F.relu(x.view(-1, 2, 6, 6)).view_as(x),
}


@pytest.mark.parametrize("kind", IRREVERSIBLE)
def test_an_irreversible_operation_is_refused_by_name_and_leaves_no_hook(kind):
    net, images = Odd(IRREVERSIBLE[kind]).eval(), torch.rand(2, 3, 8, 8)
    cache = cache_forward(net, images, ["last"])
    with pytest.raises(InputError, match=r"cannot be reversed") as refusal:
        BackwardNetwork(net, cache, "last", 2)
    message = str(refusal.value)
    assert kind.split()[0] in message or kind == "detach"
    assert "'odd'" in message and "\n" not in message
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    BackwardNetwork(net, cache, "conv", 2)  # the layers before it can be reversed


@pytest.mark.parametrize("rule", ["gradient", "deconvnet", "guided"])
def test_signals_at_intermediate_layers_are_autograds_gradients(rule):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(6, 5, 3), nn.ReLU(),
        nn.Conv2d(5, 4, 3),
    ).double().eval()  # fmt: skip
    images, index = _normal(3, 3, 17, 17), torch.tensor([2, 0, 2, 1])
    signals, taps = _normal(4, 4, 3, 3, seed=1), ["4", "0", "2"]
    cache = cache_forward(net, images, ["5"])
    network = BackwardNetwork(net, cache, "5", 4, rule, taps)
    arriving = network.signals_at(cache, signals, index)
    assert list(arriving) == [*taps, "pixels"]
    leaf = images[index].requires_grad_()
    with relu_rules.relu_rule(rule), hooks.record(net, taps) as acts:
        output = net(leaf)
    expected = torch.autograd.grad(output, [*(acts[tap] for tap in taps), leaf], signals)
    for tap, signal in zip(arriving, expected, strict=True):
        assert torch.allclose(arriving[tap], signal, atol=1e-12) and signal.any(), tap
    assert torch.equal(arriving["pixels"], network(cache, signals, index))


def test_a_tap_behind_the_layer_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    cache = cache_forward(net, torch.rand(1, 3, 8, 8), ["0"])
    with pytest.raises(InputError, match="layer '2' has not run"):
        BackwardNetwork(net, cache, "0", 1, taps=["2"])


def test_a_forward_pass_that_ended_too_early_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    cache = cache_forward(net, torch.rand(1, 3, 8, 8), ["1"])
    with pytest.raises(InputError, match="ended before this layer"):
        BackwardNetwork(net, cache, "2", 1)


def test_the_error_says_that_an_operation_is_in_the_network_itself():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.softmax(1))

    net = Bare().eval()
    with pytest.raises(InputError, match="softmax in the network itself"):
        BackwardNetwork(net, cache_forward(net, torch.rand(1, 3, 4, 4), ["conv"]), "conv", 1)


def test_a_network_in_training_mode_is_refused_before_it_runs():
    net = nn.Sequential(nn.BatchNorm2d(3))
    before = net[0].running_mean.clone()
    with pytest.raises(InputError, match=r"eval\(\) first"):
        cache_forward(net, torch.rand(2, 3, 4, 4), ["0"])
    assert torch.equal(net[0].running_mean, before)


def test_an_unknown_rule_suggests_the_right_one():
    net = nn.Sequential(nn.ReLU()).eval()
    with pytest.raises(NameNotFound, match="did you mean guided"):
        BackwardNetwork(net, cache_forward(net, torch.rand(1, 3, 4, 4), ["0"]), "0", 1, "guide")


def test_a_deleted_pass_is_freed_and_the_network_is_unchanged():
    torch.manual_seed(0)
    net, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), torch.rand(2, 3, 8, 8)
    plain = net(images)
    cache = cache_forward(net, images, ["1"])
    reference: weakref.ref[ForwardCache] = weakref.ref(cache)
    network = BackwardNetwork(net, cache, "1", 2)
    network(cache, cache.outputs["1"], torch.arange(2))
    del cache, network
    gc.collect()
    assert reference() is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(net(images), plain)


class Branched(nn.Module):
    """Branches, sums, overlapping and overhanging pools, several paddings and strides."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, 2, padding=1)
        self.norm = nn.LocalResponseNorm(3, 0.1)
        self.one, self.three = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 3, 3, padding=1)
        self.same = nn.Conv2d(6, 6, 3, padding=1)
        self.scale = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(self.first((x - 0.3) / 0.7)))
        x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        x = torch.cat([F.relu(self.one(x)), F.elu(self.three(x))], 1)
        x = F.max_pool2d(x + self.scale(self.same(x)), 3, 2, ceil_mode=True)
        return self.last(F.avg_pool2d(x, 2, 1))


@pytest.mark.parametrize("size", [(71, 90), (64, 86)])
@pytest.mark.parametrize("rule", RULES)
def test_signals_in_windows_arrive_as_in_the_whole_image(rule, size):
    torch.manual_seed(0)
    net, images = Branched().double().eval(), _normal(2, 3, *size).abs()
    cache = cache_forward(net, images, ["last"])
    height, width = cache.outputs["last"].shape[2:]
    positions = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    count = len(positions)
    window = find_window(net, "last", size)
    assert not window.is_whole and min(window.size) < min(size)
    cut, whole = (
        BackwardNetwork(net, cache, "last", count, rule, window=w) for w in (window, None)
    )
    assert cut.window == window and cut.entry.shape[2:] != whole.entry.shape[2:]
    rows, values = torch.arange(count), _normal(count, 4, seed=3)
    index, places = rows % 2, window.places(positions)
    assert {(0, 0), window.last} <= {*map(tuple, places.tolist())}
    signals, inside = torch.zeros(whole.entry.shape).double(), torch.zeros(cut.entry.shape).double()
    signals[rows, :, positions[:, 0], positions[:, 1]] = values
    inside[rows, :, *(positions - places).T] = values
    expected = whole(cache, signals, index)
    assert torch.allclose(cut(cache, inside, index, places), expected, atol=1e-12)
    assert expected.flatten(1).any(1).all()


def test_there_are_no_windows_beyond_operations_that_distinguish_positions():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.mask = nn.Parameter(torch.rand(28, 28), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(x) * self.mask)

    mirrored = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    for net, layer in ((Gated(), "last"), (nn.Sequential(mirrored), "0")):
        images = torch.rand(1, 3, 30, 30)
        cache = cache_forward(net.eval(), images, [layer])
        window = find_window(net, layer, (30, 30))._replace(size=(10, 10), last=(20, 20))
        network = BackwardNetwork(net, cache, layer, 1, window=window)
        signals = torch.zeros_like(cache.outputs[layer])
        signals[0, 0, 0, 0] = 1
        assert network.window.is_whole
        given = network(cache, signals, torch.zeros(1).long(), torch.zeros(1, 2).long())
        assert given.equal(
            BackwardNetwork(net, cache, layer, 1)(cache, signals, torch.zeros(1).long())
        )

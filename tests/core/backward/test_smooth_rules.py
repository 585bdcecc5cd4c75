"""Activations other than ReLU, normalizations and gates are reversed as documented."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnvis_lab.core import hooks
from cnnvis_lab.core.backward import BackwardNetwork, cache_forward


class _Between(nn.Module):
    """A function of a map between two convolutions."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


class _Gate(nn.Module):
    """A gate: each map times a number from the means of all maps."""

    def __init__(self, kind: object = torch.sigmoid) -> None:
        super().__init__()
        self.mix, self.kind = nn.Conv2d(4, 4, 1), kind

    def gate(self, x: Tensor) -> Tensor:
        return self.kind(self.mix(F.adaptive_avg_pool2d(x, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * x


ACTIVATIONS = [
    nn.LeakyReLU(0.2), nn.PReLU(4), nn.ELU(), nn.SELU(inplace=True), nn.GELU(),
    nn.SiLU(inplace=True), nn.Mish(), nn.Hardswish(inplace=True), nn.ReLU6(inplace=True),
    nn.Softplus(), nn.Tanh(), nn.Sigmoid(),
]  # fmt: skip
OTHERS = {
    "layer norm": nn.LayerNorm([4, 6, 6]), "group norm": nn.GroupNorm(2, 4), "gate": _Gate(),
    "clamp": lambda x: x.clamp(min=0), "product": lambda x: x * torch.sigmoid(1.7 * x),
    "square": lambda x: x * x,
}  # fmt: skip


def _net(function: object) -> tuple[_Between, Tensor]:
    torch.manual_seed(0)
    net = _Between(function).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return net, torch.randn(2, 3, 8, 8, dtype=torch.float64)


def _sent_back(net: nn.Module, images: Tensor, signals: Tensor, rule: str) -> Tensor:
    cache = cache_forward(net, images, ["last"])
    network = BackwardNetwork(net, cache, "last", len(signals), rule)
    return network(cache, signals, torch.arange(len(signals)))


@pytest.mark.parametrize(
    "function", [*ACTIVATIONS, *OTHERS.values()], ids=[*map(str, ACTIVATIONS), *OTHERS]
)
def test_the_rule_gradient_is_autograds_gradient(function):
    net, images = _net(function)
    leaf = images.clone().requires_grad_()
    signals = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    (expected,) = torch.autograd.grad(net(leaf), leaf, signals)
    assert torch.allclose(_sent_back(net, images, signals, "gradient"), expected, atol=1e-10)


@pytest.mark.parametrize("function", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_activations_rectify_signals_and_guided_multiplies_by_the_derivative(function, rule):
    net, images = _net(function)
    signals = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    arriving = torch.einsum("noyx,oi->niyx", signals, net.last.weight[..., 0, 0]).clamp(min=0)
    if rule == "guided":
        before = net.first(images).detach()
        step = 1e-6
        ahead, behind = (net.function(before + sign * step) for sign in (1, -1))
        arriving = arriving * (ahead - behind) / (2 * step)
    expected = F.conv_transpose2d(arriving, net.first.weight)
    assert torch.allclose(_sent_back(net, images, signals, rule), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["layer norm", "group norm", "gate"])
def test_statistics_and_gates_are_constant_for_the_deconvnet(kind):
    net, images = _net(OTHERS[kind])
    signals = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        before = net.first(images)
        if kind == "gate":
            scale = net.function.gate(before)
        else:  # the output is the input times a scale, plus a shift
            shape = (2, 1, -1) if kind == "layer norm" else (2, 2, -1)
            std = (before.reshape(shape).var(2, unbiased=False) + 1e-5).sqrt()
            std = std.repeat_interleave(4 // std.shape[1], 1)[..., None, None]
            weight = net.function.weight
            scale = (weight if kind == "layer norm" else weight[:, None, None]) / std
        expected = F.conv_transpose2d(
            torch.einsum("noyx,oi->niyx", signals, net.last.weight[..., 0, 0]) * scale,
            net.first.weight,
        )
    assert torch.allclose(_sent_back(net, images, signals, "deconvnet"), expected, atol=1e-10)


def test_each_signal_follows_the_gate_of_its_image():
    net, images = _net(_Gate())
    cache, index = cache_forward(net, images, ["last"]), torch.tensor([1, 0, 1])
    signals = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    together = BackwardNetwork(net, cache, "last", 3)(cache, signals, index)
    for row, which in enumerate(index.tolist()):
        alone = _sent_back(net, images[which : which + 1], signals[row : row + 1], "deconvnet")
        assert torch.allclose(together[row], alone[0])
    assert not any(module._forward_hooks for module in net.modules())
    assert hooks.activations(net, images, ["last"])["last"].equal(cache.outputs["last"])

"""The way of one picture to a unit and back, stage by stage, as survey figure F4 shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core import Float, backward, hooks
from ...core.backward import BackwardRule
from ...core.optimization import objectives
from ...models import Model, graph

# Modules after which map n still is map n.
_CHANNELWISE = (
    nn.ReLU,
    nn.MaxPool2d,
    nn.LocalResponseNorm,
    nn.BatchNorm2d,
    nn.AvgPool2d,
    nn.Dropout,
)


@dataclass(frozen=True)
class Stage:
    """One stage of the way from a picture to a unit, and back.

    Attributes:
        layer: its dotted name.
        module: what runs there.
        before: its input, without batch.
        after: its output.
        arriving: the signal that comes back to its output.
        leaving: the signal that goes on from its input.
        channel: the map that is shown of it: the unit's own, or below a convolution the one that
            most positive signal comes back to.
    """

    layer: str
    module: nn.Module
    before: Tensor
    after: Tensor
    arriving: Tensor
    leaving: Tensor
    channel: int

    @property
    def title(self) -> str:
        """Its name, and what comes out of it."""
        many, *sides = self.after.shape
        size = f"\n{many} maps of\n" + "x".join(map(str, sides)) if sides else f"\n{many} units"
        return self.layer + size

    @property
    def words(self) -> tuple[str, str]:
        """What it does on the way there, and on the way back."""
        if isinstance(self.module, nn.Conv2d | nn.MaxPool2d):
            kernel, stride = _kernel_side(self.module.kernel_size), _kernel_side(self.module.stride)
            window = f"{kernel}x{kernel}, stride {stride}"
            if isinstance(self.module, nn.Conv2d):
                return f"filter\n{window}", "filter,\ntransposed"
            return f"max-pool\n{window}", "unpool"
        if isinstance(self.module, nn.ReLU):
            return "rectify", "rectify"
        kind = type(self.module).__name__
        return kind, f"{kind},\nreversed"


def _kernel_side(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else value[0]


@dataclass(frozen=True)
class ProjectionTrace:
    """The way of a picture to a unit and back, as it is drawn.

    Attributes:
        image: the picture.
        projection: what arrives at its pixels.
        stages: from the picture up.
    """

    image: Float[Tensor, "3 h w"]
    projection: Float[Tensor, "3 h w"]
    stages: tuple[Stage, ...]

    @property
    def forward(self) -> list[Tensor]:
        """The picture, and one map of each stage."""
        return [self.image, *(_select_map(stage.after, stage.channel) for stage in self.stages)]

    @property
    def backward(self) -> list[Tensor]:
        """The projection, and what comes back to the same maps."""
        return [
            self.projection,
            *(_select_map(stage.arriving, stage.channel) for stage in self.stages),
        ]

    @property
    def words(self) -> dict[str, list]:
        """Names of the places, of the steps between them each way, and which steps switch."""
        up, down = ([stage.words[i] for stage in self.stages] for i in (0, 1))
        return {
            "names": ["picture", *(stage.title for stage in self.stages)],
            "steps": up,
            "back_steps": down,
            "switches": [number for number, word in enumerate(down) if word == "unpool"],
        }


def _select_map(maps: Tensor, channel: int) -> Tensor:
    return maps[channel] if maps.ndim > 1 else maps[None]


def trace_projection(
    model: Model, image: Float[Tensor, "3 h w"], target: str, rule: str | BackwardRule = "deconvnet"
) -> ProjectionTrace:
    """Follow a picture to a unit, and the unit's strongest activation back, stage by stage.

    Args:
        model: the network.
        image: in [0, 1].
        target: "layer:unit", of a layer that is no part of a block with branches.
        rule: a name in `core.reversals.RULES`, or one's own.

    Returns:
        The stages from the picture up; a block is one stage.

    Raises:
        InputError: a layer inside a block, or something on the way that cannot be reversed.

    Source: Zeiler and Fergus 2013, figure 1; survey figure F4.
    """
    layer, unit = objectives.parse_target(target)
    image = image.to(model.device)
    last = hooks.resolve(model, layer).removeprefix("net.")
    names = [f"net.{name}" for name in graph.blocks_up_to(model.net, last)]
    passed = backward.cache_forward(model, image[None], names)
    network = backward.BackwardNetwork(model, passed, names[-1], 1, rule, names)
    signal = _single_activation(passed.outputs[names[-1]], unit)
    signals = network.signals_at(passed, signal, torch.zeros(1, dtype=torch.int64))
    # What the network itself reads is the normalised picture.
    maps = [(image - model.mean) / model.std, *(passed.outputs[name][0] for name in names)]
    backs = [signals["pixels"][0] * model.std, *(signals[name][0] for name in names)]
    modules = [model.get_submodule(name) for name in names]
    channels = _select_channels(modules, backs[1:], unit)
    stages = [
        Stage(name.removeprefix("net."), module, *ends, channel)
        for name, module, *ends, channel in zip(
            names, modules, maps, maps[1:], backs[1:], backs, channels, strict=False
        )
    ]
    return ProjectionTrace(image, signals["pixels"][0], tuple(stages))


def _single_activation(output: Tensor, unit: int) -> Tensor:
    """All zero but the strongest activation of a unit."""
    signal = torch.zeros_like(output)
    place = output[0, unit].argmax()
    signal[0, unit].view(-1)[place] = output[0, unit].max().clamp(min=0)
    return signal


def _select_channels(
    modules: Sequence[nn.Module], signals: Sequence[Tensor], unit: int
) -> list[int]:
    chosen = [unit]
    for above, signal in zip(reversed(modules[1:]), reversed(signals[:-1]), strict=True):
        energy = signal.reshape(len(signal), -1).clamp(min=0).square().sum(1)
        chosen.append(chosen[-1] if isinstance(above, _CHANNELWISE) else int(energy.argmax()))
    return chosen[::-1]


def adjoint_errors(way: ProjectionTrace) -> dict[str, float]:
    """Return, for each convolution and max-pooling, how far its reversal is from its transpose.

    For the maps x and signals s that met there: |<Ax, s> - <x, A's>| / (|Ax| |s|), where A is the
    layer without its bias; pooling, at its switches, is linear, too.

    Args:
        way: from `there_and_back`.
    """
    errors = {}
    for stage in way.stages:
        if not isinstance(stage.module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            continue
        bias = getattr(stage.module, "bias", None)
        maps = stage.after if bias is None else (stage.after.movedim(0, -1) - bias).movedim(-1, 0)
        there = (maps.double() * stage.arriving.double()).sum()
        back = (stage.before.double() * stage.leaving.double()).sum()
        size = maps.double().norm() * stage.arriving.double().norm()
        errors[stage.layer] = float((there - back).abs() / size.clamp(min=1e-30))
    return errors

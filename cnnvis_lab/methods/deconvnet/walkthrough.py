"""The forward pass from an image to a unit and the projection back, stage by stage (figure F4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core import Float, backward, hooks
from ...core.backward import BackwardRule
from ...core.optimization import objectives
from ...models import Model, fit_channels, graph

# Modules whose output channel n depends mostly on input channel n; these keep the shown channel.
_CHANNELWISE = (
    nn.ReLU, nn.MaxPool2d, nn.LocalResponseNorm, nn.BatchNorm2d, nn.AvgPool2d, nn.Dropout,
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One block of the network, in the forward and in the backward pass.

    Attributes:
        layer: its dotted name.
        module: the block.
        input: input of the block, without the batch dimension.
        output: output of the block.
        signal: signal of the backward pass at its output.
        signal_below: signal of the backward pass at its input.
        channel: channel of the output that is shown: that of the unit, or below a convolution the
            one with the most positive signal.
    """

    layer: str
    module: nn.Module
    input: Tensor
    output: Tensor
    signal: Tensor
    signal_below: Tensor
    channel: int


@dataclass(frozen=True)
class ProjectionTrace:
    """The forward pass from an image to a unit, and the backward pass to the pixels.

    Attributes:
        target: "layer:unit" of the unit.
        image: the image.
        projection: the result of the backward pass.
        stages: the stages, from the image to the unit.
    """

    target: str
    image: Float[Tensor, "c h w"]
    projection: Float[Tensor, "c h w"]
    stages: tuple[Stage, ...]


def trace_projection(
    model: Model, image: Float[Tensor, "c h w"], target: str, rule: str | BackwardRule = "deconvnet"
) -> ProjectionTrace:
    """Record the forward pass to a unit, and the backward pass of its highest activation.

    Args:
        model: the network.
        image: in [0, 1].
        target: "layer:unit", of a layer that is not part of a block with branches.
        rule: a name in `core.backward.RULES`, or a rule of your own.

    Returns:
        All stages, from the image to the unit; a block with branches is one stage.

    Raises:
        InputError: a layer inside a block, or a layer that cannot be reversed.

    Source: Zeiler and Fergus 2013, figure 1; survey figure F4.
    """
    layer, unit = objectives.parse_target(target)
    image = fit_channels(model, image.to(model.device))
    last = hooks.resolve(model, layer).removeprefix("net.")
    layers = graph.blocks_up_to(model.net, last)
    names = [f"net.{name}" for name in layers]
    cache = backward.cache_forward(model, image[None], names)
    network = backward.BackwardNetwork(model, cache, names[-1], 1, rule, names)
    start = _single_activation(cache.outputs[names[-1]], unit)
    arrived = network.signals_at(cache, start, torch.zeros(1, dtype=torch.int64))
    # The network reads the normalized image.
    maps = [model.normalize(image[None])[0], *(cache.outputs[name][0] for name in names)]
    signals = [arrived["pixels"][0] * model.std, *(arrived[name][0] for name in names)]
    modules = [model.net.get_submodule(name) for name in layers]
    channels = _select_channels(modules, signals[1:], unit)
    rows = zip(
        layers, modules, maps[:-1], maps[1:], signals[1:], signals[:-1], channels, strict=True
    )
    stages = tuple(Stage(*row) for row in rows)
    return ProjectionTrace(target, image, arrived["pixels"][0], stages)


def _single_activation(output: Tensor, unit: int) -> Tensor:
    """Return a copy in which all but the highest activation of a unit is set to zero."""
    signal = torch.zeros_like(output)
    position = output[0, unit].argmax()
    signal[0, unit].view(-1)[position] = output[0, unit].max().clamp(min=0)
    return signal


def _select_channels(
    modules: Sequence[nn.Module], signals: Sequence[Tensor], unit: int
) -> list[int]:
    channels = [unit]
    for above, signal in zip(reversed(modules[1:]), reversed(signals[:-1]), strict=True):
        energy = signal.reshape(len(signal), -1).clamp(min=0).square().sum(1)
        same = isinstance(above, _CHANNELWISE)
        channels.append(channels[-1] if same else int(energy.argmax()))
    return channels[::-1]


def adjoint_errors(trace: ProjectionTrace) -> dict[str, float]:
    """Return how far the backward map of each convolution and max-pooling is from the transpose.

    For the maps x and signals s of the trace: |<Ax, s> - <x, A's>| / (|Ax| |s|), where A is the
    layer without its bias; max-pooling with fixed switches is also linear.

    Args:
        trace: from `trace_projection`.
    """
    errors = {}
    for stage in trace.stages:
        if not isinstance(stage.module, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            continue
        maps, bias = stage.output, getattr(stage.module, "bias", None)
        if bias is not None:
            maps = (maps.movedim(0, -1) - bias).movedim(-1, 0)
        forward = (maps.double() * stage.signal.double()).sum()
        back = (stage.input.double() * stage.signal_below.double()).sum()
        size = maps.double().norm() * stage.signal.double().norm()
        errors[stage.layer] = float((forward - back).abs() / size.clamp(min=1e-30))
    return errors

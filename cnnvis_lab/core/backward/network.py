"""A network run backwards, layer by layer: DeconvNet, the gradient, and what lies between.

Every layer has a reversed one: a convolution its transpose, without bias; max-pooling an unpooling
by switches; a ReLU a rule for what passes; the rest is linear and has its adjoint. What the
reversed layers need of the images is noted in one forward pass. The reversed network itself is
built by a second pass of the network's own code over ghosts, images without content: there the
layers compute nothing, they only chain up their reversals. So any number of signals goes back
through one image for one forward pass, each by the switches of its own image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .. import hooks
from ..errors import InputError
from ..types import Float, Int
from .rules import ADDITIVE, LAYER_RULES, LINEAR, BackwardRule, SignalMap, get_rule


class _CallRecord(NamedTuple):
    """Of one call of a layer: its output's shape, what its reversal needs, whether in place."""

    shape: torch.Size
    kept: Tensor | None
    in_place: bool


@dataclass(frozen=True)
class ForwardCache:
    """One forward pass over images.

    Attributes:
        images: shape of what went in.
        outputs: layer -> its activations.
        notes: what the reversed layers need, in the order of the calls.
    """

    images: torch.Size
    outputs: dict[str, Tensor]
    notes: tuple[_CallRecord, ...]


@torch.no_grad()
def cache_forward(
    model: nn.Module, images: Float[Tensor, "n c h w"], layers: Sequence[str]
) -> ForwardCache:
    """Run images up to the deepest of the layers, noting what it takes to come back.

    Args:
        model: any network.
        images: what it takes.
        layers: dotted names or aliases.

    Raises:
        NameNotFound: no such layer.
        InputError: the network is in training mode.
    """
    leaves = (module for module in model.modules() if not any(True for _ in module.children()))
    if any(leaf.training for leaf in leaves):
        raise InputError("the network is in training mode; call its eval() first")
    with _Recording() as noting:
        outputs = hooks.activations(model, images, layers)
    return ForwardCache(images.shape, outputs, tuple(noting.notes))


class BackwardNetwork:
    """The way back from one layer to the pixels, for a fixed number of signals at a time.

    Args:
        model: the network, in eval mode.
        passed: a forward pass of it through this layer or deeper.
        layer: where signals enter.
        count: how many signals go back at a time.
        rule: a name in `RULES`, or one's own.
        stops: layers on the way whose signals `signals_at` shows.

    Raises:
        InputError: something on the way cannot be reversed (names it and its layer), or the
            forward pass did not come so far, or a stop does not lie on the way.
    """

    def __init__(
        self,
        model: nn.Module,
        passed: ForwardCache,
        layer: str,
        count: int,
        rule: str | BackwardRule = "deconvnet",
        stops: Sequence[str] = (),
    ) -> None:
        like = next(iter(passed.outputs.values()))
        self.pixels = like.new_empty(count, *passed.images[1:]).requires_grad_()
        self._followed = _SwitchSource(passed, torch.zeros(count, dtype=torch.int64))
        reversing = _GraphBuilder(self._followed, get_rule(rule))
        with (
            hooks.hooked(model.named_modules(), reversing.leave, before=reversing.enter),
            torch.enable_grad(),
            reversing,
            hooks.record(model, stops) as ghosts,
        ):
            self.entry = hooks.activations(model, self.pixels, [layer])[layer]
        self.stops = {stop: ghosts[stop] for stop in stops}

    def __call__(
        self,
        passed: ForwardCache,
        signals: Float[Tensor, "count ..."],
        index: Int[Tensor, " count"],
    ) -> Float[Tensor, "count c h w"]:
        """Send signals back.

        Args:
            passed: a forward pass of the network, over images of the same size.
            signals: of the layer's own shape.
            index: which of its images' switches each signal follows.

        Returns:
            What arrives at the pixels; it is not rectified, and has both signs.
        """
        return self._sent_back(passed, signals, index, [self.pixels])[0]

    def signals_at(
        self,
        passed: ForwardCache,
        signals: Float[Tensor, "count ..."],
        index: Int[Tensor, " count"],
    ) -> dict[str, Tensor]:
        """Send signals back; return what arrives at the output of each stop, and at "pixels"."""
        ends = self.stops | {"pixels": self.pixels}
        arriving = self._sent_back(passed, signals, index, [*ends.values()])
        return dict(zip(ends, arriving, strict=True))

    def _sent_back(
        self, passed: ForwardCache, signals: Tensor, index: Tensor, ends: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        self._followed.passed, self._followed.index = passed, index
        return torch.autograd.grad(self.entry, ends, signals, retain_graph=True)


@dataclass
class _SwitchSource:
    """Whose switches the signals under way follow.

    The reversed network's graph holds this, and not the network: a graph that held its owner
    would never be freed.
    """

    passed: ForwardCache
    index: Tensor

    def own(self, number: int) -> Callable[[], Tensor]:
        """Return how to fetch, on the way back, what call `number` kept of each signal's image."""
        return lambda: self.passed.notes[number].kept[self.index]


class _Recording(TorchFunctionMode):
    """Notes, of every layer that has a reversal of its own, what that will need."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[_CallRecord] = []

    def __torch_function__(
        self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        name, kwargs = _operation_name(function), kwargs or {}
        if name not in LAYER_RULES:
            return function(*args, **kwargs)
        output, kept = LAYER_RULES[name].run(function, *args, **kwargs)
        in_place = output is (args[0] if args else kwargs["input"])
        self.notes.append(_CallRecord(output.shape, kept, in_place))
        return output


def _operation_name(function: Callable) -> str:
    """One name for all spellings: torch.relu, Tensor.relu_, functional.relu; add, +, +=."""
    return getattr(function, "__name__", repr(function)).strip("_")


class _GraphBuilder(TorchFunctionMode):
    """Lets the network's code run over ghosts, chaining up reversals; refuses what has none."""

    def __init__(self, followed: _SwitchSource, rule: BackwardRule) -> None:
        super().__init__()
        self.followed, self.rule = followed, rule
        self.calls, self.running = 0, []

    def enter(self, name: str, *call: object) -> None:
        """Note that a module begins to run."""
        self.running.append(name)

    def leave(self, name: str, *call: object) -> None:
        """Note that a module has run."""
        self.running.pop()

    def __torch_function__(
        self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        name, kwargs = _operation_name(function), kwargs or {}
        signals = [value for value in _tensors([args, kwargs]) if _is_signal(value)]
        if name in LAYER_RULES:
            number, self.calls = self.calls, self.calls + 1
            if signals:
                self._require(len(signals) == 1, f"{name} of two signals")
                return self._ghost(name, number, *args, **kwargs)
        result = function(*args, **kwargs)
        if signals and any(True for _ in _tensors(result)):
            self._require(name in LINEAR and (name in ADDITIVE or len(signals) == 1), name)
            self._require(not kwargs.get("training"), f"{name} with training=True")
        return result

    def _ghost(
        self, name: str, number: int, input: Tensor, *args: object, **kwargs: object
    ) -> Tensor:
        if number >= len(self.followed.passed.notes):
            raise InputError("the forward pass ended before this layer; let it run through it")
        note = self.followed.passed.notes[number]
        if note.kept is not None:
            regrouped = len(input) != len(self.followed.index)
            self._require(not regrouped, f"{name} over a regrouped batch")
        own = self.followed.own(number)
        return _Placeholder.apply(
            input, note, LAYER_RULES[name].back(self.rule, own, input, *args, **kwargs)
        )

    def _require(self, reversible: bool, what: str) -> None:
        if not reversible:
            layer = repr(self.running[-1]) if self.running[-1] else "the network itself"
            raise InputError(f"{what} in {layer} cannot be reversed; choose a layer before it")


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _is_signal(value: Tensor) -> bool:
    return value.requires_grad and not isinstance(value, nn.Parameter)


class _Placeholder(torch.autograd.Function):
    """The output of a layer without its content; on the way back, the layer's reversal."""

    @staticmethod
    def forward(ctx: object, ghost: Tensor, note: _CallRecord, back: SignalMap) -> Tensor:
        ctx.back = back
        if note.in_place:
            ctx.mark_dirty(ghost)
            return ghost
        # Nothing reads it: what is linear goes back the same way whatever came in.
        return ghost.new_empty(len(ghost), *note.shape[1:])

    @staticmethod
    def backward(ctx: object, signal: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(signal), None, None

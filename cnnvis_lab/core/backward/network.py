"""Backward passes layer by layer: DeconvNet, guided backpropagation, the gradient.

Every layer has a backward map: the transpose of a convolution, without bias; unpooling by switches
for max-pooling; for a ReLU, a rule that decides which signals pass, and its like for other
activation functions (`smooth_rules`); the adjoint of any other layer, which must be linear. One
forward pass over the images caches what these maps need. The backward network is built by running
the model's own code once more on placeholders, tensors without content: layers then compute
nothing, and only their backward maps are chained. After one forward pass, any number of signals can
be sent back, each by the switches of its own image.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .. import hooks
from ..errors import InputError, choose
from ..grad_mode import with_gradients
from ..types import Float, Int
from . import smooth_rules
from .forward import KNOWN_RULES, PRODUCTS, ForwardCache, SwitchSource, operation_name
from .rules import ADDITIVE, LINEAR, RULES, BackwardRule, Choice, SignalMap
from .window import LOCAL, Window


class BackwardNetwork:
    """The backward pass from one layer to the pixels, for a fixed number of signals at a time.

    Args:
        model: the network, in eval mode.
        cache: a forward pass of the network through this layer or deeper.
        layer: where signals enter.
        count: number of signals per pass.
        rule: a name in `RULES`, or a rule of one's own.
        taps: layers in between, at which `signals_at` returns the signals.
        window: the pixels that signals can reach; None for the whole image.

    Attributes:
        window: the window that is used: of an operation that does not treat all positions alike,
            the whole image.
        entry: a tensor of the shape of the signals in their windows.

    Raises:
        InputError: an operation has no backward map (the message names it and its layer), the
            forward pass ended before the layer, or a tap does not lie before the layer.
    """

    @with_gradients
    def __init__(
        self,
        model: nn.Module,
        cache: ForwardCache,
        layer: str,
        count: int,
        rule: str | BackwardRule = "deconvnet",
        taps: Sequence[str] = (),
        window: Window | None = None,
    ) -> None:
        chosen = choose("rule", rule, RULES)
        size = (cache.input_shape[-2], cache.input_shape[-1])
        whole = Window(size, size)
        try:
            self._build(model, cache, layer, count, chosen, taps, window or whole)
        except (_NotLocalError, RuntimeError):
            if window is None or window.is_whole:
                raise
            self._build(model, cache, layer, count, chosen, taps, whole)

    def _build(
        self,
        model: nn.Module,
        cache: ForwardCache,
        layer: str,
        count: int,
        rule: BackwardRule,
        taps: Sequence[str],
        window: Window,
    ) -> None:
        like, channels = next(iter(cache.outputs.values())), cache.input_shape[1:-2]
        self.window = window
        self.pixels = like.new_empty(count, *channels, *window.size).requires_grad_()
        none = torch.zeros(count, 2, dtype=torch.int64)
        self._source = SwitchSource(cache, none[:, 0], window, none)
        building = _GraphBuilder(self._source, rule)
        with (
            hooks.hooked(model.named_modules(), building.leave, before=building.enter),
            torch.enable_grad(),
            building,
            hooks.record(model, taps) as placeholders,
        ):
            self.entry = hooks.activations(model, self.pixels, [layer])[layer]
        self.taps = {tap: placeholders[tap] for tap in taps}

    def __call__(
        self,
        cache: ForwardCache,
        signals: Float[Tensor, "count ..."],
        index: Int[Tensor, " count"],
        places: Int[Tensor, "count 2"] | None = None,
    ) -> Float[Tensor, "count c h w"]:
        """Send signals back to the pixels.

        Args:
            cache: a forward pass of the network, over images of the same size.
            signals: of the layer's own shape, or where the window is smaller, of `entry`'s.
            index: for each signal, the image whose switches it follows.
            places: of the signals' windows; None if the window is the whole image.

        Returns:
            The signals at the pixels of the images; they are not rectified and have both signs.
        """
        if places is None or self.window.is_whole:
            return self._send_back(cache, signals, index, [self.pixels])[0]
        self._source.places = places
        return self.window.paste(self._send_back(cache, signals, index, [self.pixels])[0], places)

    def signals_at(
        self, cache: ForwardCache, signals: Float[Tensor, "count ..."], index: Int[Tensor, " count"]
    ) -> dict[str, Tensor]:
        """Send signals back; return those at the output of each tap, and at "pixels".

        Args:
            cache: as in a call.
            signals: as in a call.
            index: as in a call.
        """
        ends = self.taps | {"pixels": self.pixels}
        arriving = self._send_back(cache, signals, index, [*ends.values()])
        return dict(zip(ends, arriving, strict=True))

    def release(self) -> None:
        """Let go of the forward pass that the last signals followed; the network stays usable."""
        self._source.cache = ForwardCache(self._source.cache.input_shape, {}, ())

    @with_gradients
    def _send_back(
        self, cache: ForwardCache, signals: Tensor, index: Tensor, ends: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        self._source.cache, self._source.index = cache, index
        return torch.autograd.grad(self.entry, ends, signals, retain_graph=True)


class _NotLocalError(Exception):
    """An operation does not treat all positions alike, so that there are no windows."""


class _GraphBuilder(TorchFunctionMode):
    """Runs the model's code on placeholders and chains the layers' backward maps."""

    def __init__(self, source: SwitchSource, rule: BackwardRule) -> None:
        super().__init__()
        self.source, self.rule = source, rule
        self.calls = 0
        self.running: list[str] = []  # names of the modules that are running, outermost first

    def enter(self, name: str, *call: object) -> None:
        """Record that a module begins to run."""
        self.running.append(name)

    def leave(self, name: str, *call: object) -> None:
        """Record that a module has run."""
        self.running.pop()

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        name, kwargs = operation_name(func), kwargs or {}
        signals = [value for value in _tensors([args, kwargs]) if _is_signal(value)]
        if name in PRODUCTS and len(args) == 2:
            number, self.calls = self.calls, self.calls + 1
            if len(signals) == 2:
                self._require_local("")
                self._require(func.__name__ != "mul_", "mul_ of two signals")
                return self._product(name, number, *signals)
        if name in KNOWN_RULES:
            number, self.calls = self.calls, self.calls + 1
            if signals:
                self._require_local(name)
                self._require(len(signals) == 1, f"{name} of two signals")
                return self._placeholder(func, number, *args, **kwargs)
        result = func(*args, **kwargs)
        if signals and any(True for _ in _tensors(result)):
            self._require_local(name)
            self._require(name in LINEAR and (name in ADDITIVE or len(signals) == 1), name)
            self._require(not kwargs.get("training"), f"{name} with training=True")
        return result

    def _placeholder(
        self, func: Callable, number: int, input: Tensor, *args: object, **kwargs: object
    ) -> Tensor:
        name, calls = operation_name(func), self.source.cache.calls
        if number >= len(calls):
            raise InputError("the forward pass ended before this layer; let it run through it")
        if calls[number].kept is not None:
            regrouped = len(input) != len(self.source.index)
            self._require(not regrouped, f"{name} over a regrouped batch")
        shape = calls[number].shape
        if not self.source.window.is_whole:
            resizes = name in {"conv2d", "max_pool2d"}
            shape = _output_shape(func, input, *args, **kwargs) if resizes else input.shape
        back = KNOWN_RULES[name].backward(self._choice(number, shape), input, *args, **kwargs)
        return _Placeholder.apply(input, shape[1:], calls[number].in_place, back)

    def _choice(self, number: int, shape: Sequence[int]) -> Choice:
        """Return the rule and what a call has cached, with its output's shape in a window."""
        part, source = (shape[-2], shape[-1]) if len(shape) > 1 else (1, 1), self.source
        return Choice(
            self.rule, partial(source.kept, number, part), partial(source.switches, number, part)
        )

    def _product(self, name: str, number: int, first: Tensor, second: Tensor) -> Tensor:
        calls = self.source.cache.calls
        has_factors = number < len(calls) and calls[number].kept is not None
        whole = len(first) == len(second) == len(self.source.index)
        self._require(has_factors and whole, f"{name} of two signals")
        return smooth_rules.product(first, second, self._choice(number, first.shape))

    def _require_local(self, name: str) -> None:
        if name not in LOCAL and not self.source.window.is_whole:
            raise _NotLocalError

    def _require(self, reversible: bool, what: str) -> None:
        if not reversible:
            layer = repr(self.running[-1]) if self.running[-1] else "the network itself"
            raise InputError(f"{what} in {layer} cannot be reversed; choose a layer before it")


def _output_shape(function: Callable, *args: object, **kwargs: object) -> torch.Size:
    """Return the shape of an operation's output, without computing it."""

    def without_content(value: object) -> object:
        return value.detach().to("meta") if isinstance(value, Tensor) else value

    moved = {name: without_content(value) for name, value in kwargs.items()}
    return function(*map(without_content, args), **moved).shape


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _is_signal(value: Tensor) -> bool:
    return value.requires_grad and not isinstance(value, nn.Parameter)


class _Placeholder(torch.autograd.Function):
    """The output of a layer without its content; its backward pass is the layer's backward map."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, shape: Sequence[int], in_place: bool, back: SignalMap
    ) -> Tensor:
        ctx.back = back
        if in_place:
            ctx.mark_dirty(input)
            return input
        # Nothing reads the content: the adjoint of a linear layer does not depend on its input.
        return input.new_empty(len(input), *shape)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.back(*signals), None, None, None

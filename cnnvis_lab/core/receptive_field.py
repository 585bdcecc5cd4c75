"""Receptive fields of all layers, traced through one real forward pass.

For every tensor of the pass, the part of the input that one of its positions depends on is tracked.
Functional pooling, branches, concatenations and residual sums are therefore covered, not only
modules.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import InputError
from .hooks import hooked, resolve

Pair = tuple[int, int]


class ReceptiveField(NamedTuple):
    """The receptive field of a layer's positions, as (vertical, horizontal) pairs in input pixels.

    Position k depends on `size` pixels, the first of which is offset + k * stride. With padding,
    the offset is negative. With stride 0, all positions depend on the same pixels.

    Attributes:
        size: height and width of the field.
        stride: from one position's field to the next.
        offset: start of the field of position 0.
    """

    size: Pair
    stride: Pair
    offset: Pair

    def box(self, position: Pair) -> tuple[int, int, int, int]:
        """Return y0, x0, y1, x1 of a position's field; it may reach beyond the image."""
        y, x = (o + k * s for o, k, s in zip(self.offset, position, self.stride, strict=True))
        return y, x, y + self.size[0], x + self.size[1]


class LayerRow(NamedTuple):
    """A row of the layer table.

    Attributes:
        name: torch's dotted name.
        kind: name of the module's class.
        shape: of the output, without the batch.
        field: receptive field; None if it cannot be traced.
        parameters: number of parameters.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    field: ReceptiveField | None
    parameters: int


def _pair(value: int | Sequence[int]) -> Pair:
    values = [value] if isinstance(value, int) else [*value]
    return values[0], values[-1]


def _both(number: Callable[[int], int]) -> Pair:
    """Compute a number for the vertical axis (0) and for the horizontal axis (1)."""
    return number(0), number(1)


def _through_window(
    field: ReceptiveField, kernel: Pair, stride: Pair, pad: Pair, gap: Pair
) -> ReceptiveField:
    return ReceptiveField(
        _both(lambda i: field.size[i] + (kernel[i] - 1) * gap[i] * field.stride[i]),
        _both(lambda i: field.stride[i] * stride[i]),
        _both(lambda i: field.offset[i] - pad[i] * field.stride[i]),
    )


def _union(fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """Return the smallest field that contains all of them, with the smallest stride (0: global)."""
    low = _both(lambda i: min(f.offset[i] for f in fields))
    high = _both(lambda i: max(f.offset[i] + f.size[i] for f in fields))
    stride = _both(lambda i: min(f.stride[i] for f in fields))
    return ReceptiveField(_both(lambda i: high[i] - low[i]), stride, low)


class _FieldTracker(TorchDispatchMode):
    """Tracks the field of every tensor; None marks a tensor whose field is unknown."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        height, width = image.shape[-2:]
        self.everything = ReceptiveField((height, width), (0, 0), (0, 0))
        # Tensors are stored beside their fields: an id is unique only while its object lives.
        self.known: dict[int, tuple[Tensor, ReceptiveField | None]] = {}
        self.put(image, ReceptiveField((1, 1), (1, 1), (0, 0)))

    def put(self, tensor: Tensor, field: ReceptiveField | None) -> None:
        self.known[id(tensor)] = (tensor, field)

    def get(self, tensor: Tensor) -> ReceptiveField | None:
        return self.known[id(tensor)][1] if id(tensor) in self.known else None

    def __torch_dispatch__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        flat = [a for arg in args for a in (arg if isinstance(arg, list | tuple) else [arg])]
        sources = [a for a in flat if isinstance(a, Tensor) and id(a) in self.known]
        outputs = result if isinstance(result, list | tuple) else [result]
        for output in outputs:
            if sources and isinstance(output, Tensor):
                self.put(output, self._field(func, args, sources, output))
        return result

    def _field(
        self, op: Any, args: tuple, sources: list[Tensor], output: Tensor
    ) -> ReceptiveField | None:
        fields = [field for field in map(self.get, sources) if field is not None]
        if len(fields) < len(sources):
            return None
        name = op.overloadpacket.__name__
        if name == "convolution" and len(sources) == 1:
            if args[6]:  # transposed: the number of inputs varies with the position
                return None
            stride, pad, gap = (_pair(args[i]) for i in (3, 4, 5))
            return _through_window(fields[0], tuple(args[1].shape[-2:]), stride, pad, gap)
        if "adaptive" not in name and "pool2d" in name and "backward" not in name:
            kernel = _pair(args[1])
            stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
            pad = _pair(args[3]) if len(args) > 3 else (0, 0)
            gap = _pair(args[4]) if "max" in name and len(args) > 4 else (1, 1)
            return _through_window(fields[0], kernel, stride, pad, gap)
        maps = [source for source in sources if source.ndim >= 4]
        if output.ndim < 4 or (tuple(output.shape[-2:]) == (1, 1) and maps):
            pointwise = output.ndim >= 4 and all(m.shape[-2:] == (1, 1) for m in maps)
            return _union(fields) if pointwise else self.everything
        largest = max(maps, key=lambda source: source.shape[-1], default=None)
        if largest is not None and largest.shape[-2:] == output.shape[-2:] and "mm" not in name:
            return _union(fields)
        return None


def _trace_fields(
    model: nn.Module, size: int
) -> Iterable[tuple[str, nn.Module, Tensor, ReceptiveField | None]]:
    """Run a blank image; return (name, module, output, field) for every module call."""
    reference = next(iter([*model.parameters(), *model.buffers()]), torch.zeros(1))
    image = torch.zeros(1, 3, size, size, device=reference.device)
    tracker, calls = _FieldTracker(image), []

    def after(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor) and name:
            calls.append((name, module, output, tracker.get(output)))

    with hooked(model.named_modules(), after), torch.no_grad(), tracker:
        model(image)
    return calls


def receptive_fields(
    model: nn.Module, layers: Sequence[str], input_size: int
) -> dict[str, ReceptiveField]:
    """Return the receptive fields of layers.

    Args:
        model: a network that takes (1, 3, input_size, input_size).
        layers: dotted names or aliases.
        input_size: height and width of the image, in pixels.

    Raises:
        NameNotFound: no such layer.
        InputError: a layer does not run, or an operation before it moves pixels in another way
            than convolution and pooling do.
    """
    names = {layer: resolve(model, layer) for layer in layers}
    traced = {name: field for name, _, _, field in _trace_fields(model, input_size)}
    fields: dict[str, ReceptiveField] = {}
    for layer, name in names.items():
        field = traced.get(name)
        if field is None:
            raise InputError(
                f"the receptive field of {layer!r} is unknown: the layer does not run, or an "
                "operation before it moves pixels; use the full canvas"
            )
        fields[layer] = field
    return fields


def layer_table(model: nn.Module, input_size: int) -> list[LayerRow]:
    """Return one row per call of a module without children, in order of execution."""
    rows = []
    for name, module, output, field in _trace_fields(model, input_size):
        if not any(True for _ in module.children()):
            kind, shape = type(module).__name__, tuple(output.shape[1:])
            count = sum(parameter.numel() for parameter in module.parameters())
            rows.append(LayerRow(name, kind, shape, field, count))
    return rows

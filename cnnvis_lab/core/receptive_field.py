"""Receptive fields of every layer, followed through the real forward pass.

Each tensor of one forward pass is tracked with the part of the input that one of its positions
sees, so functional pooling, branches, concatenations and residual sums count as much as modules.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import InputError
from .hooks import hooked, resolve

Pair = tuple[int, int]


class ReceptiveField(NamedTuple):
    """What output position k of a layer sees, as (vertical, horizontal) pairs in input pixels.

    Position k sees input pixels offset + k * stride up to, not including, offset + k * stride +
    size; with padding the offset is negative. Stride 0: every position sees the same.
    """

    size: Pair
    stride: Pair
    offset: Pair

    def box(self, position: Pair) -> tuple[int, int, int, int]:
        """Return y0, x0, y1, x1 of what a position sees; it may reach beyond the picture."""
        y, x = (o + k * s for o, k, s in zip(self.offset, position, self.stride, strict=True))
        return y, x, y + self.size[0], x + self.size[1]


class LayerRow(NamedTuple):
    """A row of the layer table: torch's name, kind, output shape without batch, field, weights."""

    name: str
    kind: str
    shape: tuple[int, ...]
    field: ReceptiveField | None
    parameters: int


def _pair(value: object) -> Pair:
    values = list(value) if isinstance(value, list | tuple) else [value]
    return tuple((values * 2)[:2]) if len(values) == 1 else tuple(values[:2])


def _through_window(field: ReceptiveField, kernel: Pair, stride: Pair, pad: Pair, gap: Pair):
    axes = range(2)
    return ReceptiveField(
        tuple(field.size[i] + (kernel[i] - 1) * gap[i] * field.stride[i] for i in axes),
        tuple(field.stride[i] * stride[i] for i in axes),
        tuple(field.offset[i] - pad[i] * field.stride[i] for i in axes),
    )


def _union(fields: list[ReceptiveField]) -> ReceptiveField:
    """Smallest field that holds all; where strides differ (a global one joins), the global one."""
    axes = range(2)
    low = tuple(min(f.offset[i] for f in fields) for i in axes)
    high = tuple(max(f.offset[i] + f.size[i] for f in fields) for i in axes)
    size = tuple(high[i] - low[i] for i in axes)
    return ReceptiveField(size, tuple(min(f.stride[i] for f in fields) for i in axes), low)


class _FieldTracker(TorchDispatchMode):
    """Follows the field of every tensor; None marks one whose field cannot be told."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        height, width = image.shape[-2:]
        self.everything = ReceptiveField((height, width), (0, 0), (0, 0))
        # Tensors are kept beside their fields: an id is only unique while its object lives.
        self.known: dict[int, tuple[Tensor, ReceptiveField | None]] = {}
        self.put(image, ReceptiveField((1, 1), (1, 1), (0, 0)))

    def put(self, tensor: Tensor, field: ReceptiveField | None) -> None:
        self.known[id(tensor)] = (tensor, field)

    def get(self, tensor: Tensor) -> ReceptiveField | None:
        return self.known[id(tensor)][1] if id(tensor) in self.known else None

    def __torch_dispatch__(
        self, op: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = op(*args, **(kwargs or {}))
        flat = [a for arg in args for a in (arg if isinstance(arg, list | tuple) else [arg])]
        sources = [a for a in flat if isinstance(a, Tensor) and id(a) in self.known]
        outputs = result if isinstance(result, list | tuple) else [result]
        for output in outputs:
            if sources and isinstance(output, Tensor):
                self.put(output, self._field(op, args, sources, output))
        return result

    def _field(
        self, op: Callable, args: tuple, sources: list[Tensor], output: Tensor
    ) -> ReceptiveField | None:
        fields, name = [self.get(source) for source in sources], op.overloadpacket.__name__
        if None in fields:
            return None
        if name == "convolution" and len(sources) == 1:
            if args[6]:  # transposed: a position sees a changing number of inputs
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
    model: nn.Module, size: Pair, visit: Callable[[str, nn.Module, Tensor, object], None]
):
    """Run one blank picture, calling visit(name, module, output, field) after every module."""
    reference = next(iter([*model.parameters(), *model.buffers()]), torch.zeros(1))
    image = torch.zeros(1, 3, *size, device=reference.device)
    tracker = _FieldTracker(image)

    def after(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor) and name:
            visit(name, module, output, tracker.get(output))

    with hooked(model.named_modules(), after), torch.no_grad(), tracker:
        model(image)


def receptive_fields(
    model: nn.Module, layers: list[str], input_size: int
) -> dict[str, ReceptiveField]:
    """Return what one position of each layer sees.

    Args:
        model: a network over (1, 3, input_size, input_size).
        layers: dotted names or aliases.
        input_size: side of the picture in pixels.

    Raises:
        NameNotFound: no such layer.
        InputError: a layer that lies behind an operation whose geometry cannot be followed.
    """
    names = {layer: resolve(model, layer) for layer in layers}
    fields: dict[str, ReceptiveField | None] = {}
    _trace_fields(model, (input_size,) * 2, lambda name, _, __, field: fields.update({name: field}))
    for layer, name in names.items():
        if fields.get(name) is None:
            raise InputError(
                f"the receptive field of {layer!r} cannot be told: it does not run, or lies "
                "behind an operation that moves pixels; use the full canvas"
            )
    return {layer: fields[name] for layer, name in names.items()}


def layer_table(model: nn.Module, input_size: int) -> list[LayerRow]:
    """List every module without children in order of its calls, with shape, field and weights."""
    rows: list[LayerRow] = []

    def visit(name: str, module: nn.Module, output: Tensor, field: ReceptiveField | None) -> None:
        if not any(True for _ in module.children()):
            count = sum(p.numel() for p in module.parameters())
            rows.append(
                LayerRow(name, type(module).__name__, tuple(output.shape[1:]), field, count)
            )

    _trace_fields(model, (input_size,) * 2, visit)
    return rows

"""Receptive fields of all layers, traced through one real forward pass.

For every tensor of the pass, the part of the input that one of its positions depends on is tracked.
Functional pooling, branches, concatenations and residual sums are therefore covered, not only
modules.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from . import features
from .errors import InputError
from .field_rules import copied, locate
from .hooks import hooked, resolve
from .located import Located, image_location

Pair = tuple[int, int]
Size = int | Pair


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


class _FieldTracker(TorchDispatchMode):
    """Tracks where the positions of every tensor look in the image."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first operation imports all of torch's compiler, for seconds

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        # Tensors are stored beside their locations: an id is unique only while its object lives.
        self.known: dict[int, tuple[Tensor, Located]] = {}
        self.put(image, image_location(image))

    def put(self, tensor: Tensor, located: Located | None) -> None:
        if located is not None:
            self.known[id(tensor)] = (tensor, located)

    def get(self, tensor: Tensor) -> Located | None:
        return self.known[id(tensor)][1] if id(tensor) in self.known else None

    def field(self, tensor: Tensor) -> ReceptiveField | None:
        """Return the field of a tensor's positions; None if it is unknown."""
        located = self.get(tensor)
        spans = [span for span in located.spans if span] if located else []
        if len(spans) < 2:
            return None
        return ReceptiveField(*((a, b) for a, b in zip(*spans, strict=True)))

    def __torch_dispatch__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, list | tuple) else [result]:
            if isinstance(output, Tensor):
                self.put(output, locate(func, args, self.get, output))
        if func is torch.ops.aten.copy_.default:
            self._copy(args[0], args[1])
        return result

    def _copy(self, target: Tensor, source: Tensor) -> None:
        """Follow a map that is copied into the middle of a larger one, as circular padding does."""
        base, located = target._base, self.get(source)
        if base is not None and located is not None and source._base is not base:
            self.put(base, copied(target, located))


def _trace_fields(
    model: nn.Module, size: Size
) -> Iterable[tuple[str, nn.Module, Tensor, ReceptiveField | None]]:
    """Run a blank image; return (name, module, output, field) for every module call."""
    image = features.blank_image(model, size)
    tracker, calls = _FieldTracker(image), []

    def after(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor) and name:
            calls.append((name, module, output, tracker.field(output)))

    with hooked(model.named_modules(), after), torch.no_grad(), tracker:
        model(image)
    return calls


def receptive_fields(
    model: nn.Module, layers: Sequence[str], input_size: Size
) -> dict[str, ReceptiveField]:
    """Return the receptive fields of layers.

    Args:
        model: any network.
        layers: dotted names or aliases.
        input_size: size of a square image, or (height, width), in pixels.

    Raises:
        NameNotFound: no such layer.
        InputError: a layer does not run, or an operation before it moves pixels in another way
            than convolution and pooling do.
    """
    fields = _fields_by_layer(model, layers, input_size)
    for layer, field in fields.items():
        if field is None:
            raise InputError(
                f"the receptive field of {layer!r} is unknown: the layer does not run, or an "
                "operation before it moves pixels; fields_or_image takes the whole image"
            )
    return {layer: field for layer, field in fields.items() if field}


def _fields_by_layer(
    model: nn.Module, layers: Sequence[str], input_size: Size
) -> dict[str, ReceptiveField | None]:
    names = {layer: resolve(model, layer) for layer in layers}
    traced = {name: field for name, _, _, field in _trace_fields(model, input_size)}
    return {layer: traced.get(name) for layer, name in names.items()}


def fields_or_image(
    model: nn.Module, layers: Sequence[str], input_size: Size
) -> dict[str, ReceptiveField]:
    """Return receptive fields like `receptive_fields`, or the whole image where one is unknown.

    A warning names the layers whose field is unknown.

    Args:
        model: any network.
        layers: dotted names or aliases.
        input_size: size of a square image, or (height, width), in pixels.

    Raises:
        NameNotFound: no such layer.
    """
    fields = _fields_by_layer(model, layers, input_size)
    unknown = [layer for layer, field in fields.items() if field is None]
    if unknown:
        warnings.warn(
            f"the receptive field of {', '.join(unknown)} is unknown: an operation before it moves "
            "pixels; the whole image is used",
            stacklevel=2,
        )
    height, width = (input_size,) * 2 if isinstance(input_size, int) else input_size
    image = ReceptiveField((height, width), (0, 0), (0, 0))
    return {layer: field or image for layer, field in fields.items()}


def layer_table(model: nn.Module, input_size: Size) -> list[LayerRow]:
    """Return one row per call of a module without children, in order of execution."""
    rows = []
    for name, module, output, field in _trace_fields(model, input_size):
        if not any(True for _ in module.children()):
            kind, shape = type(module).__name__, tuple(output.shape[1:])
            count = sum(parameter.numel() for parameter in module.parameters())
            rows.append(LayerRow(name, kind, shape, field, count))
    return rows

"""Where the positions of a tensor look in the image, and which dimensions are its axes.

Dimensions are described by the image axes that they contain, so that permuted and flattened maps
can be followed. Along each image axis, a `Span` is kept; it is whole if positions depend on the
entire axis, and None where it is unknown.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor


class Span(NamedTuple):
    """Position k depends on `size` pixels from offset + k * stride on; stride 0: on the same."""

    size: int
    stride: int
    offset: int

    def window(self, kernel: int, stride: int, pad: int, gap: int = 1) -> "Span":
        """Return the span behind a convolution or pooling.

        Args:
            kernel: size of the window.
            stride: from one window to the next.
            pad: padding in front of the first position.
            gap: dilation.
        """
        return Span(
            self.size + (kernel - 1) * gap * self.stride,
            self.stride * stride,
            self.offset - pad * self.stride,
        )


# A factor of a dimension: (image axis, size); axis 0 is vertical, 1 horizontal, None any other.
Factor = tuple[int | None, int]
Dims = tuple[tuple[Factor, ...], ...]


class Located(NamedTuple):
    """Where the positions of a tensor look.

    Attributes:
        spans: vertical and horizontal; None where it is unknown.
        dims: the factors of each dimension, without those of size 1; None if it is unknown.
        whole: the span of the entire image, vertical and horizontal.
    """

    spans: tuple[Span | None, ...]
    dims: Dims | None
    whole: tuple[Span, ...]

    def axes(self, dims: Sequence[int]) -> set[int]:
        """Return the image axes that some dimensions contain."""
        found = self.dims or ()
        return {axis for dim in dims for axis, _ in found[dim] if axis is not None}

    def with_spans(self, change: Callable[[int, Span | None], Span | None]) -> "Located":
        """Return the tensor with changed spans: change(axis, span) -> span."""
        return self._replace(spans=tuple(change(i, span) for i, span in enumerate(self.spans)))

    def spread(self, dims: Sequence[int]) -> "Located":
        """Return the tensor after an operation that mixes all positions along dimensions."""
        mixed = self.axes(dims)
        return self.with_spans(lambda i, span: self.whole[i] if i in mixed else span)

    def lost(self, axes: Sequence[int] | set[int] = (0, 1)) -> "Located":
        """Return the tensor after an operation that is not followed; whole spans stay whole."""
        return self.with_spans(
            lambda i, span: None if i in axes and span != self.whole[i] else span
        )

    def shaped(self, shape: Sequence[int]) -> "Located":
        """Return the tensor with new sizes of its dimensions, which keep their image axes."""
        if self.dims is None:
            return self
        pairs = zip(self.dims, shape, strict=True)
        return self._replace(dims=tuple(_resized(dim, size) for dim, size in pairs))


def image_location(image: Tensor) -> Located:
    """Return where the positions of an image (1, channels, h, w) look: at their own pixel."""
    channels, *size = image.shape[1:]
    pixel = Span(1, 1, 0)
    dims = ((), factor(None, channels), *(factor(i, n) for i, n in enumerate(size)))
    return Located((pixel, pixel), dims, tuple(Span(n, 0, 0) for n in size))


def factor(axis: int | None, size: int) -> tuple[Factor, ...]:
    """Return the factors of a dimension along one axis."""
    return ((axis, size),) if size > 1 else ()


def _resized(dim: tuple[Factor, ...], size: int) -> tuple[Factor, ...]:
    if prod(n for _, n in dim) == size:
        return dim
    return factor(dim[0][0] if len(dim) == 1 else None, size)


def _merge_spans(whole: Span, spans: Sequence[Span | None]) -> Span | None:
    """Return the smallest span that contains all of them, with the smallest stride."""
    if whole in spans:  # everything else is a part of it
        return whole
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    low = min(span.offset for span in known)
    high = max(span.offset + span.size for span in known)
    return Span(high - low, min(span.stride for span in known), low)


def merge(sources: Sequence[Located], dims: Dims | None) -> Located:
    """Return a tensor whose positions look wherever those of the sources look."""
    whole = sources[0].whole
    spans = (_merge_spans(whole[i], [each.spans[i] for each in sources]) for i in (0, 1))
    merged = Located(tuple(spans), dims, whole)
    return merged if dims is not None else merged.lost()


def pointwise(sources: Sequence[Located], shapes: Sequence[Sequence[int]]) -> Located:
    """Return the result of an operation on equal positions, with broadcasting."""
    if any(source.dims is None for source in sources):
        return merge(sources, None)
    count = max(map(len, shapes))
    aligned = [((),) * (count - len(s.dims or ())) + (s.dims or ()) for s in sources]
    dims = []
    for parts in zip(*aligned, strict=True):
        given = {part for part in parts if part}
        placed = {part for part in given if any(axis is not None for axis, _ in part)}
        if len(placed) > 1:
            return merge(sources, None)
        dims.append(next(iter(placed or given), ()))
    return merge(sources, tuple(dims))


def regroup(dims: Dims, shape: Sequence[int]) -> Dims | None:
    """Return the dimensions after a view; None if it cuts an image axis."""
    rest, result = [factor for dim in dims for factor in dim], []
    for size in shape:
        dim: list[Factor] = []
        while (left := size // prod(n for _, n in dim)) > 1:
            if not rest:
                return None
            axis, length = rest.pop(0)
            if length > left:
                if axis is not None or length % left:
                    return None
                rest.insert(0, (None, length // left))
                length = left
            dim.append((axis, length))
        result.append(tuple(dim))
    return None if rest else tuple(result)

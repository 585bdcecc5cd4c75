"""How operations change receptive fields, as torch dispatches them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import torch
from torch import Tensor

from .located import Located, Span, factor, merge, pointwise, regroup


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else [*value]
    return values[0], values[-1]


def _windows(source: Located, output: Tensor, *settings: int | Sequence[int]) -> Located:
    """Return the result of a window with kernel, stride, padding, gap over the last two axes."""
    dims = source.dims or ()
    in_place = (dim in ((), factor(i, prod(n for _, n in dim))) for i, dim in enumerate(dims[-2:]))
    if not all(in_place) or len(dims) < 3:
        return source.spread(range(len(dims) - 2)).lost()._replace(dims=None)
    mixed = source.axes(range(len(dims) - 2))
    pairs = [_pair(value) for value in settings]

    def through(axis: int, span: Span | None) -> Span | None:
        if axis in mixed:
            return source.whole[axis]
        return span and span.window(*(pair[axis] for pair in pairs))

    found = source.with_spans(through)
    maps = tuple(factor(i, n) for i, n in enumerate(output.shape[-2:]))
    other = tuple(factor(None, n) for n in output.shape[:-2])
    return found._replace(dims=other + maps)


def _convolution(source: Located, args: Sequence[Any], output: Tensor) -> Located:
    kernel = tuple(args[1].shape[2:])
    if args[6] or len(kernel) != 2:  # transposed: the number of inputs varies with the position
        lost = source.lost()
        return lost.shaped(output.shape) if len(kernel) == 2 else lost._replace(dims=None)
    return _windows(source, output, kernel, *args[3:6])


def _pooling(source: Located, args: Sequence[Any], output: Tensor, is_max: bool) -> Located:
    kernel = args[1]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    pad = args[3] if len(args) > 3 else 0
    gap = args[4] if is_max and len(args) > 4 else 1
    settings = (v if isinstance(v, int) else v[-2:] for v in (kernel, stride, pad, gap))
    return _windows(source, output, *settings)  # of a 3d pooling, the last two axes


def _adaptive_pooling(source: Located, args: Sequence[Any], output: Tensor) -> Located:
    ratios = [a / b for a, b in zip(args[0].shape[-2:], output.shape[-2:], strict=True)]

    def through(axis: int, span: Span | None) -> Span | None:
        if output.shape[axis - 2] == 1 and ratios[axis] > 1:
            return source.whole[axis]
        whole_number = ratios[axis] == int(ratios[axis])
        return (
            span.window(int(ratios[axis]), int(ratios[axis]), 0) if span and whole_number else None
        )

    return source.with_spans(through).shaped(output.shape)


def _padding(source: Located, args: Sequence[Any], output: Tensor) -> Located:
    before = dict(enumerate(args[1][::2], 1))  # the last dimension first

    def shift(axis: int, span: Span | None) -> Span | None:
        places = [n for n in before if source.axes([-n]) == {axis}]
        return span and span._replace(
            offset=span.offset - sum(before[n] for n in places) * span.stride
        )

    return source.with_spans(shift).shaped(output.shape)


def _reduction(source: Located, dims: Sequence[int] | None, output: Tensor) -> Located:
    count = len(source.dims or ())
    gone = range(count) if not dims else [dim % count for dim in dims]
    spread = source.spread(gone)
    keeps = output.ndim == count
    left = (
        () if i in gone else dim
        for i, dim in enumerate(source.dims or ())
        if keeps or i not in gone
    )
    return spread._replace(dims=tuple(left))


def _slice(source: Located, args: Sequence[Any], output: Tensor) -> Located:
    dim, start, step = _at(args, 1, 0), _at(args, 2, 0) or 0, _at(args, 4, 1)
    return _cut(source, dim, start % args[0].shape[dim] if start < 0 else start, step, output)


def _cut(source: Located, dim: int, start: int, step: int, output: Tensor) -> Located:
    axes = source.axes([dim])
    if len((source.dims or ())[dim]) > 1 and axes:
        return source.lost(axes)._replace(dims=None)

    def cut(axis: int, span: Span | None) -> Span | None:
        if axis not in axes or span is None:
            return span
        return Span(span.size, span.stride * step, span.offset + start * span.stride)

    return source.with_spans(cut).shaped(output.shape)


def _select(source: Located, args: Sequence[Any], output: Tensor) -> Located:
    dim, index = args[1] % args[0].ndim, args[2] % args[0].shape[args[1]]
    kept = args[0].select(dim, index).unsqueeze(dim)
    located = _cut(source, dim, index, 0, kept)
    if located.dims is None:
        return located
    return located._replace(dims=located.dims[:dim] + located.dims[dim + 1 :])


def _at(args: Sequence[Any], index: int, default: Any) -> Any:
    return args[index] if len(args) > index else default


def _matmul(sources: Sequence[Located], at: Sequence[int], output: Tensor) -> Located:
    """Return a matrix product of one tracked tensor, the left (0) or the right one (1)."""
    (source,) = sources
    if source.dims is None:
        return source.lost()
    summed, kept = (-1, -2) if at[0] == 0 else (-2, -1)
    own = source.dims[kept]
    dims = [*source.dims[:-2], own, ()] if at[0] == 0 else [*source.dims[:-2], (), own]
    free = -1 if at[0] == 0 else -2
    dims[free] = factor(None, output.shape[free])
    return source.spread([summed])._replace(dims=tuple(dims))


def _joined(sources: Sequence[Located], dim: int, output: Tensor) -> Located:
    if any(s.dims is None for s in sources):
        return merge(sources, None)
    dim %= output.ndim
    lost = {axis for source in sources for axis in source.axes([dim])}
    first = sources[0].dims or ()
    others = [tuple(d for i, d in enumerate(s.dims or ()) if i != dim) for s in sources]
    if len(set(others)) > 1 or lost:
        return merge([s.lost(lost or (0, 1)) for s in sources], None)
    dims = (*first[:dim], factor(None, output.shape[dim]), *first[dim + 1 :])
    return merge(sources, dims)


_VIEWS = {"view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "alias", "detach"}
_SAME = {
    "hardswish", "hardsigmoid", "relu6", "dropout", "native_dropout", "prelu", "_prelu_kernel",
    "rrelu_with_noise", "clone", "contiguous", "_to_copy", "threshold", "lift_fresh", "copy",
    "hardtanh", "elu", "leaky_relu", "celu", "selu", "mish", "softplus", "log_sigmoid_forward",
    "hardshrink", "softshrink", "gelu", "silu", "to",
}  # fmt: skip
_REDUCED = {"mean": 1, "sum": 1, "amax": 1, "amin": 1, "max": 1, "min": 1, "var": 1, "std": 1,
            "logsumexp": 1, "linalg_vector_norm": 2, "norm": 2, "prod": 1}  # fmt: skip
_ALONG = {"_softmax", "_log_softmax", "cumsum", "sort", "cumprod"}


def locate(op: Any, args: Sequence[Any], known: Callable[[Tensor], Located | None],
           output: Tensor) -> Located | None:  # fmt: skip
    """Return where the output of an operation looks; None if no argument depends on the image.

    Args:
        op: the operator that torch dispatched.
        args: its positional arguments.
        known: returns where an argument looks.
        output: one of its outputs.
    """
    name = op.overloadpacket.__name__.rstrip("_")
    tensors = [value for value in _tensors(args) if known(value) is not None]
    sources = [known(value) for value in tensors]
    located = [source for source in sources if source is not None]
    if not located or name.endswith("_like") or name.startswith("new_"):
        return None
    if torch.Tag.pointwise in op.tags or name in _SAME:
        return pointwise(located, [tuple(value.shape) for value in tensors])
    if name == "cat":
        return _joined(located, _at(args, 1, 0), output)
    if name == "stack":
        return _stacked(located, tensors[0].shape, _at(args, 1, 0), len(args[0]))
    if name in ("mm", "addmm", "bmm", "baddbmm") and len(located) == 1:
        factors = args[-2:]
        return _matmul(located, [i for i in (0, 1) if factors[i] is tensors[0]], output)
    if len(located) == 1:
        return _of_one(name, located[0], tensors[0], args, output)
    whole = name == "_native_multi_head_attention"
    return located[0]._replace(spans=located[0].whole) if whole else merge(located, None)


def _of_one(
    name: str, source: Located, tensor: Tensor, args: Sequence[Any], output: Tensor
) -> Located:
    """Return the result of an operation on a single tensor that depends on the image."""
    if source.dims is None:
        return source.lost()
    if name in _RULES and args and args[0] is tensor:
        with suppress(IndexError, TypeError, ValueError):  # a variant with other arguments
            return _RULES[name](source, args, output)
    if name in _VIEWS:
        dims = regroup(source.dims, output.shape) if output.numel() == tensor.numel() else None
        return source._replace(dims=dims) if dims else source.lost()._replace(dims=None)
    if name in _REDUCED:
        dims = _at(args, _REDUCED[name], None)
        return _reduction(source, [dims] if isinstance(dims, int) else dims, output)
    return source.lost()._replace(dims=None)


def _all_but(source: Located, *kept: int) -> Located:
    return source.spread([i for i in range(len(source.dims or ())) if i not in kept])


def _permuted(source: Located, order: Sequence[int]) -> Located:
    dims = source.dims
    return source if dims is None else source._replace(dims=tuple(dims[i] for i in order))


def _expanded(source: Located, output: Tensor) -> Located:
    dims = source.dims or ()
    dims = ((),) * (output.ndim - len(dims)) + dims
    grown = zip(dims, output.shape, strict=True)
    return source._replace(dims=tuple(dim or factor(None, size) for dim, size in grown))


def _stacked(sources: Sequence[Located], shape: Sequence[int], dim: int, count: int) -> Located:
    merged = pointwise(sources, [shape] * len(sources))
    if merged.dims is None:
        return merged
    dim %= len(shape) + 1
    dims = (*merged.dims[:dim], factor(None, count), *merged.dims[dim:])
    return merged._replace(dims=dims)


def _swapped(source: Located, first: int, second: int) -> Located:
    order = [*range(len(source.dims or ()))]
    if order:
        order[first], order[second] = order[second], order[first]
    return _permuted(source, order)


def _dimwise(source: Located, dim: int, output: Tensor) -> Located:
    """Return the result of choosing or grouping entries along a dimension."""
    axes = source.axes([dim])
    return source.lost(axes)._replace(dims=None) if axes else source.shaped(output.shape)


_RULES: dict[str, Callable[[Located, Sequence[Any], Tensor], Located]] = {
    "convolution": _convolution,
    "max_pool2d": lambda s, a, o: _pooling(s, a, o, True),
    "max_pool2d_with_indices": lambda s, a, o: _pooling(s, a, o, True),
    "avg_pool2d": lambda s, a, o: _pooling(s, a, o, False),
    "avg_pool3d": lambda s, a, o: _pooling(s, a, o, False),
    "_adaptive_avg_pool2d": _adaptive_pooling,
    "adaptive_max_pool2d": _adaptive_pooling,
    "constant_pad_nd": _padding,
    "reflection_pad2d": _padding,
    "replication_pad2d": _padding,
    "native_batch_norm": lambda s, a, o: _all_but(s, 1) if a[5] else s,
    "native_group_norm": lambda s, a, o: _all_but(s, 0),
    "native_layer_norm": lambda s, a, o: s.spread([-1 - i for i in range(len(a[1]))]),
    "slice": _slice,
    "select": _select,
    "permute": lambda s, a, o: _permuted(s, a[1]),
    "transpose": lambda s, a, o: _swapped(s, a[1], a[2]),
    "expand": lambda s, a, o: _expanded(s, o),
    "t": lambda s, a, o: _swapped(s, 0, 1),
    "split": lambda s, a, o: _dimwise(s, _at(a, 2, 0), o),
    "split_with_sizes": lambda s, a, o: _dimwise(s, _at(a, 2, 0), o),
    "index_select": lambda s, a, o: _dimwise(s, a[1], o),
    "roll": lambda s, a, o: s.lost(s.axes(_at(a, 2, []))),
    "flip": lambda s, a, o: s.lost(s.axes(a[1])),
    "upsample_nearest2d": lambda s, a, o: s.lost().shaped(o.shape),
    "upsample_bilinear2d": lambda s, a, o: s.lost().shaped(o.shape),
    **dict.fromkeys(_ALONG, lambda s, a, o: s.spread([a[1]]).shaped(o.shape)),
}


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def copied(target: Tensor, source: Located) -> Located | None:
    """Return where a tensor looks after another was copied into a part of it.

    Args:
        target: the part, a view.
        source: where the positions of the copied tensor look.
    """
    base = target._base
    if base is None or source.dims is None or base.ndim != target.ndim:
        return None
    rest, starts = target.storage_offset() - base.storage_offset(), []
    for step in base.stride():
        starts.append(rest // step)
        rest %= step

    def shift(axis: int, span: Span | None) -> Span | None:
        before = sum(n for i, n in enumerate(starts) if source.axes([i]) == {axis})
        return span and span._replace(offset=span.offset - before * span.stride)

    return source.with_spans(shift).shaped(base.shape)

"""Transposed layers, fast where a signal is local: <layer(x), y> = <x, transposed(y)>, bias apart.

One unit's signal touches a few positions of the maps it comes through, so a transposed convolution
is worked out on the box that holds all that is not zero in a batch. A strided one to
a picture's few channels is a plain convolution to stride^2 as many, woven together afterwards.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]
# Channels that a processor works on at once; a transposed convolution to fewer leaves it idle.
VECTOR_WIDTH = 16


def transposed_conv(
    signal: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair, gap: Pair, groups: int
) -> Tensor:
    """Apply the transpose of a 2d convolution, without bias.

    Args:
        signal: (n, channels out, h, w), in the shape of the convolution's output.
        weight: (channels out, channels in / groups, kernel height, kernel width).
        size: height and width of the convolution's input.
        stride: of the convolution.
        padding: rows of zeros above, and columns left of, its input.
        gap: its dilation.
        groups: its groups.

    Returns:
        (n, channels in, *size).
    """
    rows, columns = _bounding_box(signal)
    part, kernel = signal[..., rows, columns], weight.shape[-2:]
    starts = rows.start, columns.start
    before = [a * s - p for a, s, p in zip(starts, stride, padding, strict=True)]
    if max(gap) == groups == 1 and part[0, 0].numel() == 1:
        spread = part.flatten(1) @ weight.flatten(1)
        return _place(spread.unflatten(1, weight.shape[1:]), before, size)
    if max(gap) == 1 and max(stride) > 1 and weight.shape[1] < VECTOR_WIDTH:
        return _place(_subpixel_conv(part, weight, stride, groups), before, size)
    # What reaches out of the map on both sides need not be worked out.
    reach = [
        (n - 1) * s + (k - 1) * g + 1
        for n, s, k, g in zip(part.shape[-2:], stride, kernel, gap, strict=True)
    ]
    out = [max(0, min(-b, b + r - n)) for b, r, n in zip(before, reach, size, strict=True)]
    part = functional.conv_transpose2d(part, weight, None, stride, out, 0, groups, gap)
    return _place(part, [b + o for b, o in zip(before, out, strict=True)], size)


def _place(part: Tensor, before: Sequence[int], size: Pair) -> Tensor:
    """Put a part where it belongs in maps of a size; cut what reaches out, fill with zeros."""
    after = [n - b - has for n, b, has in zip(size, before, part.shape[-2:], strict=True)]
    rows, columns = (
        slice(max(0, -b), has + min(0, a))
        for b, a, has in zip(before, after, part.shape[-2:], strict=True)
    )
    part = part[..., rows, columns]
    if part.shape[-2:] == size:
        return part
    return functional.pad(part, [max(0, n) for n in (before[1], after[1], before[0], after[0])])


def _bounding_box(signal: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the smallest box, the same in all maps, that holds all but zeros."""
    there = signal.abs().sum((0, 1)) > 0
    return _span(there.any(1)), _span(there.any(0))


def _span(there: Tensor) -> slice:
    found = there.nonzero().flatten().tolist() or [0]
    return slice(found[0], found[-1] + 1)


def _subpixel_conv(signal: Tensor, weight: Tensor, stride: Pair, groups: int) -> Tensor:
    """Transposed convolution of a stride as a convolution and a shuffle (Shi et al. 2016)."""
    (out, channels, height, width), (y, x) = weight.shape, stride
    rows, columns = -(-height // y), -(-width // x)
    whole = functional.pad(weight, (0, columns * x - width, 0, rows * y - height))
    phases = whole.view(groups, out // groups, channels, rows, y, columns, x)
    phases = phases.permute(0, 2, 4, 6, 1, 3, 5).flip(-2, -1)
    phases = phases.reshape(groups * channels * y * x, out // groups, rows, columns)
    coarse = functional.conv2d(signal, phases, padding=(rows - 1, columns - 1), groups=groups)
    coarse = coarse.view(len(signal), groups * channels, y, x, *coarse.shape[-2:])
    return coarse.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


def unpool(signal: Tensor, switches: Tensor, size: Pair) -> Tensor:
    """Carry each value to its switch; where overlapping windows share one, values add up.

    Args:
        signal: (n, channels, h, w), in the shape of the pooled maps.
        switches: of the same shape, position in the flattened maps before pooling.
        size: height and width of these.
    """
    maps = signal.new_zeros(*signal.shape[:2], size[0] * size[1])
    maps.scatter_add_(2, switches.flatten(2), signal.flatten(2))
    return maps.view(*signal.shape[:2], *size)


def window_centers(pooled: Pair, kernel: Pair, stride: Pair, padding: Pair, size: Pair) -> Tensor:
    """Return where each pooling window has its middle, as switches (rows, columns)."""
    rows, columns = (
        (torch.arange(n) * s - p + (k - 1) // 2).clamp(0, length - 1)
        for n, k, s, p, length in zip(pooled, kernel, stride, padding, size, strict=True)
    )
    return rows.unsqueeze(1) * size[1] + columns

"""Adjoints of layers without bias, <layer(x), y> = <x, adjoint(y)>, fast for local signals.

The signal of one unit reaches only a few positions of earlier maps, so a transposed convolution is
computed only on the bounding box of the batch's nonzero positions, unless it is cheap. One of
single pixels is a plain convolution to the other channels. A strided transposed convolution to few
channels, such as those of an image, is computed as a plain convolution to stride^2 times as many
channels, which are then interleaved.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Pair = tuple[int, int]
# A transposed convolution to fewer channels than this leaves vector units partly idle.
VECTOR_WIDTH = 16
# With as many multiplications per number or fewer, finding the box takes longer than it saves.
CHEAP = 32


def transposed_conv(
    signal: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair, gap: Pair, groups: int
) -> Tensor:
    """Apply the transpose of a 2d convolution, without bias.

    Args:
        signal: (n, channels out, h, w), of the shape of the convolution's output.
        weight: (channels out, channels in / groups, kernel height, kernel width).
        size: height and width of the convolution's input.
        stride: of the convolution.
        padding: zero padding of the convolution, vertical and horizontal.
        gap: dilation of the convolution.
        groups: groups of the convolution.

    Returns:
        (n, channels in, *size).
    """
    everywhere = slice(0, signal.shape[-2]), slice(0, signal.shape[-1])
    rows, columns = everywhere if weight[0].numel() <= CHEAP else _bounding_box(signal)
    box = signal[..., rows, columns]
    before = [
        start * s - p
        for start, s, p in zip((rows.start, columns.start), stride, padding, strict=True)
    ]
    if max(gap) == groups == 1 and box[0, 0].numel() == 1:
        spread = box.flatten(1) @ weight.flatten(1)
        return _place(spread.unflatten(1, weight.shape[1:]), before, size)
    if max(weight.shape[2:]) == max(stride) == groups == 1:
        return _place(functional.conv2d(box, weight.transpose(0, 1)), before, size)
    if max(gap) == 1 and max(stride) > 1 and weight.shape[1] < VECTOR_WIDTH:
        return _place(_subpixel_conv(box, weight, stride, groups), before, size)
    # Rows and columns that lie outside the map on either side need not be computed.
    kernel = weight.shape[-2:]
    reach = [
        (n - 1) * s + (k - 1) * g + 1
        for n, s, k, g in zip(box.shape[-2:], stride, kernel, gap, strict=True)
    ]
    cut = [max(0, min(-b, b + r - n)) for b, r, n in zip(before, reach, size, strict=True)]
    part = functional.conv_transpose2d(box, weight, None, stride, cut, 0, groups, gap)
    return _place(part, [b + c for b, c in zip(before, cut, strict=True)], size)


def _place(part: Tensor, before: Sequence[int], size: Pair) -> Tensor:
    """Place a part in zero maps of a given size, at row and column `before`."""
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
    """Return rows and columns of the smallest box that holds the nonzero values of all maps."""
    maps = signal.flatten(0, 1)
    nonzero = (maps.amax(0) != 0) | (maps.amin(0) != 0)
    return _span(nonzero.any(1)), _span(nonzero.any(0))


def _span(nonzero: Tensor) -> slice:
    positions = nonzero.nonzero().flatten().tolist() or [0]
    return slice(positions[0], positions[-1] + 1)


def _subpixel_conv(signal: Tensor, weight: Tensor, stride: Pair, groups: int) -> Tensor:
    """Strided transposed convolution, as a convolution and a shuffle (Shi et al. 2016)."""
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
    """Move each value to its switch; values of overlapping windows with one switch add up.

    Args:
        signal: (n, channels, h, w), of the shape of the pooled maps.
        switches: of the same shape; positions in the flattened maps before pooling.
        size: height and width of the maps before pooling.
    """
    maps = signal.new_zeros(*signal.shape[:2], size[0] * size[1])
    maps.scatter_add_(2, switches.flatten(2), signal.flatten(2))
    return maps.view(*signal.shape[:2], *size)


def window_centers(pooled: Pair, kernel: Pair, stride: Pair, padding: Pair, size: Pair) -> Tensor:
    """Return the center of each pooling window, as switches (rows, columns).

    Args:
        pooled: height and width of the pooled maps.
        kernel: of the pooling.
        stride: of the pooling.
        padding: of the pooling.
        size: height and width of the maps before pooling.
    """
    rows, columns = (
        (torch.arange(n) * s - p + (k - 1) // 2).clamp(0, length - 1)
        for n, k, s, p, length in zip(pooled, kernel, stride, padding, size, strict=True)
    )
    return rows.unsqueeze(1) * size[1] + columns

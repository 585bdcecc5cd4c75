"""How answers are compared with the truth, and what is said where they differ.

Numbers may be handed in as tensors, arrays or nested lists, with or without axes of length 1. They
agree where the difference is at most `TOLERANCE` of the truth's own size.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-3


class NotSolved(Exception):
    """Says in one line what is wrong with an answer, with a hint."""


def as_tensor(answer: object, what: str = "the answer") -> Tensor:
    """Return numbers, however they were handed in, as a tensor of double precision."""
    try:
        if isinstance(answer, Tensor):
            return answer.detach().cpu().double()
        if isinstance(answer, list | tuple):
            return torch.stack([as_tensor(part, what) for part in answer])
        return torch.as_tensor(np.asarray(answer, dtype=np.float64))
    except (TypeError, ValueError, RuntimeError):
        kind = type(answer).__name__
        raise NotSolved(
            f"{what} is a {kind}; hand in numbers: a tensor, an array or a list"
        ) from None


def as_number(answer: object, what: str = "the answer") -> float:
    """Return one number."""
    found = as_tensor(answer, what)
    if found.numel() != 1:
        raise NotSolved(f"{what} has shape {tuple(found.shape)}; hand in one number")
    return float(found)


def as_index(answer: object, below: int, what: str) -> int:
    """Return a whole number that counts from 0."""
    found = as_number(answer, f"the {what}")
    if found != int(found) or not 0 <= found < below:
        raise NotSolved(f"there is no {what} {found:g}: they count from 0 to {below - 1}")
    return int(found)


def as_numbers(answer: object, count: int, what: str) -> list[float]:
    """Return so many numbers."""
    found = as_tensor(answer, what).flatten()
    if len(found) != count:
        raise NotSolved(f"{what} has {len(found)} numbers; hand in {count}")
    return found.tolist()


def as_image(answer: object, size: int) -> Tensor:
    """Return one picture (1, 3, size, size) in [0, 1]."""
    found = as_tensor(answer).float()
    if found.numel() != 3 * size * size or found.shape[-2:] != (size, size):
        given = tuple(found.shape)
        raise NotSolved(f"the picture has shape {given}; hand in one of (1, 3, {size}, {size})")
    low, high = float(found.min()), float(found.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise NotSolved(f"its pixels go from {low:.2f} to {high:.2f}; keep them within 0 and 1")
    return found.view(1, 3, size, size)


def require_equal(
    answer: object,
    truth: Tensor,
    what: str = "what it returns",
    *,
    wrong: Mapping[str, Tensor | float] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Compare numbers with the truth.

    Args:
        answer: what was handed in.
        truth: what it should be.
        what: what to call it.
        wrong: hint -> what an answer looks like that needs it.
        tolerance: difference that counts as none, as a share of the truth's size.

    Raises:
        NotYet: they differ; says how.
    """
    found, truth = as_tensor(answer, what), as_tensor(truth)
    if not found.isfinite().all():
        raise NotSolved(f"{what} is not finite everywhere; is something divided by zero?")
    if _is_close(found, truth, tolerance):
        return
    for hint, mistake in (wrong or {}).items():
        if _is_close(found, as_tensor(mistake), tolerance):
            raise NotSolved(hint)
    if _shape_without_ones(found) != _shape_without_ones(truth):
        raise NotSolved(f"{what} has shape {tuple(found.shape)}; expected {tuple(truth.shape)}")
    raise NotSolved(_describe_difference(found.reshape(truth.shape), truth, what, tolerance))


def _shape_without_ones(values: Tensor) -> list[int]:
    """A shape without axes of length 1."""
    return [side for side in values.shape if side != 1]


def _is_close(found: Tensor, truth: Tensor, tolerance: float) -> bool:
    if _shape_without_ones(found) != _shape_without_ones(truth):
        return False
    size = max(float(truth.norm()), 1e-9)
    return float((found.reshape(truth.shape) - truth).norm()) <= tolerance * size


def _describe_difference(found: Tensor, truth: Tensor, what: str, tolerance: float) -> str:
    """Say how numbers of one shape differ: by sign, by a factor, or otherwise."""
    size = float(truth.norm())
    factor = float((found * truth).sum()) / max(size**2, 1e-18)
    if abs(factor) > tolerance and _is_close(found, factor * truth, tolerance):
        if abs(factor + 1) <= tolerance:
            return f"{what} has the wrong sign"
        turned = ", and its sign is wrong" if factor < 0 else ""
        return f"{what} is {abs(factor):.4g} times what it should be{turned}"
    off = float((found - truth).norm()) / max(size, 1e-9)
    return f"{what} is off by {off:.2g} times its own size, and by no single factor"


def call(function: object, *args: object, words: str = "your function") -> object:
    """Call what was handed in as a function, with copies, so that it may change what it gets."""
    if not callable(function):
        raise NotSolved(f"expected a function, and got a {type(function).__name__}")
    copies = [arg.clone() if isinstance(arg, Tensor) else arg for arg in args]
    try:
        found = function(*copies)
    except Exception as error:  # of any kind: it is the reader's code
        reason = (str(error).splitlines() or [""])[0]
        raise NotSolved(f"{words} raised {type(error).__name__}: {reason}") from None
    if found is None:
        raise NotSolved(f"{words} returns nothing yet; fill in its body")
    return found


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal noise that is the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def expand_like(values: Tensor, like: Tensor) -> Tensor:
    """Shape one number for each of a batch so that it multiplies the batch."""
    return values.view(-1, *[1] * (like.ndim - 1))


def norms(batch: Tensor) -> Tensor:
    """Return the norm of each of a batch, (n,)."""
    return batch.flatten(1).norm(dim=1)


def name_index(words: Sequence[str], given: object, what: str) -> int:
    """Return the place of a name among those known."""
    if given not in words:
        raise NotSolved(f"there is no {what} {given!r}; such as {', '.join(words[:4])}")
    return list(words).index(given)

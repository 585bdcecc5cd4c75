"""Compare answers with the truth and describe how they differ.

Numbers can be tensors, arrays or nested lists, with or without dimensions of length 1. They agree
if the norm of the difference is at most `TOLERANCE` times the norm of the truth.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...data.images import Size, height_and_width

TOLERANCE = 1e-3  # of the norm of a difference, relative to that of the truth
MAX_LENGTH = 300  # of the message of an error


class NotSolved(Exception):
    """An answer is not correct; the message says in one line what is wrong, with a hint."""


def as_tensor(answer: object, what: str = "the answer") -> Tensor:
    """Return numbers of any kind as a tensor of double precision."""
    try:
        if isinstance(answer, Tensor):
            if answer.layout != torch.strided or answer.is_complex():
                raise TypeError
            return answer.detach().cpu().double()
        if isinstance(answer, list | tuple):
            return torch.stack([as_tensor(part, what) for part in answer])
        return torch.as_tensor(np.asarray(answer, dtype=np.float64))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        kind = type(answer).__name__
        raise NotSolved(
            f"{what} is a {kind}; hand in numbers: a tensor, an array or a list"
        ) from None


def as_number(answer: object, what: str = "the answer") -> float:
    """Return one number."""
    value = as_tensor(answer, what)
    if value.numel() != 1:
        raise NotSolved(f"{what} has shape {tuple(value.shape)}; hand in one number")
    return float(value)


def as_index(answer: object, below: int, what: str) -> int:
    """Return an integer from 0 to `below` - 1.

    Args:
        answer: a number of any kind.
        below: upper limit, exclusive.
        what: name of what is indexed, in messages, such as "unit".

    Raises:
        NotSolved: the answer is not such an integer.
    """
    value = as_number(answer, f"the {what}")
    if not 0 <= value < below or value != int(value):
        raise NotSolved(f"there is no {what} {value:g}: indices go from 0 to {below - 1}")
    return int(value)


def as_numbers(answer: object, count: int, what: str) -> list[float]:
    """Return several numbers as a list.

    Args:
        answer: numbers of any kind.
        count: how many are expected.
        what: name of the answer in messages.

    Raises:
        NotSolved: the answer has another number of values.
    """
    values = as_tensor(answer, what).flatten()
    if len(values) != count:
        raise NotSolved(f"{what} has {len(values)} numbers; hand in {count}")
    return values.tolist()


def as_image(answer: object, size: Size) -> Tensor:
    """Return one image (1, 3, height, width) in [0, 1]."""
    height, width = height_and_width(size)
    image = as_tensor(answer).float()
    if image.numel() != 3 * height * width or image.shape[-2:] != (height, width):
        shape = tuple(image.shape)
        raise NotSolved(f"the image has shape {shape}; hand in one of (1, 3, {height}, {width})")
    low, high = float(image.min()), float(image.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise NotSolved(f"its pixels go from {low:.2f} to {high:.2f}; keep them within 0 and 1")
    return image.view(1, 3, height, width)


def require_equal(
    answer: object,
    truth: Tensor,
    what: str = "what it returns",
    *,
    wrong: Mapping[str, Tensor | float] | None = None,
) -> None:
    """Require that an answer agrees with the truth.

    Args:
        answer: numbers of any kind.
        truth: the correct numbers.
        what: name of the answer in messages.
        wrong: hint -> the wrong answer that it explains.

    Raises:
        NotSolved: the answer differs; the message says how.
    """
    values, truth = as_tensor(answer, what), as_tensor(truth)
    if not values.isfinite().all():
        raise NotSolved(f"{what} is not finite everywhere; is something divided by zero?")
    if _is_close(values, truth):
        return
    for hint, mistake in (wrong or {}).items():
        if _is_close(values, as_tensor(mistake)):
            raise NotSolved(hint)
    if _shape_without_ones(values) != _shape_without_ones(truth):
        raise NotSolved(f"{what} has shape {tuple(values.shape)}; expected {tuple(truth.shape)}")
    raise NotSolved(_describe_difference(values.reshape(truth.shape), truth, what))


def _shape_without_ones(values: Tensor) -> list[int]:
    return [length for length in values.shape if length != 1]


def _is_close(values: Tensor, truth: Tensor) -> bool:
    if _shape_without_ones(values) != _shape_without_ones(truth):
        return False
    size = max(float(truth.norm()), 1e-9)
    return float((values.reshape(truth.shape) - truth).norm()) <= TOLERANCE * size


def _describe_difference(values: Tensor, truth: Tensor, what: str) -> str:
    """Describe how numbers of one shape differ: by sign, by a factor, or otherwise."""
    size = float(truth.norm())
    factor = float((values * truth).sum()) / max(size**2, 1e-18)
    if abs(factor) > TOLERANCE and _is_close(values, factor * truth):
        if abs(factor + 1) <= TOLERANCE:
            return f"{what} has the wrong sign"
        sign = ", and its sign is wrong" if factor < 0 else ""
        return f"{what} is {abs(factor):.4g} times what it should be{sign}"
    error = float((values - truth).norm()) / max(size, 1e-9)
    return f"{what} has a relative error of {error:.2g}, which no single factor explains"


def call(function: object, *args: object, words: str = "your function") -> object:
    """Call a reader's function with copies of tensors, which it may modify.

    Args:
        function: the answer.
        args: its arguments.
        words: name of the function in messages.

    Raises:
        NotSolved: not a function, or one that raises an error or returns None.
    """
    if not callable(function):
        raise NotSolved(f"expected a function, and got a {type(function).__name__}")
    copies = [arg.clone() if isinstance(arg, Tensor) else arg for arg in args]
    try:
        result = function(*copies)
    except (Exception, SystemExit) as error:  # of any kind: it is the reader's code
        raise NotSolved(f"{words} raised {describe(error)}") from None
    if result is None:
        raise NotSolved(f"{words} returns nothing yet; fill in its body")
    return result


def one_line(error: BaseException) -> str:
    """Return an error's message as one line of at most `MAX_LENGTH` characters."""
    return " ".join(str(error).split())[:MAX_LENGTH]


def describe(error: BaseException) -> str:
    """Return the class and the message of an error of the reader's code, in one line."""
    try:
        reason = one_line(error)
    except Exception:  # the error may be of the reader's own class
        reason = ""
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible normal noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def expand_like(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one number per item of a batch, (n,), so that it multiplies the batch."""
    return values.view(-1, *[1] * (like.ndim - 1))


def norms(batch: Tensor) -> Tensor:
    """Return the norm of each item of a batch, (n,)."""
    return batch.flatten(1).norm(dim=1)


def name_index(names: Sequence[str], given: object, what: str) -> int:
    """Return the index of a name.

    Args:
        names: the known names.
        given: the answer.
        what: kind of thing in messages, such as "concept".

    Raises:
        NotSolved: not one of the names.
    """
    if not isinstance(given, str) or given not in names:
        raise NotSolved(f"there is no {what} {given!r}; choose for example {', '.join(names[:4])}")
    return list(names).index(given)

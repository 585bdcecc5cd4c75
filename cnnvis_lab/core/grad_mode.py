"""Gradients in any grad mode of the caller."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Given = ParamSpec("Given")
Result = TypeVar("Result")


def with_gradients(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a function compute gradients even if its caller has switched them off.

    `torch.set_grad_enabled(False)` and `torch.inference_mode()` of the caller do not apply inside.
    """

    @wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with torch.inference_mode(False), torch.enable_grad():
            usable: Any = {name: _usable(value) for name, value in kwargs.items()}
            return function(*cast(Any, map(_usable, args)), **usable)

    return run


def _usable(value: object) -> object:
    """Return a copy of a tensor made in inference mode, which autograd cannot use."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value

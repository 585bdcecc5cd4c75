"""Sentences in the place of results that a network or its images do not allow.

A notebook computes one result from another. Where the first one is missing, such as a generator
that was never trained for a network, so is everything that would be computed from it, for the same
reason, and the figure's place says it.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Missing(str):
    """Why a result is missing; the same for its attributes, and for all computed from it."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        """Return the same for the result of a method."""
        return self

    def __getitem__(self, _: object) -> Any:
        return self

    def __sub__(self, _: object) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def passes_missing(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a function return the first of its arguments, or of their values, that is missing."""

    @wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        for value in (*args, *kwargs.values()):
            if (found := _missing_in(value)) is not None:
                return found
        return function(*args, **kwargs)

    return run


def _missing_in(value: object) -> Any:
    values = value.values() if isinstance(value, Mapping) else (value,)
    return next((each for each in values if isinstance(each, Missing)), None)

"""Building blocks of all methods: hooks, optimization, backward rules, statistics."""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import (
    FileError,
    InputError,
    LabError,
    NameNotFound,
    choose,
    not_found,
    prefixed,
    printable,
)
from .missing import Missing, passes_missing

if TYPE_CHECKING:
    from . import (
        backward,
        copies,
        early_exit,
        errors,
        features,
        files,
        hooks,
        image_metrics,
        named_values,
        optimization,
        perturbations,
        receptive_field,
        regression,
        rotation,
        scratch,
        spectra,
        statistics,
        tasks,
        types,
    )
    from .allocation import keep_freed_memory
    from .grad_mode import with_gradients
    from .named_values import NamedValues, ratio
    from .types import Bool, Float, Images, Int, UInt8

__all__ = [
    "Bool", "FileError", "Float", "Images", "InputError", "Int", "LabError", "Missing",
    "NameNotFound", "NamedValues", "UInt8", "backward", "choose", "copies", "early_exit",
    "errors", "features", "files", "hooks", "image_metrics", "keep_freed_memory", "named_values",
    "not_found", "optimization", "passes_missing", "perturbations", "prefixed", "printable",
    "ratio", "receptive_field", "regression", "rotation", "scratch", "spectra", "statistics",
    "tasks", "types", "with_gradients",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a module on first use: the command line needs errors and files, and no torch."""
    if name in ("Bool", "Float", "Images", "Int", "UInt8"):
        return getattr(import_module(".types", __name__), name)
    if name == "with_gradients":
        return import_module(".grad_mode", __name__).with_gradients
    if name == "keep_freed_memory":
        return import_module(".allocation", __name__).keep_freed_memory
    if name in ("NamedValues", "ratio"):
        return getattr(import_module(".named_values", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

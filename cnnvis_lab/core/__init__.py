"""Building blocks shared by all methods: hooks, objectives, optimization, backward rules and
statistics.
"""

from . import (
    backward,
    early_exit,
    errors,
    files,
    hooks,
    image_metrics,
    optimization,
    perturbations,
    receptive_field,
    regression,
    rotation,
    spectra,
    statistics,
    types,
)
from .errors import FileError, InputError, LabError, NameNotFound, not_found
from .types import Bool, Float, Images, Int, UInt8

__all__ = [
    "Bool", "FileError", "Float", "Images", "InputError", "Int", "LabError", "NameNotFound",
    "UInt8", "backward", "early_exit", "errors", "files", "hooks", "image_metrics", "not_found",
    "optimization", "perturbations", "receptive_field", "regression", "rotation", "spectra",
    "statistics", "types",
]  # fmt: skip

"""See what convolutional networks have learned: the survey arXiv 1804.11191 as a workbench.

`import cnnvis_lab as cv` offers the packages (`cv.models`, `cv.data`, `cv.methods`, `cv.core`,
`cv.lab`) and two functions, `cv.load` of a network and `cv.begin` of a notebook's run. Each is
imported when it is first used.
"""

import os
from importlib import import_module

from .core import keep_freed_memory

__version__ = "0.1.0"
__all__ = ["begin", "core", "data", "lab", "load", "methods", "models"]

# OpenMP's threads spin while they wait. Where two processes share two cores, that makes each of
# them 20 times slower; after so few turns they sleep instead, at no cost for one process alone.
# The variable is read when torch loads, and inherited by kernels and worker processes.
_SPINNING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
if not any(name in os.environ for name in _SPINNING):
    os.environ["GOMP_SPINCOUNT"] = "2000"
keep_freed_memory()


def __getattr__(name: str) -> object:
    """Import a package, or the package of a function, on first use."""
    if name in ("load", "begin"):
        return getattr(import_module(".models" if name == "load" else ".lab", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""How the C library allocates memory: what is freed is kept and used again.

The GNU C library returns large freed blocks to the system, which must then clear every page of the
next block: a backward pass over large maps spends a quarter of its time on that.
"""

import ctypes
import os
import sys

# M_MMAP_THRESHOLD: what the library sets by itself as sizes grow, at most. M_TRIM_THRESHOLD: bytes
# kept, as many as a training step of a small network frees; with a quarter of them, it takes a
# fifth longer.
_OPTIONS = {-3: 2**25, -1: 2**28}
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> None:
    """Let this process use memory that it frees again, unless an environment variable sets that."""
    if sys.platform == "linux" and not any(name in os.environ for name in _VARIABLES):
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):  # the GNU C library
            for option, size in _OPTIONS.items():
                library.mallopt(option, size)

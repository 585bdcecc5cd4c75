"""Seeds, threads and deterministic kernels."""

import os
import random

import numpy as np
import torch

from ..core import InputError


def make_reproducible(seed: int, threads: int) -> None:
    """Seed all generators, set the number of threads, and choose deterministic kernels."""
    if threads < 1:
        raise InputError(f"THREADS = {threads}: expected at least 1")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As use_deterministic_algorithms(True, warn_only=True), without its import of the compiler.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")

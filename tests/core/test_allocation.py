"""Memory that is freed is used again, unless a user has set what the C library does with it."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [np.ones(2**20) for _ in range(3)]  # of 8 megabytes
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults()
import cnnvis_lab
faults()
print(first, faults())
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="the GNU C library only")
@pytest.mark.parametrize("setting", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}])
def test_freed_memory_is_used_again(setting):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | setting
    printed = subprocess.check_output([sys.executable, "-c", CODE], env=environment, text=True)
    before, after = map(int, printed.split())
    assert before > 10_000
    assert after > 10_000 if setting else after < 1000

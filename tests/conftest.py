"""Shape annotations are checked, threads pinned and examples repeated, in every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from support import typecheck

# The painter's own modules stay unchecked: they make a hundred tiny calls a picture.
CHECKED = (
    "core",
    "data.broden",
    "data.images",
    "data.datasets",
    "data.scenes.dataset",
    "lab",
    "methods",
    "models",
)
install_import_hook([f"cnnvis_lab.{name}" for name in CHECKED], f"{typecheck.__name__}.typechecker")

# Where several workers share the cores, each keeps to one.
if shared := "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # for processes that take two threads
torch.set_num_threads(1 if shared else 2)
settings.register_profile("repeated", derandomize=True)  # the same examples in every run
settings.load_profile("repeated")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real weights and pictures that are no part of the project; tests on them skip without."""
    if not SHARED.is_dir():
        pytest.skip(f"real weights and pictures are not at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def threads_kept() -> Iterator[None]:
    """A command that pins its own threads leaves the next test's as they were."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread(threads_kept) -> None:
    """On networks of a few numbers, threads spend their time waiting for one another."""
    torch.set_num_threads(1)

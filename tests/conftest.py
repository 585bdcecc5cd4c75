"""In every test, shapes are checked, threads are fixed and examples are repeatable."""

import os
from collections.abc import Iterator
from pathlib import Path

import cnnvis_lab  # noqa: F401  # isort: skip  # before torch: it sets how threads wait
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from support import typecheck

# The modules that draw scenes are not checked: they make a hundred small calls per image.
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

# If several workers share the cores, each uses one.
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
settings.register_profile("reproducible", derandomize=True)  # the same examples in every run
settings.load_profile("reproducible")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real weights and images outside the repository; tests that need them skip without them."""
    if not SHARED.is_dir():
        pytest.skip(f"real weights and images are not at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    """Restore the threads and end the deterministic mode, which commands set, after a test."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")  # a wider fixture may have set it before


@pytest.fixture
def one_thread(restored_threads) -> None:
    """Use one thread: on very small networks, threads only wait for each other."""
    torch.set_num_threads(1)

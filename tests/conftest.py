"""Shape annotations are checked, and threads pinned, in every test."""

from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("cnnvis_lab", "beartype.beartype").install()

torch.set_num_threads(2)

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real weights and pictures that are no part of the project; tests on them skip without."""
    if not SHARED.is_dir():
        pytest.skip(f"real weights and pictures are not at {SHARED}")
    return SHARED

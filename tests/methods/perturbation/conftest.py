"""Images for the chain of small layers."""

import pytest
from support import small_chain
from torch import Tensor


@pytest.fixture(scope="module")
def images() -> Tensor:
    return small_chain.images()

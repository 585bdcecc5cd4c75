"""Environment variables that hold for a while, for this process and those that it starts."""

import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def variable(name: str, value: str) -> Generator[None]:
    """Set an environment variable inside the block; afterwards it is as before.

    Args:
        name: of the variable.
        value: what it is set to.
    """
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ |= {name: before} if before is not None else {}

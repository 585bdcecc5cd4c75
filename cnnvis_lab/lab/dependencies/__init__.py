"""What code depends on: the statements of a package that it executes or can execute."""

from .reach import Dependencies, code_digest, find_dependencies

__all__ = ["Dependencies", "code_digest", "find_dependencies"]

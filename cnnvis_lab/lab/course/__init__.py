"""Exercises: check a reader's answers and explain what is wrong with them."""

from .answers import Result, check, images, starter
from .student import copies, write

__all__ = ["Result", "check", "copies", "images", "starter", "write"]

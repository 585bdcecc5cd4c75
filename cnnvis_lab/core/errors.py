"""Exceptions shown to users, and lookups by name whose errors suggest similar names.

Each message is one line that says what was given, what was expected and what to do.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


def printable(text: str) -> str:
    """Return a text as one line, with control characters escaped, such as \\n and \\x1b.

    A terminal obeys such characters, and file names may contain them.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class LabError(Exception):
    """Base of all errors reported to users; the command line prints the message only."""

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(LabError, ValueError):
    """A value, shape or option that cannot be used."""


class NameNotFound(LabError, LookupError):
    """A layer, network, notebook, concept or class that does not exist."""


class FileError(LabError, OSError):
    """A file or folder that is missing, damaged or of the wrong kind."""


@contextmanager
def prefixed(prefix: str, kind: type[LabError] = LabError) -> Generator[None]:
    """Put a prefix before the messages of this library's errors inside the block.

    Args:
        prefix: where the error occurred, such as "--data".
        kind: class of the error that is raised instead.

    Raises:
        LabError: of that class.
    """
    try:
        yield
    except LabError as error:
        raise kind(f"{prefix}: {error}") from None


def not_found(kind: str, given: str, known: Iterable[str]) -> NameNotFound:
    """Build the error for an unknown name, suggesting the most similar known names.

    Args:
        kind: what was looked for, in the user's words ("layer", "network", ...).
        given: the name as the user wrote it.
        known: every name that would have been accepted.

    Returns:
        The exception, to be raised by the caller.
    """
    known = list(known)
    by_lower = {name.lower(): name for name in reversed(known)}
    near = [by_lower[hit] for hit in get_close_matches(given.lower(), by_lower, n=3)]
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        hint = f"known: {listed}" if known else "none is known here"
    return NameNotFound(f"no {kind} named {given!r}; {hint}")


def choose(kind: str, given: str | T, known: Mapping[str, T]) -> T:
    """Look an object up by name; an object that is not a string is returned unchanged.

    Args:
        kind: what is looked for, in the user's words ("recipe", "backward rule", ...).
        given: a name, or an object to return unchanged.
        known: name -> object.

    Raises:
        NameNotFound: nothing has that name; the message suggests similar names.
    """
    if not isinstance(given, str):
        return given
    if given not in known:
        raise not_found(kind, given, known)
    return known[given]

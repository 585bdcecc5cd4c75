"""The exceptions users meet: one line each, saying what was given, expected, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class LabError(Exception):
    """Base of every mistake this project reports to a user; the command line prints it bare."""


class InputError(LabError, ValueError):
    """A value, shape or option that cannot be used."""


class NameNotFound(LabError, LookupError):
    """A layer, network, notebook, concept or class that does not exist; suggests the right one."""


class FileError(LabError, OSError):
    """A file or folder that is missing, damaged or of the wrong kind."""


def not_found(kind: str, given: str, known: Iterable[str]) -> NameNotFound:
    """Build the error for an unknown name, with the nearest known names.

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
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        hint = f"known: {shown}" if known else "none is known here"
    return NameNotFound(f"no {kind} named {given!r}; {hint}")

"""The table of marks: as CSV for a spreadsheet, and as a page."""

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from ...core import files
from ..gallery import html
from .hand_ins import Mark

COLUMNS = ("student", "exercise", "result", "minutes", "file")


def write_table(marks: Sequence[Mark], out: Path) -> Path:
    """Write `marks.csv` and `marks.html`.

    Args:
        marks: from `mark`, ordered by student.
        out: the folder, which is created if missing.

    Returns:
        The page.

    Raises:
        FileError: the folder cannot be written to.
    """
    students = [(name, list(rows)) for name, rows in groupby(marks, lambda one: one.student)]
    files.write_atomically(out / "marks.csv", to_csv(marks))
    files.write_atomically(out / "marks.html", html.page("marks.html", students=students))
    return out / "marks.html"


def to_csv(marks: Sequence[Mark]) -> str:
    """Return the table as CSV; texts that a spreadsheet would compute are marked as texts."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in marks:
        minutes = "" if one.minutes is None else f"{one.minutes:.2f}"
        texts = [_plain(text) for text in (one.student, one.exercise, one.result)]
        writer.writerow([*texts, minutes, _plain(one.file)])
    return buffer.getvalue()


def _plain(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text

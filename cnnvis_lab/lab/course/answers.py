"""Check answers to exercises; every check computes the correct answer itself.

Every notebook ends with exercises. Cells tagged `exercise` hold a text, a stub, or its check; cells
tagged `solution` hold an answer. Renders omit both, so that no figure depends on them;
`student` copies notebooks without the solutions.
"""

import html
import json
import os
from dataclasses import dataclass
from functools import lru_cache

from ... import data
from ...core import Images, LabError, not_found
from ...models import Model
from . import marking
from .exercises import CHECKS, GIVEN
from .marking import NotSolved

MARKS = "CNNVIS_MARKS"  # the variable that names a file for the results of checks


@dataclass(frozen=True, repr=False)
class Result:
    """The result of a check, displayed as one line.

    Attributes:
        is_correct: whether the answer is correct.
        message: what is correct, or what is wrong, with a hint.
    """

    is_correct: bool
    message: str

    def __repr__(self) -> str:
        return f"{'right' if self.is_correct else 'not yet'}: {self.message}"

    def _repr_html_(self) -> str:
        kind = ("success", "#00664b") if self.is_correct else ("error", "#a33b00")
        color = "var(--jp-{}-color1, {})".format(*kind)
        word, _, rest = repr(self).partition(":")
        return f'<b style="color: {color}">{word}</b>:{html.escape(rest)}'


def check(exercise: str, answer: object, *given: object) -> Result:
    """Check an answer; a wrong one raises no error, so that a notebook runs to its end.

    If the variable `CNNVIS_MARKS` names a file, the result is added to it as a line of JSON. Where
    nbgrader runs the notebook, a wrong answer raises an error, which gives no points.

    Args:
        exercise: the id, such as "AM-1".
        answer: numbers as a tensor, an array or a list, or a function, as the exercise asks; None
            for no answer yet.
        given: what the exercise is about, such as the network.

    Raises:
        NameNotFound: no such exercise.
        NotSolved: the answer is wrong, and nbgrader runs the notebook.
    """
    if exercise not in CHECKS:
        raise not_found("exercise", exercise, CHECKS)
    result = _result(exercise, answer, given)
    if file := os.environ.get(MARKS):
        line = {"exercise": exercise, "right": result.is_correct, "message": result.message}
        with open(file, "a", encoding="utf-8") as marks:
            marks.write(json.dumps(line) + "\n")
    if not result.is_correct and os.environ.get("NBGRADER_EXECUTION"):
        raise NotSolved(result.message)
    return result


def _result(exercise: str, answer: object, given: tuple) -> Result:
    if answer is None:
        return Result(False, "no answer yet; replace None with your answer")
    try:
        return Result(True, CHECKS[exercise](answer, *given))
    except (NotSolved, LabError) as error:
        return Result(False, marking.one_line(error))
    except (Exception, SystemExit) as error:  # of any kind: the answer can be any object
        said = marking.describe(error)
        return Result(False, f"this answer cannot be checked ({said}); hand in what is asked for")


def starter(exercise: str) -> tuple:
    """Return the data of an exercise; they are the same each time.

    Raises:
        NameNotFound: no such exercise, or one without data.
    """
    if exercise not in GIVEN:
        raise not_found("exercise with data", exercise, GIVEN)
    return GIVEN[exercise]()


def images(model: Model, count: int = 16) -> Images:
    """Return the first held-out synthetic scenes at a network's input size, (count, 3, h, w)."""
    return _images(model.card.input_size, count).to(model.device)


@lru_cache(maxsize=4)
def _images(size: int, count: int) -> Images:
    return data.open_images("", size, count).batch(range(count))

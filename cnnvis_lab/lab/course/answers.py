"""Exercises: what a reader hands in is checked, and told what is wrong with it.

Every notebook ends with some. A check works the truth out itself, from the network or from the
definition, and accepts whatever agrees with it. Cells tagged `exercise` hold a text or a stub with
its check, cells tagged `solution` an answer; renders leave both out, so that no figure depends on
them, and `student` copies notebooks without the latter.
"""

import html
from dataclasses import dataclass
from functools import lru_cache

from ... import data
from ...core import Images, LabError, not_found
from ...models import Model
from .exercises import CHECKS, GIVEN
from .marking import NotSolved


@dataclass(frozen=True, repr=False)
class Result:
    """What is said of an answer, in one line.

    Attributes:
        right: whether it is right.
        says: what is right about it, or what is wrong, with a hint.
    """

    right: bool
    says: str

    def __repr__(self) -> str:
        """Return the line."""
        return f"{'right' if self.right else 'not yet'}: {self.says}"

    def _repr_html_(self) -> str:
        kind = ("success", "#00664b") if self.right else ("error", "#a33b00")
        color = "var(--jp-{}-color1, {})".format(*kind)
        word, _, rest = repr(self).partition(":")
        return f'<b style="color: {color}">{word}</b>:{html.escape(rest)}'


def check(exercise: str, answer: object, *given: object) -> Result:
    """Check an answer; never raises for a wrong one, so that a notebook runs through.

    Args:
        exercise: its id, such as "AM-1".
        answer: what the exercise asks for: numbers as a tensor, an array or a list, or a function;
            None for nothing yet.
        given: what the exercise is about, such as the network.

    Raises:
        NameNotFound: no such exercise.
    """
    if exercise not in CHECKS:
        raise not_found("exercise", exercise, CHECKS)
    if answer is None:
        return Result(False, "nothing is handed in; put your answer in the place of None")
    try:
        return Result(True, CHECKS[exercise](answer, *given))
    except (NotSolved, LabError) as why:
        return Result(False, str(why))


def starter(exercise: str) -> tuple:
    """Return the numbers that an exercise is about, the same each time.

    Raises:
        NameNotFound: no such exercise, or one that needs none.
    """
    if exercise not in GIVEN:
        raise not_found("exercise with numbers of its own", exercise, GIVEN)
    return GIVEN[exercise]()


def images(model: Model, count: int = 16) -> Images:
    """Return the first held-out pictures of the embedded world, in the size a network takes."""
    return _images(model.card.input_size, count).to(model.device)


@lru_cache(maxsize=4)
def _images(size: int, count: int) -> Images:
    return data.open_images("", size, count).batch(range(count))

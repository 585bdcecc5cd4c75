"""A unit's life over training: its strongest picture and its concept at steps of a recorded run.

Nobody recorded the trainings of the shipped networks. But their recipes fix the first weights, so
that two moments of these lives are known: before the first step, and the end.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from .. import models
from ..core.shapes import Float
from ..data.scenes.sets import TRAIN_SEED, PictureSet
from ..models import Model
from ..models.training import Recipe, Trainer
from ..models.weights_file import fit
from .evolution_store import load
from .one_unit import Absent, Fit, Known, Part, know
from .unit_pictures import strongest

LOOKED_AT = 256  # pictures, at every step
SHOWN = 3  # of them, each unit's strongest
RULE = "guided"  # of the way back


@dataclass(frozen=True)
class Training:
    """Steps of a training at which units can be looked at.

    Attributes:
        weights: step -> the network's state; by step, rising.
        last: step that the network at hand itself stands for, behind these; None for none.
        source: what training this is, in a few words.
    """

    weights: Mapping[int, Mapping[str, Tensor]]
    last: int | None
    source: str


class Watched(NamedTuple):
    """A step, the network as it then was, and what is known of a layer of it."""

    step: int
    view: Model
    known: Known


class Moment(NamedTuple):
    """A unit at one step of a training.

    Attributes:
        step: counted from 1; 0 is before the first.
        activation: its largest, over the pictures.
        patches: (k, 3, r, c) what it sees of the pictures that excite it most then.
        projections: (k, 3, r, c) what in them excites the unit, by `RULE`.
        best: the concept it fits best then; None where there is none to compare with.
        iou: with the concept that was asked for; None likewise.
    """

    step: int
    activation: float
    patches: Float[Tensor, "k 3 r c"]
    projections: Float[Tensor, "k 3 r c"] | Absent
    best: Fit | None
    iou: float | None


def recorded(folder: str | Path) -> Training:
    """Return a training that `training_evolution.record` has recorded.

    Raises:
        FileProblem: no recording in that folder.
    """
    states = load(folder).states
    source = f"the same unit in the run recorded in {Path(folder).name}"
    return Training({state.step: state.weights for state in states}, None, source)


def begun(model: Model) -> Training | Absent:
    """Return both ends of a shipped network's training; why not, for any other network.

    Args:
        model: the network, with the weights it was shipped with.
    """
    row = models.shipped().get(model.card.name)
    if row is None or model.card.accuracy is None:
        return Absent("no training of these weights was recorded; give a recorded one")
    recipe = Recipe(**row["recipe"])
    first = Trainer(recipe, PictureSet(TRAIN_SEED, 1)).snapshot().state_dict()
    last = recipe.epochs * recipe.steps_per_epoch
    source = "before the first step and at the end; nothing was recorded between"
    return Training({0: first}, last, source)


def watch(model: Model, training: Training, known: Known) -> list[Watched]:
    """Look at all units of a layer at every step of a training.

    Args:
        model: the network at hand, of the recorded architecture.
        training: the steps. Where there are several, the first `LOOKED_AT` pictures do.
        known: of the layer, of the network at hand.

    Raises:
        InputError: the recording is of another architecture.
    """
    whole, several = known.pictures, len(training.weights) > 1
    part = Part(whole, range(min(LOOKED_AT, len(whole)))) if several else whole
    views = {step: copy.deepcopy(model) for step in training.weights}
    for step, weights in training.weights.items():
        fit(views[step].net, dict(weights), f"step {step}")
    knobs = {"top": SHOWN, "learn": False}
    watched = [Watched(n, v, know(v, known.layer, part, **knobs)) for n, v in views.items()]
    return watched + ([] if training.last is None else [Watched(training.last, model, known)])


def life(watched: Sequence[Watched], unit: int, concept: str = "") -> list[Moment]:
    """Return a unit's moments.

    Args:
        watched: its layer over the steps.
        unit: from 0.
        concept: whose IoU is followed; none where it is empty or not known.

    Raises:
        InputError: the unit is out of range.
    """
    return [_moment(one, unit, concept) for one in watched]


def _moment(one: Watched, unit: int, concept: str) -> Moment:
    top = strongest(one.view, one.known, unit, SHOWN, rules=[RULE])
    fits, back, best, iou = one.known.fits(unit, 1), top.projections, None, None
    if not isinstance(fits, Absent):
        names = [known.name for known in one.known.table.concepts]
        best = fits[0]
        iou = float(one.known.table.iou[unit, names.index(concept)]) if concept in names else None
    shown = back if isinstance(back, Absent) else back[RULE]
    return Moment(one.step, float(top.activations[0]), top.patches, shown, best, iou)

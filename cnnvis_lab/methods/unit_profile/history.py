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

from ... import models
from ...core import Float
from ...data import Subset
from ...data.scenes import TRAIN_SEED, SceneSet
from ...models import Model, weights
from ...models.training import classifier
from ..training_evolution import load
from .layer import ConceptFit, LayerAnalysis, Unavailable, analyze_layer
from .top_images import top_images

IMAGES_SCANNED = 256  # pictures, at every step
IMAGES_PER_STEP = 3  # of them, each unit's strongest
BACKWARD_RULE = "guided"  # of the way back


@dataclass(frozen=True)
class TrainingHistory:
    """Steps of a training at which units can be looked at.

    Attributes:
        weights: step -> the network's state; by step, rising.
        last: step that the network at hand itself stands for, behind these; None for none.
        source: what training this is, in a few words.
    """

    weights: Mapping[int, Mapping[str, Tensor]]
    last: int | None
    source: str


class TrackedUnits(NamedTuple):
    """A step, the network as it then was, and what is known of a layer of it."""

    step: int
    view: Model
    known: LayerAnalysis


class UnitSnapshot(NamedTuple):
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
    projections: Float[Tensor, "k 3 r c"] | Unavailable
    best: ConceptFit | None
    iou: float | None


def recorded_history(folder: str | Path) -> TrainingHistory:
    """Return a training that `training_evolution.record` has recorded.

    Raises:
        FileProblem: no recording in that folder.
    """
    states = load(folder).snapshots
    source = f"the same unit in the run recorded in {Path(folder).name}"
    return TrainingHistory({state.step: state.weights for state in states}, None, source)


def shipped_history(model: Model) -> TrainingHistory | Unavailable:
    """Return both ends of a shipped network's training; why not, for any other network.

    Args:
        model: the network, with the weights it was shipped with.
    """
    row = models.shipped().get(model.card.name)
    if row is None or model.card.accuracy is None:
        return Unavailable("no training of these weights was recorded; give a recorded one")
    recipe = classifier.ClassifierRecipe(**row["recipe"])
    first = classifier.ClassifierTrainer(recipe, SceneSet(TRAIN_SEED, 1)).snapshot().state_dict()
    last = recipe.epochs * recipe.steps_per_epoch
    source = "before the first step and at the end; nothing was recorded between"
    return TrainingHistory({0: first}, last, source)


def track(model: Model, training: TrainingHistory, known: LayerAnalysis) -> list[TrackedUnits]:
    """Look at all units of a layer at every step of a training.

    Args:
        model: the network at hand, of the recorded architecture.
        training: the steps. Where there are several, the first `LOOKED_AT` pictures do.
        known: of the layer, of the network at hand.

    Raises:
        InputError: the recording is of another architecture.
    """
    whole, several = known.pictures, len(training.weights) > 1
    part = Subset(whole, range(min(IMAGES_SCANNED, len(whole)))) if several else whole
    views = {step: copy.deepcopy(model) for step in training.weights}
    for step, parameters in training.weights.items():
        weights.load_into(views[step].net, dict(parameters), f"step {step}")
    knobs = {"top": IMAGES_PER_STEP, "learn": False}
    watched = [
        TrackedUnits(n, v, analyze_layer(v, known.layer, part, **knobs)) for n, v in views.items()
    ]
    return watched + ([] if training.last is None else [TrackedUnits(training.last, model, known)])


def unit_history(
    watched: Sequence[TrackedUnits], unit: int, concept: str = ""
) -> list[UnitSnapshot]:
    """Return a unit's moments.

    Args:
        watched: its layer over the steps.
        unit: from 0.
        concept: whose IoU is followed; none where it is empty or not known.

    Raises:
        InputError: the unit is out of range.
    """
    return [_unit_snapshot(one, unit, concept) for one in watched]


def _unit_snapshot(one: TrackedUnits, unit: int, concept: str) -> UnitSnapshot:
    top = top_images(one.view, one.known, unit, IMAGES_PER_STEP, rules=[BACKWARD_RULE])
    fits, back, best, iou = one.known.fits(unit, 1), top.projections, None, None
    if not isinstance(fits, Unavailable):
        names = [known.name for known in one.known.table.concepts]
        best = fits[0]
        iou = float(one.known.table.iou[unit, names.index(concept)]) if concept in names else None
    shown = back if isinstance(back, Unavailable) else back[BACKWARD_RULE]
    return UnitSnapshot(one.step, float(top.activations[0]), top.patches, shown, best, iou)

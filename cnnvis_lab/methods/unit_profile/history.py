"""A unit during training: its top-activating images and best concept at each available step.

The training of the shipped networks was not recorded. Their seeds determine the initial weights, so
two states are available: before the first step and after the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ... import models
from ...core import Float, copies
from ...data import Subset
from ...data.scenes import TRAIN_SEED, SceneSet
from ...models import Model, weights
from ...models.training import classifier
from .. import training_evolution
from .layer import ConceptFit, LayerAnalysis, Unavailable, analyze_layer
from .top_images import top_images

IMAGE_LIMIT = 256  # images that are processed at every step if there are several steps
IMAGES_PER_STEP = 3
BACKWARD_RULE = "guided"


@dataclass(frozen=True)
class TrainingHistory:
    """The weights of a network at steps of its training.

    Attributes:
        weights: step -> the network's state; by step, ascending.
        last_step: the step of the profiled network itself, which is after these; None if it belongs
            to another training.
        source: origin of the weights, in a few words.
    """

    weights: Mapping[int, Mapping[str, Tensor]]
    last_step: int | None
    source: str


class TrackedUnits(NamedTuple):
    """All units of a layer at one step of a training.

    Attributes:
        step: counted from 1; 0 is before the first step.
        model: the network at that step.
        analysis: analysis of the layer at that step.
    """

    step: int
    model: Model
    analysis: LayerAnalysis


class UnitSnapshot(NamedTuple):
    """A unit at one step of a training.

    Attributes:
        step: counted from 1; 0 is before the first step.
        activation: maximum activation over the images.
        patches: (k, 3, r, c) receptive fields in the unit's top-activating images at that step.
        projections: (k, 3, r, c) projections of these activations, by `BACKWARD_RULE`.
        best: the unit's best concept at that step; None without labels.
        iou: IoU with the tracked concept; None without labels.
    """

    step: int
    activation: float
    patches: Float[Tensor, "k channels r c"]
    projections: Float[Tensor, "k _ r c"] | Unavailable
    best: ConceptFit | None
    iou: float | None


def recorded_history(folder: str | Path) -> TrainingHistory:
    """Return the history of a training recorded by `training_evolution.record`.

    Raises:
        FileError: the folder contains no recording.
    """
    snapshots = training_evolution.load(folder).snapshots
    source = f"the same unit in the run recorded in {Path(folder).name}"
    return TrainingHistory({one.step: one.weights for one in snapshots}, None, source)


def shipped_history(model: Model) -> TrainingHistory | Unavailable:
    """Return the start and the end of a shipped network's training.

    Args:
        model: the network with its shipped weights; for any other network the result is
            `Unavailable`.
    """
    row = models.shipped().get(model.card.name)
    if row is None or model.card.accuracy is None:
        return Unavailable("no training of these weights was recorded; give a recorded one")
    recipe = classifier.ClassifierRecipe(**row["recipe"])
    trainer = classifier.ClassifierTrainer(recipe, SceneSet(TRAIN_SEED, 1))
    last_step = recipe.epochs * recipe.steps_per_epoch
    source = "before the first step and at the end; nothing was recorded between"
    return TrainingHistory({0: trainer.snapshot().state_dict()}, last_step, source)


def track(model: Model, history: TrainingHistory, analysis: LayerAnalysis) -> list[TrackedUnits]:
    """Analyze a layer at every step of a training.

    Args:
        model: the profiled network, of the recorded architecture.
        history: weights at the steps. If there are several, only the first `IMAGE_LIMIT` images are
            used.
        analysis: analysis of the layer in the profiled network.

    Raises:
        InputError: the recording is of another architecture.
    """
    images = analysis.images
    if len(history.weights) > 1:
        images = Subset(images, range(min(IMAGE_LIMIT, len(images))))
    tracked = []
    for step, state in history.weights.items():
        past = copies.copy_network(model)
        weights.load_into(past.net, dict(state), f"step {step}")
        past_analysis = analyze_layer(
            past, analysis.layer, images, top=IMAGES_PER_STEP, learn_vectors=False
        )
        tracked.append(TrackedUnits(step, past, past_analysis))
    if history.last_step is not None:
        tracked.append(TrackedUnits(history.last_step, model, analysis))
    return tracked


def unit_history(
    tracked: Sequence[TrackedUnits], unit: int, concept: str = ""
) -> list[UnitSnapshot]:
    """Return a unit at every step of a training.

    Args:
        tracked: the unit's layer at these steps.
        unit: index of the unit.
        concept: name of the concept whose IoU is tracked; for "" or an unknown name, `iou` is None.

    Raises:
        InputError: the unit is out of range.
    """
    return [_unit_snapshot(one, unit, concept) for one in tracked]


def _unit_snapshot(tracked: TrackedUnits, unit: int, concept: str) -> UnitSnapshot:
    analysis, iou = tracked.analysis, None
    best = analysis.best_concepts(unit, 1)
    top = top_images(tracked.model, analysis, unit, IMAGES_PER_STEP, rules=[BACKWARD_RULE])
    projections = top.projections
    if not isinstance(projections, Unavailable):
        projections = projections[BACKWARD_RULE]
    if not isinstance(analysis.table, Unavailable):
        names = [one.name for one in analysis.table.concepts]
        iou = float(analysis.table.iou[unit, names.index(concept)]) if concept in names else None
    return UnitSnapshot(
        step=tracked.step,
        activation=float(top.activations[0]),
        patches=top.patches,
        projections=projections,
        best=None if isinstance(best, Unavailable) else best[0],
        iou=iou,
    )

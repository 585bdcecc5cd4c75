"""How training conditions change which concepts units detect (Bau et al. 2017, 3.5 and 3.6).

Compared are random initializations, single changes of the training, and steps of one training.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from ... import models
from ...core import InputError
from ...data.scenes import SceneSet
from ...models import Model
from ...models.training import classifier
from .analysis import relative_range
from .conventions import Convention
from .dissect import dissect
from .plan import LabelledData
from .table import LayerTable


def training_conditions(name: str) -> list[str]:
    """Return the shipped variants of network `name`, with other initializations or trainings."""
    order = list(classifier.RECIPES)
    variants = [other for other in models.shipped() if other.startswith(f"{name}_")]
    return sorted(variants, key=lambda one: order.index(one) if one in order else len(order))


class TrainingComparison(NamedTuple):
    """Comparison of trainings of one architecture; None where the required networks are missing.

    Networks with one change are compared with the mean over all initializations.

    Attributes:
        starts: the number of concepts for each initialization.
        relative_range: (maximum - minimum) / mean of these numbers.
        no_dropout: increase without dropout of the number of texture concepts, minus that of object
            concepts.
        batch_norm: number of concepts with batch normalization, relative to that without.
        half_width: number of concepts at half the width, relative to that at full width.
    """

    starts: list[int]
    relative_range: float | None
    no_dropout: float | None
    batch_norm: float | None
    half_width: float | None


def compare_trainings(name: str, counts: Mapping[str, Mapping[str, int]]) -> TrainingComparison:
    """Compare a network with variants that were trained differently.

    Args:
        name: the network.
        counts: network -> category -> number of different concepts; variants are called `name` and
            a suffix: repeat0, repeat1, ..., no_dropout, batch_norm, half_width. Without repeats,
            `name` itself is the only initialization.

    Source: Bau et al. 2017, sections 3.5 and 3.6.
    """
    repeats = [count for other, count in counts.items() if other.startswith(f"{name}_repeat")]
    baselines = repeats or [counts[name]]
    mean = {kind: sum(count[kind] for count in baselines) / len(baselines) for kind in counts[name]}
    total, starts = sum(mean.values()), [sum(count.values()) for count in baselines]
    ratio = {
        variant: sum(counts[f"{name}_{variant}"].values()) / total
        for variant in ("batch_norm", "half_width")
        if total and f"{name}_{variant}" in counts
    }
    change = None
    if without := counts.get(f"{name}_no_dropout"):
        gain = {kind: without[kind] - mean[kind] for kind in mean}
        change = gain.get("texture", 0) - gain.get("object", 0)
    return TrainingComparison(
        starts,
        relative_range(starts),
        change,
        ratio.get("batch_norm"),
        ratio.get("half_width"),
    )


def during_training(
    model: Model,
    recipe: classifier.ClassifierRecipe,
    data: LabelledData,
    layer: str,
    steps: Sequence[int],
    *,
    train_data: SceneSet | None = None,
    convention: str | Convention = "original",
    min_images: int = 1,
) -> dict[int, LayerTable]:
    """Train a network from scratch and dissect one of its layers at some steps.

    Dissection does not affect the training.

    Args:
        model: a loaded network of the recipe's architecture; its weights are overwritten.
        recipe: training recipe.
        data: images with label maps, to dissect with.
        layer: the layer.
        steps: training steps at which to dissect, from 1; 0 is the untrained network.
        train_data: the training images; None for those of the recipe.
        convention: see `dissect`.
        min_images: see `dissect`.

    Returns:
        Step -> table, by increasing step.

    Raises:
        InputError: steps outside the training.

    Source: Bau et al. 2017, section 3.5, figure 9 (concepts over training iterations).
    """
    last = recipe.epochs * recipe.steps_per_epoch
    if not steps or not 0 <= min(steps) <= max(steps) <= last:
        raise InputError(f"steps {list(steps)}: expected some from 0 to {last}, the last step")
    trainer, tables = classifier.ClassifierTrainer(recipe, train_data), {}
    losses = (loss for _ in range(recipe.epochs) for loss in trainer.epoch_losses())
    for step in range(max(steps) + 1):
        if step:
            next(losses)
        if step in steps:
            with torch.random.fork_rng():  # the global generator belongs to the training
                model.net.load_state_dict(trainer.snapshot().state_dict())
                result = dissect(model, data, [layer], convention=convention, min_images=min_images)
                tables[step] = result[layer]
    losses.close()
    return tables

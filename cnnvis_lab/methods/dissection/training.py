"""What the way a network was trained makes of the concepts its units detect.

Other starts, one thing trained otherwise, and how concepts come about step by step (Bau et al.
2017, sections 3.5 and 3.6).
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
from .dissect import dissect
from .table import LayerTable


def training_conditions(name: str) -> list[str]:
    """Return the shipped networks trained as `name` from several starts, or otherwise; in order."""
    order = list(classifier.RECIPES)
    beside = [other for other in models.shipped() if other.startswith(f"{name}_")]
    return sorted(beside, key=lambda one: order.index(one) if one in order else len(order))


class TrainingComparison(NamedTuple):
    """Trainings of one architecture compared; None where the networks for it are not at hand.

    What is trained otherwise in one thing is set against the mean over all starts.

    Attributes:
        starts: the number of concepts from each start.
        spread: largest less smallest of these, over their mean.
        no_dropout: textures gained and objects lost without dropout, in concepts.
        batch_norm: concepts with batch normalisation, over those without.
        half_width: concepts at half the width, over those at full.
    """

    starts: list[int]
    spread: float | None
    no_dropout: float | None
    batch_norm: float | None
    half_width: float | None


def compare_trainings(name: str, counts: Mapping[str, Mapping[str, int]]) -> TrainingComparison:
    """Compare a network with those trained otherwise.

    Args:
        name: the network.
        counts: network -> category -> the number of its different concepts; conditions go by
            `name` and an ending: repeat0, repeat1, ..., no_dropout, batch_norm, half_width.
            Without repeats `name` itself is the only start.

    Source: Bau et al. 2017, sections 3.5 and 3.6.
    """
    alike = [own for other, own in counts.items() if other.startswith(f"{name}_repeat")]
    from_starts = alike or [counts[name]]
    mean = {kind: sum(own[kind] for own in from_starts) / len(from_starts) for kind in counts[name]}
    whole, starts = sum(mean.values()), [sum(own.values()) for own in from_starts]
    share = {
        what: sum(counts[f"{name}_{what}"].values()) / whole
        for what in ("batch_norm", "half_width")
        if whole and f"{name}_{what}" in counts
    }
    without = counts.get(f"{name}_no_dropout")
    more = without and {kind: without[kind] - mean[kind] for kind in mean}
    return TrainingComparison(
        starts,
        relative_range(starts),
        more and more.get("texture", 0) - more.get("object", 0),
        share.get("batch_norm"),
        share.get("half_width"),
    )


def during_training(
    view: Model,
    recipe: classifier.ClassifierRecipe,
    data: object,
    layer: str,
    at: Sequence[int],
    *,
    taught: SceneSet | None = None,
    **knobs: object,
) -> dict[int, LayerTable]:
    """Train a network anew and dissect one of its layers on the way.

    The training goes on as if nobody had looked.

    Args:
        view: a loaded network of the recipe's architecture to look through; its weights are
            overwritten.
        recipe: how to train.
        data: pictures with label maps, to dissect with.
        layer: the layer.
        at: the steps to look at, 1 for the first; 0 is the network before it.
        taught: the pictures to learn from; those of the recipe by default.
        knobs: as for `dissect`.

    Returns:
        Step -> what was found, by rising step.

    Raises:
        InputError: steps that the training does not come to.

    Source: Bau et al. 2017, section 3.5, figure 9 (concepts over training iterations).
    """
    last = recipe.epochs * recipe.steps_per_epoch
    if not at or not 0 <= min(at) <= max(at) <= last:
        raise InputError(f"steps {list(at)}: expected some from 0 to {last}, the training's last")
    trainer, found = classifier.ClassifierTrainer(recipe, taught), {}
    losses = (loss for _ in range(recipe.epochs) for loss in trainer.epoch_losses())
    for step in range(max(at) + 1):
        if step:
            next(losses)
        if step in at:
            with torch.random.fork_rng():  # the global random stream belongs to the training
                view.net.load_state_dict(trainer.snapshot().state_dict())
                found[step] = dissect(view, data, [layer], **knobs)[layer]
    losses.close()
    return found

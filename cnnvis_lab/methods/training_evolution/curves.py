"""Curves over the steps of a recorded training, and a recommendation drawn from them.

The curves show whether the top-activating images of units still change, whether feature maps die,
when concepts are detected and, with `similarity`, whether layers have converged. The survey,
section 4, uses such observations to decide whether a training is finished, too short, or failing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int
from ...models import Model
from .similarity import check_reference, similarity
from .store import Evolution


def step_reaching(
    steps: Sequence[int], curves: Float[Tensor, "steps layers"], level: float = 0.9
) -> Float[Tensor, " layers"]:
    """Return the step at which each curve first reaches a level, or the last step.

    Args:
        steps: steps of the curves, ascending; curves are interpolated linearly between them.
        curves: curves such as those of `similarity`.
        level: value to reach.
    """
    at = torch.tensor(list(steps)).float()
    reached = curves >= level
    reached[-1] = True
    after = reached.int().argmax(0)
    before = (after - 1).clamp(min=0)
    low, high = (curves.gather(0, row[None])[0] for row in (before, after))
    fraction = ((level - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return at[before] + fraction * (at[after] - at[before])


def top_image_changes(
    evolution: Evolution, *, reference: str = "previous"
) -> Float[Tensor, "steps layers"]:
    """Return the fraction of each layer's units whose top-activating image differs.

    Args:
        evolution: the recording.
        reference: "previous" compares each recorded step, from the second on, with the one before
            it; "final" compares each step with the last one.

    Source: Zeiler and Fergus 2013, figure 4 (sudden jumps are changes of the top-activating image).
    """
    check_reference(reference)
    fractions = []
    for layer in evolution.layers:
        images = torch.stack([one.maxima[layer].images for one in evolution.snapshots])
        pair = (images[1:], images[:-1]) if reference == "previous" else (images, images[-1:])
        fractions.append((pair[0] != pair[1]).float().mean(1))
    return torch.stack(fractions, 1)


def dead_fraction(evolution: Evolution) -> Float[Tensor, "steps layers"]:
    """Return the fraction of each layer's units that are active on no image of the dataset."""
    fractions = []
    for layer in evolution.layers:
        maxima = torch.stack([one.maxima[layer].values for one in evolution.snapshots])
        fractions.append((maxima <= 0).float().mean(1))
    return torch.stack(fractions, 1)


def projection_rms(evolution: Evolution) -> Float[Tensor, "steps layers"]:
    """Return the root mean square of each layer's projections; omit layers without projections."""
    rows = []
    for snapshot in evolution.snapshots:
        tops = [snapshot.projections.get(layer) for layer in evolution.layers]
        rows.append([float(top.projections.square().mean().sqrt()) for top in tops if top])
    return torch.tensor(rows)


def detected_concepts(
    evolution: Evolution, layer: str, min_iou: float
) -> Int[Tensor, "steps units"]:
    """Return the number of the concept that each unit detects at each step; 0 for none.

    Args:
        evolution: the recording, with detectors.
        layer: a recorded layer.
        min_iou: IoU from which a unit counts as a detector.

    Raises:
        InputError: no detectors were recorded.
    """
    if not evolution.labels:
        raise InputError("no detectors were recorded; give record a dataset with labelled=")
    best = [snapshot.concepts[layer] for snapshot in evolution.snapshots]
    return torch.stack([concepts.labels * (concepts.iou >= min_iou) for concepts in best])


def detector_counts(
    evolution: Evolution, layers: Sequence[str] | None = None, *, min_iou: float = 0.04
) -> dict[str, Int[Tensor, " steps"]]:
    """Count the distinct concepts that have a detector, by category, at every step.

    Args:
        evolution: the recording, with detectors.
        layers: layers to count in; None for all. Concepts are counted once per layer.
        min_iou: IoU from which a unit counts as a detector. If concepts are few and large, units
            reach the paper's 0.04 by chance; the IoU of the untrained network then indicates a
            better value.

    Raises:
        InputError: no detectors were recorded.

    Source: Bau et al. 2017 (detectors during training).
    """
    by_layer = [detected_concepts(evolution, name, min_iou) for name in layers or evolution.layers]
    categories = dict.fromkeys(label.category for label in evolution.labels.values())
    counts = {name: torch.zeros(len(evolution.snapshots), dtype=torch.int64) for name in categories}
    for row in range(len(evolution.snapshots)):
        for detected in by_layer:
            for number in set(detected[row].tolist()) - {0}:
                counts[evolution.labels[number].category][row] += 1
    return counts


def category_switches(
    evolution: Evolution, before: str, after: str, *, min_iou: float = 0.04
) -> float:
    """Return the fraction of a category's detectors that later detect another category.

    Args:
        evolution: the recording, with detectors.
        before: category that units detect at some step.
        after: category that they detect at a later step.
        min_iou: IoU from which a unit counts as a detector.

    Returns:
        A fraction of all units that ever detect `before`; 0 if there are none.

    Raises:
        InputError: no detectors were recorded.

    Source: Bau et al. 2017 (units rarely switch from textures to objects).
    """
    detectors, switched = 0, 0
    for layer in evolution.layers:
        concepts = detected_concepts(evolution, layer, min_iou)
        is_before, is_after = (_in_category(evolution, concepts, name) for name in (before, after))
        was_before = is_before.cummax(0).values
        detectors += int(was_before[-1].sum())
        switched += int((was_before * is_after).amax(0).sum())
    return switched / max(detectors, 1)


def _in_category(evolution: Evolution, concepts: Tensor, category: str) -> Tensor:
    """Return 1 where a concept is of the category, else 0."""
    members = [n for n, label in evolution.labels.items() if label.category == category]
    return torch.isin(concepts, torch.tensor(members, dtype=torch.int64)).int()


class Recommendation(NamedTuple):
    """Whether to continue a training.

    Attributes:
        action: "continue", "stop", or "restart" with other settings.
        reason: the reason in a few words.
    """

    action: str
    reason: str


def recommend(
    accuracy: Float[Tensor, " steps"],
    similarity_to_previous: Float[Tensor, "later layers"],
    dead: Float[Tensor, "steps layers"],
    *,
    min_increase: float = 0.01,
    settled_similarity: float = 0.98,
    patience: int = 2,
    dead_limit: float = 0.5,
) -> Recommendation:
    """Recommend from the curves so far whether to continue a training.

    Args:
        accuracy: accuracy on held-out images, at each recorded step.
        similarity_to_previous: similarity of each layer to the previous recorded step, from the
            second step on.
        dead: fraction of dead feature maps of each layer, at each recorded step.
        min_increase: increase in accuracy that justifies continuing.
        settled_similarity: similarity from which a layer counts as converged.
        patience: number of recorded steps after which to stop, if the accuracy has not increased
            that much and all layers have converged.
        dead_limit: fraction of dead maps in any layer from which the learning rate counts as too
            high.

    Returns:
        "restart" if too many maps are dead, "stop" if nothing changes any more, else "continue".
    """
    most_dead = float(dead[-1].max())
    if most_dead >= dead_limit:
        reason = f"{most_dead:.0%} of a layer's maps are dead; take smaller steps"
        return Recommendation("restart", reason)
    if len(accuracy) <= patience:
        return Recommendation("continue", "too few steps to judge")
    increase = float(accuracy[-patience:].max() - accuracy[:-patience].max())
    if increase >= min_increase:
        return Recommendation("continue", f"accuracy rose by {increase:.3f}")
    least = float(similarity_to_previous[-patience:].min())
    if least < settled_similarity:
        return Recommendation("continue", f"a layer still changes, similarity {least:.2f}")
    return Recommendation("stop", "neither accuracy nor any layer changes")


def recommendations(view: Model, evolution: Evolution, images: Images) -> dict[int, Recommendation]:
    """Return the recommendation at each step of a recorded training, given the steps so far.

    Args:
        view: a network of the recorded architecture; its weights are overwritten.
        evolution: the recording, with the metric "accuracy".
        images: (n, 3, h, w) fixed images in [0, 1], on which activations are compared.

    Raises:
        InputError: the accuracy was not recorded.
    """
    accuracy, dead = evolution.metric("accuracy"), dead_fraction(evolution)
    alike = similarity(view, evolution, images, reference="previous").cka
    return {
        step: recommend(accuracy[: i + 1], alike[:i], dead[: i + 1])
        for i, step in enumerate(evolution.steps)
    }

"""Curves over the steps of a recorded training.

They show whether the top-activating images of units still change, whether feature maps die, how
strong projections are, and when concepts are detected.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...core import Float, InputError, Int
from .similarity import check_reference, step_reaching
from .store import Evolution


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

    Returns:
        Category -> counts; empty if no detectors were recorded.

    Source: Bau et al. 2017 (detectors during training).
    """
    if not evolution.labels:
        return {}
    by_layer = [detected_concepts(evolution, name, min_iou) for name in layers or evolution.layers]
    categories = dict.fromkeys(label.category for label in evolution.labels.values())
    counts = {name: torch.zeros(len(evolution.snapshots), dtype=torch.int64) for name in categories}
    for row in range(len(evolution.snapshots)):
        for detected in by_layer:
            for number in set(detected[row].tolist()) - {0}:
                counts[evolution.labels[number].category][row] += 1
    return counts


def detection_delay(
    steps: Sequence[int],
    counts: Mapping[str, Int[Tensor, " steps"]],
    categories: Sequence[str],
    reference: Sequence[str],
) -> float | None:
    """Return how much later some categories are detected than others, as a fraction of the run.

    Args:
        steps: the recorded steps.
        counts: category -> number of detected concepts, from `detector_counts`.
        categories: their time of detection, until half of their final number of concepts is
            detected, ...
        reference: ... minus that of these categories is returned.

    Returns:
        The difference, negative if `categories` are detected first; None if no concept of one of
        the groups is detected at the end.
    """
    times = []
    for group in (categories, reference):
        total = sum((counts[name] for name in group if name in counts), torch.zeros(len(steps)))
        if not total[-1]:
            return None
        half = step_reaching(steps, (total / total[-1])[:, None], 0.5)
        times.append(half.item() / steps[-1])
    return times[0] - times[1]


def category_switches(
    evolution: Evolution, before: str, after: str, *, min_iou: float = 0.04
) -> float | None:
    """Return the fraction of a category's detectors that later detect another category.

    Args:
        evolution: the recording, with detectors.
        before: category that units detect at some step.
        after: category that they detect at a later step.
        min_iou: IoU from which a unit counts as a detector.

    Returns:
        A fraction of all units that ever detect `before`; None if there are none.

    Source: Bau et al. 2017 (units rarely switch from textures to objects).
    """
    detectors, switched = 0, 0
    for layer in evolution.layers if evolution.labels else ():
        concepts = detected_concepts(evolution, layer, min_iou)
        is_before, is_after = (_in_category(evolution, concepts, name) for name in (before, after))
        was_before = is_before.cummax(0).values
        detectors += int(was_before[-1].sum())
        switched += int((was_before * is_after).amax(0).sum())
    return switched / detectors if detectors else None


def _in_category(evolution: Evolution, concepts: Tensor, category: str) -> Tensor:
    """Return 1 where a concept is of the category, else 0."""
    members = [n for n, label in evolution.labels.items() if label.category == category]
    return torch.isin(concepts, torch.tensor(members, dtype=torch.int64)).int()


def slowdown(changes: Float[Tensor, "later layers"]) -> float | None:
    """Return how much less often top-activating images change at last than two steps before.

    Args:
        changes: fraction of units whose image changed, at each recorded step after the first.

    Returns:
        The mean over layers at the last step but one, minus that two steps before; None if fewer
        than five steps were recorded.
    """
    return (changes[-2].mean() - changes[-4].mean()).item() if len(changes) > 3 else None

"""What a recorded training shows as curves over its steps, and what they advise.

Do units still change what they answer to; do the first kernels stay noisy; do maps die; which
concepts come when; do layers settle (`evolution_similarity`). Survey, section 4: watching a
training tells whether it is over, too short, or goes wrong.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int, image_metrics
from ...models import Model
from .similarity import check_reference, similarity
from .store import Evolution


def step_reaching(
    steps: Sequence[int], curves: Float[Tensor, "steps layers"], level: float = 0.9
) -> Float[Tensor, " layers"]:
    """Return the step at which each curve first reaches a level, or the last one.

    Args:
        steps: of the curves, rising; between two of them a curve counts as straight.
        curves: such as those of `similarity`.
        level: to reach.
    """
    at = torch.tensor(list(steps)).float()
    reached = curves >= level
    reached[-1] = True
    after = reached.int().argmax(0)
    before = (after - 1).clamp(min=0)
    low, high = (curves.gather(0, row[None])[0] for row in (before, after))
    share = ((level - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return at[before] + share * (at[after] - at[before])


def top_image_changes(
    evolution: Evolution, *, reference: str = "previous"
) -> Float[Tensor, "steps layers"]:
    """Return the share of each layer's units whose strongest picture is another than before.

    Args:
        evolution: the recording.
        reference: "previous", from the second step on; or "final", other than at the end.

    Source: Zeiler and Fergus 2013, figure 4 (sudden jumps are changes of the strongest picture).
    """
    check_reference(reference)
    shares = []
    for layer in evolution.layers:
        now = torch.stack([state.strongest[layer].images for state in evolution.snapshots])
        pair = (now[1:], now[:-1]) if reference == "previous" else (now, now[-1:])
        shares.append((pair[0] != pair[1]).float().mean(1))
    return torch.stack(shares, 1)


def dead_fraction(evolution: Evolution) -> Float[Tensor, "steps layers"]:
    """Return the share of each layer's maps that fire on no picture of the data set."""
    shares = []
    for layer in evolution.layers:
        strongest = torch.stack([state.strongest[layer].values for state in evolution.snapshots])
        shares.append((strongest <= 0).float().mean(1))
    return torch.stack(shares, 1)


def projection_rms(evolution: Evolution) -> Float[Tensor, "steps layers"]:
    """Return the root mean square of each layer's projections; layers without any are left out."""
    rows = []
    for state in evolution.snapshots:
        drawn = [state.projections[n] for n in evolution.layers if n in state.projections]
        rows.append([float(shown.projections.square().mean().sqrt()) for shown in drawn])
    return torch.tensor(rows)


def kernel_noise(evolution: Evolution) -> Float[Tensor, "steps units"]:
    """Return each first-layer kernel's share of energy in high frequencies; white noise has 0.8."""
    return torch.stack(
        [image_metrics.high_frequency_fraction(state.kernels) for state in evolution.snapshots]
    )


def detected_concepts(
    evolution: Evolution, layer: str, min_iou: float
) -> Int[Tensor, "steps units"]:
    """Return the number of the concept each unit of a layer detects at each step, 0 for none.

    Raises:
        InputError: no detectors were looked for.
    """
    if not evolution.labels:
        raise InputError("no detectors were looked for; give record a data set with labelled=")
    best = [state.concepts[layer] for state in evolution.snapshots]
    return torch.stack([found.numbers * (found.iou >= min_iou) for found in best])


def detector_counts(
    evolution: Evolution, layers: Sequence[str] | None = None, *, min_iou: float = 0.04
) -> dict[str, Int[Tensor, " steps"]]:
    """Count the distinct concepts that have a detector, by category, at every step.

    Args:
        evolution: the recording, with label maps.
        layers: each layer's concepts count once; by default all.
        min_iou: from where on a unit is a detector. Where concepts are large and few, chance
            reaches the paper's 0.04; the untrained network then tells a fair one.

    Raises:
        InputError: no detectors were looked for.

    Source: Bau et al. 2017 (detectors while training).
    """
    found = [detected_concepts(evolution, layer, min_iou) for layer in layers or evolution.layers]
    kinds = dict.fromkeys(label.category for label in evolution.labels.values())
    counts = {kind: torch.zeros(len(evolution.snapshots), dtype=torch.int64) for kind in kinds}
    for row in range(len(evolution.snapshots)):
        for numbers in found:
            for number in set(numbers[row].tolist()) - {0}:
                counts[evolution.labels[number].category][row] += 1
    return counts


def category_switches(
    evolution: Evolution, before: str, after: str, *, min_iou: float = 0.04
) -> float:
    """Return the share of a category's detectors that later detect another category.

    Args:
        evolution: the recording, with label maps.
        before: category that units detect at some step.
        after: category that they detect at a later one.
        min_iou: from where on a unit is a detector.

    Returns:
        Share of all units that ever detect `before`; 0 where there is none.

    Source: Bau et al. 2017 (units hardly move from textures to objects).
    """
    ever, left = 0, 0
    for layer in evolution.layers:
        path = detected_concepts(evolution, layer, min_iou)
        is_before, is_after = (_in_category(evolution, path, kind) for kind in (before, after))
        seen = is_before.cummax(0).values
        ever += int(seen[-1].sum())
        left += int((seen * is_after).amax(0).sum())
    return left / max(ever, 1)


def _in_category(evolution: Evolution, numbers: Tensor, category: str) -> Tensor:
    """1 where a concept is of the category, else 0."""
    alike = [n for n, label in evolution.labels.items() if label.category == category]
    return torch.isin(numbers, torch.tensor(alike, dtype=torch.int64)).int()


class Recommendation(NamedTuple):
    """Whether to go on with a training.

    Attributes:
        verdict: "go on", "stop", or "begin anew" with other settings.
        why: in a few words.
    """

    verdict: str
    why: str


def recommend(
    accuracy: Float[Tensor, " steps"],
    alike: Float[Tensor, "later layers"],
    dead: Float[Tensor, "steps layers"],
    *,
    gain: float = 0.01,
    still: float = 0.98,
    patience: int = 2,
    killed: float = 0.5,
) -> Recommendation:
    """Advise from the curves up to now whether to stop.

    Args:
        accuracy: on held-out pictures, at each recorded step.
        alike: similarity of each layer to the recorded step before, from the second on.
        dead: share of dead maps.
        gain: a rise of accuracy worth going on for.
        still: similarity from which a layer counts as settled.
        patience: recorded steps without such a rise, and with all layers settled, that suffice.
        killed: share of dead maps in some layer from which steps were too large.

    Returns:
        "begin anew" where maps have died, "stop" where nothing changes any more, else "go on".
    """
    worst = float(dead[-1].max())
    if worst >= killed:
        return Recommendation(
            "begin anew", f"{worst:.0%} of a layer's maps are dead; take smaller steps"
        )
    if len(accuracy) <= patience:
        return Recommendation("go on", "too few steps to tell")
    rise = float(accuracy[-patience:].max() - accuracy[:-patience].max())
    if rise >= gain:
        return Recommendation("go on", f"accuracy rose by {rise:.3f}")
    least = float(alike[-patience:].min())
    if least < still:
        return Recommendation("go on", f"a layer still changes, {least:.2f} alike")
    return Recommendation("stop", "neither accuracy nor any layer changes")


def recommendations(view: Model, evolution: Evolution, images: Images) -> dict[int, Recommendation]:
    """Return what the advice was at each step of a recorded training.

    Args:
        view: a network of the recorded architecture; its weights are overwritten.
        evolution: the recording; "accuracy" was measured.
        images: (n, 3, h, w) fixed pictures in [0, 1].
    """
    alike = similarity(view, evolution, images, reference="previous").cka
    accuracy, dying = evolution.number("accuracy"), dead_fraction(evolution)
    return {
        step: recommend(accuracy[: i + 1], alike[:i], dying[: i + 1])
        for i, step in enumerate(evolution.steps)
    }

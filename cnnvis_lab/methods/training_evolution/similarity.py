"""Similarity of a layer's activations between two training steps: linear CKA and unit correlation.

Similarity is computed afterwards, from the recorded weights. A layer that has converged is similar
to its final state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Float, Images, hooks, not_found
from ...core.statistics import flatten_positions
from ...models import Model
from .store import Evolution, restore

REFERENCES = ("final", "previous")


@dataclass(frozen=True)
class Similarity:
    """Similarity of layers' activations on fixed images between two training steps.

    Attributes:
        layers: names of the layers.
        steps: the recorded steps; from the second on if the reference is the previous step.
        cka: (steps, layers) linear CKA, 0 to 1, invariant to rotations of a layer's space.
        correlation: (steps, layers) mean over units of the correlation of each unit with itself at
            the other step, -1 to 1; units with constant activations count as 0.
    """

    layers: tuple[str, ...]
    steps: list[int]
    cka: Float[Tensor, "steps layers"]
    correlation: Float[Tensor, "steps layers"]

    def convergence(self, measure: str = "cka", level: float = 0.9) -> Float[Tensor, " layers"]:
        """Return the fraction of the run after which each layer first reaches a similarity.

        Args:
            measure: "cka" or "correlation".
            level: the similarity.

        Raises:
            NameNotFound: no such measure.
        """
        measures = {"cka": self.cka, "correlation": self.correlation}
        if measure not in measures:
            raise not_found("measure", measure, measures)
        return step_reaching(self.steps, measures[measure], level) / self.steps[-1]


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


def similarity(
    view: Model,
    evolution: Evolution,
    images: Images,
    layers: Sequence[str] | None = None,
    *,
    reference: str = "final",
) -> Similarity:
    """Compare activations at every recorded step with those at the final or the previous one.

    Every position of every image counts as one example, so that there are many more examples than
    units; with few examples, CKA would be high for any two networks.

    Args:
        view: a network of the recorded architecture; its weights are overwritten.
        evolution: the recording.
        images: (n, 3, h, w) fixed images in [0, 1].
        layers: dotted names or aliases; None for the recorded layers.
        reference: "final" or "previous".

    Raises:
        NameNotFound: no such layer or reference.
        InputError: the network is of another architecture.

    Source: Kornblith et al. 2019 (linear CKA); Raghu et al. 2017 (layers converge from the first to
    the last).
    """
    check_reference(reference)
    names = tuple(layers or evolution.layers)
    images, snapshots, rows = images.to(view.device), evolution.snapshots, []
    other = _activations(restore(view, snapshots[-1]), images, names)
    for snapshot in snapshots:
        current = _activations(restore(view, snapshot), images, names)
        for layer in names:
            pair = current[layer], other[layer]
            rows.append([linear_cka(*pair), float(unit_correlation(*pair).mean())])
        other = current if reference == "previous" else other
    first = int(reference == "previous")  # the first step has no previous one
    cka, correlation = torch.tensor(rows).view(len(snapshots), len(names), 2)[first:].unbind(2)
    return Similarity(names, evolution.steps[first:], cka, correlation)


@torch.no_grad()
def _activations(model: Model, images: Images, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return layer -> activations (examples, units)."""
    outputs = hooks.activations(model, images, layers)
    return {
        layer: flatten_positions(outputs[layer]).transpose(1, 2).flatten(0, 1) for layer in layers
    }


def linear_cka(first: Float[Tensor, "n p"], second: Float[Tensor, "n q"]) -> float:
    """Return the linear CKA of two representations of the same n examples, 0 to 1.

    It is invariant to rotation and scaling of either representation (Kornblith et al. 2019).
    """
    a, b = (part - part.mean(0) for part in (first, second))
    norms = (a.mT @ a).norm() * (b.mT @ b).norm()
    return float((b.mT @ a).square().sum() / norms.clamp(min=1e-30))


def unit_correlation(
    first: Float[Tensor, "n units"], second: Float[Tensor, "n units"]
) -> Float[Tensor, " units"]:
    """Return each unit's correlation between two steps over n examples; 0 if it is constant."""
    a, b = (part - part.mean(0) for part in (first, second))
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp(min=1e-12)


def check_reference(reference: str) -> None:
    """Raise NameNotFound for a reference that is not in `REFERENCES`."""
    if reference not in REFERENCES:
        raise not_found("reference", reference, REFERENCES)

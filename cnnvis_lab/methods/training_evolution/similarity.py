"""How alike a layer's answers to fixed pictures are at two steps of a training.

Computed from kept weights, whenever it is wanted. Layers that have settled are alike to themselves
at the end.
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
    """How alike a layer's activations on fixed pictures are at two steps.

    Attributes:
        layers: names.
        steps: the recorded steps; with the previous one as reference, from the second on.
        cka: (steps, layers) linear CKA, 0 to 1: the same up to a rotation of the layer's space.
        correlation: (steps, layers) mean over units of each unit's correlation with itself, -1 to
            1; units that never change their answer count as 0.
    """

    layers: tuple[str, ...]
    steps: list[int]
    cka: Float[Tensor, "steps layers"]
    correlation: Float[Tensor, "steps layers"]


def similarity(
    view: Model,
    evolution: Evolution,
    images: Images,
    layers: Sequence[str] | None = None,
    *,
    reference: str = "final",
) -> Similarity:
    """Compare activations at every step with those at the end, or at the step before.

    Every position of every picture is one example, so that there are many more examples than
    units; with few, CKA would be high for any two networks.

    Args:
        view: a network of the recorded architecture; its weights are overwritten.
        evolution: the recording.
        images: (n, 3, h, w) fixed pictures in [0, 1].
        layers: names; by default those recorded.
        reference: "final" or "previous".

    Raises:
        NameNotFound: no such layer or reference.
        InputError: the network is of another architecture.

    Source: Kornblith et al. 2019 (linear CKA); Raghu et al. 2017 (layers settle from below).
    """
    check_reference(reference)
    names = tuple(layers or evolution.layers)
    images, states, rows = images.to(view.device), evolution.snapshots, []
    other = _unit_activations(restore(view, states[-1]), images, names)
    for state in states:
        own = _unit_activations(restore(view, state), images, names)
        rows.append([_compare(own[layer], other[layer]) for layer in names])
        other = own if reference == "previous" else other
    skipped = int(reference == "previous")  # the first has none before it
    found = torch.tensor(rows).view(len(states), len(names), 2)[skipped:]
    return Similarity(names, evolution.steps[skipped:], *found.unbind(2))


@torch.no_grad()
def _unit_activations(model: Model, images: Images, layers: Sequence[str]) -> dict[str, Tensor]:
    """Layer -> (examples, units)."""
    outputs = hooks.activations(model, images, layers)
    return {
        layer: flatten_positions(outputs[layer]).transpose(1, 2).flatten(0, 1) for layer in layers
    }


def _compare(first: Tensor, second: Tensor) -> tuple[float, float]:
    return linear_cka(first, second), float(unit_correlation(first, second).mean())


def linear_cka(first: Float[Tensor, "n p"], second: Float[Tensor, "n q"]) -> float:
    """Return how alike two representations of the same n examples are, 0 to 1.

    The same for any rotation and any scale of either (Kornblith et al. 2019).
    """
    a, b = (part - part.mean(0) for part in (first, second))
    norms = (a.mT @ a).norm() * (b.mT @ b).norm()
    return float((b.mT @ a).square().sum() / norms.clamp(min=1e-30))


def unit_correlation(
    first: Float[Tensor, "n units"], second: Float[Tensor, "n units"]
) -> Float[Tensor, " units"]:
    """Return each unit's correlation with itself over n examples; 0 where it never changes."""
    a, b = (part - part.mean(0) for part in (first, second))
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp(min=1e-12)


def check_reference(reference: str) -> None:
    """Refuse a reference that is none of `REFERENCES`."""
    if reference not in REFERENCES:
        raise not_found("reference", reference, REFERENCES)

"""Asked of concept vectors: examples, scores by category, how many filters are needed, sums."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, InputError, Int
from ...models import Model
from .classify import balanced_accuracy, classify
from .filters import BestFilters, learn_subsets, one_hot
from .prepare import PreparedSet
from .segment import Probes, masks, segment, set_iou
from .vectors import combine, rank


class Example(NamedTuple):
    """An image (3, h, w) of a concept, a mask (y, x) that should cover it, and their IoU."""

    image: Tensor
    mask: Tensor
    iou: float


def fully_connected_layers(model: Model) -> list[str]:
    """Return the full layers behind the convolutions, after their ReLU; none outside the family."""
    words = [word for word in model.default_layers() if word.startswith("FL")]
    return [model.after_relu(word) for word in words]


def concepts_to_show(
    data: PreparedSet, probes: Probes, wanted: Sequence[str], count: int = 2
) -> list[int]:
    """Return the columns of concepts by name, filled up to `count` with learned objects."""
    learned = [int(column) for column in probes.concept]
    named = [c for name in wanted for c in learned if data.concepts[c].name == name]
    objects = [c for c in learned if data.concepts[c].category == "object"]
    return list(dict.fromkeys([*named, *objects, *learned]))[: max(count, len(named))]


def examples(
    data: PreparedSet, layer: str, probes: Probes, best: BestFilters, concept: int, count: int
) -> dict[str, list[Example]]:
    """Return pictures that show a concept well, as its best single filter and all together see it.

    Args:
        data: the pictures to choose from.
        layer: the layer.
        probes: learned there, one of them for the concept.
        best: the best single filters of all concepts.
        concept: its column.
        count: how many at most; of the pictures in which the concept is larger than the median.

    Returns:
        Two rows under their names, first that of the single filter.

    Raises:
        InputError: the concept was not learned, or no picture shows it.
    """
    name, own = data.concepts[concept].name, data.shown.concept == concept
    row = (probes.concept == concept).nonzero()[:1, 0]
    if not own.any() or not len(row):
        raise InputError(f"{name!r} was not learned, or no picture shows it")
    large = own & (data.shown.fraction >= data.shown.fraction[own].median())
    pictures = data.shown.picture[large][:count].tolist()
    shown = data.data.batch(pictures)
    truth = (data.data.label_maps(pictures) == data.concepts[concept].number).any(1)
    single = one_hot(data, layer, best.unit[concept][None], [concept])
    ways = {f"{name}\nunit {best.unit[concept]}": single, f"{name}\ncombination": probes.rows(row)}
    found = {}
    for way, probe in ways.items():
        mask = masks(data, layer, probe, pictures)[0]
        iou = (mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))
        found[way] = [Example(*row) for row in zip(shown, mask, iou.tolist(), strict=True)]
    return found


def by_category(data: PreparedSet, concepts: Sequence[int], values: Tensor) -> dict[str, Tensor]:
    """Sort values, one for each concept, by category."""
    kinds = [data.concepts[column].category for column in concepts]
    return {
        kind: values[torch.tensor([own == kind for own in kinds])] for kind in dict.fromkeys(kinds)
    }


def filter_counts(units: int) -> list[int]:
    """Return 1, 2, 4, ... and all of a layer's units."""
    return [*(2**power for power in range(units.bit_length()) if 2**power < units), units]


def iou_over_filters(
    train: PreparedSet, validation: PreparedSet, layer: str, whole: Probes, **knobs: object
) -> Float[Tensor, "sizes rows"]:
    """Return the IoU of probes learned again with the 1, 2, 4, ... filters of largest weight."""
    learned = learn_subsets(
        segment, train, layer, whole, filter_counts(train[layer].units), **knobs
    )
    return torch.stack([set_iou(validation, layer, probes) for probes in learned])


def accuracy_over_filters(
    train: PreparedSet, validation: PreparedSet, layer: str, whole: Probes
) -> Float[Tensor, "sizes rows"]:
    """Return the accuracy of classifiers with the 1, 2, 4, ... filters of largest weight."""
    learned = learn_subsets(classify, train, layer, whole, filter_counts(train[layer].units))
    return torch.stack([balanced_accuracy(validation, layer, probes) for probes in learned])


def fraction_reached(needed: Int[Tensor, " concepts"], sizes: Sequence[int]) -> Tensor:
    """Return, for each number of filters, the share of concepts that need no more: (sizes,)."""
    return (needed[None] <= torch.tensor(sizes)[:, None]).double().mean(1)


def analogy_rank(data: PreparedSet, probes: Probes, equation: str) -> int | None:
    """Return the place, from 1, that an answer takes among all concepts nearest to a sum.

    Args:
        data: knows the concepts' names.
        probes: their vectors, a row each.
        equation: such as "grass - green + blue -> sky".

    Returns:
        The place; None where one of the concepts is not known here or was not learned.

    Raises:
        InputError: a text that is no such equation.
    """
    left, _, wanted = equation.partition("->")
    terms = re.findall(r"([+-]?)\s*([^\s+-][^+-]*)", left)
    if not terms or not wanted.strip():
        raise InputError(f"{equation!r}: expected such as 'grass - green + blue -> sky'")
    known = [data.concepts[int(column)].name for column in probes.concept]
    if {name.strip() for _, name in [*terms, ("", wanted)]} - set(known):
        return None
    rows: dict[bool, list[int]] = {True: [], False: []}
    for sign, name in terms:
        rows[sign != "-"].append(known.index(name.strip()))
    near = combine(probes.weights, rows[True], rows[False])
    return rank(near, known.index(wanted.strip()))

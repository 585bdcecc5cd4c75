"""Analysis of probes: examples of masks, and analogies of vectors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ...core import InputError, ratio
from ...data import Label
from ...models import Model
from .filters import BestFilters, one_hot
from .prepare import PreparedSet
from .segment import Probes, masks
from .vectors import combine

# Sums of concepts of the synthetic scenes, and the concept that should be nearest.
ANALOGIES = ("grass - green + blue -> sky", "wheel - car + bicycle -> frame")


class Example(NamedTuple):
    """An image (3, h, w) of a concept, a mask (y, x) that should cover it, and their IoU."""

    image: Tensor
    mask: Tensor
    iou: float


def fully_connected_layers(model: Model) -> list[str]:
    """Return the fully connected layers, after their ReLU; none outside the AlexNet family."""
    names = [name for name in model.default_layers() if name.startswith("FL")]
    return [model.after_relu(name) for name in names]


def concepts_to_show(data: PreparedSet, probes: Probes, names: Sequence[str]) -> list[int]:
    """Return the columns of named concepts; if they are fewer than two, of others, objects first.

    Args:
        data: the prepared set.
        probes: probes of the learned concepts.
        names: concepts to show; those that were not learned are ignored.
    """
    learned = [int(column) for column in probes.concept]
    by_name = [c for name in names for c in learned if data.concepts[c].name == name]
    objects = [c for c in learned if data.concepts[c].category == "object"]
    return list(dict.fromkeys([*by_name, *objects, *learned]))[: max(2, len(by_name))]


def examples(data: PreparedSet, layer: str, probe: Probes, count: int) -> list[Example]:
    """Return a probe's masks on images in which its concept is large.

    Args:
        data: the images to choose from.
        layer: the layer of the probe.
        probe: a single row of probes.
        count: maximum number of images.

    Raises:
        InputError: no image shows the concept.
    """
    concept = data.concepts[int(probe.concept[0])]
    indices = data.large_examples(int(probe.concept[0]), count)
    if not indices:
        raise InputError(f"no image shows {concept.name!r}")
    truth = (data.data.label_maps(indices) == concept.number).any(1)
    mask = masks(data, layer, probe, indices)[0]
    iou = (mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))
    return list(map(Example, data.data.batch(indices), mask, iou.tolist()))


@dataclass(frozen=True)
class ConceptExamples:
    """A concept's masks on the same images, by a single filter and by a combination of all.

    Attributes:
        concept: the concept.
        unit: the best single filter.
        single: its masks.
        combination: the masks of the combination.
    """

    concept: Label
    unit: int
    single: list[Example]
    combination: list[Example]


def compare_examples(
    data: PreparedSet,
    layer: str,
    probes: Probes,
    best: BestFilters,
    names: Sequence[str],
    *,
    count: int = 6,
) -> list[ConceptExamples]:
    """Return masks of single filters and of combinations on images of some concepts.

    Args:
        data: the images to choose from.
        layer: the layer.
        probes: segmentation probes.
        best: the best filters for the concepts of these probes.
        names: the concepts to show; missing ones are replaced as by `concepts_to_show`.
        count: maximum number of images of each concept.
    """
    compared, columns = [], probes.concept.tolist()
    for column in concepts_to_show(data, probes, names):
        row = columns.index(column)
        unit = best.unit[row]
        single = one_hot(data, layer, unit[None], [column])
        masks_of = [examples(data, layer, own, count) for own in (single, probes.rows([row]))]
        compared.append(ConceptExamples(data.concepts[column], int(unit), *masks_of))
    return compared


def fraction_better_covered(compared: Sequence[ConceptExamples]) -> float:
    """Return the fraction of the images on which the combination has the higher IoU."""
    better = [
        both.iou > one.iou
        for concept in compared
        for one, both in zip(concept.single, concept.combination, strict=True)
    ]
    return ratio(sum(better), len(better))


def analogy_ranks(
    data: PreparedSet, probes: Probes, equations: Sequence[str] = ANALOGIES
) -> dict[str, int]:
    """Return the `analogy_rank` of each equation whose concepts were all learned.

    Args:
        data: the prepared set.
        probes: the concept vectors.
        equations: sums and the expected concepts.
    """
    ranks = {equation: analogy_rank(data, probes, equation) for equation in equations}
    return {equation: rank for equation, rank in ranks.items() if rank}


def analogy_rank(data: PreparedSet, probes: Probes, equation: str) -> int | None:
    """Return the rank, from 1, of the expected concept among those nearest to a sum of vectors.

    Args:
        data: the prepared set.
        probes: the concept vectors.
        equation: sum and expected concept, such as "grass - green + blue -> sky".

    Returns:
        The rank; None if one of the concepts is not in the data or was not learned.

    Raises:
        InputError: the text does not have this form.
    """
    left, _, answer = equation.partition("->")
    terms = re.findall(r"([+-]?)\s*([^\s+-][^+-]*)", left)
    if not terms or not answer.strip():
        raise InputError(f"{equation!r}: expected a form like 'grass - green + blue -> sky'")
    names = [data.concepts[int(column)].name for column in probes.concept]
    if {name.strip() for _, name in [*terms, ("", answer)]} - set(names):
        return None
    plus = [names.index(name.strip()) for sign, name in terms if sign != "-"]
    minus = [names.index(name.strip()) for sign, name in terms if sign == "-"]
    cosines = combine(probes.weights, plus, minus)
    return int((cosines > cosines[names.index(answer.strip())]).sum()) + 1

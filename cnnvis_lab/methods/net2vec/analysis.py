"""Analysis of probes: examples, scores by category and number of filters, analogies of vectors."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, InputError, Int
from ...models import Model
from .filters import learn_subsets
from .prepare import PreparedSet
from .segment import Probes, masks
from .vectors import combine


class Example(NamedTuple):
    """An image (3, h, w) of a concept, a mask (y, x) that should cover it, and their IoU."""

    image: Tensor
    mask: Tensor
    iou: float


def fully_connected_layers(model: Model) -> list[str]:
    """Return the fully connected layers, after their ReLU; none outside the AlexNet family."""
    names = [name for name in model.default_layers() if name.startswith("FL")]
    return [model.after_relu(name) for name in names]


def concepts_to_show(
    data: PreparedSet, probes: Probes, names: Sequence[str], count: int = 2
) -> list[int]:
    """Return the columns of named concepts, followed by other learned ones up to `count`.

    Args:
        data: the prepared set.
        probes: probes of the learned concepts.
        names: concepts to show; those that were not learned are ignored.
        count: minimum number of concepts to return, if that many were learned; objects come first.
    """
    learned = [int(column) for column in probes.concept]
    by_name = [c for name in names for c in learned if data.concepts[c].name == name]
    objects = [c for c in learned if data.concepts[c].category == "object"]
    return list(dict.fromkeys([*by_name, *objects, *learned]))[: max(count, len(by_name))]


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


def by_category(data: PreparedSet, concepts: Sequence[int], values: Tensor) -> dict[str, Tensor]:
    """Group values, one per concept, by category.

    Args:
        data: the prepared set.
        concepts: the columns of the concepts.
        values: (concepts, ...).
    """
    categories = [data.concepts[column].category for column in concepts]
    return {
        category: values[torch.tensor([other == category for other in categories])]
        for category in dict.fromkeys(categories)
    }


def filter_counts(units: int) -> list[int]:
    """Return 1, 2, 4, ... and the number of all units of a layer."""
    return [*(2**power for power in range(units.bit_length()) if 2**power < units), units]


def scores_by_filter_count(
    learn: Callable[..., Probes],
    score: Callable[[PreparedSet, str, Probes], Tensor],
    train: PreparedSet,
    validation: PreparedSet,
    layer: str,
    probes: Probes,
) -> Float[Tensor, "sizes rows"]:
    """Return the scores of probes relearned with the 1, 2, 4, ... filters of largest weight.

    Args:
        learn: `segment` or `classify`, with the options used for `probes`.
        score: `set_iou` or `balanced_accuracy`.
        train: the images to learn from.
        validation: the images to score on.
        layer: one of the prepared layers.
        probes: probes learned with all filters.
    """
    subsets = learn_subsets(learn, train, layer, probes, filter_counts(train[layer].units))
    return torch.stack([score(validation, layer, subset) for subset in subsets])


def fraction_reached(needed: Int[Tensor, " concepts"], sizes: Sequence[int]) -> Tensor:
    """Return (sizes,): for each number of filters, the fraction of concepts that need no more."""
    return (needed[None] <= torch.tensor(sizes)[:, None]).double().mean(1)


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

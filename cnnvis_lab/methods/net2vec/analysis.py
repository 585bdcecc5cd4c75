"""Examples, scores by category, scores by number of filters, and analogies of concept vectors."""

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
    """Return the fully connected layers, after their ReLU; none outside the survey's family."""
    names = [name for name in model.default_layers() if name.startswith("FL")]
    return [model.after_relu(name) for name in names]


def concepts_to_show(
    data: PreparedSet, probes: Probes, names: Sequence[str], count: int = 2
) -> list[int]:
    """Return the columns of concepts by name, filled up to `count` with learned objects.

    Args:
        data: the prepared set.
        probes: of the learned concepts.
        names: of the concepts to show; names that were not learned are ignored.
        count: number of concepts to return at least, if that many were learned.
    """
    learned = [int(column) for column in probes.concept]
    by_name = [c for name in names for c in learned if data.concepts[c].name == name]
    objects = [c for c in learned if data.concepts[c].category == "object"]
    return list(dict.fromkeys([*by_name, *objects, *learned]))[: max(count, len(by_name))]


def examples(data: PreparedSet, layer: str, probe: Probes, count: int) -> list[Example]:
    """Return the masks of a probe on images that show its concept large.

    Args:
        data: the images to choose from.
        layer: the layer of the probe.
        probe: one row.
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
    """Return the scores of probes learned again with the 1, 2, 4, ... filters of largest weight.

    Args:
        learn: `segment` or `classify`, with the options that `probes` were learned with.
        score: `set_iou` or `balanced_accuracy`.
        train: the images to learn from.
        validation: the images to score on.
        layer: the layer.
        probes: learned with all filters.
    """
    subsets = learn_subsets(learn, train, layer, probes, filter_counts(train[layer].units))
    return torch.stack([score(validation, layer, subset) for subset in subsets])


def fraction_reached(needed: Int[Tensor, " concepts"], sizes: Sequence[int]) -> Tensor:
    """Return, for each number of filters, the fraction of concepts that need no more: (sizes,)."""
    return (needed[None] <= torch.tensor(sizes)[:, None]).double().mean(1)


def analogy_rank(data: PreparedSet, probes: Probes, equation: str) -> int | None:
    """Return the rank, from 1, of the expected answer among all concepts nearest to a sum.

    Args:
        data: the prepared set.
        probes: the concept vectors.
        equation: such as "grass - green + blue -> sky".

    Returns:
        The rank; None if one of the concepts does not exist here or was not learned.

    Raises:
        InputError: the text is not such an equation.
    """
    left, _, answer = equation.partition("->")
    terms = re.findall(r"([+-]?)\s*([^\s+-][^+-]*)", left)
    if not terms or not answer.strip():
        raise InputError(f"{equation!r}: expected such as 'grass - green + blue -> sky'")
    names = [data.concepts[int(column)].name for column in probes.concept]
    if {name.strip() for _, name in [*terms, ("", answer)]} - set(names):
        return None
    plus = [names.index(name.strip()) for sign, name in terms if sign != "-"]
    minus = [names.index(name.strip()) for sign, name in terms if sign == "-"]
    cosines = combine(probes.weights, plus, minus)
    return int((cosines > cosines[names.index(answer.strip())]).sum()) + 1

"""Analysis of dissected layers: best units and their concepts, agreement, transfer."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float, InputError, regression
from ...models import Model
from .counts import ground_truth
from .plan import LabelledData, make_plan
from .table import LayerTable


def conv_layers(model: Model) -> list[str]:
    """Return the layers to dissect: convolutions after their ReLU, or a model's default layers."""
    return [model.after_relu(name) for name in model.conv_layers()]


def distinct_units(table: LayerTable, count: int, category: str | None = None) -> list[int]:
    """Return the units with the highest IoU, each with a different concept.

    Args:
        table: table of the layer.
        count: maximum number of units.
        category: consider concepts of this category only.
    """
    iou, column = table.best(category)
    chosen: dict[int, int] = {}
    for unit in iou.argsort(descending=True, stable=True).tolist():
        chosen.setdefault(int(column[unit]), unit)
    return list(chosen.values())[:count]


def best_units(
    tables: Mapping[str, LayerTable], category: str, count: int
) -> list[tuple[str, int]]:
    """Return (layer, unit) of the highest IoUs over all layers, each with a different concept.

    Args:
        tables: layer -> its table.
        category: category of the concepts.
        count: maximum number of units.
    """
    fits: dict[int, tuple[float, str, int]] = {}
    for layer, table in tables.items():
        iou, column = table.best(category)
        for unit in distinct_units(table, count, category):
            fit = (float(iou[unit]), layer, unit)
            fits[int(column[unit])] = max(fit, fits.get(int(column[unit]), fit))
    return [(layer, unit) for _, layer, unit in sorted(fits.values(), reverse=True)[:count]]


def best_concept(table: LayerTable, unit: int, category: str | None = None) -> tuple[str, float]:
    """Return a unit's best concept, overall or within a category, and its IoU.

    Args:
        table: table of the layer.
        unit: index of the unit.
        category: consider concepts of this category only.
    """
    iou, column = table.best(category)
    return table.concepts[int(column[unit])].name, float(iou[unit])


def fraction_above_threshold(
    model: nn.Module, data: LabelledData, layer: str, thresholds: Float[Tensor, " units"]
) -> Float[Tensor, " units"]:
    """Return the fraction of each unit's activations, over all images, above its threshold.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        layer: dotted name or alias.
        thresholds: thresholds of the layer's units.
    """
    plan = make_plan(model, data, [layer])
    above, total = torch.zeros(len(thresholds), dtype=torch.int64), 0
    for indices in plan.batches:
        maps = plan.maps(indices, [layer])[layer].cpu()
        above += (maps > thresholds[:, None, None]).sum((0, 2, 3))
        total += maps[:, 0].numel()
    return above / total


def concordance(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the fraction of pairs that two measurements of the same networks order alike.

    Pairs that are equal in `one` are left out; pairs that are equal only in `other` count one half.
    None if no pair differs in `one`.
    """
    pairs = [(i, j) for i, j in combinations(range(len(one)), 2) if one[i] != one[j]]
    products = [(one[i] - one[j]) * (other[i] - other[j]) for i, j in pairs]
    concordant = sum(1.0 if sign > 0 else 0.5 if sign == 0 else 0.0 for sign in products)
    return concordant / len(pairs) if pairs else None


def relative_range(counts: Sequence[float]) -> float | None:
    """Return (maximum - minimum) / mean; None for fewer than two counts, or if all are 0."""
    return (max(counts) - min(counts)) / (sum(counts) / len(counts)) if sum(counts[1:]) else None


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the correlation of two sequences; None if either is constant."""
    both = torch.tensor([list(map(float, one)), list(map(float, other))], dtype=torch.float64)
    return None if (both.std(1) == 0).any() else float(torch.corrcoef(both)[0, 1])


def transfer_accuracy(model: nn.Module, data: LabelledData, layer: str) -> float:
    """Return the accuracy of a linear classifier of scenes on a layer's pooled activations.

    A ridge regression is fitted to every second image and scored on the others. The paper trains
    linear support vector machines on the classes of another dataset.

    Args:
        model: the network.
        data: images with label maps.
        layer: the layer.

    Raises:
        InputError: too few images, or too few different labels.
    """
    plan = make_plan(model, data, [layer], convention="lite")
    labels = sorted(plan.data.labels.values())
    columns = [i for i, label in enumerate(labels, 1) if label.category == "scene"]
    pooled, filled = [], []
    for indices in plan.batches:
        pooled.append(plan.maps(indices, [layer])[layer].mean((2, 3)).cpu())
        truth = ground_truth(plan.labels(indices).numpy(), [label.number for label in labels])
        filled.append(torch.from_numpy(truth.filled[:, columns]))
    features, targets = torch.cat(pooled).double(), torch.cat(filled)
    labelled = targets.any(1)
    features, targets = features[labelled], targets[labelled]
    classes = targets.int().argmax(1) if len(features) else torch.empty(0, dtype=torch.int64)
    if len(classes.unique()) < 2:
        raise InputError("too few images with different scenes to classify them")
    return regression.ridge_accuracy(features, functional.one_hot(classes).double())

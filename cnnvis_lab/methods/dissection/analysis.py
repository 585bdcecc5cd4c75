"""Asked of dissected networks: their best units, other bases, limits, order, transfer."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float, InputError, regression, rotation
from ...data import CATEGORIES
from ...models import Model
from .counts import ground_truth
from .dissect import dissect
from .plan import make_plan
from .table import LayerTable


def conv_layers(model: Model) -> list[str]:
    """Return the layers to dissect: after the ReLU of each convolution, or a tour's stages."""
    if not model.survey_layers:
        return [word for word in model.default_layers() if word != "logits"]
    words = [word for word in model.default_layers() if word.startswith("CL")]
    return [model.after_relu(word) for word in words]


def distinct_units(table: LayerTable, count: int, category: str | None = None) -> list[int]:
    """Return the units of highest IoU, each with another concept.

    Args:
        table: of the layer.
        count: how many at most.
        category: look at concepts of this one only.
    """
    iou, column = table.best(category)
    chosen: dict[int, int] = {}
    for unit in iou.argsort(descending=True, stable=True).tolist():
        chosen.setdefault(int(column[unit]), unit)
    return list(chosen.values())[:count]


def best_units(
    tables: Mapping[str, LayerTable], category: str, count: int
) -> list[tuple[str, int]]:
    """Return layer and unit of the best fits to different concepts of a category, of all layers."""
    fits: dict[int, tuple[float, str, int]] = {}
    for layer, table in tables.items():
        iou, column = table.best(category)
        for unit in distinct_units(table, count, category):
            fit = (float(iou[unit]), layer, unit)
            fits[int(column[unit])] = max(fit, fits.get(int(column[unit]), fit))
    return [(layer, unit) for _, layer, unit in sorted(fits.values(), reverse=True)[:count]]


def best_concept(table: LayerTable, unit: int, category: str | None = None) -> tuple[str, float]:
    """Return the concept a unit fits best, overall or in a category, and its IoU."""
    iou, column = table.best(category)
    return table.concepts[int(column[unit])].name, float(iou[unit])


def concepts_by_category(tables: Sequence[LayerTable]) -> dict[str, list[int]]:
    """Return category -> the number of different concepts with a detector, in each table."""
    counted = [table.unique() for table in tables]
    names = dict.fromkeys([*CATEGORIES, *(name for own in counted for name in own)])
    return {name: [own.get(name, 0) for own in counted] for name in names}


def fraction_above_threshold(
    model: nn.Module, data: object, layer: str, thresholds: Float[Tensor, " units"]
) -> Float[Tensor, " units"]:
    """Return the share of each unit's activations, over all pictures, above its threshold."""
    plan, above, seen = make_plan(model, data, [layer]), 0, 0
    for pictures in plan.batches:
        maps = plan.maps(pictures, [layer])[layer].cpu()
        above = above + (maps > thresholds[:, None, None]).sum((0, 2, 3))
        seen += maps[:, 0].numel()
    return above / seen


def rotation_sweep(
    model: nn.Module,
    data: object,
    layer: str,
    shares: Sequence[float],
    *,
    seed: int = 0,
    **knobs: object,
) -> tuple[list[LayerTable], float]:
    """Dissect a layer in a basis turned little by little towards a random one.

    Args:
        model: the network.
        data: pictures with label maps.
        layer: the layer.
        shares: of the rotation, 0 to 1.
        seed: of the rotation.
        knobs: as for `dissect`.

    Returns:
        A table for each share, and the share of pictures for which the network with the whole
        rotation names the same class as without.
    """
    plan = make_plan(model, data, [layer])
    basis = rotation.random_rotation(plan.units[layer], seed)
    tables = []
    for share in shares:
        rotated = rotation.RotatedLayer(model, layer, rotation.fractional_rotation(basis, share))
        found = dissect(rotated, data, ["rotated"], **knobs)
        tables.append(found["rotated"])
    whole, same = rotation.RotatedLayer(model, layer, basis), 0
    with torch.no_grad():
        for pictures in plan.batches:
            images = plan.data.batch(pictures)
            same += int((whole(images).argmax(1) == model(images).argmax(1)).sum())
    return tables, same / len(plan.data)


def unique_detectors_at(table: LayerTable, limits: Sequence[float]) -> list[int]:
    """Return how many distinct concepts have a detector, for each IoU limit."""
    return [sum(table.with_limits(min_iou=limit).unique().values()) for limit in limits]


def concordance(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the share of pairs that two countings of the same networks put in one order.

    Pairs that are equal in the first are left out; equal in the other only counts one half. None
    where no pair differs.
    """
    pairs = [(i, j) for i, j in combinations(range(len(one)), 2) if one[i] != one[j]]
    agree = [(one[i] - one[j]) * (other[i] - other[j]) for i, j in pairs]
    right = sum(1.0 if sign > 0 else 0.5 if sign == 0 else 0.0 for sign in agree)
    return right / len(pairs) if pairs else None


def relative_range(counts: Sequence[float]) -> float | None:
    """Return largest less smallest over the mean; None of fewer than two, or of nothing."""
    return (max(counts) - min(counts)) / (sum(counts) / len(counts)) if sum(counts[1:]) else None


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the correlation of two rows of numbers; None where either does not vary."""
    both = torch.tensor([list(map(float, one)), list(map(float, other))], dtype=torch.float64)
    return None if (both.std(1) == 0).any() else float(torch.corrcoef(both)[0, 1])


def transfer_accuracy(model: nn.Module, data: object, layer: str, category: str = "scene") -> float:
    """Return how well a linear classifier on a layer's pooled activations names a category.

    Ridge regression on every second picture, scored on the others. The category must label whole
    pictures, as Broden's scenes do. The paper trains linear support vector machines on another
    data set's classes.

    Raises:
        InputError: too few pictures that carry such a label.
    """
    plan = make_plan(model, data, [layer], convention="lite")
    labels = sorted(plan.data.labels.values())
    columns = [i for i, label in enumerate(labels, 1) if label.category == category]
    pooled, whole = [], []
    for pictures in plan.batches:
        pooled.append(plan.maps(pictures, [layer])[layer].mean((2, 3)).cpu())
        shown = ground_truth(plan.labels(pictures).numpy(), [label.number for label in labels])
        whole.append(torch.from_numpy(shown.whole[:, columns]))
    features, wanted = torch.cat(pooled).double(), torch.cat(whole)
    labelled = wanted.any(1)
    features, kind = features[labelled], wanted[labelled].int().argmax(1) if columns else wanted
    if not len(features) or len(kind.unique()) < 2:
        raise InputError(f"too few pictures of different {category}s to tell them apart")
    return regression.ridge_accuracy(features, functional.one_hot(kind).double())

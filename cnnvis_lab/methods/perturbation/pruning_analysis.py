"""Orders in which feature maps can be pruned, and the accuracy along each of them."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from ...core import Images, Int, features, hooks
from ...models import Model
from ...models.generators import Generator
from .perturb import map_importance
from .pruning import (
    PruningResult,
    evaluate_pruned,
    is_prunable,
    mask_edit,
    prune,
    pruning_site,
    weight_of,
)

Rankings = dict[str, list[Sequence[int]]]


def rankings(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    decoder: Generator | None = None,
    *,
    random_orders: int = 3,
    seed: int = 0,
) -> Rankings:
    """Return orders in which to remove a layer's maps; the first map is removed first.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1], to rank by.
        classes: (n,) their classes.
        decoder: decoder of the layer, for the order by reconstruction.
        random_orders: number of random orders.
        seed: seed of the random orders.

    Returns:
        Criterion -> its orders: "reconstruction" and "loss" by the absolute change when a map is
        set to zero, "activation" by its mean magnitude, "magnitude" by that of its weights (if maps
        can be removed), "random". Absolute changes are used because a map whose absence improves
        the result on a few images matters on others.

    Source: Molchanov et al. 2017, for the loss.
    """
    effect = map_importance(model, layer, images, classes, decoder)
    criteria = {"reconstruction": effect.reconstruction.abs()} if decoder else {}
    criteria["loss"] = effect.loss.abs()
    magnitudes = features.extract(model, images, [layer])[layer].abs()
    criteria["activation"] = (
        magnitudes.flatten(2).mean((0, 2)) if magnitudes.ndim > 2 else magnitudes.mean(0)
    )
    if is_prunable(model, layer):
        kernels = weight_of(model.net, pruning_site(model, layer).producer)
        criteria["magnitude"] = kernels.flatten(1).norm(dim=1)
    orders = {
        name: [values.cpu().argsort(stable=True).tolist()] for name, values in criteria.items()
    }
    generator = torch.Generator().manual_seed(seed)
    units = len(effect.loss)
    shuffled = [torch.randperm(units, generator=generator).tolist() for _ in range(random_orders)]
    return orders | {"random": shuffled}


def pruning_curve(
    model: Model,
    layer: str,
    orders: Sequence[Sequence[int]],
    fractions: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> list[PruningResult]:
    """Return accuracy and cost for fractions of a layer's maps removed, averaged over orders.

    Maps that cannot be removed are set to zero instead, and the cost does not change.

    Args:
        model: the network.
        layer: dotted name or alias.
        orders: orders of the layer's units; the first unit is removed first.
        fractions: fractions of the maps to remove; at least one map is always kept.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.
    """
    prunable = is_prunable(model, layer)

    def remove(order: Sequence[int], fraction: float) -> PruningResult:
        count = min(round(fraction * len(order)), len(order) - 1)
        if prunable:
            small = prune(model, {layer: order[count:]})
            return evaluate_pruned(small, images, classes, count / len(order))
        flags = torch.ones(len(order), device=model.device)
        flags[list(order[:count])] = 0
        with hooks.edit(model, {layer: mask_edit(flags)}):
            return evaluate_pruned(model, images, classes, count / len(order))

    return _mean_accuracy([[remove(order, fraction) for fraction in fractions] for order in orders])


def _mean_accuracy(runs: Sequence[Sequence[PruningResult]]) -> list[PruningResult]:
    """Average the accuracy over runs, whose cost is the same."""
    return [
        same[0]._replace(accuracy=fmean(result.accuracy for result in same))
        for same in zip(*runs, strict=True)
    ]


def prune_to_fraction(model: Model, ranked: Mapping[str, Sequence[int]], fraction: float) -> Model:
    """Prune several layers to the most important fraction of their maps.

    Args:
        model: a sequential network.
        ranked: layer -> its units, the least important first.
        fraction: fraction of each layer's maps to keep; at least one map is kept.
    """
    return prune(
        model,
        {layer: order[-max(1, round(fraction * len(order))) :] for layer, order in ranked.items()},
    )


def prune_jointly(
    model: Model,
    ranked: Mapping[str, Rankings],
    fractions: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> dict[str, list[PruningResult]]:
    """Remove the same fraction of the maps of several layers at once.

    Args:
        model: the network.
        ranked: layer -> criterion -> orders, see `rankings`; the same number of orders in each
            layer.
        fractions: fractions of the maps to remove.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.

    Returns:
        Criterion -> result for each fraction, averaged over orders, for criteria that rank all
        layers; empty if the maps of a layer cannot be removed.
    """
    if not all(is_prunable(model, layer) for layer in ranked):
        return {}
    first, *others = ranked.values()
    curves = {}
    for criterion in first:
        if not all(criterion in by_criterion for by_criterion in others):
            continue
        runs = []
        for orders in zip(
            *(by_criterion[criterion] for by_criterion in ranked.values()), strict=True
        ):
            order_of = dict(zip(ranked, orders, strict=True))
            runs.append(
                [
                    evaluate_pruned(
                        prune_to_fraction(model, order_of, 1 - fraction), images, classes, fraction
                    )
                    for fraction in fractions
                ]
            )
        curves[criterion] = _mean_accuracy(runs)
    return curves


def accuracy_gain(
    curves: Mapping[str, Mapping[str, Sequence[PruningResult]]], criterion: str, other: str
) -> dict[str, float]:
    """Return how much more accurate networks are after pruning by one criterion than by another.

    Args:
        curves: layer -> criterion -> result for each fraction.
        criterion: the criterion to evaluate.
        other: the criterion to compare with.

    Returns:
        Layer -> mean difference over the fractions, positive if `criterion` is better; only for
        layers with both criteria.
    """
    return {
        layer: fmean(
            a.accuracy - b.accuracy for a, b in zip(own[criterion], own[other], strict=True)
        )
        for layer, own in curves.items()
        if criterion in own and other in own
    }

"""Orders in which feature maps are pruned, and the accuracy that is left in each of them."""

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
    """Return orders in which to remove a layer's maps, the first to go in front.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1], to rank by.
        classes: (n,) their classes.
        decoder: decoder of the layer, for the order by reconstruction.
        random_orders: number of random orders.
        seed: of those.

    Returns:
        Criterion -> its orders: "reconstruction" and "loss" by the absolute change without each
        map, "activation" by its mean magnitude, "magnitude" of its weights (where maps can be
        removed), "random". The absolute change counts because a map whose absence helps on a few
        images matters on others.

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
    """Return accuracy and cost as ever more of a layer's maps are removed, averaged over orders.

    Where maps cannot be removed they are set to zero instead, and the cost stays as it is.

    Args:
        model: the network.
        layer: dotted name or alias.
        orders: of the layer's units, the first to go in front.
        fractions: of the maps to remove; at least one map always stays.
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
    """Average the accuracy of runs of the same cost."""
    return [
        same[0]._replace(accuracy=fmean(result.accuracy for result in same))
        for same in zip(*runs, strict=True)
    ]


def prune_to_fraction(model: Model, ranked: Mapping[str, Sequence[int]], fraction: float) -> Model:
    """Return the network with the most important fraction of the maps of several layers.

    Args:
        model: a sequential network.
        ranked: layer -> its units, the least important in front.
        fraction: of each layer's maps that stays; at least one does.
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
        ranked: layer -> criterion -> orders, see `rankings`; as many orders in each layer.
        fractions: of the maps to remove.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.

    Returns:
        Criterion that ranks all layers -> result for each fraction, averaged over the orders;
        empty where maps of a layer cannot be removed.
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
    """Return how much more accurate one criterion leaves a network than another.

    Args:
        curves: layer -> criterion -> result for each fraction.
        criterion: the one to judge.
        other: the one to compare with.

    Returns:
        Layer -> mean difference over the fractions, positive if `criterion` is better; only layers
        ranked by both.
    """
    return {
        layer: fmean(
            a.accuracy - b.accuracy for a, b in zip(own[criterion], own[other], strict=True)
        )
        for layer, own in curves.items()
        if criterion in own and other in own
    }

"""What one asks of pruning: in which order maps are best removed, and what is left without them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from ...core import Images, Int, features, hooks
from ...models import Model, generators
from . import pruning
from .perturb import accuracy, argsort, map_importance, mean_magnitude
from .pruning import PruningResult

Rankings = dict[str, list[Sequence[int]]]


def rankings(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    painter: generators.Generator | None = None,
    *,
    random: int = 3,
    seed: int = 0,
) -> Rankings:
    """Return orders in which a layer's maps may go, the one to go first in front.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures to rank by.
        classes: their classes.
        painter: decoder of the layer, for the order by reconstruction.
        random: how many random orders.
        seed: of those.

    Returns:
        Way of ranking -> its orders: "reconstruction" and "loss" by what changes without each map,
        "activation", "magnitude" of its weights (where maps can be removed), "random". A change
        for the better counts like one for the worse: a map whose absence helps on a few pictures
        does something on others.

    Source: Molchanov et al. 2017, of the loss.
    """
    worth = map_importance(model, layer, images, classes, painter)
    ranked = {"reconstruction": worth.reconstruction.abs()} if painter else {}
    ranked["loss"] = worth.loss.abs()
    ranked["activation"] = mean_magnitude(model, layer, images).cpu()
    if pruning.is_prunable(model, layer):
        ranked["magnitude"] = pruning.kernel_norms(model, layer)
    drawn = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(worth.loss), generator=drawn).tolist() for _ in range(random)]
    return {way: [argsort(w)] for way, w in ranked.items()} | {"random": orders}


def mean_pruning_curve(
    model: Model,
    layer: str,
    orders: Sequence[Sequence[int]],
    shares: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> list[PruningResult]:
    """Return what is left with ever fewer of a layer's maps, the mean over several orders.

    Where maps cannot be removed they are set to zero instead, and the cost stays as it is.

    Args:
        model: the network.
        layer: dotted name or alias.
        orders: of the layer's units, the one to go first in front.
        shares: of the maps that go; one always stays.
        images: pictures in [0, 1].
        classes: their classes.
    """
    act = pruning.pruning_curve if pruning.is_prunable(model, layer) else _masked_curve
    return _mean_accuracy([act(model, layer, order, shares, images, classes) for order in orders])


def _mean_accuracy(runs: Sequence[Sequence[PruningResult]]) -> list[PruningResult]:
    """Average the accuracy of runs that cost the same."""
    return [
        replace(same[0], accuracy=fmean(point.accuracy for point in same))
        for same in zip(*runs, strict=True)
    ]


def _masked_curve(
    model: Model,
    layer: str,
    order: Sequence[int],
    shares: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> list[PruningResult]:
    points, cost = [], pruning.cost(model)
    for share in shares:
        gone = min(round(share * len(order)), len(order) - 1)
        flags = torch.ones(len(order), device=model.device)
        flags[list(order[:gone])] = 0
        with hooks.edit(model, {layer: pruning.mask_edit(flags)}):
            right = accuracy(features.predict(model, images), classes)
        points.append(PruningResult(gone / len(order), right, *cost))
    return points


def prune_to_fraction(model: Model, ranked: Mapping[str, Sequence[int]], kept: float) -> Model:
    """Return the network with a share of the maps of several layers, those that matter most.

    Args:
        model: a chain.
        ranked: layer -> its units, the one that matters least first.
        kept: share of each layer's maps that stays; one always does.
    """
    keep = {layer: order[-max(1, round(kept * len(order))) :] for layer, order in ranked.items()}
    return pruning.prune(model, keep)


def prune_jointly(
    model: Model,
    ranked: Mapping[str, Rankings],
    shares: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> dict[str, list[PruningResult]]:
    """Remove the same share of the maps of several layers at once.

    Args:
        model: the network.
        ranked: layer -> way of ranking -> orders, see `rankings`; as many orders in each layer.
        shares: of the maps that go.
        images: pictures in [0, 1].
        classes: their classes.

    Returns:
        Way of ranking all layers know -> what is left at each share, the mean over the orders;
        nothing where maps of a layer cannot be removed.
    """
    if not all(pruning.is_prunable(model, layer) for layer in ranked):
        return {}
    first, *others = ranked.values()
    ways = [way for way in first if all(way in by for by in others)]
    found = {}
    for way in ways:
        runs = zip(*(by[way] for by in ranked.values()), strict=True)
        each = [dict(zip(ranked, orders, strict=True)) for orders in runs]
        found[way] = _mean_accuracy(
            [
                [
                    evaluate_pruned(
                        prune_to_fraction(model, own, 1 - share), images, classes, share
                    )
                    for share in shares
                ]
                for own in each
            ]
        )
    return found


def evaluate_pruned(
    model: Model, images: Images, classes: Int[Tensor, " n"], share: float = 0.0
) -> PruningResult:
    """Return what a network is like that lacks a share of its maps.

    Args:
        model: the network as it is now.
        images: pictures in [0, 1].
        classes: their classes.
        share: of its maps that were removed.
    """
    right = accuracy(features.predict(model, images), classes)
    return PruningResult(share, right, *pruning.cost(model))


def accuracy_gain(
    curves: Mapping[str, Mapping[str, Sequence[PruningResult]]], way: str, other: str
) -> dict[str, float]:
    """Return how much more accurate one way of ranking leaves a network than another.

    Args:
        curves: layer -> way -> what is left at each share.
        way: of ranking.
        other: way to compare with.

    Returns:
        Layer -> the mean difference over the shares, positive if `way` is better; layers that
        were not ranked in both ways are left out.
    """
    return {
        layer: fmean(a.accuracy - b.accuracy for a, b in zip(own[way], own[other], strict=True))
        for layer, own in curves.items()
        if way in own and other in own
    }

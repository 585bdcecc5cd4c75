"""Orders in which feature maps can be pruned, and the accuracy along each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from ...core import Float, Images, Int, NamedValues, features, hooks
from ...models import Model
from ...models.generators import Generator
from .perturb import estimate_importance, map_importance
from .pruning import (
    PruningResult,
    PruningSite,
    evaluate_pruned,
    is_prunable,
    mask_edit,
    prune,
    pruning_site,
    weight_of,
)

Orders = dict[str, list[Sequence[int]]]  # criterion -> orders of a layer's maps


@dataclass(frozen=True)
class Rankings:
    """Orders in which to remove the maps of some layers; the first map is removed first.

    Attributes:
        layers: label -> name of the layer.
        orders: label -> criterion -> its orders; only random ones are several.
    """

    layers: Mapping[str, str]
    orders: Mapping[str, Orders]

    def joint_criteria(self, model: Model) -> list[str]:
        """Return the criteria that rank all layers; none if maps of a layer cannot be removed."""
        trace = model.trace_calls()
        if not all(is_prunable(model, layer, trace) for layer in self.layers.values()):
            return []
        first, *others = self.orders.values()
        return [criterion for criterion in first if all(criterion in other for other in others)]

    def joint_orders(self, criterion: str) -> list[dict[str, Sequence[int]]]:
        """Return layer -> order of its maps, for each order of one of `joint_criteria`."""
        by_layer = [orders[criterion] for orders in self.orders.values()]
        return [
            dict(zip(self.layers.values(), own, strict=True)) for own in zip(*by_layer, strict=True)
        ]


def rankings(
    model: Model,
    layers: Mapping[str, str],
    images: Images,
    classes: Int[Tensor, " n"],
    *,
    decoders: Mapping[str, Generator],
    random_orders: int = 3,
    exact: bool = True,
    seed: int = 0,
) -> Rankings:
    """Return orders in which to remove the maps of layers.

    Args:
        model: the network.
        layers: label -> dotted name or alias.
        images: (n, 3, size, size) in [0, 1], to rank by.
        classes: (n,) their classes.
        decoders: layer -> its decoder, for the order by reconstruction; layers may be missing.
        random_orders: number of random orders.
        exact: set each map to zero in turn; otherwise estimate the effects, see
            `estimate_importance`, which is faster by far. Then a layer without a decoder is ranked
            by how well the features of the next layer are reconstructed, if maps can be removed.
        seed: seed of the random orders.

    Returns:
        Orders by these criteria: "reconstruction" and "loss" by the absolute change when a map is
        set to zero, "activation" by its mean magnitude, "magnitude" by that of its weights (if maps
        can be removed), "random". Absolute changes are used because a map whose absence improves
        the result on a few images matters on others.

    Source: Molchanov et al. 2017, for the loss.
    """
    orders = {}
    for label, layer in layers.items():
        criteria = _criteria(model, layer, images, classes, decoders.get(layer), exact)
        orders[label] = {
            name: [values.cpu().argsort(stable=True).tolist()] for name, values in criteria.items()
        }
        generator, units = torch.Generator().manual_seed(seed), len(criteria["loss"])
        shuffled = [torch.randperm(units, generator=generator) for _ in range(random_orders)]
        orders[label]["random"] = [order.tolist() for order in shuffled]
    return Rankings(layers, orders)


def _criteria(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    decoder: Generator | None,
    exact: bool,
) -> dict[str, Float[Tensor, " units"]]:
    measure = map_importance if exact else estimate_importance
    effect = measure(model, layer, images, classes, decoder)
    criteria = {"reconstruction": effect.reconstruction.abs()} if decoder else {}
    site = pruning_site(model, layer) if is_prunable(model, layer) else None
    units, codes = len(effect.loss), features.extract(model, images, [layer])[layer]
    maps = codes.abs().reshape(len(images), units, -1)
    if site and not (decoder or exact):
        criteria["reconstruction"] = maps.norm(dim=2).mean(0) * _outgoing(model, site, units)
    criteria["loss"] = effect.loss.abs()
    criteria["activation"] = maps.mean((0, 2))
    if site:
        criteria["magnitude"] = weight_of(model.net, site.producer).flatten(1).norm(dim=1)
    return criteria


def _outgoing(model: Model, site: PruningSite, units: int) -> Float[Tensor, " units"]:
    """Return the norm of the weights by which the next layer reads each map."""
    weight = weight_of(model.net, site.consumer).unflatten(1, (units, -1))
    return weight.transpose(0, 1).flatten(1).norm(dim=1)


@dataclass(frozen=True)
class PruningCurves:
    """Accuracy and cost of a network while feature maps are removed.

    Attributes:
        by_layer: layer -> criterion -> result for each fraction of its maps removed.
        jointly: criterion -> result for each fraction, of all these layers; empty if maps cannot be
            removed.
    """

    by_layer: Mapping[str, Mapping[str, list[PruningResult]]]
    jointly: Mapping[str, list[PruningResult]]

    def gain(self, criterion: str, other: str) -> NamedValues:
        """Return how much more accurate networks are after pruning by one criterion.

        Args:
            criterion: the criterion to evaluate.
            other: the criterion to compare with.

        Returns:
            Layer -> mean difference over the fractions, positive if `criterion` is better; only for
            layers with both criteria.
        """
        return NamedValues(
            {
                layer: fmean(
                    a.accuracy - b.accuracy for a, b in zip(own[criterion], own[other], strict=True)
                )
                for layer, own in self.by_layer.items()
                if criterion in own and other in own
            }
        )


def pruning_curves(
    model: Model,
    ranked: Rankings,
    fractions: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> PruningCurves:
    """Remove ever more maps of each layer, and of all layers together, by each criterion.

    Args:
        model: the network.
        ranked: orders in which maps are removed.
        fractions: fractions of the maps to remove.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.
    """
    return PruningCurves(
        {
            label: {
                criterion: pruning_curve(
                    model, ranked.layers[label], own, fractions, images, classes
                )
                for criterion, own in orders.items()
            }
            for label, orders in ranked.orders.items()
        },
        prune_jointly(model, ranked, fractions, images, classes),
    )


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
    ranked: Rankings,
    fractions: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> dict[str, list[PruningResult]]:
    """Remove the same fraction of the maps of several layers at once.

    Args:
        model: the network.
        ranked: orders in which maps are removed.
        fractions: fractions of the maps to remove.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.

    Returns:
        Criterion -> result for each fraction, averaged over orders, for criteria that rank all
        layers; empty if the maps of a layer cannot be removed.
    """

    def remove(order: Mapping[str, Sequence[int]], fraction: float) -> PruningResult:
        small = prune_to_fraction(model, order, 1 - fraction)
        return evaluate_pruned(small, images, classes, fraction)

    return {
        criterion: _mean_accuracy(
            [
                [remove(order, fraction) for fraction in fractions]
                for order in ranked.joint_orders(criterion)
            ]
        )
        for criterion in ranked.joint_criteria(model)
    }

"""Pictures of concept vectors: what a network must be shown for a vector's units to answer.

A vector is learned on bits, [A_k > T_k]. Of activations it makes w_k A_k / T_k, which is as large
where a unit is at its threshold. Inversion with the inner product (Mahendran and Vedaldi 2016)
finds a picture that makes their sum over the units, in the middle of the map, as large as its prior
allows; units of negative weight are kept silent.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...core import Float, Images, InputError, features
from ...models import Model
from ..inversion import Recipe, invert, spectral
from .prepare import PreparedSet
from .segment import Probes

STEPS = 80
GRAY_STD = 0.01  # deviation of the pixels below which a picture shows nothing
CENTER_WIDTH = 1 / 6  # of the middle, as a deviation in shares of the map's side


def inversion_recipe(steps: int = STEPS, *, leak: float = 0.0) -> Recipe:
    """Return how vectors are inverted: as codes are, but more smoothly.

    The inner product can always grow, so that the prior must hold it.

    Args:
        steps: of the descent.
        leak: share of the gradient that passes silent ReLUs in the first tenth of the steps. It
            wakes the same units for every vector, so that pictures come out more alike.

    Source: this project, chosen by looking at objects and parts.
    """
    plain = spectral(
        steps,
        variation=20.0,
        variation_deeper=0.0,
        gray=1.0,
        gray_deeper=0.0,
        leak=leak,
        leaky_fraction=0.1,
    )
    return replace(plain, jitter=(0.5,), loss="inner")


def target_codes(data: PreparedSet, layer: str, probes: Probes) -> Float[Tensor, "rows units h w"]:
    """Return vectors as codes of a layer's maps, spread about the middle.

    A unit that hardly ever speaks has a threshold of nearly nothing and would outweigh all others:
    thresholds count as the layer's median at least.

    Args:
        data: knows the thresholds.
        layer: the layer.
        probes: a vector a row.
    """
    bits = data[layer]
    thresholds, shape = bits.thresholds, (bits.grid.rows.count, bits.grid.columns.count)
    scaled = probes.weights / thresholds.clamp(min=float(thresholds.median()))
    # At 1 stands the score of a picture that brings all units of positive weight to the threshold.
    size = probes.weights.clamp(min=0).sum(1) / scaled.square().sum(1).clamp(min=1e-12)
    return (size[:, None] * scaled)[:, :, None, None] * _center_weights(shape)


def largest_example(data: PreparedSet, concept: int) -> Float[Tensor, "3 h w"]:
    """Return the picture that shows a concept, by its column, largest.

    Raises:
        InputError: no picture shows it.
    """
    own = data.shown.concept == concept
    if not own.any():
        raise InputError(f"no picture shows {data.concepts[concept].name!r}")
    pair = data.shown.fraction.masked_fill(~own, -1).argmax()
    return data.data.batch([int(data.shown.picture[pair])])[0]


def recognizable_rows(
    judge: Model, data: PreparedSet, probes: Probes, first: Sequence[str]
) -> list[int]:
    """Return the rows of objects that another network has a class for, some names first.

    Args:
        judge: the other network.
        data: knows the concepts' names.
        probes: a vector a row.
        first: names whose rows come first.
    """
    told = [data.concepts[int(column)] for column in probes.concept]
    known = [
        row
        for row, concept in enumerate(told)
        if concept.category == "object" and concept.name in judge.card.classes
    ]
    return sorted(known, key=lambda row: told[row].name not in first)


def _center_weights(shape: tuple[int, int]) -> Float[Tensor, "h w"]:
    """1 in the middle of a map and falling off to all sides."""
    rows, columns = (
        torch.exp(-((torch.arange(n) - (n - 1) / 2) / (CENTER_WIDTH * n)).square() / 2)
        for n in shape
    )
    return rows[:, None] * columns


def invert_vectors(
    model: Model,
    data: PreparedSet,
    layer: str,
    probes: Probes,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Images:
    """Return a picture for each vector.

    A single unit may be silent on the noise all begins with, and then nothing tells where to go:
    pictures that stay gray are begun again with ReLUs that leak at first.

    Args:
        model: the network the vectors were learned on.
        data: pictures prepared with it.
        layer: the layer.
        probes: a vector a row.
        steps: of the descent.
        seed: of the noise it begins with, the same for every vector.

    Returns:
        (rows, 3, size, size) in [0, 1].

    Source: Fong and Vedaldi 2018 (concept vectors inverted); Mahendran and Vedaldi 2016.
    """
    side = model.card.input_size
    maps = features.extract(model, torch.full((1, 3, side, side), 0.5), [layer])[layer]
    wanted = target_codes(data, layer, probes).reshape(-1, *maps.shape[1:]).to(maps)
    found = invert(model, {layer: wanted}, recipe=inversion_recipe(steps), seed=seed)[layer]
    gray = found.flatten(1).std(1) < GRAY_STD
    if gray.any():
        leaking = inversion_recipe(steps, leak=0.1)
        found[gray] = invert(model, {layer: wanted[gray]}, recipe=leaking, seed=seed)[layer]
    return found.cpu()

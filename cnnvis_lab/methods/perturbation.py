"""Perturbation of codes: what survives of a picture, and of its class, when features are changed.

A layer's features are made coarser or poorer with their norm kept (`core.codes`), then inverted by
either method or passed on through the rest of the network. Maps whose absence neither spoils the
reconstruction nor costs accuracy can be removed for good (`methods.pruning`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..core import codes as changes
from ..core import exits, hooks, measures
from ..core.codes import CHANGES, Change, Codes
from ..core.errors import InputError, not_found
from ..core.shapes import Float, Images, Int
from ..models import Model
from ..models.generators import Generator
from .inversion import encode

__all__ = ["CHANGES", "MapWorth", "accuracy", "importance", "perturb", "rest", "worth_of_maps"]


def importance(
    model: Model, layer: str, images: Images, by: str = "magnitude", *, batch: int = 64
) -> Codes:
    """Return how much each entry of the pictures' codes matters.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures in [0, 1].
        by: "magnitude" |a|, or "gradient" |a * ds/da| with s the largest class score: what s would
            lose without the entry, to first order.
        batch: pictures a pass.
    """
    if by not in ("magnitude", "gradient"):
        raise InputError(f"importance by {by!r}: expected magnitude or gradient")
    codes = encode(model, [layer], images, batch=batch)[layer]
    if by == "magnitude":
        return codes.abs()
    parts = []
    for code, part in zip(codes.split(batch), images.split(batch), strict=True):
        leaf = code.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(_scores(model, layer, part, leaf).amax(1).sum(), leaf)
        parts.append((code * gradient).abs())
    return torch.cat(parts)


def perturb(
    model: Model,
    layer: str,
    images: Images,
    change: str | Change,
    *,
    by: str = "magnitude",
    seed: int = 0,
) -> Codes:
    """Return the pictures' codes, changed.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures in [0, 1].
        change: a name in `CHANGES`, or a function of (codes, importance, seed).
        by: importance, see there.
        seed: of what is drawn.

    Raises:
        NameNotFound: no such change or layer.

    Source: Dosovitskiy and Brox 2016; survey section 5, figure F10.
    """
    change = find(change)
    codes = encode(model, [layer], images)[layer]
    return change(codes, importance(model, layer, images, by), seed)


def find(change: str | Change) -> Change:
    """Return a change by its name in `CHANGES`, or the given one.

    Raises:
        NameNotFound: no change of that name.
    """
    if not isinstance(change, str):
        return change
    if change not in CHANGES:
        raise not_found("change", change, CHANGES)
    return CHANGES[change]


def dropping(share: float, order: str = "least", *, active: bool = False) -> Change:
    """Return a change that sets a share of the entries to zero.

    Args:
        share: 0 to 1.
        order: which ones: "least" or "most" important, or "random".
        active: count only entries that are not zero; see `core.codes.dropped`.
    """
    if order not in ("least", "most", "random"):
        raise InputError(f"order {order!r}: expected least, most or random")

    def change(codes: Codes, matters: Codes, seed: int) -> Codes:
        ranks = {"least": matters, "most": -matters}
        ranked = ranks[order] if order in ranks else changes.drawn(codes, seed)
        return changes.dropped(codes, ranked, share, active=active)

    return change


def quantising(bits: int) -> Change:
    """Return a change that rounds to 2^bits levels."""
    return lambda codes, matters, seed: changes.quantised(codes, bits)


def keeping_largest(count: int = 5, *, instead: bool = False) -> Change:
    """Return a change that keeps only the largest entries or, instead, all but them."""
    act = changes.without_largest if instead else changes.only_largest
    return lambda codes, matters, seed: act(codes, count)


def _scores(model: Model, layer: str, images: Float[Tensor, "m 3 h w"], codes: Codes) -> Tensor:
    with hooks.edit(model, {layer: lambda output: codes}):
        return model(images.to(model.mean.device)).flatten(1)


@torch.no_grad()
def rest(
    model: Model, layer: str, images: Images, codes: Codes, *, batch: int = 64
) -> Float[Tensor, "n classes"]:
    """Return the class scores that the rest of the network gives for codes.

    Args:
        model: the network.
        layer: whose codes they are.
        images: the pictures they come from; a network that is no chain reads more of them than
            the layer's output.
        codes: as the layer would give them.
        batch: pictures a pass.
    """
    # In a chain any one picture will do: what the layers before give is replaced.
    enough = 1 if exits.in_chain(model, layer) else batch
    pairs = zip(images.split(batch), codes.split(batch), strict=True)
    return torch.cat([_scores(model, layer, part[:enough], code) for part, code in pairs]).cpu()


def accuracy(scores: Float[Tensor, "n classes"], classes: Int[Tensor, " n"]) -> float:
    """Return the share of pictures whose class scores highest."""
    return float((scores.argmax(1) == classes).float().mean())


class MapWorth(NamedTuple):
    """What is lost without each map, (units,).

    Attributes:
        reconstruction: rise of the mean pixel distance between picture and reconstruction; NaN
            where no decoder was given.
        accuracy: fall of the share named right.
        loss: rise of the cross entropy, which tells more than the accuracy of few pictures.
    """

    reconstruction: Float[Tensor, " units"]
    accuracy: Float[Tensor, " units"]
    loss: Float[Tensor, " units"]


@torch.no_grad()
def worth_of_maps(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    decoder: Generator | None = None,
) -> MapWorth:
    """Take away each of a layer's maps, or units, by itself.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures in [0, 1].
        classes: their classes.
        decoder: draws pictures of this layer's codes.
    """
    codes = encode(model, [layer], images)[layer]
    whole = _losses(model, layer, images, classes, codes, decoder)
    rows = []
    for unit in range(codes.shape[1]):
        without = codes.clone()
        without[:, unit] = 0
        lost = _losses(model, layer, images, classes, without, decoder)
        rows.append([after - before for after, before in zip(lost, whole, strict=True)])
    return MapWorth(*torch.tensor(rows).unbind(1))


def _losses(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    codes: Codes,
    decoder: Generator | None,
) -> tuple[float, float, float]:
    scores = rest(model, layer, images, codes)
    pixels = float("nan") if decoder is None else float(missed(decoder, codes, images).mean())
    entropy = float(functional.cross_entropy(scores, classes))
    return pixels, 1 - accuracy(scores, classes), entropy


@torch.no_grad()
def missed(
    decoder: Generator, codes: Codes, images: Images, unit: float = 1.0, *, batch: int = 64
) -> Float[Tensor, " n"]:
    """Return how far what a decoder draws of codes is from the pictures.

    Args:
        decoder: of the layer.
        codes: one for each picture.
        images: the pictures.
        unit: see `core.measures.distance_unit`.
        batch: pictures a pass.
    """
    parts = zip(codes.split(batch), images.split(batch), strict=True)
    return torch.cat([measures.distance(decoder.draw(c).cpu(), x, unit) for c, x in parts])


def quietest(
    model: Model, layer: str, images: Images, *, batch: int = 64
) -> Float[Tensor, " units"]:
    """Return each map's mean magnitude over pictures, the usual measure for pruning."""
    codes = encode(model, [layer], images, batch=batch)[layer]
    return codes.abs().flatten(2).mean((0, 2)) if codes.ndim > 2 else codes.abs().mean(0)


def least_first(worth: Float[Tensor, " units"]) -> Sequence[int]:
    """Return the units, the one that matters least first."""
    return worth.argsort(stable=True).tolist()

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

from ...core import (
    Float,
    Images,
    InputError,
    Int,
    features,
    hooks,
    image_metrics,
    not_found,
    perturbations,
)
from ...models import Model, generators


def importance(
    model: Model, layer: str, images: Images, by: str = "magnitude", *, batch: int = 64
) -> perturbations.Codes:
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
    codes = features.extract(model, images, [layer], batch=batch)[layer]
    if by == "magnitude":
        return codes.abs()
    parts = []
    for code, part in zip(codes.split(batch), images.split(batch), strict=True):
        leaf = code.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(
                _scores_with_codes(model, layer, part, leaf).amax(1).sum(), leaf
            )
        parts.append((code * gradient).abs())
    return torch.cat(parts)


def perturb(
    model: Model,
    layer: str,
    images: Images,
    change: str | perturbations.Perturbation,
    *,
    by: str = "magnitude",
    seed: int = 0,
) -> perturbations.Codes:
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
    change = get_perturbation(change)
    codes = features.extract(model, images, [layer])[layer]
    return change(codes, importance(model, layer, images, by), seed)


def get_perturbation(change: str | perturbations.Perturbation) -> perturbations.Perturbation:
    """Return a change by its name in `CHANGES`, or the given one.

    Raises:
        NameNotFound: no change of that name.
    """
    if not isinstance(change, str):
        return change
    if change not in perturbations.PERTURBATIONS:
        raise not_found("change", change, perturbations.PERTURBATIONS)
    return perturbations.PERTURBATIONS[change]


def drop(share: float, order: str = "least", *, active: bool = False) -> perturbations.Perturbation:
    """Return a change that sets a share of the entries to zero.

    Args:
        share: 0 to 1.
        order: which ones: "least" or "most" important, or "random".
        active: count only entries that are not zero; see `core.codes.dropped`.
    """
    if order not in ("least", "most", "random"):
        raise InputError(f"order {order!r}: expected least, most or random")

    def change(
        codes: perturbations.Codes, matters: perturbations.Codes, seed: int
    ) -> perturbations.Codes:
        ranks = {"least": matters, "most": -matters}
        ranked = ranks[order] if order in ranks else perturbations.random_importance(codes, seed)
        return perturbations.drop(codes, ranked, share, active=active)

    return change


def quantize(bits: int) -> perturbations.Perturbation:
    """Return a change that rounds to 2^bits levels."""
    return lambda codes, matters, seed: perturbations.quantize(codes, bits)


def keep_top(count: int = 5, *, instead: bool = False) -> perturbations.Perturbation:
    """Return a change that keeps only the largest entries or, instead, all but them."""
    act = perturbations.remove_top if instead else perturbations.keep_top
    return lambda codes, matters, seed: act(codes, count)


def _scores_with_codes(
    model: Model, layer: str, images: Float[Tensor, "m 3 h w"], codes: perturbations.Codes
) -> Tensor:
    with hooks.edit(model, {layer: lambda output: codes}):
        return model(images.to(model.device)).flatten(1)


@torch.no_grad()
def forward_from(
    model: Model, layer: str, images: Images, codes: perturbations.Codes, *, batch: int = 64
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
    enough = 1 if model.is_sequential_from(layer) else batch
    pairs = zip(images.split(batch), codes.split(batch), strict=True)
    return torch.cat(
        [_scores_with_codes(model, layer, part[:enough], code) for part, code in pairs]
    ).cpu()


def accuracy(scores: Float[Tensor, "n classes"], classes: Int[Tensor, " n"]) -> float:
    """Return the share of pictures whose class scores highest."""
    return float((scores.argmax(1) == classes).float().mean())


class AblationEffect(NamedTuple):
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
def map_importance(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    decoder: generators.Generator | None = None,
) -> AblationEffect:
    """Take away each of a layer's maps, or units, by itself.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures in [0, 1].
        classes: their classes.
        decoder: draws pictures of this layer's codes.
    """
    codes = features.extract(model, images, [layer])[layer]
    whole = _errors_with_codes(model, layer, images, classes, codes, decoder)
    rows = []
    for unit in range(codes.shape[1]):
        without = codes.clone()
        without[:, unit] = 0
        lost = _errors_with_codes(model, layer, images, classes, without, decoder)
        rows.append([after - before for after, before in zip(lost, whole, strict=True)])
    return AblationEffect(*torch.tensor(rows).unbind(1))


def _errors_with_codes(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    codes: perturbations.Codes,
    decoder: generators.Generator | None,
) -> tuple[float, float, float]:
    scores = forward_from(model, layer, images, codes)
    pixels = (
        float("nan")
        if decoder is None
        else float(reconstruction_error(decoder, codes, images).mean())
    )
    entropy = float(functional.cross_entropy(scores, classes))
    return pixels, 1 - accuracy(scores, classes), entropy


@torch.no_grad()
def reconstruction_error(
    decoder: generators.Generator,
    codes: perturbations.Codes,
    images: Images,
    unit: float = 1.0,
    *,
    batch: int = 64,
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
    return torch.cat([image_metrics.distance(decoder.draw(c).cpu(), x, unit) for c, x in parts])


def mean_magnitude(
    model: Model, layer: str, images: Images, *, batch: int = 64
) -> Float[Tensor, " units"]:
    """Return each map's mean magnitude over pictures, the usual measure for pruning."""
    codes = features.extract(model, images, [layer], batch=batch)[layer]
    return codes.abs().flatten(2).mean((0, 2)) if codes.ndim > 2 else codes.abs().mean(0)


def argsort(worth: Float[Tensor, " units"]) -> Sequence[int]:
    """Return the units, the one that matters least first."""
    return worth.argsort(stable=True).tolist()

"""Perturb a layer's activations at constant norm and run the rest of the network on them."""

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
    choose,
    features,
    hooks,
    image_metrics,
    perturbations,
    with_gradients,
)
from ...core.perturbations import Codes, Perturbation
from ...models import Model
from ...models.generators import Generator


@with_gradients
def importance(
    model: Model, layer: str, images: Images, by: str = "magnitude", *, batch: int = 64
) -> Codes:
    """Return the importance of each activation of a layer.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        by: "magnitude", |a|; or "gradient", |a * ds/da| with s the highest class score, which is to
            first order the change of s without the activation.
        batch: images per forward pass.

    Returns:
        (n, units) or (n, units, h, w).

    Raises:
        InputError: `by` is another measure.
        NameNotFound: no such layer.
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
            top_scores = _scores_with_codes(model, layer, part, leaf).amax(1)
            (gradient,) = torch.autograd.grad(top_scores.sum(), leaf)
        parts.append((code * gradient).abs())
    return torch.cat(parts)


def perturb(
    model: Model,
    layer: str,
    images: Images,
    change: str | Perturbation,
    *,
    by: str = "magnitude",
    seed: int = 0,
) -> Codes:
    """Return a layer's activations after a perturbation that keeps their norm.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        change: a name in `core.perturbations.PERTURBATIONS`, or a function of
            (codes, importance, seed).
        by: measure of importance, see `importance`.
        seed: of random choices.

    Raises:
        NameNotFound: no such perturbation or layer.

    Source: Dosovitskiy and Brox 2016; survey section 5, figure F10.
    """
    change = choose("perturbation", change, perturbations.PERTURBATIONS)
    codes = features.extract(model, images, [layer])[layer]
    return change(codes, importance(model, layer, images, by), seed)


def drop(fraction: float, order: str = "least", *, active: bool = False) -> Perturbation:
    """Return a perturbation that sets a fraction of the activations to zero.

    Args:
        fraction: 0 to 1.
        order: which ones to drop: the "least" or "most" important, or "random" ones.
        active: take the fraction of the nonzero activations only; see `core.perturbations.drop`.

    Raises:
        InputError: `order` is another one.
    """
    if order not in ("least", "most", "random"):
        raise InputError(f"order {order!r}: expected least, most or random")

    def change(codes: Codes, importance: Codes, seed: int) -> Codes:
        if order == "random":
            importance = perturbations.random_importance(codes, seed)
        elif order == "most":
            importance = -importance
        return perturbations.drop(codes, importance, fraction, active=active)

    return change


def quantize(bits: int) -> Perturbation:
    """Return a perturbation that rounds to 2^bits levels."""
    return lambda codes, importance, seed: perturbations.quantize(codes, bits)


def keep_top(count: int = 5, *, invert: bool = False) -> Perturbation:
    """Return a perturbation that keeps the `count` largest activations, or removes only those."""
    act = perturbations.remove_top if invert else perturbations.keep_top
    return lambda codes, importance, seed: act(codes, count)


def _scores_with_codes(
    model: Model, layer: str, images: Float[Tensor, "m c h w"], codes: Codes
) -> Float[Tensor, "n classes"]:
    """Return scores with a layer's output replaced; a single image may serve for all codes."""
    with hooks.edit(model, {layer: lambda output: codes}):
        return model(images.to(model.device)).flatten(1)


@torch.no_grad()
def forward_from(
    model: Model, layer: str, images: Images, codes: Codes, *, batch: int = 64
) -> Float[Tensor, "n classes"]:
    """Return the class scores that the rest of the network computes from a layer's activations.

    Args:
        model: the network.
        layer: the layer whose output is replaced.
        images: the images of the activations; needed if later layers of a network that is not
            sequential read more than the layer's output.
        codes: the activations, as the layer would return them.
        batch: images per forward pass.
    """
    # In a sequential network one image suffices, because the layer's output is replaced for all.
    needed = 1 if model.is_sequential_from(layer) else batch
    pairs = zip(images.split(batch), codes.split(batch), strict=True)
    scores = [_scores_with_codes(model, layer, part[:needed], code) for part, code in pairs]
    return torch.cat(scores).cpu()


def accuracy(scores: Float[Tensor, "n classes"], classes: Int[Tensor, " n"]) -> float:
    """Return the fraction of images whose own class has the highest score."""
    return float((scores.argmax(1) == classes).float().mean())


class AblationEffect(NamedTuple):
    """The effect of setting each feature map, or unit, to zero.

    Attributes:
        reconstruction: (units,) increase of the mean pixel distance between images and
            reconstructions; NaN without a decoder.
        accuracy: (units,) decrease of the accuracy; NaN in estimates.
        loss: (units,) increase of the cross entropy, which is more sensitive than the accuracy if
            there are few images.
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
    decoder: Generator | None = None,
) -> AblationEffect:
    """Set each of a layer's feature maps, or units, to zero in turn, and measure the effect.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.
        decoder: decoder of the layer; None for no reconstruction error.
    """

    def measure(codes: Codes) -> Tensor:
        """Return reconstruction error, error rate and cross entropy."""
        scores = forward_from(model, layer, images, codes)
        pixels = float("nan")
        if decoder is not None:
            pixels = float(reconstruction_error(decoder, codes, images).mean())
        entropy = float(functional.cross_entropy(scores, classes))
        return torch.tensor([pixels, 1 - accuracy(scores, classes), entropy], dtype=torch.double)

    codes = features.extract(model, images, [layer])[layer]
    whole, rows = measure(codes), []
    for unit in range(codes.shape[1]):
        ablated = codes.clone()
        ablated[:, unit] = 0
        rows.append(measure(ablated) - whole)
    return AblationEffect(*torch.stack(rows).float().unbind(1))


@with_gradients
def estimate_importance(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    decoder: Generator | None = None,
    *,
    batch: int = 64,
) -> AblationEffect:
    """Estimate the absolute effect of setting each of a layer's feature maps, or units, to zero.

    Without a map, the error of an image changes to first order by the sum of activation times
    gradient over the map. One backward pass serves all maps; `map_importance` needs a forward pass
    for each.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.
        decoder: decoder of the layer; None for no reconstruction error.
        batch: images per pass.

    Returns:
        Means over images of the absolute changes.

    Source: Molchanov et al. 2017, Taylor expansion.
    """
    codes, parts = features.extract(model, images, [layer])[layer], []
    split = [every.split(batch) for every in (codes, images, classes)]
    for code, part, own in zip(*split, strict=True):
        leaf = code.clone().requires_grad_()
        scores = _scores_with_codes(model, layer, part, leaf)
        entropy = functional.cross_entropy(scores, own.to(scores.device), reduction="sum")
        unknown = torch.full(code.shape[:2], float("nan"), device=code.device)
        pixels = unknown
        if decoder is not None:
            distances = image_metrics.distance(decoder.draw(leaf), part.to(code.device), 1.0)
            pixels = _first_order_changes(distances.sum(), leaf)
        parts.append(torch.stack([pixels, unknown, _first_order_changes(entropy, leaf)]).cpu())
    return AblationEffect(*torch.cat(parts, 1).mean(1))


def _first_order_changes(total: Tensor, codes: Codes) -> Float[Tensor, "n units"]:
    """Return how much a sum over images would change without each map of each image."""
    (gradient,) = torch.autograd.grad(total, codes)
    return (codes * gradient).detach().reshape(*codes.shape[:2], -1).sum(2).abs()


@torch.no_grad()
def class_effects(
    model: Model, layer: str, images: Images, units: Sequence[int], *, batch: int = 64
) -> Float[Tensor, "chosen classes"]:
    """Set units to zero, one at a time, and return the mean change of every class score.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        units: indices of the units.
        batch: images per forward pass.

    Raises:
        NameNotFound: no such layer.
    """
    codes = features.extract(model, images, [layer], batch=batch)[layer]
    whole = forward_from(model, layer, images, codes, batch=batch)
    changes = torch.zeros(len(units), whole.shape[1])
    # An image on which a unit is zero everywhere has the same scores without it.
    pairs = codes[:, list(units)].ne(0).reshape(len(images), len(units), -1).any(2).nonzero()
    for part in pairs.split(batch) if len(pairs) else ():
        shown, rows = part.T
        ablated = codes[shown]
        ablated[torch.arange(len(part)), torch.as_tensor(units).to(rows)[rows]] = 0
        scores = forward_from(model, layer, images[shown.cpu()], ablated, batch=batch)
        changes.index_add_(0, rows.cpu(), scores - whole[shown.cpu()])
    return changes / max(len(images), 1)


@torch.no_grad()
def reconstruction_error(
    decoder: Generator, codes: Codes, images: Images, unit: float = 1.0, *, batch: int = 64
) -> Float[Tensor, " n"]:
    """Return the pixel distance between images and a decoder's reconstructions.

    Args:
        decoder: decoder of the layer.
        codes: (n, ...) activations, one for each image.
        images: (n, 3, size, size) in [0, 1].
        unit: distance that counts as 1, see `core.image_metrics.mean_pairwise_distance`.
        batch: images per pass.
    """
    parts = zip(codes.split(batch), images.split(batch), strict=True)
    return torch.cat([image_metrics.distance(decoder.draw(c).cpu(), x, unit) for c, x in parts])

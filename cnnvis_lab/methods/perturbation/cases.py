"""What one asks of perturbed codes: how much of the picture and of its class each change costs."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, Int, features, hooks, not_found, perturbations
from ...models import Model, generators, graph
from .perturb import (
    accuracy,
    drop,
    forward_from,
    get_perturbation,
    importance,
    reconstruction_error,
)


class Case(NamedTuple):
    """A change, by name or itself, and by what it judges importance: see `perturbation`."""

    change: str | perturbations.Perturbation
    by: str = "magnitude"


class Outcome(NamedTuple):
    """What a change leaves.

    Attributes:
        error: mean normalised pixel error of the decoder's pictures; NaN without a decoder.
        accuracy: share of pictures that the rest of the network names right.
    """

    error: float
    accuracy: float


_HALVES = ("dropout", "least", "most")
_ALL_ENTRIES = {"none": Case("none"), "binarised": Case("binarised")}
# The rows of F10 and three readings of its last three: which half is meant, important by what.
VARIANTS: dict[str, dict[str, Case]] = {
    "halves of all entries": _ALL_ENTRIES | {name: Case(name) for name in _HALVES},
    "halves of what fires": _ALL_ENTRIES | {name: Case(f"{name} active") for name in _HALVES},
    "of what fires, by gradient": _ALL_ENTRIES
    | {name: Case(f"{name} active", "gradient") for name in _HALVES},
}
# Which entries go first, in the order in which they should do harm.
ORDERS = {
    f"{order}, {by}" if by else order: (order, by)
    for order, by in (
        ("least", "gradient"),
        ("least", "magnitude"),
        ("random", ""),
        ("most", "magnitude"),
        ("most", "gradient"),
    )
}


def perturbed_layers(model: Model, words: Sequence[str] = ()) -> dict[str, str]:
    """Return label -> layer whose codes are changed, from the first layer to the class scores.

    Layers of the tour are taken behind their ReLU, and scores as they are: see `_rectified` and
    `_scoring`.

    Args:
        model: the network.
        words: labels of these, or any other layers; none for the network's tour.

    Raises:
        NameNotFound: no such layer.
    """
    trace = model.trace_calls()
    tour = {
        label: _after_relu(model, layer, trace) for label, layer in model.default_layers().items()
    }
    end = [*tour][-1]
    scores = trace.score_layer()
    if hooks.resolve(model, tour[end]) != hooks.resolve(model, scores):
        tour[end] = scores
    for word in words:
        hooks.resolve(model, tour.get(word, word))
    return {word: tour.get(word, word) for word in words or tour}


def _after_relu(model: Model, layer: str, trace: graph.CallTrace) -> str:
    if (after := model.after_relu(layer)) != layer:
        return after
    name = hooks.resolve(model, layer).removeprefix("net.")
    after = trace.relu_after(name)
    return layer if after == name else after


def predicted_classes(model: Model, images: Images) -> Int[Tensor, " n"]:
    """Return the classes a network gives pictures whose own are not known."""
    return features.predict(model, images).argmax(1)


def outcomes(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    cases: Collection[Case],
    painter: generators.Generator | None = None,
    *,
    unit: float = 1.0,
    seed: int = 0,
) -> dict[Case, Outcome]:
    """Change the pictures' codes and see what their decoder and the rest of the network say.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures in [0, 1].
        classes: their classes.
        cases: what is done; the same one twice costs nothing.
        painter: decoder of the layer.
        unit: of the error, see `core.measures.distance_unit`.
        seed: of what is drawn.
    """
    found: dict[Case, Outcome] = {}
    for case, changed in _perturb_each(model, layer, images, cases, seed):
        told = forward_from(model, layer, images, changed)
        error = float("nan")
        if painter is not None:
            error = float(reconstruction_error(painter, changed, images, unit).mean())
        found[case] = Outcome(error, accuracy(told, classes))
    return found


def _perturb_each(
    model: Model, layer: str, images: Images, cases: Collection[Case], seed: int
) -> Iterator[tuple[Case, perturbations.Codes]]:
    """Go through different cases with the codes as each leaves them."""
    codes = features.extract(model, images, [layer])[layer]
    matters = {
        by: importance(model, layer, images, by) for by in dict.fromkeys(case.by for case in cases)
    }
    for case in dict.fromkeys(cases):
        yield case, get_perturbation(case.change)(codes, matters[case.by], seed)


def perturbed_codes(
    model: Model, layer: str, images: Images, cases: Collection[Case], *, seed: int = 0
) -> Float[Tensor, "cases n ..."]:
    """Return the pictures' codes after each of some different changes; see `outcomes`."""
    return torch.stack([codes for _, codes in _perturb_each(model, layer, images, cases, seed)])


def dropping_cases(shares: Sequence[float]) -> dict[str, list[Case]]:
    """Return the cases of dropping ever more of what fires, in each of `ORDERS`."""
    return {
        name: [
            Case(drop(share, order, active=True), by or "magnitude") if share else Case("none")
            for share in shares
        ]
        for name, (order, by) in ORDERS.items()
    }


class Exactness(NamedTuple):
    """How far changed codes are from what their definitions say; 0 is exact.

    Attributes:
        norm: largest relative change of a norm; where nothing is left there is none.
        signs: entries whose sign binarisation changed.
        zeros: largest deviation of a dropout's count from half of the entries that fire.
    """

    norm: float
    signs: int
    zeros: int


def exactness(codes: perturbations.Codes, seed: int = 0) -> Exactness:
    """Measure the definitions of `core.codes` on a layer's codes."""
    wanted, fires, norm = perturbations.norms(codes).flatten(), codes != 0, 0.0
    for change in perturbations.PERTURBATIONS.values():
        size = perturbations.norms(change(codes, codes.abs(), seed)).flatten()
        off = ((size - wanted).abs() / wanted.clamp(min=1e-12))[size > 0]
        norm = max([norm, *off.tolist()])
    half = perturbations.PERTURBATIONS["dropout active"](codes, codes.abs(), seed)
    gone = (fires & (half == 0)).flatten(1).sum(1)
    off = (gone - (0.5 * fires.flatten(1).sum(1)).round()).abs().max()
    signs = (perturbations.binarize(codes).sign() != codes.sign()).sum()
    return Exactness(norm, int(signs), int(off))


def variant_cases(name: str) -> dict[str, Case]:
    """Return the cases of F10 in one reading of its halves.

    Raises:
        NameNotFound: none of `VARIANTS`.
    """
    if name not in VARIANTS:
        raise not_found("variant", name, VARIANTS)
    return VARIANTS[name]

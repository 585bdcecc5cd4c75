"""The perturbations of survey figure F10 as cases, and the error and accuracy after each one."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, Int, choose, features, hooks, perturbations
from ...core.perturbations import Codes, Perturbation
from ...models import Model, graph
from ...models.generators import Generator
from .perturb import accuracy, drop, forward_from, importance, reconstruction_error


class Case(NamedTuple):
    """A perturbation, and its measure of the importance of activations.

    Attributes:
        change: a name in `core.perturbations.PERTURBATIONS`, or a function.
        by: measure of importance, see `importance`.
    """

    change: str | Perturbation
    by: str = "magnitude"


class Outcome(NamedTuple):
    """Reconstruction error and accuracy after a perturbation.

    Attributes:
        error: mean normalized pixel error of the decoder's reconstructions; NaN without a decoder.
        accuracy: fraction of images that the rest of the network classifies correctly.
    """

    error: float
    accuracy: float


Outcomes = dict[Case, Outcome]

_HALVES = ("dropout", "least", "most")
_COMMON = {"none": Case("none"), "binarised": Case("binarised")}
# The rows of F10. The last three can be read in three ways: half of all or of the active entries,
# and importance by magnitude or by gradient.
VARIANTS: dict[str, dict[str, Case]] = {
    "halves of all entries": _COMMON | {name: Case(name) for name in _HALVES},
    "halves of what fires": _COMMON | {name: Case(f"{name} active") for name in _HALVES},
    "of what fires, by gradient": _COMMON
    | {name: Case(f"{name} active", "gradient") for name in _HALVES},
}
# Orders of dropping, with their measures of importance, from the least to the most damaging.
ORDERS = {
    "least, gradient": ("least", "gradient"),
    "least, magnitude": ("least", "magnitude"),
    "random": ("random", ""),
    "most, magnitude": ("most", "magnitude"),
    "most, gradient": ("most", "gradient"),
}


def perturbed_layers(model: Model, labels: Sequence[str] = ()) -> dict[str, str]:
    """Return label -> layer to perturb, from the first layer to the class scores.

    Default layers are taken after their ReLU. The last one is the layer of the class scores, with
    one number per class.

    Args:
        model: the network.
        labels: labels of default layers, or names of other layers; empty for all default layers.

    Raises:
        NameNotFound: no such layer.
    """
    trace = model.trace_calls()
    layers = {
        label: _after_relu(model, layer, trace) for label, layer in model.default_layers().items()
    }
    last, scores = [*layers][-1], trace.score_layer()
    if hooks.resolve(model, layers[last]) != hooks.resolve(model, scores):
        layers[last] = scores
    for label in labels:
        hooks.resolve(model, layers.get(label, label))
    return {label: layers.get(label, label) for label in labels or layers}


def _after_relu(model: Model, layer: str, trace: graph.CallTrace) -> str:
    if (after := model.after_relu(layer)) != layer:
        return after
    name = hooks.resolve(model, layer).removeprefix("net.")
    after = trace.relu_after(name)
    return layer if after == name else after


def outcomes(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    cases: Collection[Case],
    decoder: Generator | None = None,
    *,
    unit: float = 1.0,
    seed: int = 0,
) -> Outcomes:
    """Perturb a layer's activations; measure reconstruction error and accuracy.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) class indices of the images.
        cases: the perturbations; repeated ones are evaluated once.
        decoder: decoder of the layer; None for no reconstruction error.
        unit: unit of the error, see `core.image_metrics.mean_pairwise_distance`.
        seed: of random choices.
    """
    results: Outcomes = {}
    for case, codes in _perturb_each(model, layer, images, cases, seed):
        scores, error = forward_from(model, layer, images, codes), float("nan")
        if decoder is not None:
            error = float(reconstruction_error(decoder, codes, images, unit).mean())
        results[case] = Outcome(error, accuracy(scores, classes))
    return results


def _perturb_each(
    model: Model, layer: str, images: Images, cases: Collection[Case], seed: int
) -> Iterator[tuple[Case, Codes]]:
    """Yield (case, perturbed activations) for each distinct case."""
    codes = features.extract(model, images, [layer])[layer]
    importances = {
        by: importance(model, layer, images, by) for by in dict.fromkeys(case.by for case in cases)
    }
    for case in dict.fromkeys(cases):
        change = choose("perturbation", case.change, perturbations.PERTURBATIONS)
        yield case, change(codes, importances[case.by], seed)


def perturbed_codes(
    model: Model, layer: str, images: Images, cases: Collection[Case], *, seed: int = 0
) -> Float[Tensor, "cases n ..."]:
    """Return a layer's activations after each of some perturbations.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        cases: the perturbations.
        seed: of random choices.
    """
    return torch.stack([codes for _, codes in _perturb_each(model, layer, images, cases, seed)])


def dropping_cases(fractions: Sequence[float]) -> dict[str, list[Case]]:
    """Return, for each of `ORDERS`, one case per fraction of the activations to drop."""
    return {
        name: [
            Case(drop(fraction, order, active=True), by or "magnitude")
            if fraction
            else Case("none")
            for fraction in fractions
        ]
        for name, (order, by) in ORDERS.items()
    }


class Exactness(NamedTuple):
    """Deviation of perturbed activations from the definitions; 0 is exact.

    Attributes:
        norm: largest relative change of a norm, except that of codes that become all zero.
        signs: number of signs changed by binarization.
        zeros: largest difference between the number of activations that dropout removes and half
            of the active ones.
    """

    norm: float
    signs: int
    zeros: int


def exactness(codes: Codes, seed: int = 0) -> Exactness:
    """Measure how exactly `core.perturbations` follows its definitions on a layer's activations.

    Args:
        codes: (n, ...) activations.
        seed: of random choices.
    """
    norms, largest = perturbations.norms(codes).flatten(), 0.0
    for change in perturbations.PERTURBATIONS.values():
        after = perturbations.norms(change(codes, codes.abs(), seed)).flatten()
        deviations = ((after - norms).abs() / norms.clamp(min=1e-12))[after > 0]
        largest = max([largest, *deviations.tolist()])
    half, active = (
        perturbations.PERTURBATIONS["dropout active"](codes, codes.abs(), seed),
        codes != 0,
    )
    removed = (active & (half == 0)).flatten(1).sum(1)
    zeros = (removed - (0.5 * active.flatten(1).sum(1)).round()).abs().max()
    signs = (perturbations.binarize(codes).sign() != codes.sign()).sum()
    return Exactness(largest, int(signs), int(zeros))

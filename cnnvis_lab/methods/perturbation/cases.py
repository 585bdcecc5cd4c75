"""The perturbations of survey figure F10 as cases, and the layers that are perturbed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, Int, choose, features, hooks, perturbations
from ...core.perturbations import Codes, Perturbation
from ...data import scenes
from ...models import Model, decoders, graph, trained
from ...models.generators import Generator
from .perturb import drop, importance, keep_top, quantize
from .pruning import WEIGHTED_LAYERS, is_prunable


class Case(NamedTuple):
    """A perturbation, and its measure of the importance of activations.

    Attributes:
        change: a name in `core.perturbations.PERTURBATIONS`, or a function.
        by: measure of importance, see `importance`.
    """

    change: str | Perturbation
    by: str = "magnitude"


# Cases by name. The halves are of all or of the active (nonzero) units, and the importance of an
# activation is its magnitude or its magnitude times its gradient.
VARIANTS: dict[str, dict[str, Case]] = {
    title: {
        "unperturbed": Case("none"),
        "binarized": Case("binarized"),
        "random 50 % dropped": Case(f"dropout{active}"),
        "smallest 50 % dropped": Case(f"least{active}", by),
        "largest 50 % dropped": Case(f"most{active}", by),
    }
    for title, active, by in (
        ("all units", "", "magnitude"),
        ("active units", " active", "magnitude"),
        ("active units, by gradient", " active", "gradient"),
    )
}
# Orders of dropping, with their measures of importance, from the least to the most damaging.
ORDERS = {
    "smallest, by gradient": ("least", "gradient"),
    "smallest, by magnitude": ("least", "magnitude"),
    "random": ("random", ""),
    "largest, by magnitude": ("most", "magnitude"),
    "largest, by gradient": ("most", "gradient"),
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


def example_layers(model: Model, survey: Sequence[str]) -> dict[str, str]:
    """Return label -> layer for a few layers to perturb; see `perturbed_layers`.

    Args:
        model: the network.
        survey: labels of the survey; for a network without them, the two layers before the class
            scores are chosen.
    """
    default = [*perturbed_layers(model)]
    return perturbed_layers(model, survey if model.survey_layers else default[-3:-1])


def every_nth(layers: Mapping[str, str], step: int, kept: Collection[str] = ()) -> dict[str, str]:
    """Return every n-th of some layers, from the middle of each n of them, and those to keep.

    Args:
        layers: label -> layer.
        step: n.
        kept: layers to keep, such as those with a decoder.
    """
    chosen = [*layers][step // 2 :: step] or layers
    return {label: layer for label, layer in layers.items() if label in chosen or layer in kept}


def prunable_layers(model: Model) -> dict[str, str]:
    """Return label -> layer for all layers whose maps, or units, can be removed.

    Layers are taken after their ReLU, under the survey's labels if there are any. There are none if
    the network is not sequential.
    """
    trace = model.trace_calls()
    labels = {hooks.resolve(model, layer): label for label, layer in model.default_layers().items()}
    layers = {}
    for call in trace.calls:
        if isinstance(call.module, WEIGHTED_LAYERS) and is_prunable(model, call.name, trace):
            label = labels.get(f"net.{call.name}", call.name)
            layers[label] = _after_relu(model, label, trace)
    return layers


def score_layer(model: Model) -> dict[str, str]:
    """Return label -> layer of the class scores."""
    return dict([*perturbed_layers(model).items()][-1:])


def layers_and_decoders(
    model: Model, labels: Sequence[str] = (), source: str | Path = ""
) -> tuple[dict[str, str], dict[str, Generator], dict[str, Generator]]:
    """Return the layers to perturb, and their decoders.

    Args:
        model: the network.
        labels: see `perturbed_layers`; if empty, the layers of the decoders are added.
        source: file or folder of decoders of unperturbed activations, see `trained.decoders_of`;
            empty for the shipped decoders. Only shipped ones were trained on perturbed activations.

    Returns:
        Label -> layer, layer -> decoder of unperturbed and layer -> decoder of perturbed
        activations.

    Raises:
        NameNotFound: no such layer.
        FileError: there is no such file or folder, or a file is damaged.
        InputError: no decoder in it is of this network.
    """
    layers = perturbed_layers(model, labels)
    if not source:
        return layers, decoders.decoders_for(model), decoders.decoders_for(model, "_perturbed")
    found = trained.decoders_of(model, source)
    layers = layers if labels else trained.add_layers(model, layers, found)
    return layers, trained.by_layer(model, found, layers.values()), {}


def reference_classes(model: Model, images: Images, *, synthetic: bool) -> Int[Tensor, " n"]:
    """Return the classes to which predictions are compared.

    Args:
        model: the network.
        images: (n, 3, size, size) in [0, 1].
        synthetic: the images are the first synthetic scenes, whose classes are known if the network
            has the same classes. Otherwise the network's own predictions are returned.
    """
    if synthetic and model.card.classes == tuple(scenes.CLASS_NAMES):
        return torch.arange(len(images)) % len(scenes.CLASS_NAMES)
    return features.predict(model, images).argmax(1)


def _after_relu(model: Model, layer: str, trace: graph.CallTrace) -> str:
    if (after := model.after_relu(layer)) != layer:
        return after
    name = hooks.resolve(model, layer).removeprefix("net.")
    after = trace.relu_after(name)
    return layer if after == name else after


def perturb_each(
    model: Model, layer: str, images: Images, cases: Collection[Case], seed: int
) -> Iterator[tuple[Case, Codes]]:
    """Perturb a layer's activations in several ways.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        cases: the perturbations; repeated ones are yielded once.
        seed: of random choices.

    Yields:
        A case, and the perturbed activations.
    """
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
    return torch.stack([codes for _, codes in perturb_each(model, layer, images, cases, seed)])


def dropping_cases(fractions: Sequence[float]) -> dict[tuple[str, float], Case]:
    """Return (order, fraction) -> case that drops this fraction of the active units.

    Args:
        fractions: 0 to 1, for each of `ORDERS`.
    """
    return {
        (name, fraction): Case(drop(fraction, order, active=True), by or "magnitude")
        if fraction
        else Case("none")
        for name, (order, by) in ORDERS.items()
        for fraction in fractions
    }


def quantization_cases(bits: Sequence[int]) -> dict[int, Case]:
    """Return number of bits -> case that quantizes to so many bits."""
    return {count: Case(quantize(count)) for count in bits}


def score_cases(model: Model, count: int = 5) -> dict[str, Case]:
    """Return cases that keep all class scores, the largest ones only, and the others only.

    Args:
        model: the network.
        count: number of largest scores; fewer if the network has no more classes.

    Source: Dosovitskiy and Brox 2016, who keep the five largest probabilities.
    """
    count = min(count, len(model.card.classes) - 1)
    return {
        "all scores": Case("none"),
        f"{count} largest": Case(keep_top(count)),
        "the others": Case(keep_top(count, invert=True)),
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


def exactness(codes: Mapping[str, Codes], *, seed: int = 0) -> Exactness:
    """Measure how exactly `core.perturbations` follows its definitions on layers' activations.

    Args:
        codes: layer -> (n, ...) activations.
        seed: of random choices.

    Returns:
        The largest deviations of all layers, and the sum of the changed signs.
    """
    norms, signs, zeros = zip(*(_exactness(own, seed) for own in codes.values()), strict=True)
    return Exactness(max(norms), sum(signs), max(zeros))


def _exactness(codes: Codes, seed: int) -> Exactness:
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

"""What one asks of perturbed codes: how much of the picture and of its class each change costs."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..core import codes as changes
from ..core import hooks
from ..core.codes import Change, Codes
from ..core.errors import not_found
from ..core.shapes import Float, Images, Int
from ..models import Model
from ..models.generators import Generator
from . import perturbation
from .inversion_found import encode, scores


class Case(NamedTuple):
    """A change, by name or itself, and by what it judges importance: see `perturbation`."""

    change: str | Change
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
_WHOLE = {"none": Case("none"), "binarised": Case("binarised")}
# The rows of F10 and three readings of its last three: which half is meant, important by what.
VARIANTS: dict[str, dict[str, Case]] = {
    "halves of all entries": _WHOLE | {name: Case(name) for name in _HALVES},
    "halves of what fires": _WHOLE | {name: Case(f"{name} active") for name in _HALVES},
    "of what fires, by gradient": _WHOLE
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


def places(model: Model, words: Sequence[str] = ()) -> dict[str, str]:
    """Return label -> layer whose codes are changed, from the first layer to the class scores.

    Layers of the tour are taken behind their ReLU, and scores as they are: see `_rectified` and
    `_scoring`.

    Args:
        model: the network.
        words: labels of these, or any other layers; none for the network's tour.

    Raises:
        NameNotFound: no such layer.
    """
    calls, last = _calls(model)
    tour = {word: _rectified(model, layer, calls) for word, layer in model.tour().items()}
    end = [*tour][-1]
    told = _scoring(calls, last)
    if hooks.resolve(model, tour[end]) != hooks.resolve(model, told):
        tour[end] = told
    for word in words:
        hooks.resolve(model, tour.get(word, word))
    return {word: tour.get(word, word) for word in words or tour}


class _Call(NamedTuple):
    """One run of a module: its name, itself, its first input and its output."""

    name: str
    module: nn.Module
    given: object
    output: object


@torch.no_grad()
def _calls(model: Model) -> tuple[list[_Call], Tensor]:
    """Run the network on noise; return what each module did, in order of ending, and the scores."""
    calls: list[_Call] = []

    def noted(name: str) -> object:
        return lambda module, inputs, output: calls.append(_Call(name, module, inputs[0], output))

    named = [(name, module) for name, module in model.net.named_modules() if name]
    handles = [module.register_forward_hook(noted(name)) for name, module in named]
    try:
        size, drawn = model.card.input_size, torch.Generator().manual_seed(0)
        return calls, model(torch.rand(1, 3, size, size, generator=drawn).to(model.mean.device))
    finally:
        for handle in handles:
            handle.remove()


def _rectified(model: Model, layer: str, calls: Sequence[_Call]) -> str:
    """Return the ReLU that reads a layer, perhaps normalised; the layer if it is followed by none.

    A ReLU that runs several times in a pass stands for none.
    """
    if (after := model.after_relu(layer)) != layer:
        return after
    names = [call.name for call in calls]
    name = hooks.resolve(model, layer).removeprefix("net.")
    while names.count(name) == 1:
        output = calls[names.index(name)].output
        reader = next((call for call in calls if call.given is output), None)
        if reader and isinstance(reader.module, nn.ReLU) and names.count(reader.name) == 1:
            return reader.name
        if not (reader and isinstance(reader.module, _BatchNorm)):
            break
        name = reader.name
    return layer


def _scoring(calls: Sequence[_Call], last: Tensor) -> str:
    """Return the first layer that gives the class scores as they are: one number a class.

    That may lie behind the "logits" layer, whose maps of the classes are then averaged over places.
    """
    told = last.flatten()
    alike = (
        call.name
        for call in calls
        if isinstance(call.output, Tensor) and torch.equal(call.output.flatten(), told)
    )
    return next(alike, "logits")


def answers(model: Model, images: Images) -> Int[Tensor, " n"]:
    """Return the classes a network gives pictures whose own are not known."""
    return scores(model, images).argmax(1)


def outcomes(
    model: Model,
    layer: str,
    images: Images,
    classes: Int[Tensor, " n"],
    cases: Collection[Case],
    painter: Generator | None = None,
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
    for case, changed in _each(model, layer, images, cases, seed):
        told = perturbation.rest(model, layer, images, changed)
        error = float("nan")
        if painter is not None:
            error = float(perturbation.missed(painter, changed, images, unit).mean())
        found[case] = Outcome(error, perturbation.accuracy(told, classes))
    return found


def _each(
    model: Model, layer: str, images: Images, cases: Collection[Case], seed: int
) -> Iterator[tuple[Case, Codes]]:
    """Go through different cases with the codes as each leaves them."""
    codes = encode(model, [layer], images)[layer]
    matters = {
        by: perturbation.importance(model, layer, images, by)
        for by in dict.fromkeys(case.by for case in cases)
    }
    for case in dict.fromkeys(cases):
        yield case, perturbation.find(case.change)(codes, matters[case.by], seed)


def changed_codes(
    model: Model, layer: str, images: Images, cases: Collection[Case], *, seed: int = 0
) -> Float[Tensor, "cases n ..."]:
    """Return the pictures' codes after each of some different changes; see `outcomes`."""
    return torch.stack([codes for _, codes in _each(model, layer, images, cases, seed)])


def dropped(shares: Sequence[float]) -> dict[str, list[Case]]:
    """Return the cases of dropping ever more of what fires, in each of `ORDERS`."""
    return {
        name: [
            Case(perturbation.dropping(share, order, active=True), by or "magnitude")
            if share
            else Case("none")
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


def exactness(codes: Codes, seed: int = 0) -> Exactness:
    """Measure the definitions of `core.codes` on a layer's codes."""
    wanted, fires, norm = changes.norms(codes).flatten(), codes != 0, 0.0
    for change in changes.CHANGES.values():
        size = changes.norms(change(codes, codes.abs(), seed)).flatten()
        off = ((size - wanted).abs() / wanted.clamp(min=1e-12))[size > 0]
        norm = max([norm, *off.tolist()])
    half = changes.CHANGES["dropout active"](codes, codes.abs(), seed)
    gone = (fires & (half == 0)).flatten(1).sum(1)
    off = (gone - (0.5 * fires.flatten(1).sum(1)).round()).abs().max()
    signs = (changes.binarised(codes).sign() != codes.sign()).sum()
    return Exactness(norm, int(signs), int(off))


def reading(name: str) -> dict[str, Case]:
    """Return the cases of F10 in one reading of its halves.

    Raises:
        NameNotFound: none of `VARIANTS`.
    """
    if name not in VARIANTS:
        raise not_found("variant", name, VARIANTS)
    return VARIANTS[name]

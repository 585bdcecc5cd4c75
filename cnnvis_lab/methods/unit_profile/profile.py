"""All that is told of one unit: by ascent, through a generator, on pictures, over training.

`one_unit` has what pictures tell; here are the two ascents, and all of it put together.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ... import models
from ...core import Float, InputError, hooks, receptive_field
from ...core.optimization import StepCallback, objectives
from ...data import Subset
from ...models import Model, generators
from .. import activation_maximization, deep_generator
from . import history
from .history import TrainingHistory, UnitSnapshot
from .layer import (
    ConceptFit,
    ConceptWeight,
    LayerAnalysis,
    Unavailable,
    analyze_layer,
    check_unit,
    unit_counts,
)
from .top_images import TopImages, top_images

GENERATOR = "generator_FL1"
CODE_IMAGES = 400  # pictures whose codes say how far codes may go
IMAGE_COUNT, CONCEPT_COUNT = 8, 6  # told of a unit
OnProgress = Callable[[int, int], None]


class Rendered(NamedTuple):
    """A picture (3, r, c) that was made to excite a unit, and what the unit answers to it."""

    picture: Float[Tensor, "3 r c"]
    activation: float


class BoundedGenerator(NamedTuple):
    """A generator, and how far its codes may go."""

    generator: generators.Generator
    limits: deep_generator.CodeBounds


@dataclass(frozen=True)
class UnitProfile:
    """What all methods tell of one unit.

    Attributes:
        network: the network's name.
        layer: as the caller wrote it.
        unit: from 0.
        units: number of the layer's units.
        class_name: of a unit that scores a class; empty for others.
        field: (rows, columns) of pixels it sees; None where that cannot be told.
        kernel: (3, h, w) of a unit of the first convolution; None for others.
        fires: share of the pictures in which it is above zero.
        drawn: by activation maximization.
        generated: by the same through a generator.
        strongest: its strongest pictures, masks and projections.
        concepts: those it fits best.
        detects: whether the fit to the first of them makes it a detector.
        shares: the concepts whose vectors use it most.
        life: its moments over a training.
        source: what training that is.
    """

    network: str
    layer: str
    unit: int
    units: int
    class_name: str
    field: receptive_field.Pair | None
    kernel: Float[Tensor, "3 h w"] | None
    fires: float
    drawn: Rendered | Unavailable
    generated: Rendered | Unavailable
    strongest: TopImages
    concepts: tuple[ConceptFit, ...] | Unavailable
    detects: bool
    shares: tuple[ConceptWeight, ...] | Unavailable
    life: tuple[UnitSnapshot, ...] | Unavailable
    source: str

    def __str__(self) -> str:
        """One line."""
        name = f"{self.network} {self.layer}:{self.unit}"
        if isinstance(self.concepts, Unavailable):
            return f"{name}: {self.concepts.why}"
        best = self.concepts[0]
        if best.iou == 0:
            return f"{name} fits no concept"
        does = "detects" if self.detects else "detects nothing; it fits best"
        return f"{name} {does} {best.concept} ({best.category}), IoU {best.iou:.3f}"


def resolve_unit(model: Model, target: str) -> tuple[str, int]:
    """Split "layer:unit", and check that there is such a unit.

    Raises:
        InputError: not of that form, or the unit is out of range.
        NameNotFound: no such layer.
    """
    layer, unit = objectives.parse_target(target)
    check_unit(layer, unit, unit_counts(model, [layer])[layer])
    return layer, unit


def profile(
    model: Model,
    target: str,
    data: object,
    *,
    painter: BoundedGenerator | Unavailable,
    training: TrainingHistory | Unavailable,
    steps: int | None = None,
    on_progress: OnProgress | None = None,
) -> UnitProfile:
    """Tell all of one unit.

    Args:
        model: the network.
        target: "layer:unit".
        data: a data set; concepts need one with label maps.
        painter: from `painter_for`.
        training: from `unit_life.begun` or `unit_life.recorded`.
        steps: of both ascents; None for what each takes by itself.
        on_progress: called with (parts told, in all).

    Raises:
        InputError: no such unit.
        NameNotFound: no such layer.
    """
    layer, unit = resolve_unit(model, target)
    say = on_progress or (lambda done, of: None)
    known = analyze_layer(model, layer, data, top=IMAGE_COUNT)
    say(1, 4)
    drawn = maximize_activation(model, target, steps=steps)
    say(2, 4)
    made = maximize_with_generator(model, target, painter, steps=steps)
    say(3, 4)
    moments = training
    if isinstance(training, TrainingHistory):
        watched = history.track(model, training, known)
        moments = tuple(history.unit_history(watched, unit, best_concept_name(known, unit)))
    say(4, 4)
    return assemble(model, known, unit, drawn, made, moments, getattr(training, "source", ""))


def best_concept_name(known: LayerAnalysis, unit: int) -> str:
    """Return the name of the concept a unit fits best; empty where there is none."""
    fits = known.fits(unit, 1)
    return "" if isinstance(fits, Unavailable) else fits[0].concept


def assemble(
    model: Model,
    known: LayerAnalysis,
    unit: int,
    drawn: Rendered | Unavailable,
    made: Rendered | Unavailable,
    moments: tuple[UnitSnapshot, ...] | Unavailable,
    source: str,
) -> UnitProfile:
    """Put what was found by itself together with what is known of the unit's layer."""
    known.check(unit)
    fits, table = known.fits(unit, CONCEPT_COUNT), known.table
    detects = not isinstance(fits, Unavailable) and bool(table.detected(table.iou[unit].max()))
    return UnitProfile(
        network=model.card.name,
        layer=known.layer,
        unit=unit,
        units=len(known),
        class_name=unit_class(model, known.layer, unit),
        field=_receptive_field_size(model, known.layer),
        kernel=first_layer_kernel(model, known.layer, unit),
        fires=float(known.fires[unit]),
        drawn=drawn,
        generated=made,
        strongest=top_images(model, known, unit, IMAGE_COUNT),
        concepts=fits,
        detects=detects,
        shares=known.shares(unit, CONCEPT_COUNT),
        life=moments,
        source=source,
    )


def unit_class(model: Model, layer: str, unit: int) -> str:
    """Return the class that a unit scores; empty for other units."""
    scores = hooks.resolve(model, layer) == model.layer_aliases["logits"]
    return model.card.classes[unit] if scores and unit < len(model.card.classes) else ""


def _receptive_field_size(model: Model, layer: str) -> receptive_field.Pair | None:
    with suppress(InputError):
        return receptive_field.receptive_fields(model, [layer], model.card.input_size)[layer].size
    return None


def first_layer_kernel(model: Model, layer: str, unit: int) -> Tensor | None:
    """Return the kernel (3, h, w) of a unit of the first convolution; None for other units."""
    with suppress(InputError):
        if hooks.resolve(model, layer) == hooks.resolve(model, model.first_conv()):
            return model.kernels()[unit].cpu()
    return None


def maximize_activation(
    model: Model,
    target: str,
    *,
    steps: int | None = None,
    on_step: StepCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendered | Unavailable:
    """Draw what excites a unit most, cut to what it sees; why not, where no gradient reaches."""
    try:
        found = activation_maximization.render(
            model, [target], steps=steps, on_step=on_step, should_stop=should_stop
        )
    except InputError as error:
        return Unavailable(str(error))
    return Rendered(found.patches[0].cpu(), float(found.activations[0]))


def generator_for(
    model: Model, data: object, *, weights: str = ""
) -> BoundedGenerator | Unavailable:
    """Return a generator that draws the world a network knows; why not, where there is none.

    Args:
        model: the network.
        data: pictures, whose codes set the bounds.
        weights: of the generator; those shipped by default.
    """
    if model.card.name not in models.shipped():
        return Unavailable("no generator is at hand that draws the pictures this network knows")
    drawer = generators.load(GENERATOR, weights=weights)
    own = model.card.name == drawer.spec.encoder and model.card.accuracy is not None
    encoder = model if own else models.load(drawer.spec.encoder)
    some = Subset(data, range(min(CODE_IMAGES, len(data))))
    drawer = drawer.to(model.device)
    return BoundedGenerator(
        drawer, deep_generator.fit_bounds(deep_generator.encode(encoder, drawer, some.batches(50)))
    )


def maximize_with_generator(
    model: Model,
    target: str,
    painter: BoundedGenerator | Unavailable,
    *,
    steps: int | None = None,
    on_step: StepCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendered | Unavailable:
    """Draw what excites a unit most through a generator; why not, where there is none."""
    if isinstance(painter, Unavailable):
        return painter
    knobs = {"steps": steps or deep_generator.STEPS, "on_step": on_step, "should_stop": should_stop}
    try:
        found = deep_generator.render(model, painter.generator, [target], painter.limits, **knobs)
    except InputError as error:
        return Unavailable(str(error))
    return Rendered(found.images[0].cpu(), float(found.activations[0]))

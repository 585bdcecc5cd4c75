"""All that is told of one unit: by ascent, through a generator, on pictures, over training.

`one_unit` has what pictures tell; here are the two ascents, and all of it put together.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from .. import models
from ..core import hooks
from ..core.errors import InputError
from ..core.objectives import parse_target
from ..core.optimize import Look
from ..core.receptive import Pair, receptive_fields
from ..core.shapes import Float
from ..models import Model, generators
from ..models.generators import Generator
from . import activation_maximization as am
from . import deep_generator as dgn
from . import unit_life
from .one_unit import Absent, Fit, Known, Part, Share, check_unit, know, units_of
from .unit_life import Moment, Training
from .unit_pictures import Strongest, strongest

GENERATOR = "generator_FL1"
CODES = 400  # pictures whose codes say how far codes may go
PICTURES, CONCEPTS = 8, 6  # told of a unit
Progress = Callable[[int, int], None]


class Drawn(NamedTuple):
    """A picture (3, r, c) that was made to excite a unit, and what the unit answers to it."""

    picture: Float[Tensor, "3 r c"]
    activation: float


class Painter(NamedTuple):
    """A generator, and how far its codes may go."""

    generator: Generator
    limits: dgn.Bounds


@dataclass(frozen=True)
class Story:
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
    field: Pair | None
    kernel: Float[Tensor, "3 h w"] | None
    fires: float
    drawn: Drawn | Absent
    generated: Drawn | Absent
    strongest: Strongest
    concepts: tuple[Fit, ...] | Absent
    detects: bool
    shares: tuple[Share, ...] | Absent
    life: tuple[Moment, ...] | Absent
    source: str

    def __str__(self) -> str:
        """One line."""
        name = f"{self.network} {self.layer}:{self.unit}"
        if isinstance(self.concepts, Absent):
            return f"{name}: {self.concepts.why}"
        best = self.concepts[0]
        if best.iou == 0:
            return f"{name} fits no concept"
        does = "detects" if self.detects else "detects nothing; it fits best"
        return f"{name} {does} {best.concept} ({best.category}), IoU {best.iou:.3f}"


def target_of(model: Model, target: str) -> tuple[str, int]:
    """Split "layer:unit", and check that there is such a unit.

    Raises:
        InputError: not of that form, or the unit is out of range.
        NameNotFound: no such layer.
    """
    layer, unit = parse_target(target)
    check_unit(layer, unit, units_of(model, [layer])[layer])
    return layer, unit


def tell(
    model: Model,
    target: str,
    data: object,
    *,
    painter: Painter | Absent,
    training: Training | Absent,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Story:
    """Tell all of one unit.

    Args:
        model: the network.
        target: "layer:unit".
        data: a data set; concepts need one with label maps.
        painter: from `painter_for`.
        training: from `unit_life.begun` or `unit_life.recorded`.
        steps: of both ascents; None for what each takes by itself.
        progress: called with (parts told, in all).

    Raises:
        InputError: no such unit.
        NameNotFound: no such layer.
    """
    layer, unit = target_of(model, target)
    say = progress or (lambda done, of: None)
    known = know(model, layer, data, top=PICTURES)
    say(1, 4)
    drawn = excited(model, target, steps=steps)
    say(2, 4)
    made = generated(model, target, painter, steps=steps)
    say(3, 4)
    moments = training
    if isinstance(training, Training):
        watched = unit_life.watch(model, training, known)
        moments = tuple(unit_life.life(watched, unit, best_of(known, unit)))
    say(4, 4)
    return gathered(model, known, unit, drawn, made, moments, getattr(training, "source", ""))


def best_of(known: Known, unit: int) -> str:
    """Return the name of the concept a unit fits best; empty where there is none."""
    fits = known.fits(unit, 1)
    return "" if isinstance(fits, Absent) else fits[0].concept


def gathered(
    model: Model,
    known: Known,
    unit: int,
    drawn: Drawn | Absent,
    made: Drawn | Absent,
    moments: tuple[Moment, ...] | Absent,
    source: str,
) -> Story:
    """Put what was found by itself together with what is known of the unit's layer."""
    known.check(unit)
    fits, table = known.fits(unit, CONCEPTS), known.table
    detects = not isinstance(fits, Absent) and bool(table.detected(table.iou[unit].max()))
    return Story(
        network=model.card.name,
        layer=known.layer,
        unit=unit,
        units=len(known),
        class_name=class_of(model, known.layer, unit),
        field=_field(model, known.layer),
        kernel=kernel_of(model, known.layer, unit),
        fires=float(known.fires[unit]),
        drawn=drawn,
        generated=made,
        strongest=strongest(model, known, unit, PICTURES),
        concepts=fits,
        detects=detects,
        shares=known.shares(unit, CONCEPTS),
        life=moments,
        source=source,
    )


def class_of(model: Model, layer: str, unit: int) -> str:
    """Return the class that a unit scores; empty for other units."""
    scores = hooks.resolve(model, layer) == model.layer_aliases["logits"]
    return model.card.classes[unit] if scores and unit < len(model.card.classes) else ""


def _field(model: Model, layer: str) -> Pair | None:
    with suppress(InputError):
        return receptive_fields(model, [layer], model.card.input_size)[layer].size
    return None


def kernel_of(model: Model, layer: str, unit: int) -> Tensor | None:
    """Return the kernel (3, h, w) of a unit of the first convolution; None for other units."""
    with suppress(InputError):
        if hooks.resolve(model, layer) == hooks.resolve(model, model.first_conv()):
            return model.kernels()[unit].cpu()
    return None


def excited(
    model: Model,
    target: str,
    *,
    steps: int | None = None,
    look: Look | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Drawn | Absent:
    """Draw what excites a unit most, cut to what it sees; why not, where no gradient reaches."""
    try:
        found = am.render(model, [target], steps=steps, look=look, should_stop=should_stop)
    except InputError as error:
        return Absent(str(error))
    return Drawn(found.patches[0].cpu(), float(found.activations[0]))


def painter_for(model: Model, data: object, *, weights: str = "") -> Painter | Absent:
    """Return a generator that draws the world a network knows; why not, where there is none.

    Args:
        model: the network.
        data: pictures, whose codes set the bounds.
        weights: of the generator; those shipped by default.
    """
    if model.card.name not in models.shipped():
        return Absent("no generator is at hand that draws the pictures this network knows")
    drawer = generators.load(GENERATOR, weights=weights)
    own = model.card.name == drawer.spec.encoder and model.card.accuracy is not None
    encoder = model if own else models.load(drawer.spec.encoder)
    some = Part(data, range(min(CODES, len(data))))
    drawer = drawer.to(model.mean.device)
    return Painter(drawer, dgn.bounds(dgn.encode(encoder, drawer, some.batches(50))))


def generated(
    model: Model,
    target: str,
    painter: Painter | Absent,
    *,
    steps: int | None = None,
    look: Look | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Drawn | Absent:
    """Draw what excites a unit most through a generator; why not, where there is none."""
    if isinstance(painter, Absent):
        return painter
    knobs = {"steps": steps or dgn.STEPS, "look": look, "should_stop": should_stop}
    try:
        found = dgn.render(model, painter.generator, [target], painter.limits, **knobs)
    except InputError as error:
        return Absent(str(error))
    return Drawn(found.images[0].cpu(), float(found.activations[0]))

"""The explorer of one unit by all methods; what is at hand comes first, what takes time after."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from ...core.shapes import Float
from ...methods import one_unit, unit_life, unit_pictures, unit_story
from ...methods.one_unit import Absent, Known
from ...methods.unit_life import Moment, Training, Watched
from ...methods.unit_pictures import Strongest
from ...methods.unit_story import Drawn, Painter
from ...models import Model
from .. import figures
from ..concept_figures import masked
from ..explore import Explorer, View
from ..requests import Job, guarded, remembered
from ..tiles import Tile
from . import controls
from .ascent import STEPS

BESIDE, CELL = 6, 150  # pictures in a row, and their side
BEYOND = 0.3  # how bright a picture is where the unit is not active


class _Found(NamedTuple):
    """What is on show of a unit; None of what is still to come."""

    known: Known
    strongest: Strongest
    drawn: Drawn | Absent | None = None
    made: Drawn | Absent | None = None
    life: Sequence[Moment] | Absent | None = None


class OneUnit(Explorer):
    """Any unit of any layer: ascents, strongest pictures, concepts, vectors, life over training.

    A layer is gone through when it is first asked for; its other units then come at once.

    Args:
        model: the network.
        data: a data set; concepts need one with label maps.
        layers: to choose among; the network's tour by default.
        layer: which to begin with; the last with maps, or the first.
        unit: which to begin with.
        training: of which units show their life; both ends of a shipped network's by default.
        steps: of both ascents.
    """

    title = "What is there to know of this unit?"
    alt = "Pictures made for a unit, its strongest pictures, what in them excites it, and its life."
    slow = True

    def __init__(
        self,
        model: Model,
        data: object,
        layers: Sequence[str] = (),
        *,
        layer: str = "",
        unit: int = 0,
        training: Training | None = None,
        steps: int = 96,
    ) -> None:
        self.data, self.training = data, training or unit_life.begun(model)
        self._painter: dict[str, Painter | Absent] = {}
        self._known: dict[str, Known] = {}
        self._watched: dict[str, list[Watched]] = {}
        self._made: dict[tuple, Drawn | Absent] = {}
        guarded(model)
        offered = list(dict.fromkeys([*(layers or model.tour()), *filter(None, [layer])]))
        units = one_unit.units_of(model, offered)
        maps = [name for name in offered if name.startswith("CL")]
        choose, one = controls.layer_and_unit(units, layer or (maps or offered)[-1], unit)
        moved = {
            "layer": choose,
            "unit": one,
            "steps": controls.slider("steps", controls.with_value(STEPS, steps), steps),
            "life": controls.switch("its life", True),
        }
        super().__init__(model, moved)

    def idle(self, settings: Mapping[str, object]) -> set[str]:
        """Return the switch of its life where no training is known."""
        return {"life"} if isinstance(self.training, Absent) else set()

    def draw(self, job: Job, layer: str, unit: int, steps: int, life: bool) -> View:
        """Show what is known of the unit, then draw for it, then look at its past."""
        known = remembered(
            self._known, layer, lambda: one_unit.know(job.model, layer, self.data, top=BESIDE)
        )
        # Projections take longer than all else that is known.
        first = _Found(known, unit_pictures.strongest(job.model, known, unit, BESIDE, rules=()))
        job.show(lambda: self._view(first, unit, "drawing ..."))
        found = _Found(known, unit_pictures.strongest(job.model, known, unit, BESIDE))
        job.show(lambda: self._view(found, unit, "drawing ..."))
        for part, count in (("drawn", 1), ("made", 2)):
            if not job.ending():
                found = found._replace(**{part: self._drawn_for(job, part, found, unit, steps)})
                job.progress(count, 3)
                job.show(lambda shown=found: self._view(shown, unit, "drawing ..."))
        if life and not job.ending():
            found = found._replace(life=self._life(job, known, unit))
        return self._view(found, unit)

    def _drawn_for(
        self, job: Job, part: str, found: _Found, unit: int, steps: int
    ) -> Drawn | Absent:
        """One of the two ascents, from memory where it was made before."""
        target, key = f"{found.known.layer}:{unit}", (part, found.known.layer, unit, steps)
        if key in self._made:
            return self._made[key]
        knobs = {"steps": steps, "should_stop": job.ending}
        if part == "drawn":
            made = unit_story.excited(job.model, target, **knobs)
        else:
            painter = remembered(
                self._painter, "", lambda: unit_story.painter_for(self.model, self.data)
            )
            made = unit_story.generated(job.model, target, painter, **knobs)
        return made if job.ending() else remembered(self._made, key, lambda: made, 64)

    def _life(self, job: Job, known: Known, unit: int) -> Sequence[Moment] | Absent:
        if isinstance(self.training, Absent):
            return self.training
        watched = remembered(
            self._watched,
            known.layer,
            lambda: unit_life.watch(job.model, self.training, known),
        )
        return unit_life.life(watched, unit, unit_story.best_of(known, unit))

    def _view(self, found: _Found, unit: int, more: str = "") -> View:
        lived = [] if found.life is None or isinstance(found.life, Absent) else found.life
        few = len(lived) < 3  # such a life has room beside the ascents
        beside = [tile for one in lived if few for tile in _moment(one)]
        rows = [
            [*_kernel(self.model, found.known.layer, unit), *_ascents(found), *beside],
            _pictures(found.strongest),
            *_projections(found.strongest),
        ]
        if not few:
            rows += map(list, zip(*map(_moment, lived[-BESIDE:]), strict=True))
        return View(list(filter(None, rows)), _told(self.model, found, unit, more), CELL)


def _kernel(model: Model, layer: str, unit: int) -> list[Tile]:
    kernel = unit_story.kernel_of(model, layer, unit)
    return [] if kernel is None else [Tile(figures.kernels(kernel[None])[0], "kernel")]


def _ascents(found: _Found) -> list[Tile]:
    pairs = (("what excites it most", found.drawn), ("by a generator", found.made))
    return [
        Tile(part.picture, f"{words}\nanswers {part.activation:.1f}")
        for words, part in pairs
        if isinstance(part, Drawn)
    ]


def _pictures(top: Strongest) -> list[Tile]:
    plain = isinstance(top.masks, Absent)
    return [
        Tile(
            picture if plain else masked(picture, top.masks[n], BEYOND),
            f"answers {float(top.activations[n]):.1f}",
        )
        for n, picture in enumerate(top.pictures)
    ]


def _projections(top: Strongest) -> list[list[Tile]]:
    if isinstance(top.projections, Absent):
        return []
    return [_row(drawn, rule) for rule, drawn in top.projections.items()]


def _row(drawn: Float[Tensor, "k 3 r c"], words: str) -> list[Tile]:
    tiles = [Tile(picture) for picture in figures.projections(drawn)]
    return [tiles[0]._replace(words=words), *tiles[1:]]


def _moment(one: Moment) -> list[Tile]:
    """Its strongest picture at a step, and the projection."""
    fits = one.best and one.best.iou > 0
    best = f"\nfits {one.best.concept} {one.best.iou:.2f}" if fits else ""
    tiles = [Tile(one.patches[0], f"step {one.step}")]
    if isinstance(one.projections, Absent):
        return tiles
    back = figures.projections(one.projections[:1])[0]
    return [*tiles, Tile(back, f"answers {one.activation:.1f}{best}")]


def _told(model: Model, found: _Found, unit: int, more: str) -> str:
    known = found.known
    name = unit_story.class_of(model, known.layer, unit)
    words = [f"{known.layer}:{unit}{f', {name},' if name else ''} fires in {known.fires[unit]:.0%}"]
    fits, shares = known.fits(unit, 3), known.shares(unit, 4)
    if isinstance(fits, Absent):
        words.append(fits.why)
    else:
        some = [f"{one.concept} {one.iou:.2f}" for one in fits if one.iou > 0]
        words.append("fits " + (", ".join(some) or "no concept"))
    if isinstance(shares, Absent):
        words.append(shares.why)
    else:
        used = ", ".join(f"{one.concept} {one.weight:.2f}" for one in shares)
        words.append(f"weighs most in the vectors of {used}")
    missing = (found.drawn, found.made, found.strongest.projections, found.life)
    words += [part.why for part in missing if isinstance(part, Absent)]
    return "; ".join([*dict.fromkeys(words), *filter(None, [more])])

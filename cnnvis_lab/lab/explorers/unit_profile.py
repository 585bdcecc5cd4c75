"""The explorer of one unit by all methods; what is at hand comes first, what takes time after."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from ...core import Float
from ...methods import unit_profile
from ...methods.unit_profile import (
    BoundedGenerator,
    LayerAnalysis,
    Rendered,
    TopImages,
    TrackedUnits,
    TrainingHistory,
    Unavailable,
    UnitSnapshot,
)
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .controls import STEP_CHOICES
from .worker import Request, cached, isolated_copy

COLUMNS, CELL = 6, 150  # pictures in a row, and their side
OUTSIDE_BRIGHTNESS = 0.3  # how bright a picture is where the unit is not active


class _PartialProfile(NamedTuple):
    """What is on show of a unit; None of what is still to come."""

    known: LayerAnalysis
    strongest: TopImages
    drawn: Rendered | Unavailable | None = None
    made: Rendered | Unavailable | None = None
    life: Sequence[UnitSnapshot] | Unavailable | None = None


class UnitProfile(Explorer):
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
        training: TrainingHistory | None = None,
        steps: int = 96,
    ) -> None:
        self.data, self.training = data, training or unit_profile.shipped_history(model)
        self._painter: dict[str, BoundedGenerator | Unavailable] = {}
        self._known: dict[str, LayerAnalysis] = {}
        self._watched: dict[str, list[TrackedUnits]] = {}
        self._made: dict[tuple, Rendered | Unavailable] = {}
        isolated_copy(model)
        offered = list(dict.fromkeys([*(layers or model.default_layers()), *filter(None, [layer])]))
        units = unit_profile.unit_counts(model, offered)
        maps = [name for name in offered if name.startswith("CL")]
        choose, one = controls.layer_and_unit(units, layer or (maps or offered)[-1], unit)
        moved = {
            "layer": choose,
            "unit": one,
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
            "life": controls.switch("its life", True),
        }
        super().__init__(model, moved)

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """Return the switch of its life where no training is known."""
        return {"life"} if isinstance(self.training, Unavailable) else set()

    def draw(self, request: Request, layer: str, unit: int, steps: int, life: bool) -> View:
        """Show what is known of the unit, then draw for it, then look at its past."""
        known = cached(
            self._known,
            layer,
            lambda: unit_profile.analyze_layer(request.model, layer, self.data, top=COLUMNS),
        )
        # Projections take longer than all else that is known.
        first = _PartialProfile(
            known, unit_profile.top_images(request.model, known, unit, COLUMNS, rules=())
        )
        request.preview(lambda: self._view(first, unit, "drawing ..."))
        found = _PartialProfile(known, unit_profile.top_images(request.model, known, unit, COLUMNS))
        request.preview(lambda: self._view(found, unit, "drawing ..."))
        for part, count in (("drawn", 1), ("made", 2)):
            if not request.should_stop():
                found = found._replace(**{part: self._drawn_for(request, part, found, unit, steps)})
                request.progress(count, 3)
                request.preview(lambda shown=found: self._view(shown, unit, "drawing ..."))
        if life and not request.should_stop():
            found = found._replace(life=self._life(request, known, unit))
        return self._view(found, unit)

    def _drawn_for(
        self, request: Request, part: str, found: _PartialProfile, unit: int, steps: int
    ) -> Rendered | Unavailable:
        """One of the two ascents, from memory where it was made before."""
        target, key = f"{found.known.layer}:{unit}", (part, found.known.layer, unit, steps)
        if key in self._made:
            return self._made[key]
        knobs = {"steps": steps, "should_stop": request.should_stop}
        if part == "drawn":
            made = unit_profile.maximize_activation(request.model, target, **knobs)
        else:
            painter = cached(
                self._painter, "", lambda: unit_profile.generator_for(self.model, self.data)
            )
            made = unit_profile.maximize_with_generator(request.model, target, painter, **knobs)
        return made if request.should_stop() else cached(self._made, key, lambda: made, 64)

    def _life(
        self, request: Request, known: LayerAnalysis, unit: int
    ) -> Sequence[UnitSnapshot] | Unavailable:
        if isinstance(self.training, Unavailable):
            return self.training
        watched = cached(
            self._watched,
            known.layer,
            lambda: unit_profile.track(request.model, self.training, known),
        )
        return unit_profile.unit_history(watched, unit, unit_profile.best_concept_name(known, unit))

    def _view(self, found: _PartialProfile, unit: int, more: str = "") -> View:
        lived = [] if found.life is None or isinstance(found.life, Unavailable) else found.life
        few = len(lived) < 3  # such a life has room beside the ascents
        beside = [tile for one in lived if few for tile in _snapshot_tiles(one)]
        rows = [
            [
                *_kernel_tiles(self.model, found.known.layer, unit),
                *_optimized_tiles(found),
                *beside,
            ],
            _image_tiles(found.strongest),
            *_projection_rows(found.strongest),
        ]
        if not few:
            rows += map(list, zip(*map(_snapshot_tiles, lived[-COLUMNS:]), strict=True))
        return View(list(filter(None, rows)), _status_text(self.model, found, unit, more), CELL)


def _kernel_tiles(model: Model, layer: str, unit: int) -> list[Tile]:
    kernel = unit_profile.first_layer_kernel(model, layer, unit)
    return [] if kernel is None else [Tile(figures.normalize_kernels(kernel[None])[0], "kernel")]


def _optimized_tiles(found: _PartialProfile) -> list[Tile]:
    pairs = (("what excites it most", found.drawn), ("by a generator", found.made))
    return [
        Tile(part.picture, f"{words}\nanswers {part.activation:.1f}")
        for words, part in pairs
        if isinstance(part, Rendered)
    ]


def _image_tiles(top: TopImages) -> list[Tile]:
    plain = isinstance(top.masks, Unavailable)
    return [
        Tile(
            picture
            if plain
            else figures.concepts.masked_image(picture, top.masks[n], OUTSIDE_BRIGHTNESS),
            f"answers {float(top.activations[n]):.1f}",
        )
        for n, picture in enumerate(top.pictures)
    ]


def _projection_rows(top: TopImages) -> list[list[Tile]]:
    if isinstance(top.projections, Unavailable):
        return []
    return [_labeled_row(drawn, rule) for rule, drawn in top.projections.items()]


def _labeled_row(drawn: Float[Tensor, "k 3 r c"], words: str) -> list[Tile]:
    tiles = [Tile(picture) for picture in figures.normalize_projections(drawn)]
    return [tiles[0]._replace(caption=words), *tiles[1:]]


def _snapshot_tiles(one: UnitSnapshot) -> list[Tile]:
    """Its strongest picture at a step, and the projection."""
    fits = one.best and one.best.iou > 0
    best = f"\nfits {one.best.concept} {one.best.iou:.2f}" if fits else ""
    tiles = [Tile(one.patches[0], f"step {one.step}")]
    if isinstance(one.projections, Unavailable):
        return tiles
    back = figures.normalize_projections(one.projections[:1])[0]
    return [*tiles, Tile(back, f"answers {one.activation:.1f}{best}")]


def _status_text(model: Model, found: _PartialProfile, unit: int, more: str) -> str:
    known = found.known
    name = unit_profile.unit_class(model, known.layer, unit)
    words = [f"{known.layer}:{unit}{f', {name},' if name else ''} fires in {known.fires[unit]:.0%}"]
    fits, shares = known.fits(unit, 3), known.shares(unit, 4)
    if isinstance(fits, Unavailable):
        words.append(fits.why)
    else:
        some = [f"{one.concept} {one.iou:.2f}" for one in fits if one.iou > 0]
        words.append("fits " + (", ".join(some) or "no concept"))
    if isinstance(shares, Unavailable):
        words.append(shares.why)
    else:
        used = ", ".join(f"{one.concept} {one.weight:.2f}" for one in shares)
        words.append(f"weighs most in the vectors of {used}")
    missing = (found.drawn, found.made, found.strongest.projections, found.life)
    words += [part.why for part in missing if isinstance(part, Unavailable)]
    return "; ".join([*dict.fromkeys(words), *filter(None, [more])])

"""Explorer for the unit profile; parts that take longer appear as they are computed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from torch import Tensor

from ...core import Float
from ...data import ImageSet, LabelledSet
from ...methods import unit_profile
from ...methods.dissection import RunOptions
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
from ..figures.concepts import masked_image
from . import controls, networks
from .base import Explorer, View
from .board import CAPTION_WIDTH, PENDING
from .units import Ranking, UnitGrid, first_shown, units_of
from .worker import Request, Stopped, cached, isolated_copy

COLUMNS, CELL = 6, 90
RULES = ("deconvnet", "guided")


class _PartialProfile(NamedTuple):
    """The parts of a profile that are shown; None for those not computed yet."""

    activity: Tile
    analysis: LayerAnalysis | None = None
    top: TopImages | None = None
    maximized: Rendered | Unavailable | None = None
    generated: Rendered | Unavailable | None = None
    history: Sequence[UnitSnapshot] | Unavailable | None = None


class UnitProfile(Explorer):
    """The profile of any unit of any layer, by all methods.

    A layer is analyzed at its first request; its other units are then shown at once.

    Args:
        model: the network.
        data: the dataset; concepts need label maps.
        layers: choices; the network's default layers by default.
        layer: initial layer; by default the last of them that is a convolution.
        unit: initial unit.
        history: a recorded training of the network; by default that of a shipped network.
        steps: of both optimizations.
        atlas: folder of an atlas of the network; by default that of `cnnvis atlas`, if any.
    """

    title = "What do all methods show about this unit?"
    alt = "Images optimized for a unit, its top-activating images and their projections, and its "
    alt += "training history."
    imports = ("from cnnvis_lab import models", "from cnnvis_lab.methods import unit_profile")
    slow = True

    def __init__(
        self,
        model: Model,
        data: ImageSet | LabelledSet,
        layers: Sequence[str] = (),
        *,
        layer: str = "",
        unit: int = 0,
        history: TrainingHistory | None = None,
        steps: int = 96,
        atlas: str | Path = "",
    ) -> None:
        self.data, self.history = data, history or unit_profile.shipped_history(model)
        self._generators: dict[str, BoundedGenerator | Unavailable] = {}
        self._analyses: dict[str, LayerAnalysis] = {}
        self._tracked: dict[str, list[TrackedUnits]] = {}
        self._rendered: dict[tuple, Rendered | Unavailable] = {}
        isolated_copy(model)
        units = units_of(model, layers, layer)
        layer = layer or first_shown(model, list(units))
        grid = UnitGrid(units, layer, unit, known=self._known, atlas=atlas, rows=1)
        widgets = {
            "steps": controls.steps(steps),
            "history": controls.switch("training history", True),
        }
        super().__init__(model, widgets, controls.ImageChoice(model, data), grid)

    def for_network(self, model: Model) -> "UnitProfile":
        """Return this panel for another network."""
        steps = self.controls["steps"].value
        return UnitProfile(model, networks.adapt(self.data, model), steps=steps)

    def _known(self, layer: str) -> Ranking | None:
        analysis = self._analyses.get(layer)
        return Ranking(analysis.images, analysis.top) if analysis else None

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """Return the switch for the training history if there is none."""
        return {"history"} if isinstance(self.history, Unavailable) else set()

    def draw(
        self, request: Request, layer: str, unit: int, steps: int, history: bool, image: str
    ) -> View:
        """Show the parts of the profile as they are computed.

        Args:
            request: the request that is being computed.
            layer: dotted name or alias of the layer; its first unit takes longer than the others.
            unit: index of the unit; also chosen in the grid, by click or arrow keys.
            steps: number of steps of both optimizations.
            history: whether to show how the unit developed in the training.
            image: image on which the unit's activity is shown, and the network's prediction.
        """
        model = request.model
        activity = self.activity.tile(model, layer, unit, image, self.chosen[image])
        shown = _PartialProfile(activity)
        for shown in self._parts(request, activity, layer, unit, steps):
            if request.should_stop():
                return self._view(shown, layer, unit)
            request.preview(lambda: self._view(shown, layer, unit, PENDING))  # noqa: B023 - at once
        if history and shown.analysis:
            shown = shown._replace(history=self._history(model, shown.analysis, unit))
        return self._view(shown, layer, unit)

    def _parts(
        self, request: Request, activity: Tile, layer: str, unit: int, steps: int
    ) -> Iterator[_PartialProfile]:
        """Yield what is shown with one more part each time, the quick ones first."""
        model, target, shown = request.model, f"{layer}:{unit}", _PartialProfile(activity)
        options = {"steps": steps, "should_stop": request.should_stop}
        if layer not in self._analyses:
            yield shown
        run = RunOptions(on_progress=request.progress_or_stop)
        try:
            analysis = cached(
                self._analyses,
                layer,
                lambda: unit_profile.analyze_layer(model, layer, self.data, top=COLUMNS, run=run),
            )
        except Stopped:
            return
        for rules in ((), RULES):  # projections take longer than the rest
            top = unit_profile.top_images(model, analysis, unit, COLUMNS, rules=rules)
            shown = shown._replace(analysis=analysis, top=top)
            yield shown
        image = cached(
            self._rendered,
            ("maximized", target, steps),
            lambda: unit_profile.maximize_activation(model, target, **options),
            request,
        )
        request.progress(1, 3)
        shown = shown._replace(maximized=image)
        yield shown
        generator = cached(
            self._generators, "", lambda: unit_profile.generator_for(model, self.data)
        )
        image = cached(
            self._rendered,
            ("generated", target, steps),
            lambda: unit_profile.maximize_with_generator(model, target, generator, **options),
            request,
        )
        request.progress(2, 3)
        yield shown._replace(generated=image)

    def _data_code(self) -> str:
        """Return the adaptation of the dataset."""
        return networks.ADAPT

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the call that profiles the unit."""
        history = "unit_profile.shipped_history(model)"
        lines = ["generator = unit_profile.generator_for(model, dataset)", f"history = {history}"]
        options = f"generator=generator, history=history, steps={at.steps}"
        call = f'unit_profile.profile(model, "{at.layer}:{at.unit}", dataset, {options})'
        return "\n".join([*lines, f"result = {call}"])

    def _history(
        self, model: Model, analysis: LayerAnalysis, unit: int
    ) -> Sequence[UnitSnapshot] | Unavailable:
        history = self.history
        if isinstance(history, Unavailable):
            return history
        tracked = cached(
            self._tracked, analysis.layer, lambda: unit_profile.track(model, history, analysis)
        )
        concept = unit_profile.best_concept_name(analysis, unit)
        return unit_profile.unit_history(tracked, unit, concept)

    def _view(self, shown: _PartialProfile, layer: str, unit: int, status: str = "") -> View:
        snapshots = shown.history
        if snapshots is None or isinstance(snapshots, Unavailable):
            snapshots = []
        kernel = _kernel_tiles(self.model, layer, unit)
        first_row = [shown.activity, *kernel, *_optimized_tiles(shown)]
        rows = [first_row]
        if shown.top:
            rows += [_image_tiles(shown.top), *_projection_rows(shown.top)]
        history = [_snapshot_tiles(snapshot) for snapshot in snapshots[-COLUMNS:]]
        if len(history) < 3:  # few enough to fit beside the optimized images
            first_row += [tile for tiles in history for tile in tiles]
        else:
            rows += map(list, zip(*history, strict=True))
        text = _status_text(self.model, shown, layer, unit, status)
        return View(list(filter(None, rows)), text, CELL, column=CAPTION_WIDTH)


def _kernel_tiles(model: Model, layer: str, unit: int) -> list[Tile]:
    kernel = unit_profile.first_layer_kernel(model, layer, unit)
    return [] if kernel is None else [Tile(figures.normalize_kernels(kernel[None])[0], "kernel")]


def _optimized_tiles(partial: _PartialProfile) -> list[Tile]:
    parts = {"optimized image": partial.maximized, "through a generator": partial.generated}
    return [
        Tile(part.image, f"{caption}\nactivation {part.activation:.1f}")
        for caption, part in parts.items()
        if isinstance(part, Rendered)
    ]


def _image_tiles(top: TopImages) -> list[Tile]:
    tiles = []
    for index, image in enumerate(top.images):
        if not isinstance(top.masks, Unavailable):
            image = masked_image(image, top.masks[index])
        tiles.append(Tile(image, f"activation {float(top.activations[index]):.1f}"))
    return tiles


def _projection_rows(top: TopImages) -> list[list[Tile]]:
    if isinstance(top.projections, Unavailable):
        return []
    return [_captioned_row(images, rule) for rule, images in top.projections.items()]


def _captioned_row(projections: Float[Tensor, "k channels r c"], caption: str) -> list[Tile]:
    first, *others = [Tile(image) for image in figures.normalize_projections(projections)]
    return [first._replace(caption=caption), *others]


def _snapshot_tiles(snapshot: UnitSnapshot) -> list[Tile]:
    """Return a snapshot's top-activating image and its projection."""
    best = snapshot.best
    fit = f"\nfits {best.concept} {best.iou:.2f}" if best and best.iou > 0 else ""
    tiles = [Tile(snapshot.patches[0], f"step {snapshot.step}")]
    if not isinstance(snapshot.projections, Unavailable):
        (projection,) = figures.normalize_projections(snapshot.projections[:1])
        tiles.append(Tile(projection, f"activation {snapshot.activation:.1f}{fit}"))
    return tiles


def _status_text(model: Model, shown: _PartialProfile, layer: str, unit: int, status: str) -> str:
    class_name = model.unit_class(layer, unit)
    name = f"{layer}:{unit}{f', {class_name},' if class_name else ''}"
    if not (analysis := shown.analysis) or not shown.top:
        return f"{name}: {status or 'the layer is not analyzed yet'}"
    facts = [f"{name} is active in {analysis.active_fraction[unit]:.0%} of the images"]
    concepts, weights = analysis.best_concepts(unit, 3), analysis.largest_weights(unit, 4)
    if not isinstance(concepts, Unavailable):
        fits = [f"{one.concept} {one.iou:.2f}" for one in concepts if one.iou > 0]
        facts.append("fits " + (", ".join(fits) or "no concept"))
    if not isinstance(weights, Unavailable):
        vectors = ", ".join(f"{one.concept} {one.weight:.2f}" for one in weights)
        facts.append(f"has the largest weights in the vectors of {vectors}")
    parts = (concepts, weights, shown.maximized, shown.generated)
    parts += (shown.top.projections, shown.history)
    facts += [part.reason for part in parts if isinstance(part, Unavailable)]
    return "; ".join([*dict.fromkeys(facts), *filter(None, [status])])

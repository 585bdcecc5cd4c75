"""A layer's units to choose from by sight, and their activity on an image."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as widgets
import torch
from torch import Tensor, nn

from ...core import Float, LabError, hooks
from ...core.statistics import TopK
from ...data import ImageSet
from ...methods import deconvnet
from ...models import Model
from ..figures import Tile
from . import controls
from .thumbnails import LARGE_COUNT, SIZE, Thumbnails, square
from .worker import Request, cached

CHUNK = 32  # units whose top-activating images are read at once
DIMMED = 0.2  # brightness of an image where a unit is inactive
SECOND = "second"  # the setting of the second unit
HELP = {
    SECOND: "Another unit, shown beside the first; -1 for none. In the grid: shift and click.",
    "grid": "The layer's units: a click or arrow keys choose one; with shift, a second one.",
}
Maps = Float[Tensor, "units y x"]


class Ranking(NamedTuple):
    """The top-activating images of a layer's units, and the dataset that they are from."""

    images: ImageSet
    top: TopK


class _Found(NamedTuple):
    """Thumbnails and titles of an atlas' units, or why there are none."""

    units: tuple[Tensor, list[str]] | None = None
    problem: str = ""


class Activity:
    """The activations of layers on the image that is shown, computed once."""

    def __init__(self) -> None:
        self._maps: dict[Any, Maps] = {}
        self._predictions: dict[Any, str] = {}

    def maps(self, model: nn.Module, layer: str, image: Float[Tensor, "c h w"]) -> Maps:
        """Return the maps of a layer's units; of one position in a fully connected layer.

        Args:
            model: the network.
            layer: dotted name or alias.
            image: (c, h, w) in [0, 1].
        """

        def run() -> Maps:
            with torch.no_grad():
                output = hooks.activations(model, _batch(model, image), [layer])[layer][0].cpu()
            return output if output.ndim == 3 else output.reshape(len(output), -1, 1)

        return cached(self._maps, (id(model), layer, _key(image)), run)

    def tile(self, model: nn.Module, layer: str, unit: int, name: str, image: Tensor) -> Tile:
        """Return the image, dimmed where a unit is inactive, with the network's prediction.

        Args:
            model: the network.
            layer: dotted name or alias.
            unit: index of the unit.
            name: of the image.
            image: (c, h, w) in [0, 1].
        """
        unit_map = self.maps(model, layer, image)[unit]
        shown = image if unit_map.numel() == 1 else _spotlight(image, unit_map)
        captions = [_short(name), f"activation {float(unit_map.max()):.1f}"]
        return Tile(shown, "\n".join([*captions, *self.prediction(model, image)]))

    def captioned(self, model: nn.Module, name: str, image: Tensor) -> Tile:
        """Return the image with its name and the network's prediction.

        Args:
            model: the network.
            name: of the image.
            image: (c, h, w) in [0, 1].
        """
        return Tile(image, "\n".join([_short(name), *self.prediction(model, image)]))

    def prediction(self, model: nn.Module, image: Tensor) -> list[str]:
        """Return a line with the most probable classes of an image; none without class names."""
        if not isinstance(model, Model):
            return []

        def run() -> str:
            with torch.no_grad():
                return top_classes(model, model(_batch(model, image))[0].softmax(0))

        return [cached(self._predictions, (id(model), _key(image)), run)]


def top_classes(model: Model, probabilities: Float[Tensor, " classes"]) -> str:
    """Return a line with the most probable class, and the second unless it has 0 %."""
    top = probabilities.topk(min(2, len(probabilities)))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    names = [name.partition(",")[0] for name in model.card.classes]
    texts = [f"{names[index]} {value:.0%}" for index, value in pairs]
    return ", ".join(text for text in texts if text == texts[0] or not text.endswith(" 0%"))


def _short(name: str) -> str:
    """Return the name of an image for its caption; long ones without their middle."""
    return name if len(name) <= 14 else f"{name[:6]}…{name[-6:]}"


def _batch(model: nn.Module, image: Tensor) -> Tensor:
    if isinstance(model, Model):  # several networks of a panel can have different sizes
        return model.resize(image[None]).to(model.device)
    return image[None].to(next(model.parameters()).device)


def _key(image: Tensor) -> tuple:
    return tuple(image.shape), float(image.double().sum()), float(image.double().square().sum())


def _spotlight(image: Tensor, unit_map: Float[Tensor, "y x"]) -> Tensor:
    active = unit_map.clamp(min=0)
    light = (active / active.max().clamp(min=1e-12))[None, None]
    light = nn.functional.interpolate(light, image.shape[-2:], mode="bilinear")[0]
    return image * (DIMMED + (1 - DIMMED) * light)


class UnitGrid:
    """Controls of a layer, one of its units, and perhaps a second one, with units as thumbnails.

    The thumbnails are the units' images from an atlas, if one was made; else crops of their
    top-activating images, where these are known; else their activity on the image that is shown.
    When a layer with fewer units is chosen, the unit becomes its last one at most.

    Args:
        units: layer -> number of its units.
        layer: the initial layer.
        unit: the initial unit.
        known: the top-activating images that are known.
        atlas: folder of an atlas of the network; empty for where `cnnvis atlas` writes it.
        rows: rows of thumbnails on a page.

    Attributes:
        layer: the choice of a layer.
        unit: the field of the unit's index.
        second: the field of the second unit's index, -1 for none.
        thumbnails: the units.
        activity: the units' activity on images.
    """

    def __init__(
        self,
        units: Mapping[str, int],
        layer: str,
        unit: int,
        *,
        known: Callable[[str], Ranking | None] = lambda layer: None,
        atlas: str | Path = "",
        rows: int = 2,
    ) -> None:
        self.activity, self._known, self._atlas = Activity(), known, atlas
        self._units = units
        self._crops: dict[Any, list[Tensor]] = {}
        self._read: dict[Any, _Found] = {}
        self._key: object = None
        self.layer = controls.choice("layer", list(units), layer)
        self.unit = controls.number("unit", unit, 0, units[layer] - 1)
        self.second = controls.number("second unit", -1, -1, self.unit.max, "135px")
        self.thumbnails = Thumbnails(label="unit", pairs=True, rows=rows)
        self._offer()
        self.layer.observe(self._offer, "value")
        widgets.link((self.unit, "value"), (self.thumbnails, "value"))
        to_none = lambda unit: None if unit < 0 else unit  # noqa: E731
        from_none = lambda unit: -1 if unit is None else unit  # noqa: E731
        widgets.link((self.second, "value"), (self.thumbnails, "second"), (to_none, from_none))

    def _offer(self, _: object = None) -> None:
        """Offer the units of the chosen layer."""
        self.unit.max = self.second.max = self._units[self.layer.value] - 1
        self.thumbnails.options = list(range(self.unit.max + 1))
        self.thumbnails.value = self.unit.value

    def offer(self, units: Mapping[str, int]) -> None:
        """Offer the layers of another network.

        Args:
            units: layer -> number of its units.
        """
        self._units = units
        controls.set_options(self.layer, list(units))
        self._offer()

    def fill(self, request: Request, layer: str, name: str, image: Tensor) -> None:
        """Draw the thumbnails of a layer's units, unless they are shown.

        Args:
            request: the request, with its network; a later one ends the drawing.
            layer: dotted name or alias.
            name: of the image that is shown.
            image: (c, h, w) the image that is shown.
        """
        found = self._from_atlas(request.model, layer)
        top = self._known(layer)
        key = (id(request.model), layer, None if found.units or top else _key(image))
        if key == self._key:
            return
        if found.units:
            self.thumbnails.show(*found.units, "from the atlas")
        elif top:
            self._show_crops(request, layer, top, found.problem)
        else:
            maps = self.activity.maps(request.model, layer, image)
            names = _names(request.model, layer, len(maps))
            peaks = zip(names, maps.flatten(1).amax(1).tolist(), strict=True)
            titles = [f"{unit}: activation {peak:.1f}" for unit, peak in peaks]
            note = f"activity on {name}"
            self.thumbnails.show(_lit(square(image[None])[0], maps), titles, found.problem or note)
        self._key = key if request.is_latest else None

    def _from_atlas(self, model: nn.Module, layer: str) -> _Found:
        """The units' images and titles, or why there are none."""
        if not isinstance(model, Model) or not (folder := self._atlas or _default_atlas(model)):
            return _Found()

        def read() -> _Found:
            from ..gallery import atlas  # all notebooks would depend on the gallery

            try:
                units = atlas.read_units(folder, model, layer)
            except LabError as error:
                return _Found(problem=str(error))
            blank = torch.zeros(1, 3, SIZE, SIZE)
            tiles = [blank if one.image is None else square(one.image[None]) for one in units]
            fits = [f": {one.concept} {one.iou:.2f}" if one.concept else "" for one in units]
            named = zip(_names(model, layer, len(fits)), fits, strict=True)
            return _Found((torch.cat(tiles), [f"{unit}{fit}" for unit, fit in named]))

        return cached(self._read, (id(model), layer), read)

    def _show_crops(self, request: Request, layer: str, top: Ranking, problem: str) -> None:
        peaks = top.top.values[:, 0].tolist()
        named = zip(_names(request.model, layer, len(peaks)), peaks, strict=True)
        titles = [f"{unit}: highest activation {peak:.1f}" for unit, peak in named]
        note = problem or "their top-activating images"
        tiles = cached(self._crops, (id(request.model), layer), list)
        while len(tiles) < len(peaks) and request.is_latest:
            units = range(len(tiles), min(len(tiles) + CHUNK, len(peaks)))
            crops = deconvnet.top_patches(request.model, top.images, layer, top.top, units)
            tiles += square(crops, len(peaks))
            self.thumbnails.show(torch.stack(tiles), titles, note)
        if tiles:
            self.thumbnails.show(torch.stack(tiles), titles, note)


def units_of(model: Model, layers: Sequence[str], layer: str = "") -> dict[str, int]:
    """Return layer -> number of its units.

    Args:
        model: the network.
        layers: dotted names or aliases; the network's default layers if there are none.
        layer: another layer; empty for none.
    """
    names = [*(layers or model.default_layers()), *filter(None, [layer])]
    return {name: shape[0] for name, shape in model.layer_shapes([*dict.fromkeys(names)]).items()}


def _names(model: nn.Module, layer: str, count: int) -> list[str]:
    """Return each unit's index as a text, with the class that the unit scores, if it scores one."""
    names = [f"unit {unit}" for unit in range(count)]
    if not isinstance(model, Model):
        return names
    classes = [model.unit_class(layer, unit) for unit in range(count)]
    short = [f" ({name.partition(',')[0]})" if name else "" for name in classes]
    return [name + scored for name, scored in zip(names, short, strict=True)]


def first_shown(model: Model, layers: Sequence[str]) -> str:
    """Return the layer to begin with: the last of some layers that is a convolution, if any is.

    Args:
        model: the network.
        layers: dotted names or aliases.
    """
    names = model.conv_layers()
    convolutions = {*names, *map(model.after_relu, names)}
    return ([layer for layer in layers if layer in convolutions] or layers)[-1]


def _lit(image: Float[Tensor, "3 s s"], maps: Maps) -> Float[Tensor, "units 3 s s"]:
    """Return the image once for each unit, dimmed where the unit is less active."""
    size = SIZE if len(maps) <= LARGE_COUNT else SIZE // 4
    active = maps.clamp(min=0)
    peak = active.amax((1, 2), keepdim=True) if active[0].numel() > 1 else active.max()
    light = (active / peak.clamp(min=1e-12)).sqrt()[:, None]
    size = (size, size)
    light, image = (nn.functional.interpolate(each, size) for each in (light, image[None]))
    return image * (DIMMED + (1 - DIMMED) * light)


def _default_atlas(model: Model) -> Path | str:
    """Return the folder of `cnnvis atlas`, seen from where it is run, or from the notebooks."""
    folders = [Path(above, "reports/atlas", model.card.name) for above in ("", "..")]
    return next((folder for folder in folders if (folder / "atlas.json").is_file()), "")

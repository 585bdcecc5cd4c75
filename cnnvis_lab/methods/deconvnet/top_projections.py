"""The pictures of a data set that excite units most, cut to what the units see, and projected."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from ...core import Float, InputError, Int, backward, receptive_field
from ...core.backward import BackwardRule
from ...core.optimization import GIBIBYTE, batch_that_fits
from ...core.statistics import TopK, tally
from ...data import ImageSet
from .project import Activations, Projector


@dataclass(frozen=True)
class TopProjections:
    """The pictures that excite units of one layer most, and what in them did.

    Attributes:
        units: which units.
        images: (units, k) numbers of the pictures, strongest first.
        activations: (units, k).
        positions: (units, k, 2) row and column of each activation in its map.
        boxes: (units, k, 4) y0, x0, y1, x1 of what is cut out: the receptive field, moved into
            the picture where it hangs over the border.
        projections: (units, k, 3, h, w) that part of the projection.
    """

    units: Int[Tensor, " u"]
    images: Int[Tensor, "u k"]
    activations: Float[Tensor, "u k"]
    positions: Int[Tensor, "u k 2"]
    boxes: Int[Tensor, "u k 4"]
    projections: Float[Tensor, "u k 3 h w"]

    def select(self, rows: Sequence[int]) -> "TopProjections":
        """Return some of the units, by their rows here."""
        return TopProjections(*(getattr(self, field.name)[list(rows)] for field in fields(self)))

    def patches(self, pictures: ImageSet) -> Float[Tensor, "u k 3 h w"]:
        """Return the same parts of the pictures themselves, read from the data set again."""
        numbers, place = self.images.unique(return_inverse=True)
        images = pictures.batch(numbers.tolist())
        chosen = (images[i] for i in place.flatten().tolist())
        return _crop(chosen, self.boxes.flatten(0, 1)).unflatten(0, tuple(place.shape))


def _crop(pictures: Iterable[Tensor], boxes: Int[Tensor, "m 4"]) -> Float[Tensor, "m 3 h w"]:
    """Cut each picture's own box out."""
    corners = boxes.tolist()
    return torch.stack([p[:, a:c, b:d] for p, (a, b, c, d) in zip(pictures, corners, strict=True)])


def top_projections(
    model: nn.Module,
    pictures: ImageSet,
    layers: Sequence[str],
    *,
    k: int = 9,
    units: Mapping[str, Sequence[int]] | None = None,
    found: Mapping[str, TopK] | None = None,
    rule: str | BackwardRule = "deconvnet",
    seed_value: str | float = "activation",
    memory_limit: int = GIBIBYTE,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, TopProjections]:
    """Find the k pictures that excite each unit most, and project each activation back.

    Args:
        model: the network, in eval mode.
        pictures: the data set.
        layers: dotted names or aliases.
        k: pictures for each unit; all where the data set has fewer.
        units: layer -> which of its units; all units of a layer that is not named.
        found: layer -> what a pass over the same pictures has found already, of which the first
            k are taken.
        rule: a name in `core.reversals.RULES`, or one's own.
        seed_value: as for `project`.
        memory_limit: bytes that one pass may take; what is returned comes on top.
        on_progress: called with (projections done, in all).

    Returns:
        Layer -> its units' pictures and projections, cut to the receptive field.

    Raises:
        NameNotFound: no such layer or rule.
        InputError: a unit out of range, or something on the way that cannot be reversed.

    Source: Zeiler and Fergus 2013, figure 2; survey figure F5.
    """
    device, sample = next(model.parameters()).device, pictures.batch([0])
    size = tuple(sample.shape[-2:])
    fits = batch_that_fits(model, sample.to(device), layers, memory_limit)
    whole, chosen = None, units or {}
    if found is None:
        found, whole = _find_top_images(model, pictures, layers, min(k, len(pictures)), fits)
    sheets = {
        layer: _TopTracker(
            layer, found[layer], k, chosen.get(layer), _receptive_field(model, layer, size), size
        )
        for layer in layers
    }
    ways = {layer: Projector(model, layer, rule, seed_value, fits) for layer in layers}
    needed = torch.cat([sheet.seeds.images for sheet in sheets.values()]).unique()
    done, in_all = 0, sum(len(sheet.seeds.images) for sheet in sheets.values())
    for numbers in [torch.arange(len(pictures))] if whole else needed.split(fits):
        passed = whole or _forward(model, pictures, numbers, layers)
        for layer, sheet in sheets.items():
            mine, seeds = sheet.among(numbers)
            for which, back in ways[layer].go(passed, seeds.to(device)):
                sheet.lay(mine[which.cpu()], back.cpu())
            done += len(mine)
            if on_progress:
                on_progress(done, in_all)
    return {layer: sheet.finished() for layer, sheet in sheets.items()}


def _forward(
    model: nn.Module, pictures: ImageSet, numbers: Tensor, layers: Sequence[str]
) -> backward.ForwardCache:
    images = pictures.batch(numbers.tolist()).to(next(model.parameters()).device)
    return backward.cache_forward(model, images, layers)


def _find_top_images(
    model: nn.Module, pictures: ImageSet, layers: Sequence[str], k: int, fits: int
) -> tuple[dict[str, TopK], backward.ForwardCache | None]:
    """Find the strongest pictures; where one pass holds the whole data set, give that, too."""
    found, everything = {layer: TopK(k) for layer in layers}, torch.arange(len(pictures))
    if len(pictures) <= fits:
        whole = _forward(model, pictures, everything, layers)
        for layer, top in found.items():
            top.update(whole.outputs[layer], everything)
        return found, whole
    device = next(model.parameters()).device
    batches = ((numbers, images.to(device)) for numbers, images in pictures.batches(32))
    tally(model, batches, {layer: [top] for layer, top in found.items()})
    return found, None


def _receptive_field(
    model: nn.Module, layer: str, size: receptive_field.Pair
) -> receptive_field.ReceptiveField:
    """What the layer's positions see; the whole picture where that cannot be told."""
    try:
        return receptive_field.receptive_fields(model, [layer], max(size))[layer]
    except InputError:
        return receptive_field.ReceptiveField(size, (0, 0), (0, 0))


class _TopTracker:
    """The pictures of one layer's units in the making, unit by unit and rank by rank."""

    def __init__(
        self,
        layer: str,
        top: TopK,
        k: int,
        units: Sequence[int] | None,
        field: receptive_field.ReceptiveField,
        size: receptive_field.Pair,
    ) -> None:
        has = len(top.values)
        self.units = torch.arange(has) if units is None else torch.as_tensor(units)
        if len(self.units) and not 0 <= int(self.units.min()) <= int(self.units.max()) < has:
            raise InputError(f"units {list(units)} of {layer}: it has {has}, counted from 0")
        if top.values.isnan().any():
            raise InputError(f"layer {layer!r} gave NaN on some pictures; check the weights")
        self.shape = len(self.units), min(k, top.images.shape[1])
        images, positions, values = (
            part[self.units, :k].flatten(0, 1) for part in (top.images, top.positions, top.values)
        )
        self.seeds = Activations(
            images, self.units.repeat_interleave(self.shape[1]), positions, values
        )
        self.boxes = _crop_boxes(field, positions, size)
        height, width = (self.boxes[0, 2:] - self.boxes[0, :2]).tolist()
        self.projections = values.new_empty(len(images), 3, height, width)

    def among(self, numbers: Tensor) -> tuple[Tensor, Activations]:
        """Return which seeds lie on pictures of these numbers (rising); of those count images."""
        place = torch.searchsorted(numbers, self.seeds.images).clamp(max=len(numbers) - 1)
        mine = (numbers[place] == self.seeds.images).nonzero().flatten()
        return mine, self.seeds.select(mine)._replace(images=place[mine])

    def lay(self, which: Tensor, pictures: Tensor) -> None:
        """Cut each picture's box out, and lay it where it belongs."""
        if pictures.shape[-2:] == self.projections.shape[-2:]:
            self.projections[which] = pictures
            return
        for i, picture in zip(which.tolist(), pictures, strict=True):
            y0, x0, y1, x1 = self.boxes[i].tolist()
            self.projections[i] = picture[:, y0:y1, x0:x1]

    def finished(self) -> TopProjections:
        """Return all, by unit and rank."""
        seeds = self.seeds
        ranked = seeds.images, seeds.values, seeds.positions, self.boxes, self.projections
        return TopProjections(self.units, *(part.unflatten(0, self.shape) for part in ranked))


def _crop_boxes(
    field: receptive_field.ReceptiveField, positions: Tensor, size: receptive_field.Pair
) -> Int[Tensor, "m 4"]:
    """Receptive fields, moved into the picture where they hang over, and no larger than it."""
    inside = torch.tensor([min(f, n) for f, n in zip(field.size, size, strict=True)])
    corner = torch.tensor(field.offset) + positions * torch.tensor(field.stride)
    corner = torch.minimum(corner.clamp(min=0), torch.tensor(size) - inside)
    return torch.cat([corner, corner + inside], 1)

"""A layer's top-activating images, cropped to the receptive field, and their projections."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from ...core import Float, InputError, Int, backward
from ...core.backward import BackwardRule
from ...core.optimization import GIBIBYTE, batch_that_fits
from ...core.receptive_field import Pair, ReceptiveField, fields_or_image
from ...core.statistics import TopK, tally
from ...data import ImageSet
from ...models import fit_channels
from .project import Activations, Projector, check_units


@dataclass(frozen=True)
class TopProjections:
    """The top-activating images of units of one layer, and the projections of the activations.

    Attributes:
        units: index of each unit.
        images: (units, k) indices of the images in the dataset, highest activation first.
        activations: (units, k) the units' highest activations on these images.
        positions: (units, k, 2) row and column of each activation in its map.
        boxes: (units, k, 4) y0, x0, y1, x1 of the crops: the receptive field, moved into the
            image where it extends beyond the border.
        projections: (units, k, 3, h, w) the crops of the projections.
    """

    units: Int[Tensor, " u"]
    images: Int[Tensor, "u k"]
    activations: Float[Tensor, "u k"]
    positions: Int[Tensor, "u k 2"]
    boxes: Int[Tensor, "u k 4"]
    projections: Float[Tensor, "u k c h w"]

    def select(self, rows: Sequence[int]) -> "TopProjections":
        """Return some of the units, given by their rows."""
        return TopProjections(*(getattr(self, field.name)[list(rows)] for field in fields(self)))

    def patches(self, dataset: ImageSet) -> Float[Tensor, "u k c h w"]:
        """Read the images from the dataset again, and return the same crops of them."""
        indices, inverse = self.images.unique(return_inverse=True)
        images = dataset.batch(indices.tolist())
        chosen = (images[index] for index in inverse.flatten().tolist())
        return _crop(chosen, self.boxes.flatten(0, 1)).unflatten(0, self.images.shape)


def _crop(images: Iterable[Tensor], boxes: Int[Tensor, "m 4"]) -> Float[Tensor, "m c h w"]:
    """Crop each image to its own box."""
    pairs = zip(images, boxes.tolist(), strict=True)
    return torch.stack([image[:, y0:y1, x0:x1] for image, (y0, x0, y1, x1) in pairs])


def top_projections(
    model: nn.Module,
    dataset: ImageSet,
    layers: Sequence[str],
    *,
    k: int = 9,
    units: Mapping[str, Sequence[int]] | None = None,
    top_images: Mapping[str, TopK] | None = None,
    rule: str | BackwardRule = "deconvnet",
    memory_limit: int = GIBIBYTE,
) -> dict[str, TopProjections]:
    """Find the k images with the highest activation of each unit, and project each activation.

    Args:
        model: the network, in eval mode.
        dataset: the images.
        layers: dotted names or aliases.
        k: images per unit; all images if the dataset has fewer.
        units: layer -> its units; for layers that are not listed, all units.
        top_images: layer -> top-activating images of the same dataset, of which the first k are
            used; None to find them.
        rule: a name in `core.backward.RULES`, or a rule of your own.
        memory_limit: bytes that one pass may take, in addition to the result.

    Returns:
        Layer -> images and projections of its units, cropped to the receptive field.

    Raises:
        NameNotFound: no such layer or rule.
        InputError: a unit out of range, or a layer that cannot be reversed.

    Source: Zeiler and Fergus 2013, figure 2; survey figure F5.
    """
    device = next(model.parameters()).device
    sample = fit_channels(model, dataset.batch([0]))
    batch = batch_that_fits(model, sample.to(device), layers, memory_limit)
    cache = None
    if top_images is None:
        top_images, cache = _find_top_images(model, dataset, layers, min(k, len(dataset)), batch)
    size = sample.shape[-2], sample.shape[-1]
    result = {}
    for layer in layers:
        chosen = _check(layer, top_images[layer], (units or {}).get(layer))
        field = fields_or_image(model, [layer], size)[layer]
        result[layer] = _rank(top_images[layer], chosen, k, field, sample[0])
    projectors = {layer: Projector(model, layer, rule, "activation", batch) for layer in layers}
    if cache:
        batches = [torch.arange(len(dataset))]
    else:
        batches = torch.cat([top.images.flatten() for top in result.values()]).unique().split(batch)
    for indices in batches:
        passed = cache or _forward(model, dataset, indices, layers)
        for layer, top in result.items():
            _project_images(projectors[layer], passed, indices, top)
    return result


def top_patches(
    model: nn.Module, dataset: ImageSet, layer: str, top_images: TopK, units: Sequence[int]
) -> Float[Tensor, "u c h w"]:
    """Return the top-activating image of each unit, cropped to its receptive field.

    Args:
        model: the network.
        dataset: the images.
        layer: dotted name or alias.
        top_images: the layer's top-activating images of this dataset.
        units: indices of the units.

    Raises:
        InputError: a unit out of range.
    """
    sample = dataset.batch([0])[0]
    chosen = _check(layer, top_images, units)
    field = fields_or_image(model, [layer], (sample.shape[-2], sample.shape[-1]))[layer]
    return _rank(top_images, chosen, 1, field, sample).patches(dataset)[:, 0]


def _forward(
    model: nn.Module, dataset: ImageSet, indices: Tensor, layers: Sequence[str]
) -> backward.ForwardCache:
    images = dataset.batch(indices.tolist()).to(next(model.parameters()).device)
    return backward.cache_forward(model, fit_channels(model, images), layers)


def _find_top_images(
    model: nn.Module, dataset: ImageSet, layers: Sequence[str], k: int, batch: int
) -> tuple[dict[str, TopK], backward.ForwardCache | None]:
    """Find the top-activating images; also return the forward pass if there is only one batch."""
    top_images, indices = {layer: TopK(k) for layer in layers}, torch.arange(len(dataset))
    if len(dataset) <= batch:
        cache = _forward(model, dataset, indices, layers)
        for layer, top in top_images.items():
            top.update(cache.outputs[layer], indices)
        return top_images, cache
    device = next(model.parameters()).device
    batches = ((indices, images.to(device)) for indices, images in dataset.batches(32))
    tally(model, batches, {layer: [top] for layer, top in top_images.items()})
    return top_images, None


def _check(layer: str, top: TopK, units: Sequence[int] | None) -> Int[Tensor, " u"]:
    """Return the chosen units (all if None) after checking them, and that no activation is NaN."""
    count = len(top.values)
    chosen = torch.arange(count) if units is None else torch.as_tensor(units)
    check_units(chosen, count, layer)
    if top.values.isnan().any():
        raise InputError(f"layer {layer!r} returned NaN on some images; check the weights")
    return chosen


def _rank(
    top: TopK, units: Int[Tensor, " u"], k: int, field: ReceptiveField, sample: Tensor
) -> TopProjections:
    """Return the first k images of units, without projections yet."""
    channels, *size = sample.shape
    positions, values = top.positions[units, :k], top.values[units, :k]
    boxes = _crop_boxes(field, (size[0], size[1]), positions)
    height, width = (boxes[0, 0, 2:] - boxes[0, 0, :2]).tolist()
    projections = values.new_empty(*values.shape, channels, height, width)
    return TopProjections(units, top.images[units, :k], values, positions, boxes, projections)


def _crop_boxes(
    field: ReceptiveField, size: Pair, positions: Int[Tensor, "u k 2"]
) -> Int[Tensor, "u k 4"]:
    """Return boxes of receptive fields, moved into the image and clipped to its size."""
    inside = torch.minimum(torch.tensor(field.size), torch.tensor(size))
    corner = torch.tensor(field.offset) + positions * torch.tensor(field.stride)
    corner = torch.minimum(corner.clamp(min=0), torch.tensor(size) - inside)
    return torch.cat([corner, corner + inside], -1)


def _project_images(
    projector: Projector, cache: backward.ForwardCache, indices: Tensor, top: TopProjections
) -> None:
    """Project the activations that belong to the images of a forward pass.

    Args:
        projector: projector of the layer.
        cache: the forward pass.
        indices: dataset indices of its images, in ascending order.
        top: result for the layer, whose projections are filled in.
    """
    images, boxes = top.images.flatten(), top.boxes.flatten(0, 1)
    places = torch.searchsorted(indices, images).clamp(max=len(indices) - 1)
    chosen = (indices[places] == images).nonzero().flatten()
    units = top.units.repeat_interleave(top.images.shape[1])
    positions, values = top.positions.flatten(0, 1), top.activations.flatten()
    activations = Activations(places, units, positions, values).select(chosen)
    projections = top.projections.flatten(0, 1)  # a view
    device = cache.outputs[projector.layer].device
    for done, pixels in projector.project_batches(cache, activations.to(device)):
        rows = chosen[done.cpu()]
        if len(rows):
            projections[rows] = _crop(pixels.cpu(), boxes[rows])

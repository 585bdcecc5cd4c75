"""Analysis of projections: extent, energy outside the field, class entropy, variation, rules."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Bool, Float, Images, Int, NamedValues, features, image_metrics, receptive_field
from ...core.backward import RULES
from ...core.statistics import TopK
from ...data import ImageSet
from ...data.scenes import SceneSet
from ...models import Model
from .project import Projections
from .top_projections import TopProjections, top_projections

SHIFT = 0.25  # of an image's size, by which two images are shifted at most to align them


def extent(images: Images, fraction: float = 0.99) -> Float[Tensor, " n"]:
    """Return the size, in pixels, of the box that contains a fraction of each image's energy.

    Args:
        images: projections.
        fraction: fraction of the energy; what is left out is equal above and below, and left and
            right.

    Returns:
        The mean of height and width; 0 for a zero projection.
    """
    energy, edge, sides = images.double().square().sum(1), (1 - fraction) / 2, []
    for line in (energy.sum(2), energy.sum(1)):
        below = line.cumsum(1) / line.sum(1, keepdim=True).clamp(min=1e-30)
        first, last = (below > edge).int().argmax(1), (below >= 1 - edge - 1e-9).int().argmax(1)
        sides.append(last - first + 1)
    return (sides[0] + sides[1]) / 2 * (images != 0).flatten(1).any(1)


def extents(projections: Projections) -> NamedValues:
    """Return the mean `extent` of each layer's projections, without zero projections."""
    sizes = torch.stack([extent(pixels) for pixels in projections.pixels.cpu()])
    result = NamedValues()
    for layer in dict.fromkeys(projections.layers):
        chosen = sizes[:, [name == layer for name in projections.layers]]
        result[layer] = float(chosen.sum() / (chosen > 0).sum().clamp(min=1))
    return result


def energy_outside_field(model: Model, projections: Projections) -> Float[Tensor, "n t"]:
    """Return the fraction of each projection's energy outside the receptive field."""
    layers, (height, width) = projections.layers, projections.pixels.shape[-2:]
    size = (height, width)
    fields = receptive_field.fields_or_image(model, layers, size)
    energy = projections.pixels.square().sum(2)
    fractions = torch.zeros(projections.activations.shape)
    for image, column in torch.cartesian_prod(*map(torch.arange, fractions.shape)).tolist():
        row, col = projections.positions[image, column].tolist()
        y0, x0, y1, x1 = (max(edge, 0) for edge in fields[layers[column]].box((row, col)))
        outside = energy[image, column].clone()
        outside[y0:y1, x0:x1] = 0
        fractions[image, column] = outside.sum() / energy[image, column].sum().clamp(min=1e-30)
    return fractions


def class_entropy(top_images: TopK, labels: Int[Tensor, " images"]) -> Float[Tensor, " units"]:
    """Return the entropy of the classes of each unit's top-activating images, in bits.

    Args:
        top_images: the layer's top-activating images; units that no image activates are left out.
        labels: class index of every image of the dataset.
    """
    active = top_images.values[:, 0] > 0
    classes = labels[top_images.images[active]]
    fractions = functional.one_hot(classes, int(labels.max()) + 1).double().mean(1)
    return -(fractions * fractions.clamp(min=1e-30).log2()).sum(1).float()


def class_entropies(top_images: Mapping[str, TopK], scenes: SceneSet | None) -> NamedValues:
    """Return the mean `class_entropy` of each layer's units, in bits.

    Args:
        top_images: layer -> its top-activating images.
        scenes: the synthetic scenes that the images are; None if their classes are not known.
    """
    if scenes is None:
        return NamedValues()
    labels = scenes.classes()
    return NamedValues({n: class_entropy(top, labels).mean() for n, top in top_images.items()})


def variation(images: Float[Tensor, "u k c h w"]) -> Float[Tensor, " u"]:
    """Return how much each unit's images differ: 1 minus the mean correlation of their pairs.

    Pairs are aligned first: the same shape in another place counts as the same.
    """
    centered = images - images.mean((-2, -1), keepdim=True)
    return 1 - image_metrics.aligned_correlation(centered, SHIFT)


def variation_ratio(
    images: Float[Tensor, "u k c h w"], projections: Float[Tensor, "u k c h w"]
) -> float:
    """Return the mean variation of units' images divided by that of their projections.

    The ratio is meaningless in the first layer, where every projection of a unit is its kernel.
    """
    return float(variation(images).mean() / variation(projections).mean().clamp(min=1e-6))


def variation_ratios(
    patches: Mapping[str, Float[Tensor, "u k c h w"]], shown: Mapping[str, TopProjections]
) -> NamedValues:
    """Return the `variation_ratio` of every layer but the first.

    Args:
        patches: layer -> crops of its units' top-activating images.
        shown: layer -> projections of these images.
    """
    layers = [*shown][1:]
    ratios = {n: variation_ratio(patches[n], shown[n].projections) for n in layers}
    return NamedValues(ratios)


def list_targets(units: Mapping[str, Sequence[int]], count: int) -> list[str]:
    """Return "layer:unit" of the first `count` units of each layer."""
    return [f"{layer}:{unit}" for layer, chosen in units.items() for unit in chosen[:count]]


def project_by_rule(
    model: Model,
    dataset: ImageSet,
    units: Mapping[str, Sequence[int]],
    top_images: Mapping[str, TopK],
    rules: Iterable[str] = tuple(RULES),
) -> dict[str, dict[str, Float[Tensor, "u c h w"]]]:
    """Project each unit's highest activation by different backward rules.

    Args:
        model: the network.
        dataset: the images.
        units: layer -> its units.
        top_images: layer -> its top-activating images in the dataset.
        rules: names in `core.backward.RULES`; by default all.

    Returns:
        Rule -> layer -> the units' projections.
    """
    result = {}
    for rule in rules:
        top = top_projections(
            model, dataset, [*units], k=1, units=units, top_images=top_images, rule=rule
        )
        result[rule] = {layer: top[layer].projections[:, 0] for layer in units}
    return result


def similarity(groups: Sequence[Float[Tensor, "m c h w"]]) -> Float[Tensor, "g g"]:
    """Return the mean correlation between images of the same index in different groups."""
    pairs = [torch.stack([image_metrics.correlation(a, b).mean() for b in groups]) for a in groups]
    return torch.stack(pairs)


def one_per_class(model: Model, images: Images, count: int, *, least: int = 1) -> list[int]:
    """Return the indices of the first images with different predicted classes.

    Args:
        model: the network. Images whose top class probability is at most 0.5 count as unclassified,
            and are used only if there are too few others.
        images: images to choose from.
        count: maximum number of images.
        least: minimum number of images; further ones follow if too few classes are predicted.
    """
    probabilities, classes = features.predict(model, images).softmax(1).max(1)
    chosen: dict[int, int] = {}
    for index in (probabilities <= 0.5).int().argsort(stable=True).tolist():
        chosen.setdefault(int(classes[index]), index)
    found = [*chosen.values()]
    others = [index for index in range(len(images)) if index not in found]
    return [*found, *others[: max(least - len(found), 0)]][:count]


def object_masks(
    scenes: SceneSet | None, indices: Sequence[int], size: int
) -> Bool[Tensor, "n size size"] | None:
    """Return the visible pixels of the main objects of synthetic scenes; None without scenes.

    Args:
        scenes: a set of synthetic scenes; None if the objects in the images are not known.
        indices: of the images.
        size: height and width to which the masks are scaled, in pixels.
    """
    if scenes is None:
        return None
    masks = []
    for scene in map(scenes.draw, indices):
        mask = scene.instances == scene.objects[scene.main].number
        masks.append(torch.from_numpy(mask))
    return functional.interpolate(torch.stack(masks)[:, None].float(), size=size)[:, 0] > 0.5

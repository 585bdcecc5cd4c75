"""Figures of notebook 00: an example of every method."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from ...core import Float, Images, hooks
from ...methods.activation_maximization import Rendering
from ...methods.deconvnet import Projections
from ...methods.dissection import TopActivation
from ...methods.inversion import Inversion
from .concepts import masked_image
from .images import image_grid, normalize_projections
from .style import Drawing

MAPS = 7  # feature maps of a layer


def predictions(
    images: Images, probabilities: Float[Tensor, "n classes"], classes: Sequence[str]
) -> Drawing:
    """Draw images with the class that a network predicts.

    Args:
        images: the images.
        probabilities: of each class, for each image.
        classes: names of the classes.
    """
    highest, indices = (values.tolist() for values in probabilities.max(1))
    notes = [
        f"{classes[i]} {p:.0%}".replace("%", " %") for i, p in zip(indices, highest, strict=True)
    ]
    half = (len(images) + 1) // 2
    return Drawing(
        image_grid([images[:half], images[half:]], notes=[notes[:half], notes[half:]], cell=1.1),
        "Images. Below each, the class that the network predicts, and its probability.",
        "Two rows of images, such as of an airplane, a cat and a house.",
    )


def feature_maps(
    image: Float[Tensor, "c h w"], outputs: hooks.Recording, layers: Sequence[str]
) -> Drawing:
    """Draw the most active feature maps of some layers.

    Args:
        image: the image.
        outputs: layer -> (1, units, y, x), the layer's output for the image.
        layers: the layers to show.
    """
    rows, labels, notes = [], [], []
    for layer in layers:
        maps = outputs[layer][0].relu()
        units = maps.amax((1, 2)).topk(min(MAPS, len(maps))).indices.tolist()
        rows.append([image, *(maps[units] / maps.max().clamp(min=1e-12))])
        labels.append(f"{layer}\n{maps.shape[1]} x {maps.shape[2]}")
        notes.append(["image", *(f"{layer}:{unit}" for unit in units)])
    return Drawing(
        image_grid(rows, row_labels=labels, notes=notes),
        f"An image, and the {MAPS} most active feature maps of three layers, with the size of "
        "these maps. Black is zero or less; white is the layer's highest activation.",
        "The same image three times, each beside feature maps: outlines in the first row, a few "
        "bright spots in the last.",
    )


def maximized(rendering: Rendering) -> Drawing:
    """Draw an image for each unit, found by activation maximization."""
    return Drawing(
        image_grid([rendering.patches], column_labels=rendering.targets, cell=1.5),
        "Activation maximization: an image for each unit, found by gradient ascent from noise.",
        "A row of colorful patches with shapes like parts of things.",
        {"patches": rendering.patches},
    )


def projections(images: Images, projected: Projections) -> Drawing:
    """Draw each unit's top-activating image above its projection.

    Args:
        images: one for each unit, in the same order.
        projected: the projections of all units on all these images.
    """
    own = projected.pixels[range(len(images)), range(len(images))]
    figure = image_grid(
        [images, normalize_projections(own)],
        row_labels=["top-activating\nimage", "projection"],
        column_labels=projected.targets,
        cell=1.5,
    )
    return Drawing(
        figure,
        "DeconvNet: each unit's top-activating image, and below it the projection of the unit's "
        "activation to the pixels, by guided backpropagation. Gray is zero.",
        "Images above gray fields in which one part of each stands out.",
        {"projections": own},
    )


def inversions(
    image: Float[Tensor, "c h w"],
    layers: Mapping[str, str],
    inverted: Inversion,
    decoded: Mapping[str, Images],
) -> Drawing:
    """Draw an image beside its reconstructions from layers.

    Args:
        image: the image.
        layers: label -> the layer that was inverted.
        inverted: reconstructions by optimization.
        decoded: layer -> reconstruction by a decoder; layers may be missing.
    """
    found = {label: inverted[layer] for label, layer in layers.items()}
    rows, labels = [[image, *(images[0] for images in found.values())]], ["by optimization"]
    if decoded:
        shown = (decoded[layer][0] if layer in decoded else None for layer in layers.values())
        rows, labels = [*rows, [None, *shown]], [*labels, "by a decoder"]
    return Drawing(
        image_grid(rows, row_labels=labels, column_labels=["image", *layers], cell=1.5),
        "Inversion: images reconstructed from the features of the first one, in low and high "
        "layers.",
        "An image, and reconstructions of it that become less detailed toward the right.",
        found,
    )


def concepts(rendering: Rendering, top: Sequence[Sequence[TopActivation]]) -> Drawing:
    """Draw each unit's optimized image and top-activating images, with the regions it activates in.

    Args:
        rendering: an image for each unit.
        top: top-activating images of each unit, in the same order.
    """
    rows = [
        [patch, *(masked_image(one.image, one.mask) for one in images)]
        for patch, images in zip(rendering.patches, top, strict=True)
    ]
    labels = [
        f"{target}\n{images[0].concept if images[0].detected else 'no concept'}\n"
        f"IoU {images[0].iou:.2f}"
        for target, images in zip(rendering.targets, top, strict=True)
    ]
    columns = ["optimized image", *(f"top image {n + 1}" for n in range(max(map(len, top))))]
    return Drawing(
        image_grid(rows, row_labels=labels, column_labels=columns, cell=1.3),
        "Network dissection: each unit's top-activating images, outlined where the unit is active, "
        "and the concept that it detects; on the left the result of activation maximization.",
        "A row for each unit: a patch, and images in which one region is outlined and bright.",
    )

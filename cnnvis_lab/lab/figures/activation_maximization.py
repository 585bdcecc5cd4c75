"""Figures of activation maximization: survey figures F1 to F3, priors, starts and facets."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...core import Images
from ...methods.activation_maximization import (
    Facets,
    KernelAgreement,
    RecipeComparison,
    Rendering,
)
from ...methods.dissection import BasisComparison
from .charts import Chart, chart_grid
from .images import image_grid, normalize_kernels
from .style import Drawing
from .text import format_number

RECIPE_LABELS = {
    "none": "no prior",
    "simonyan": "Simonyan et al. 2013",
    "yosinski3_scaled": "Yosinski et al. 2015",
    "lucid": "Olah et al. 2017",
    "default": "default recipe",
}
GROUP_SIZE = 10  # first-layer units in each group of F1 (b)
SHOWN_CLASSES = 8  # in the upper row of F3


def ascent(rendering: Rendering, names: Sequence[str]) -> Figure:
    """Draw images at successive steps of their optimization, one row for each name.

    Args:
        rendering: images with snapshots.
        names: of the first images.
    """
    stages = [*sorted(rendering.snapshots.items()), (len(rendering.history), rendering.images)]
    return image_grid(
        [[images[row] for _, images in stages] for row in range(len(names))],
        row_labels=names,
        column_labels=[f"step {step}" if step == 0 else str(step) for step, _ in stages],
        cell=0.72,
    )


def starts(agreement: KernelAgreement) -> Drawing:
    """Draw survey figure F1 (a): four first-layer units, each from several random starts."""
    units = agreement.examples
    patches = agreement.patches[:, units]
    figure = image_grid(
        [normalize_kernels(patches[:, row]) for row in range(len(units))],
        row_labels=[f"{agreement.layer}:{unit}" for unit in units],
        column_labels=[f"start {n + 1}" for n in range(len(patches))],
        title="Four first-layer units, each from several random starts",
    )
    return Drawing(
        figure,
        "F1 (a): images that maximize four first-layer units. Each row shows one unit, each column "
        "another random start.",
        "Rows of small patches; the patches of each row are almost identical.",
        {"patches": patches, "units": units},
    )


def _group_by_saturation(agreement: KernelAgreement) -> dict[str, list[int]]:
    """Return name -> units of each group; gray kernels are one group without a name."""
    order = agreement.by_saturation
    size = min(GROUP_SIZE, len(order) // 2)
    if agreement.kernels.shape[1] == 1 or not size:
        return {"": order[:GROUP_SIZE]}
    return {"most colorful": order[:size], "least colorful": order[-size:]}


def kernels(agreement: KernelAgreement) -> Drawing:
    """Draw survey figure F1 (b): results of the ascent above the kernels themselves."""
    found, groups = agreement.patches[0], _group_by_saturation(agreement)
    rows, labels, notes, shown = [], [], [], []
    for name, units in groups.items():
        rows += [normalize_kernels(found[units]), normalize_kernels(agreement.kernels[units])]
        labels += [f"{name}{':' * bool(name)}\n{what}".strip() for what in ("ascent", "kernel")]
        notes.append([f"{agreement.layer}:{unit}" for unit in units])
        notes.append([f"r = {agreement.correlation[0, unit]:.3f}" for unit in units])
        low, high = agreement.saturation[units].aminmax()
        shown.append(f"the {name} kernels (saturation {low:.2f} to {high:.2f})")
    about = f", for {' and '.join(shown)}" if len(groups) > 1 else ""
    return Drawing(
        image_grid(rows, row_labels=labels, notes=notes, cell=0.75),
        f"F1 (b): the result of the ascent above the kernel, and their correlation r{about}.",
        "Pairs of rows in which each rendered patch looks like the kernel below it.",
        {
            "found": found,
            "kernels": agreement.kernels,
            "agreement": agreement.correlation,
            "color": agreement.saturation,
        },
    )


def layers(renderings: Mapping[str, Rendering], complexity: Mapping[str, float]) -> Drawing:
    """Draw survey figure F2: units of each layer, one layer per row.

    Args:
        renderings: layer -> images of its units.
        complexity: layer -> mean complexity of these images.
    """
    figure = image_grid(
        [rendering.patches for rendering in renderings.values()],
        row_labels=[f"{layer}\ncomplexity {complexity[layer]:.0f}" for layer in renderings],
        notes=[rendering.targets for rendering in renderings.values()],
    )
    return Drawing(
        figure,
        "F2: images that maximize units of each layer. Complexity is the number of cosine "
        "coefficients that hold 95 % of an image's energy, averaged over the row.",
        "Rows of images, from simple edges and colors at the top to object parts at the bottom.",
        {layer: rendering.images for layer, rendering in renderings.items()},
    )


def class_images(rendering: Rendering, real: Images, classes: Sequence[str]) -> Drawing:
    """Draw the upper row of survey figure F3 above real images.

    Args:
        rendering: class images.
        real: the top-activating image of each class.
        classes: names of the classes.
    """
    figure = image_grid(
        [rendering.images[:SHOWN_CLASSES], real[:SHOWN_CLASSES]],
        row_labels=["activation\nmaximization", "top-activating\nimage"],
        column_labels=classes[:SHOWN_CLASSES],
    )
    return Drawing(
        figure,
        "The upper row of F3: images that maximize class units, and below each the image of the "
        "dataset that activates the unit the most.",
        "Class images with the outlines of the class's objects, above real images of it.",
        {"images": rendering.images},
    )


def recipes(comparison: RecipeComparison) -> Drawing:
    """Draw the same classes by several recipes."""
    labels = []
    for recipe, activation in comparison.activation.items():
        lines = [RECIPE_LABELS.get(recipe, recipe), f"activation {format_number(activation)}"]
        lines.append(f"high frequencies {comparison.high_frequency[recipe]:.1%}")
        if comparison.recognized:
            lines.append(f"recognized {comparison.recognized[recipe]:.0%}")
        labels.append("\n".join(lines).replace("%", " %"))
    numbers = "mean activation of the class unit, "
    energy, arrays = "fraction of the energy at high frequencies", {}
    arrays["high_frequency"] = [*comparison.high_frequency.values()]
    if comparison.recognized:
        numbers += f"{energy}, and fraction of the images that an independent classifier recognizes"
        arrays["recognised"] = [*comparison.recognized.values()]
    else:
        numbers += f"and {energy}"
    return Drawing(
        image_grid(
            [*comparison.images.values()], row_labels=labels, column_labels=comparison.classes
        ),
        f"The same classes by different recipes: {numbers}.",
        "From noise without a prior to clear outlines with the default recipe.",
        arrays,
    )


def depth(agreement: Mapping[str, Tensor], complexity: Mapping[str, float]) -> Drawing:
    """Draw how images change with depth.

    Args:
        agreement: layer -> mean correlation between images from different starts.
        complexity: layer -> mean complexity of the images.
    """
    charts = [
        Chart(
            {"": [*agreement.values()]},
            [*agreement],
            title="Agreement between random starts",
            ylabel="mean correlation",
        ),
        Chart(
            {"": [*complexity.values()]},
            [*complexity],
            title="Complexity of the images",
            ylabel="cosine coefficients",
        ),
    ]
    return Drawing(
        chart_grid([charts], size=(3.7, 2.6)),
        "Left: mean correlation between images of the same unit from different random starts, "
        "without a prior. Right: the number of cosine coefficients that hold 95 % of the energy of "
        "the images in F2.",
        "Bars of agreement fall from nearly one in the first layer toward zero in deep layers; "
        "bars of complexity rise from the first of the layers to the next.",
        {"agreement": [*agreement.values()], "complexity": [*complexity.values()]},
    )


def facets(found: Facets, name: str) -> Drawing:
    """Draw several images of one class that differ from each other.

    Args:
        found: the facets.
        name: of the class.
    """
    figure = image_grid(
        [found.starts, found.from_starts.images, found.diverse.images],
        row_labels=[
            "cluster mean",
            "ascent from\nthe cluster mean",
            "ascent from noise,\nrewarded for diversity",
        ],
        title=f'Facets of the class "{name}"',
    )
    return Drawing(
        figure,
        "Facets of one class. Top: mean images of clusters of its top-activating images. Middle: "
        "the result of the ascent from them. Bottom: images from noise, rewarded for being "
        "dissimilar to each other.",
        "Three rows of images of one class in different colors and poses.",
        {"begun": found.from_starts.images, "apart": found.diverse.images},
    )


def directions(units: Rendering, directions: Rendering, iou: BasisComparison) -> Drawing:
    """Draw units of a layer above random directions in it.

    Args:
        units: images of units.
        directions: images of directions.
        iou: the IoU of all units and of all directions.
    """
    labels, arrays = ["units", "random directions"], {"directions": directions.images}
    if len(iou.units):
        means = float(iou.units.mean()), float(iou.directions.mean())
        labels = [f"{label}\nmean IoU {m:.3f}" for label, m in zip(labels, means, strict=True)]
        arrays |= {"units": iou.units, "directions": iou.directions}
    notes = [units.targets, [f"direction {n}" for n in range(len(directions.targets))]]
    return Drawing(
        image_grid([units.patches, directions.patches], row_labels=labels, notes=notes),
        "Images that maximize units of a layer, above images that maximize random directions in "
        "it. The IoU with the best-fitting concept is averaged over all units of the layer, and "
        "over all directions of a random basis.",
        "Two rows of images: parts and patterns above, mixtures of them below.",
        arrays,
    )


def dreams(photograph: Tensor, changed: Mapping[str, Tensor]) -> Drawing:
    """Draw a photograph beside what layers amplify in it.

    Args:
        photograph: (3, h, w) in [0, 1].
        changed: layer -> the changed photograph.
    """
    return Drawing(
        image_grid(
            [[photograph, *changed.values()]], column_labels=["photograph", *changed], cell=2.2
        ),
        "A photograph, and what layers of increasing depth amplify in it.",
        "A photograph and copies of it covered with stripes, then with shapes.",
        {"dreams": torch.stack([*changed.values()])},
    )

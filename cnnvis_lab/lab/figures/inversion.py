"""Figures of inversion: survey figures F8 and F9, recipes, starts, priors, metrics by layer."""

import re
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from ...methods import inversion
from .charts import Chart, chart_grid
from .images import image_grid
from .inversion_walkthrough import walkthrough
from .style import Array, Drawing

__all__ = [
    "bottleneck", "by_layer", "by_prior", "by_recipe", "by_start", "decoding_scores",
    "metrics_by_layer", "oriented_gradients", "walkthrough",
]  # fmt: skip

MAX_WIDTH = 9.7  # inches of a figure that the gallery shows at its own size
# Labels of the methods that are compared; others are recipes of Mahendran and Vedaldi.
METHOD_LABELS = {
    "this project": "ours",
    "no prior": "no regularizer",
    "up-convolution": "decoder",
}


def _label(layer: str) -> str:
    return layer.removesuffix(".relu")


def _method_label(name: str) -> str:
    return METHOD_LABELS.get(name) or re.sub(r"^(20\d\d)", r"Mahendran & Vedaldi \1", name)


def _grid(
    rows: Sequence[Sequence[Array | None] | Tensor | str],
    row_labels: Sequence[str],
    column_labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
) -> Figure:
    """Draw images in rows, as large as the gallery's width allows.

    Args:
        rows: rows of images, or a sentence in the place of one; None leaves a cell empty.
        row_labels: to the left of each row.
        column_labels: above each column.
        notes: under each image.
    """
    characters = max(len(line) for label in row_labels for line in label.splitlines())
    columns = max(len(row) for row in rows if not isinstance(row, str))
    cell = (MAX_WIDTH - 0.2 - 0.075 * characters) / columns - 0.06
    return image_grid(
        rows, row_labels=row_labels, column_labels=column_labels, notes=notes, cell=min(cell, 1.3)
    )


def by_layer(
    images: Tensor, methods: Mapping[str, Mapping[str, Tensor] | str], shown: Sequence[int]
) -> Drawing:
    """Draw survey figure F9: images, and what methods reconstruct of them from each layer.

    Args:
        images: (n, 3, h, w) the original images.
        methods: name of the method -> layer -> (n, 3, h, w); the first one has all layers, and
            one without any is left out. A sentence says why there are no images of a method.
        shown: indices of the images to draw.
    """
    images_of = {name: own for name, own in methods.items() if own and not isinstance(own, str)}
    first = next(iter(images_of.values()))
    rows, labels = [], []
    for n in shown:
        for name, inverted in images_of.items():
            original = images[n] if inverted is first else None
            cells = (inverted[layer][n] if layer in inverted else None for layer in first)
            rows.append([original, *cells])
            labels.append(name)
    for name, sentence in methods.items():
        if isinstance(sentence, str):
            rows.append(sentence)
            labels.append(name)
    return Drawing(
        _grid(rows, labels, ["image", *map(_label, first)]),
        "Images reconstructed from their features in each layer: by optimization with a "
        "regularizer, by a trained decoder, and by a generator, where there are such.",
        "Rows of images: sharp from the first layer, ever more blurred to the right.",
        {_label(layer): inverted[list(shown)] for layer, inverted in first.items()},
    )


def by_recipe(image: Tensor, inversions: Mapping[str, inversion.Inversion]) -> Drawing:
    """Draw one image inverted from each layer by different recipes.

    Args:
        image: (3, h, w) the first image.
        inversions: recipe -> inversion.
    """
    results = {name: inversions[name] for name in (*inversion.REGULARIZED, "no prior")}
    layers = next(iter(results.values())).layers
    errors = [one.errors[:, 0, 0].tolist() for one in results.values()]
    labels = [_method_label(name).replace("& ", "&\n").replace(", ", "\n") for name in results]
    return Drawing(
        _grid(
            [[image, *(one[layer][0] for layer in layers)] for one in results.values()],
            labels,
            ["image", *map(_label, layers)],
            [["", *(f"error {error:.2f}" for error in row)] for row in errors],
        ),
        "One image inverted by different recipes; below each image its relative feature error.",
        "Rows of images; the last, without a regularizer, is noise from the second layer on.",
        {name: one.errors for name, one in inversions.items()},
    )


def by_start(
    images: Tensor, started: inversion.Inversion, distances: Mapping[str, float]
) -> Drawing:
    """Draw two images, each inverted from several random starts.

    Args:
        images: (n, 3, h, w) the original images.
        started: the inversion of the first two.
        distances: layer -> mean distance between starts.
    """
    count = started.images.shape[2]
    starts = [f"{name}, start {n + 1}" for name in "AB" for n in range(count)]
    return Drawing(
        _grid(
            [[images[0], *started[layer], *images[1:2]] for layer in started.layers],
            [f"{_label(layer)}\ndistance\n{distances[layer]:.2f}" for layer in started.layers],
            ["image A", *starts, "image B"],
        ),
        "Two images, each inverted from several random starts. On the left the mean distance "
        "between images from different starts, where 1 is the distance to another image.",
        "Rows of images: the starts lead to the same image in the first row, not in the others.",
        {"spread": list(distances.values())},
    )


def by_prior(
    image: Tensor,
    inversions: Mapping[str, inversion.Inversion],
    effects: inversion.PriorEffects,
) -> Drawing:
    """Draw one image inverted with different weights and exponents of the total variation.

    Args:
        image: (3, h, w).
        inversions: recipe -> inversion.
        effects: their smoothness.
    """
    labels = [f"{name}, β = 2" for name in effects.names[:-1]]
    notes = [
        ["", *(f"gradient {g:.3f}\nspikes {s:.2f}" for g, s in zip(*pair, strict=True))]
        for pair in zip(effects.roughness.T.tolist(), effects.spikes.T.tolist(), strict=True)
    ]
    return Drawing(
        _grid(
            [[image, *(one[layer][0] for one in inversions.values())] for layer in effects.layers],
            [*map(_label, effects.layers)],
            ["image", *labels, "weight 1000, β = 1"],
            notes,
        ),
        "Inversion with increasing weight of the total variation, and with another exponent "
        "β. Below each image: the mean absolute difference between neighboring pixels, and "
        "the fraction of the high-frequency energy in 1 % of the pixels (spikes).",
        "Rows of images that become smoother from left to right.",
        {"roughness": effects.roughness, "spikes": effects.spikes},
    )


def bottleneck(
    images: Tensor,
    layer: str,
    inverted: Mapping[str, Tensor],
    decoded: Mapping[str, Tensor],
    autoencoded: Mapping[str, Tensor],
) -> Drawing | str:
    """Draw images, and what is reconstructed of them from a code of one layer's shape.

    Args:
        images: (n, 3, h, w) the original images.
        layer: the layer.
        inverted: layer -> images of the network's codes, by optimization.
        decoded: layer -> images of the network's codes, by a decoder; may lack the layer.
        autoencoded: layer -> images from an autoencoder; if empty, a sentence is returned.
    """
    if not autoencoded:
        return "There is no autoencoder with the architecture of this network and its decoder."
    methods = {"by regulariser": inverted, "by decoder": decoded, "autoencoder": autoencoded}
    rows = {name: own[layer] for name, own in methods.items() if layer in own}
    words = {"by regulariser": "regularizer", "by decoder": "decoder"}
    labels = [f"{_label(layer)},\n{words.get(name, name)}" for name in rows]
    return Drawing(
        _grid([images, *rows.values()], ["image", *labels]),
        f"Images, and reconstructions from a code of the shape of {_label(layer)}: the network's "
        "code, and that of an autoencoder where one is shipped.",
        "Rows of the same images, the autoencoder's the sharpest.",
        {"picture": images, **rows},
    )


def oriented_gradients(images: Tensor, glyphs: Tensor, inverted: inversion.Inversion) -> Drawing:
    """Draw images, their histograms of oriented gradients (HOG), and these inverted.

    Args:
        images: (n, 3, h, w) the original images.
        glyphs: (n, h, w) or (n, 3, h, w) drawings of the histograms.
        inverted: the inversion of the descriptor's layer "blocks".
    """
    errors = [f"error {error:.2f}" for error in inverted.errors[0, :, 0]]
    rows = [images, glyphs, inverted["blocks"]]
    return Drawing(
        _grid(rows, ["image", "HOG", "inverted"], notes=[[], [], errors]),
        "Histograms of oriented gradients as they are usually drawn, and inverted; below each "
        "image the relative error of the descriptor.",
        "Images, strokes along their edges, and gray reconstructions from those.",
        {"errors": inverted.errors, "pictures": inverted["blocks"]},
    )


def _layer_chart(
    layers: Sequence[str],
    title: str,
    ylabel: str,
    lines: Mapping[str, Mapping[str, float]],
    line: float | None = None,
    ylim: tuple[float, float] | None = None,
) -> Chart:
    """Return a chart of values over layers, which are numbered from 1 if their names are long.

    Args:
        layers: in order.
        title: of the chart.
        ylabel: quantity and unit.
        lines: name -> layer -> value; a line may leave layers out.
        line: height of a horizontal line for reference.
        ylim: lower and upper end of y.
    """
    words = [_label(layer) for layer in layers]
    if max(map(len, words)) > len("CL1"):
        words = [str(number) for number, _ in enumerate(words, 1)]
    series = {
        name: ([layers.index(layer) for layer in own], list(own.values()))
        for name, own in lines.items()
    }
    return Chart(series, (), title, "layer", ylabel, line, words, ylim=ylim)


def metrics_by_layer(comparison: inversion.Comparison, distances: Mapping[str, float]) -> Drawing:
    """Draw what inverted images have in common with the original ones, layer by layer.

    Args:
        comparison: metrics of the recipes and, under "up-convolution", of decoders.
        distances: layer -> mean distance between images of different starts.
    """
    layers = next(iter(comparison.methods.values())).layers
    weights = [name for name in comparison.methods if name.startswith("2016")]
    main = [*inversion.REGULARIZED, "no prior", "up-convolution"]

    def chart(title: str, ylabel: str, metric: str, names: Sequence[str]) -> Chart:
        known = [name for name in names if name in comparison.methods]
        lines = {_method_label(name): comparison[name].by_layer(metric) for name in known}
        return _layer_chart(layers, title, ylabel, lines)

    ends = [weights[0], weights[-1], "up-convolution"]
    starts = {_method_label("this project"): distances}
    charts = [
        chart("Feature error", "relative error", "feature", main),
        chart("Feature error by weight C", "relative error", "feature", weights),
        chart("Pixel error", "error (1: another image)", "pixel", main),
        _layer_chart(layers, "Distance between starts", "distance (1: another image)", starts),
        chart("Same predicted class", "fraction of images", "consistency", ends),
        chart("Gradient histograms", "overlap with original", "naturalness", [weights[0], *main]),
        chart("Low-resolution color", "correlation with original", "color", main),
        chart("Saliency shift", "shift (fraction of image width)", "position", main),
    ]
    metrics = ("feature", "pixel", "consistency", "naturalness", "color", "position")
    return Drawing(
        chart_grid(
            [charts[:3], charts[3:6], charts[6:]], size=(MAX_WIDTH / 3, 2.35), legend_in_grid=True
        ),
        "What inverted images have in common with the original ones, layer by layer: means over "
        "the first images of F9.",
        "Line charts over the layers: the error of pixels rises, that of features does not.",
        {
            f"{name} {metric}": getattr(one, metric)
            for name, one in comparison.methods.items()
            for metric in metrics
        },
    )


def decoding_scores(scores: inversion.DecodingScores) -> Drawing:
    """Draw how well factors of synthetic scenes can be decoded from each layer's features.

    Args:
        scores: of the factors.
    """
    titles = {False: "Task-relevant factors", True: "Nuisance factors"}
    lowest = min(min(own) for own in scores.scores.values())
    charts = []
    for is_nuisance, title in titles.items():
        lines = {
            # A concept's category is also called "scene", and has a color of its own.
            "scene type" if name == "scene" else name: dict(zip(scores.layers, own, strict=True))
            for name, own in scores.scores.items()
            if (name in scores.nuisance) == is_nuisance
        }
        ylim = (lowest - 0.05, 1.05)
        charts.append(
            _layer_chart(scores.layers, title, "decoding score (0: chance)", lines, 0, ylim)
        )
    return Drawing(
        chart_grid([charts], size=(MAX_WIDTH / 2, 2.9)),
        "How well factors of synthetic scenes can be decoded linearly from each layer's features "
        "on held-out images: 0 is chance, 1 perfect.",
        "Two line charts: the class rises with depth; position and size rise, then fall after CL5.",
        scores.scores,
    )

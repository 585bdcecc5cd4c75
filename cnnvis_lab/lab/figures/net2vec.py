"""Figures of Net2Vec: survey figure F15, and charts of concepts and filters."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ...data import Label
from ...methods import net2vec
from ...methods.net2vec import FilterCurve, Probes, ScoreTable
from .charts import Chart, chart_grid, scatter
from .concepts import masked_image
from .images import image_grid
from .style import Drawing

TASKS = ("segmentation", "classification")
GROUPS = ("0", "1", "2–5", "6–9", "10–14", "15–19", "20+")  # of concepts per filter
SHOWN_OBJECTS = 8


def _short(layer: str) -> str:
    return layer.removesuffix(".relu")


def mean_iou(table: ScoreTable) -> Drawing:
    """Draw the mean IoU of combinations and of single filters in each layer.

    Args:
        table: scores of segmentation; a kind of combination is the name of its loss.
    """
    layers = [_short(layer) for layer in table.scores[net2vec.SINGLE]]
    series = {
        kind if kind == net2vec.SINGLE else f"combination ({kind} loss)": table.means(kind)
        for kind in table.scores
    }
    chart = Chart(series, layers, f"{len(table.concepts)} concepts", "layer", "mean IoU")
    return Drawing(
        chart_grid([[chart]], size=(6.6, 2.8)),
        "Mean IoU over all concepts, by layer.",
        "Bars by layer: combinations have a higher IoU than single filters.",
    )


def example_masks(examples: Sequence[net2vec.ConceptExamples], layer: str) -> Drawing:
    """Draw survey figure F15: masks of single units and of combinations.

    Args:
        examples: the masks of some concepts.
        layer: the layer of the units.
    """
    rows = {}
    for one in examples:
        rows[f"{one.concept.name}:\nunit {one.unit}"] = one.single
        rows[f"{one.concept.name}:\ncombination"] = one.combination
    return Drawing(
        image_grid(
            [[masked_image(each.image, each.mask) for each in row] for row in rows.values()],
            notes=[[_iou_note(each) for each in row] for row in rows.values()],
            row_labels=list(rows),
            cell=1.05,
        ),
        f"F15: the mask (outlined) of the best single unit of {_short(layer)} for a concept, and "
        "below it that of the combination of all units, with the IoU on each validation image.",
        "Pairs of rows of images; the outlined region covers the object better in the lower row.",
    )


def _iou_note(example: net2vec.Example) -> str:
    return f"IoU {example.iou:.2f}" if example.mask.any() else "IoU 0 (inactive)"


def concept_scores(table: ScoreTable, kind: str, layer: str) -> Drawing:
    """Draw every concept by its IoU with the best single filter and with the combination.

    Args:
        table: scores of segmentation.
        kind: the kind of combination: the name of its loss.
        layer: the layer.
    """
    single, combination = table.scores[net2vec.SINGLE][layer], table.scores[kind][layer]
    x, y = (net2vec.by_category(table.concepts, values) for values in (single, combination))
    order = table.gain(kind, layer).argsort(descending=True).tolist()
    # The concepts that gain most and least, and those with the best single filters.
    named = [*order[:6], *order[-3:], *single.argsort(descending=True)[:4].tolist()]
    return Drawing(
        scatter(
            {category: (x[category], y[category]) for category in x},
            labels=[
                (float(single[n]), float(combination[n]), table.concepts[n].name) for n in named
            ],
            diagonal=True,
            title=f"{len(table.concepts)} concepts in {_short(layer)}",
            xlabel="IoU of the best single filter",
            ylabel="IoU of the combination of all filters",
        ),
        f"Each concept's IoU in {_short(layer)} with its best single filter and with the "
        "combination of all filters, on validation images. Concepts above the dashed line gain.",
        "Points, most of them above the diagonal.",
        {"single": single, "combination": combination},
    )


def scores_by_filter_count(
    segmented: Mapping[str, FilterCurve],
    classified: Mapping[str, FilterCurve],
    accuracy: ScoreTable,
) -> Drawing:
    """Draw scores with one, few and all filters, and the accuracy by layer and category.

    Args:
        segmented: layer -> IoU by number of filters.
        classified: layer -> balanced accuracy by number of filters.
        accuracy: balanced accuracy of classification in all layers.
    """
    layers = list(accuracy.scores[net2vec.SINGLE])
    ticks, x = [_short(layer) for layer in layers], range(len(layers))
    kinds = {kind: (x, accuracy.means(kind)) for kind in accuracy.scores}
    categories = {
        category: (x, [float(mean) for mean in means])
        for category, means in accuracy.category_means(layers).items()
    }
    labels = {"xlabel": "layer", "ylabel": "mean accuracy", "ticks": ticks, "legend": True}
    rows = [
        [
            _filter_chart(segmented, "Segmentation", "mean IoU"),
            _filter_chart(classified, "Classification", "mean accuracy"),
        ],
        [
            Chart(kinds, title="Classification: all concepts", **labels),
            Chart(
                categories,
                title="Classification: combinations by category",
                line=0.5,
                ylim=(0.35, 1),
                **labels,
            ),
        ],
    ]
    arrays = {f"{layer}.iou": curve.scores for layer, curve in segmented.items()}
    arrays |= {f"{layer}.accuracy": curve.scores for layer, curve in classified.items()}
    return Drawing(
        chart_grid(rows, size=(3.6, 2.7)),
        "Top: mean IoU of segmentation and mean balanced accuracy of classification (chance: 0.5) "
        "with the filters of largest weight. Bottom: accuracy in every layer, of combinations of "
        "all filters and of the best single filters, and of combinations by category.",
        "Top: curves that rise steeply and then flatten. Bottom: accuracy by layer; the "
        "combination is above the single filter.",
        arrays,
    )


def _filter_chart(curves: Mapping[str, FilterCurve], title: str, ylabel: str) -> Chart:
    """Return a chart of mean scores over the logarithm of the number of filters."""
    series = {
        _short(layer): (np.log2(curve.counts), curve.scores.mean(1))
        for layer, curve in curves.items()
    }
    largest = max(curve.counts[-1] for curve in curves.values())
    ticks = [str(count) for count in net2vec.filter_counts(2 * largest)[:-1]]
    return Chart(series, (), title, "number of filters", ylabel, ticks=ticks, legend=True)


def concepts_reached(
    segmented: Mapping[str, FilterCurve], classified: Mapping[str, FilterCurve]
) -> Drawing:
    """Draw for how many concepts a fraction of the filters is enough.

    Args:
        segmented: layer -> IoU by number of filters.
        classified: layer -> balanced accuracy by number of filters.
    """
    tasks = dict(zip(TASKS, (segmented, classified), strict=True))
    reached = {
        (layer, task): curves[layer].fraction_reached()
        for task, curves in tasks.items()
        for layer in curves
    }
    row = []
    for layer, curve in segmented.items():
        fractions = np.array(curve.counts) / curve.counts[-1]
        series = {task: (fractions, reached[layer, task]) for task in TASKS}
        labels = {"xlabel": "fraction of filters", "ylabel": "fraction of concepts"}
        row.append(
            Chart(
                series, title=f"{_short(layer)}: 80 % of the full score", ylim=(0, 1.03), **labels
            )
        )
    return Drawing(
        chart_grid([row], size=(3.6, 2.7)),
        "Fraction of the concepts that reach 80 % of their score with all filters (accuracy: above "
        "chance), over the fraction of the filters used.",
        "Rising curves for segmentation and classification, by layer.",
        {f"{_short(layer)} {task}": curve for (layer, task), curve in reached.items()},
    )


def shared_filters(
    served: Mapping[str, Tensor],
    segmented: Mapping[str, FilterCurve],
    classified: Mapping[str, FilterCurve],
) -> Drawing:
    """Draw how many concepts share a filter, and how many filters share a concept.

    Args:
        served: layer -> number of concepts for which each filter is the best one.
        segmented: layer -> IoU by number of filters.
        classified: layer -> balanced accuracy by number of filters.
    """
    layers = list(served)
    sharing = {
        _short(layer): net2vec.sharing_histogram(served[layer])
        for layer in dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]])
    }
    needed = {
        _short(layer): [curves[layer].mean_fraction_needed() for curves in (segmented, classified)]
        for layer in segmented
    }
    title, ylabel = "Filters needed for 80 % of the score", "mean fraction of filters"
    row = [
        Chart(sharing, GROUPS, "Concepts per filter", "number of concepts", "fraction of filters"),
        Chart(needed, TASKS, title, "task", ylabel),
    ]
    return Drawing(
        chart_grid([row], size=(3.9, 2.6)),
        "Left: the number of concepts for which a filter is the best one. Right: the fraction "
        "of the layer's filters that a concept needs on average for 80 % of its score.",
        "Bars by number of concepts, and bars by layer.",
        {_short(layer): counts for layer, counts in served.items()},
    )


def concept_map(concepts: Sequence[Label], probes: Probes, layer: str) -> Drawing:
    """Draw concept vectors on their two principal components.

    Args:
        concepts: the concept of each vector; objects and colors are named.
        probes: the vectors.
        layer: their layer.
    """
    places, variance = net2vec.principal_plane(probes.weights)
    named = [
        (float(x), float(y), concept.name)
        for (x, y), concept in zip(places, concepts, strict=True)
        if concept.category in ("object", "color")
    ]
    labels = [f"PC {n + 1} ({100 * part:.0f} % of the variance)" for n, part in enumerate(variance)]
    return Drawing(
        scatter(
            {
                kind: (at[:, 0], at[:, 1])
                for kind, at in net2vec.by_category(concepts, places).items()
            },
            labels=named,
            size=(7, 5),
            title=f"Concept vectors in {_short(layer)}",
            xlabel=labels[0],
            ylabel=labels[1],
        ),
        f"The concept vectors of {_short(layer)}, normalized, on their first two principal "
        "components.",
        "Points colored by category, with the names of colors and objects.",
        {"places": places, "vectors": probes.weights},
    )


def inverted_concepts(inverted: net2vec.InvertedConcepts) -> Drawing:
    """Draw images of single filters and of combinations, under an image of the object.

    Args:
        inverted: the images.
    """
    images = {
        "image of\nthe object": inverted.real,
        "best single\nfilter": inverted.single,
        "combination": inverted.combination,
    }
    classes = inverted.single_classes, inverted.combination_classes
    blank = [""] * SHOWN_OBJECTS
    judged = "; under each, the class that an independent classifier assigns" * any(classes)
    return Drawing(
        image_grid(
            [own[:SHOWN_OBJECTS] for own in images.values()],
            notes=[blank, *(names[:SHOWN_OBJECTS] or blank for names in classes)],
            row_labels=list(images),
            column_labels=inverted.names[:SHOWN_OBJECTS],
            cell=0.95,
        ),
        "Below the image that shows the object largest, images optimized for its best single "
        f"filter and for its vector{judged}.",
        "Columns of images; the lowest row shows shapes of the objects above.",
        {"best unit": inverted.single, "combination": inverted.combination},
    )

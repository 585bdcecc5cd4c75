"""Figures of training evolution: survey figure F7, and measures by training step."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ...core import image_metrics
from ...methods.training_evolution import Evolution, RunSummary, Similarity
from .charts import Chart, chart_grid, use_integer_ticks
from .images import image_grid, normalize_kernels, normalize_projections
from .page import Page
from .style import Drawing, figure_style

STEP_AXIS = "training step (log axis)"
STEPS = {"log_x": True, "ylim": (0, 1.02)}  # axes of fractions over the steps
NO_LABELS = "Detectors are counted with labels; set DATA to a folder in the Broden format."
NO_RUNS = (
    "Failing trainings are provoked to compare with one that this notebook runs; this training was "
    "recorded elsewhere. Set RECORD to an empty folder to train here."
)
F7_CELL, KERNEL_CELL, KERNELS = 0.56, 0.46, 8
COLUMNS = ("high-frequency\nkernel energy", "dead maps,\nworst layer", "accuracy,\nheld-out images",
           "accuracy,\ntraining images", "recommended\nat the end")  # fmt: skip


def features(evolution: Evolution, count: int = 3) -> Drawing:
    """Draw survey figure F7: projections of units of each layer at the recorded training steps.

    Args:
        evolution: the recording, with projections; step 0 is not drawn.
        count: number of units per layer; those with the largest norm of the final projection.
    """
    arrays = {layer: evolution.top_projections(layer) for layer in evolution.layers}
    rows, labels, start = [], [], int(evolution.steps[0] == 0)
    for layer, projections in arrays.items():
        largest = projections[-1].flatten(1).norm(dim=1).argsort(descending=True)[:count]
        units = largest.sort().values
        shown = projections[start:, units]
        fixed = normalize_projections(shown.flatten(0, 1), shared=True).reshape(shown.shape)
        scaled = np.stack([normalize_projections(step) for step in shown])
        rows += [[*fixed[:, unit], None, *scaled[:, unit]] for unit in range(len(units))]
        labels += [f"{layer}:{evolution.units[layer][unit]}" for unit in units]
    return Drawing(
        figure=_two_contrasts(rows, labels, evolution.steps[start:]),
        caption="F7: projections of each unit's top-activating image at steps of the training; "
        "on the left with one contrast per layer, on the right with one contrast per image.",
        alt="Rows of small images, one row per unit, noise at the first steps and shapes at the "
        "last; on the left, the images of the first steps are faint.",
        arrays=arrays,
    )


@figure_style()
def _two_contrasts(rows: Sequence[Sequence], labels: Sequence[str], steps: list[int]) -> Figure:
    """Draw two blocks of columns, one column per step, with a heading above each block."""
    columns = [f"step {steps[0]}", *map(str, steps[1:])]
    columns = [*columns, "", *columns]
    # The blank title leaves room for the headings.
    figure = image_grid(rows, row_labels=labels, column_labels=columns, title=" ", cell=F7_CELL)
    top = 1 - 0.09 / figure.get_figheight()
    for first, heading in ((0, "one contrast per layer"), (len(steps), "a contrast per image")):
        left = figure.axes[first].get_position().x0
        figure.text(left, top, f"Projections with\n{heading}", va="top", size=8.5)
    return figure


def similarity(final: Similarity, accuracy: Tensor | None) -> Drawing:
    """Draw how similar each layer's activations are to those at the end, and the accuracy.

    Args:
        final: similarity to the final step.
        accuracy: (steps,) on held-out images; None if it was not recorded.
    """
    measures = {"Linear CKA": final.cka, "Correlation of units": final.correlation}
    charts = [
        _layer_chart(
            final.layers,
            final.steps,
            values,
            title=title,
            ylabel="similarity to the final step",
            line=0.9,
        )
        for title, values in measures.items()
    ]
    if accuracy is not None:
        accuracies = {"accuracy": (final.steps, accuracy)}
        title, ylabel = "Classification", "accuracy on held-out images"
        charts.append(Chart(accuracies, title=title, xlabel=STEP_AXIS, ylabel=ylabel, **STEPS))
    return Drawing(
        figure=chart_grid([charts], size=(3.2, 2.6)),
        caption="Similarity of each layer's activations at a training step to those at the end "
        "(dashed: 0.9); on the right, the accuracy.",
        alt="Curves that rise to one; those of the low layers reach 0.9 first.",
        arrays={"steps": final.steps, "cka": final.cka, "correlation": final.correlation},
    )


def _layer_chart(layers: Sequence[str], steps: Sequence[int], values: Tensor, **texts) -> Chart:
    """Return a chart with a curve per layer over the last of the steps."""
    series = {layer: (steps[-len(values) :], values[:, i]) for i, layer in enumerate(layers)}
    return Chart(series, xlabel=STEP_AXIS, **STEPS, **texts)


def top_image_changes(evolution: Evolution, previous: Tensor, final: Tensor) -> Drawing:
    """Draw how many units change their top-activating image.

    Args:
        evolution: the recording.
        previous: (later steps, layers) fraction of units whose image differs from that at the
            previous recorded step.
        final: (steps, layers) the same for the final step.
    """
    titles = {"Top image changed since last checkpoint": previous,
              "Top image differs from the final one": final}  # fmt: skip
    charts = [
        _layer_chart(
            evolution.layers, evolution.steps, values, title=title, ylabel="fraction of units"
        )
        for title, values in titles.items()
    ]
    return Drawing(
        figure=chart_grid([charts], size=(3.6, 2.7)),
        caption="Fraction of each layer's units whose top-activating image differs from that at "
        "the previous recorded step (left) and from that at the end (right).",
        alt="Curves that fall towards the end; those of the deep layers are the highest.",
        arrays={"before": previous, "end": final},
    )


def detectors(steps: Sequence[int], counts: Mapping[str, Tensor]) -> Drawing | str:
    """Draw the number of detected concepts by category.

    Args:
        steps: the recorded steps.
        counts: category -> number of distinct concepts at each step, added up over the layers.

    Returns:
        The drawing; without counts, a sentence in its place.
    """
    if not counts:
        return NO_LABELS
    never = [name for name, count in counts.items() if not count.any()]
    chart = Chart(
        {name: (steps, count) for name, count in counts.items() if name not in never},
        title="Distinct concepts with a detector, added up over the layers",
        xlabel=STEP_AXIS,
        ylabel="number of concepts",
        log_x=True,
    )
    without = f"; no detector of any {' or '.join(never)}" if never else ""
    figure = chart_grid([[chart]], size=(5.6, 3.0))
    use_integer_ticks(figure.axes[0])
    return Drawing(
        figure=figure,
        caption="Number of concepts with a detector, by category, at steps of the training"
        f"{without}.",
        alt="Lines that rise with the training steps, one per category.",
        arrays=counts,
    )


@figure_style()
def failed_runs(summaries: Mapping[str, RunSummary], trained: Tensor | None) -> Drawing | str:
    """Draw the first-layer kernels at the end of several trainings, and a table beside them.

    Args:
        summaries: name of the training -> its summary.
        trained: (units, 3, h, w) first-layer kernels of a fully trained network, drawn last; None
            for none.

    Returns:
        The drawing; without summaries, a sentence in its place.
    """
    if not summaries:
        return NO_RUNS
    table, kernels = {}, {name: run.kernels for name, run in summaries.items()}
    if trained is not None:
        noise = image_metrics.high_frequency_fraction(trained).mean()
        table["fully trained"], kernels["fully trained"] = [f"{noise:.0%}", *"––––"], trained
    for name, run in summaries.items():
        last = [*run.recommendations.values()][-1]
        numbers = (run.kernel_noise, run.dead_fraction, run.accuracy, run.training_accuracy)
        table[name] = [*(f"{number:.0%}" for number in numbers), last.action]
    pitch, left, column = KERNEL_CELL + 0.06, 1.95, 1.05
    page = Page(left + KERNELS * pitch + column * len(COLUMNS), 0.5 + pitch * len(kernels))
    first = left + KERNELS * pitch + column / 2
    for i, heading in enumerate(COLUMNS):
        page.text(first + i * column, page.height - 0.42, heading, ha="center", size=8)
    page.text(left, page.height - 0.42, "first-layer kernels", size=8)
    for row, (name, weights) in enumerate(kernels.items()):
        y = page.height - 0.5 - (row + 1) * pitch + 0.06
        middle = y + KERNEL_CELL / 2
        page.text(left - 0.1, middle, name, ha="right", va="center", size=8.5)
        for i, kernel in enumerate(normalize_kernels(weights[:KERNELS])):
            page.image(left + i * pitch, y, KERNEL_CELL, kernel)
        for i, text in enumerate(table[name]):
            page.text(first + i * column, middle, text, ha="center", va="center", size=8.5)
    return Drawing(
        figure=page.figure,
        caption="First-layer kernels at the end of a good training, of three that fail"
        f"{'' if trained is None else ', and of a network that was trained for longer'}; beside "
        "them, the mean fraction of the kernels' energy in high frequencies, dead feature maps, "
        "accuracy, and what was recommended.",
        alt="Rows of kernels: noise after the short training, clear structure after the longest.",
        arrays=kernels,
    )

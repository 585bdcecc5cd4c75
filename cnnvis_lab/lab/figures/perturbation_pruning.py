"""Figures of pruned networks: accuracy over the cost, and what fine-tuning recovers."""

from ...methods.perturbation import PruningCurves, TunedNetworks
from .charts import Chart, chart_grid
from .style import Drawing

CRITERIA = {
    "reconstruction": "reconstruction error",
    "loss": "classification loss",
    "activation": "mean activation",
    "magnitude": "weight magnitude",
    "random": "random order",
}
TICKS = {
    "reconstruction": "recon-\nstruction",
    "activation": "acti-\nvation",
    "magnitude": "magni-\ntude",
}


def pruning_curves(curves: PruningCurves) -> Drawing:
    """Draw accuracy over the removed maps, layer by layer, and over the cost for all these layers.

    Args:
        curves: accuracy and cost of pruned networks.
    """
    parts = [
        (layer, own, "fraction of feature maps removed") for layer, own in curves.by_layer.items()
    ]
    if curves.jointly:
        parts.append((" and ".join(curves.by_layer), curves.jointly, "million MACs per image"))
    charts = [
        Chart(
            {
                CRITERIA[criterion]: (
                    [
                        point.multiply_adds / 1e6 if "MACs" in xlabel else point.fraction
                        for point in points
                    ],
                    [point.accuracy for point in points],
                )
                for criterion, points in own.items()
            },
            title=f"Pruning {title}",
            xlabel=xlabel,
            ylabel="accuracy",
            ylim=(0, 1.02),
        )
        for title, own, xlabel in parts
    ]
    return Drawing(
        chart_grid([charts], size=(max(3.3, 6.6 / len(charts)), 2.5)),
        "Accuracy after removing the feature maps that each criterion ranks lowest. The last chart "
        "shows both layers pruned at once, over the multiply-adds (MACs) for one image.",
        "Decreasing curves, one for each criterion.",
        {
            f"{name} {criterion}": [list(point) for point in points]
            for name, own in [*curves.by_layer.items(), ("together", curves.jointly)]
            for criterion, points in own.items()
        },
    )


def tuned_networks(tuned: TunedNetworks) -> Drawing | str:
    """Draw accuracies after pruning and after fine-tuning, and what fine-tuning does not recover.

    Args:
        tuned: networks pruned by several criteria.

    Returns:
        The figure; or, if there are no networks, the reason.
    """
    if not tuned.trials:
        return tuned.reason
    labels = [TICKS.get(name, name) for name in tuned.after]
    accuracies = {
        "before fine-tuning": [*tuned.before.values()],
        "after fine-tuning": [*tuned.after.values()],
    }
    whole, lost = tuned.whole.accuracy, tuned.accuracy_lost or 0
    charts = [
        Chart(
            accuracies,
            labels,
            "Pruned networks; line: whole network",
            ylabel="accuracy",
            line=whole,
            ylim=(0, 1.02),
        ),
        Chart(
            {
                "after fine-tuning": [
                    *(100 * (whole - value) for value in tuned.after.values()),
                    100 * lost,
                ]
            },
            [*labels, "best,\nlonger"],
            "Loss after fine-tuning; line: one point",
            ylabel="accuracy lost in points",
            line=1,
        ),
    ]
    return Drawing(
        chart_grid([charts], size=(3.9, 2.5)),
        f"Accuracy of networks with {100 * (tuned.multiply_adds or 0):.0f} % of the multiply-adds: "
        "the same fraction of the maps of each layer was removed in the order of each criterion, "
        "then all networks were trained in the same way to return the class scores of the whole "
        "network, and the one with the lowest loss for longer.",
        "Bars for each criterion: low and different accuracies after pruning, high and similar "
        "ones after fine-tuning.",
        _trial_arrays(tuned),
    )


def _trial_arrays(tuned: TunedNetworks) -> dict[str, list]:
    """Return the fields of `PruningResult`: of the whole network, and of each trial."""
    arrays: dict[str, list] = {"whole": [*tuned.whole]}
    for criterion, trials in tuned.trials.items():
        arrays[f"{criterion}, before"] = [[*trial.before] for trial in trials]
        arrays[f"{criterion}, after"] = [[*trial.after] for trial in trials]
    if tuned.final:
        arrays["final"] = [*tuned.final.after]
    return arrays

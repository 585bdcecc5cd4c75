"""Figures of DeconvNet: F4, F5, F6, backward rules, occlusion, correspondence and invariance."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ...core import Float
from ...methods.deconvnet import (
    TRANSFORMATIONS,
    DesignComparison,
    Explanation,
    Faces,
    Invariance,
    PartDistances,
    ProjectionTrace,
    Stage,
    TopProjections,
    occlude_boxes,
    random_boxes,
)
from .charts import Chart, chart_grid
from .images import (
    image_grid,
    mosaic,
    mosaic_boxes,
    normalize_kernels,
    normalize_projections,
    overlay_heatmap,
)
from .page import Page, frame_axes
from .style import COLORS, Drawing, figure_style

CELL, GAP, LABEL, MIDDLE = 1.05, 0.36, 1.45, 1.6  # of F4, in inches
FULL_SIZE = 128 / 144  # inches in which an image of 128 pixels is drawn pixel by pixel
SIGNS = {"positive": "#b2182b", "negative": "#2166ac"}
EXAMPLES, FACES = 4, 5  # images in the figures of occlusion and of correspondence


@figure_style()
def projection_trace(trace: ProjectionTrace, errors: Mapping[str, float]) -> Drawing:
    """Draw F4: a network's maps from the image up, and beside them its signals down to the pixels.

    Args:
        trace: both passes.
        errors: layer -> error of its transpose, see `methods.deconvnet.adjoint_errors`.
    """
    stages = trace.stages
    forward = [trace.image, *(_select_map(stage.output, stage.channel) for stage in stages)]
    signals = [_select_map(stage.signal, stage.channel) for stage in stages]
    signals = [normalize_projections(trace.projection[None])[0], *signals]
    names = ["image and\nprojection", *map(_stage_name, stages)]
    foot = 0.4
    height = foot + len(forward) * (CELL + GAP) + 0.7
    page = Page(2 * (LABEL + CELL) + MIDDLE, height)
    left, right = LABEL, LABEL + CELL + MIDDLE
    bottoms = [foot + level * (CELL + GAP) for level in range(len(names))]
    for y, name, signal, maps in zip(bottoms, names, signals, forward, strict=True):
        frame_axes(page.signed_image(left, y, CELL, signal))
        frame_axes(page.signed_image(right, y, CELL, maps))
        page.text(page.width / 2, y + CELL / 2, name, ha="center", va="center", size=8.5)
    left, right = left + CELL / 2, right + CELL / 2
    for y, stage in zip(bottoms[:-1], stages, strict=True):
        _draw_step(page, y + CELL, left, right, stage.module)
    top = bottoms[-1] + CELL
    page.arrow([(right, top + 0.04), (right, top + 0.18), (left, top + 0.18), (left, top + 0.02)])
    turn = f"keep one activation of {trace.target},\nset all others to zero"
    page.text(page.width / 2, top + 0.22, turn, ha="center", va="bottom", size=8)
    for x, label in ((left, "backward pass:\nsignals"), (right, "forward pass:\nfeature maps")):
        page.text(x, height - 0.08, label, ha="center", va="top", weight="bold")
    page.legend(SIGNS, page.width / 2 - 1)
    return Drawing(
        page.figure,
        f"F4: the network up to {trace.target} (right, from bottom to top) and its DeconvNet (left,"
        " from top to bottom) with their maps and signals for one image. Of each layer, one map"
        " that carries much of the signal is shown.",
        "Maps joined by arrows, forward on the right and backward on the left; dashed arrows "
        "pass the switches from max-pooling to unpooling.",
        {"projection": trace.projection, "errors": list(errors.values())},
    )


def _select_map(maps: Tensor, channel: int) -> Tensor:
    return maps[channel] if maps.ndim > 1 else maps[None]


def _stage_name(stage: Stage) -> str:
    """A layer's name, which of its maps is shown, and the map's size."""
    count, *size = stage.output.shape
    if not size:
        return f"{stage.layer}\n{count} units"
    return f"{stage.layer}\nmap {stage.channel} of {count}\n{'x'.join(map(str, size))}"


def _draw_step(page: Page, bottom: float, left: float, right: float, module: nn.Module) -> None:
    """Draw arrows from a level to the next in the forward pass, and back, with their names."""
    lower, upper, middle = bottom + 0.04, bottom + GAP - 0.04, bottom + GAP / 2
    up, down = _step_names(module)
    page.arrow([(right, lower), (right, upper)])
    page.text(right + 0.12, middle, up, ha="left", va="center", size=8)
    page.arrow([(left, upper), (left, lower)])
    page.text(left - 0.12, middle, down, ha="right", va="center", size=8)
    if isinstance(module, nn.MaxPool2d):
        page.arrow([(right - 0.06, middle), (left + 0.06, middle)], COLORS[1], "--", 1.1)
        style = {"ha": "center", "size": 8, "color": COLORS[1]}
        page.text((left + right) / 2, middle + 0.04, "switches", **style)


def _step_names(module: nn.Module) -> tuple[str, str]:
    """What a module does in the forward and in the backward pass."""
    if isinstance(module, nn.ReLU):
        return "rectify", "rectify"
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d):
        kind = type(module).__name__
        return kind, f"{kind}, reversed"
    kernel, stride = (
        size if isinstance(size, int) else size[0] for size in (module.kernel_size, module.stride)
    )
    window = f"{kernel}x{kernel}, stride {stride}"
    if isinstance(module, nn.Conv2d):
        return f"filter {window}", "filter, transposed"
    return f"max-pool {window}", "unpool"


def top_projections(
    shown: Mapping[str, TopProjections],
    patches: Mapping[str, Float[Tensor, "u k c _ _"]],
    count: int,
) -> Drawing:
    """Draw F5: projections of units' highest activations beside the crops of the images.

    Args:
        shown: layer -> projections.
        patches: layer -> crops of the images.
        count: units of each layer.
    """
    rows, notes, labels = [], [], []
    for layer, top in shown.items():
        row, note = [], []
        for index, unit in enumerate(top.units[:count].tolist()):
            row += [mosaic(normalize_projections(top.projections[index]))]
            row += [mosaic(patches[layer][index])]
            note += [f"{layer}:{unit}, projections", f"{layer}:{unit}, images"]
        rows.append(row)
        notes.append(note)
        labels.append(f"{layer}\n{'x'.join(map(str, top.projections.shape[-2:]))} px")
    return Drawing(
        image_grid(rows, row_labels=labels, notes=notes, cell=1.9),
        "F5: projections of the nine highest activations of some units of each layer, beside the "
        "images, both cropped to the unit's receptive field, whose size is given on the left. Gray "
        "is zero; each projection is scaled to its own maximum.",
        "Mosaics of nine projections beside mosaics of nine images: edges in the first row, "
        "parts and whole objects in the last.",
        {layer: top.projections[:count] for layer, top in shown.items()},
    )


def backward_rules(
    by_rule: Mapping[str, Mapping[str, Float[Tensor, "u c _ _"]]],
    patches: Mapping[str, Float[Tensor, "u k c _ _"]],
    units: Mapping[str, Sequence[int]],
) -> Drawing:
    """Draw the highest activation of one unit of each layer, projected by different rules.

    Args:
        by_rule: rule -> layer -> projections of its units.
        patches: layer -> crops of these units' top-activating images.
        units: layer -> these units, of which the first is drawn.
    """
    layers = [*next(iter(by_rule.values()))]
    targets = [f"{layer}:{units[layer][0]}" for layer in layers]
    rows = [
        [
            patches[layer][0, 0],
            *(normalize_projections(by_layer[layer][:1])[0] for by_layer in by_rule.values()),
        ]
        for layer in layers
    ]
    names = [rule.replace("_centred", ",\nno switches") for rule in by_rule]
    return Drawing(
        image_grid(rows, column_labels=["image", *names], cell=FULL_SIZE, row_labels=targets),
        "The highest activation of one unit of each layer, projected by different backward rules. "
        "Gray is zero; each projection is scaled to its own maximum.",
        "One unit per row: noisy by the gradient, clear lines by guided, vague without switches.",
        {rule: by_layer[layers[-1]] for rule, by_layer in by_rule.items()},
    )


def occlusion(explanations: Sequence[Explanation]) -> Drawing:
    """Draw what occlusion takes from a unit and from the class, and what it covers.

    Args:
        explanations: one for each image, of which the first few are drawn.
    """
    rules, rows, notes = [*explanations[0].projections], [], []
    for one in explanations[:EXAMPLES]:
        heat = [one.activity_lost, one.probability_lost, *map(one.energy, rules)]
        maps = [overlay_heatmap(one.image, one.occlusion.on_pixels(values)) for values in heat]
        projections = [normalize_projections(p[None])[0] for p in one.projections.values()]
        rows.append([one.image, *maps, *projections])
        least = float(one.occlusion.probability.min())
        agreement = [f"r = {one.agreement(rule):.2f}" for rule in rules]
        notes.append([one.target, "", f"p: {one.probability:.2f} to {least:.2f}", *agreement])
    labels = ["image", "lost\nactivation", "lost class\nprobability"]
    labels += [f"{rule}:\n{what}" for what in ("energy", "projection") for rule in rules]
    boxes = [[{"occluding square": [one.occlusion.box]}] for one in explanations[:EXAMPLES]]
    return Drawing(
        image_grid(rows, notes=notes, cell=FULL_SIZE, column_labels=labels, boxes=boxes),
        "A gray square is moved over each image. Heat maps, from blue (least) to yellow (most): "
        "the decrease of the activation of the map of the unit under the image, the decrease of "
        "the class probability p, and the energy of the unit's projections under the square; "
        "r: correlation with the lost activation over all positions.",
        "Images under heat maps: activation is lost on the object, where guided projections lie.",
        {rule: [one.agreement(rule) for one in explanations] for rule in rules},
    )


def correspondence(faces: Faces, distances: PartDistances, seed: int) -> Drawing:
    """Draw faces whose parts are occluded in turn, with the distances between the faces.

    Args:
        faces: of which the first few are drawn.
        distances: between them.
        seed: seed of the random boxes.
    """
    random = random_boxes(faces.parts["nose"], faces.boxes, seed)
    boxes, images = faces.parts | {"random box": random}, faces.images[:FACES]
    occluded = [occlude_boxes(images, places[:FACES]) for places in boxes.values()]
    labels = [f"{part} occluded,\nmean distance" for part in boxes]
    for layer, by_part in distances.by_layer.items():
        pairs = zip(labels, by_part.values(), strict=True)  # the random boxes come last
        labels = [f"{label}\n{layer}: {value:.3f}" for label, value in pairs]
    marks = [
        {part: [places[index].tolist()] for part, places in boxes.items()}
        for index in range(len(images))
    ]
    return Drawing(
        image_grid(
            [images, *occluded],
            row_labels=["images", *labels],
            boxes=[marks],
            cell=FULL_SIZE,
        ),
        "Faces whose parts, or a random box, are occluded in turn. The numbers are mean distances "
        "between faces: the fraction of a layer's features that change with different signs.",
        "Rows of five faces in which an eye, the nose, the mouth or a random box is gray.",
        {name.replace(".", " "): [*by.values()] for name, by in distances.by_layer.items()},
    )


def invariance(by_kind: Mapping[str, Invariance]) -> Drawing:
    """Draw how far features move with the image, and what remains of the class's probability.

    Args:
        by_kind: kind of transformation -> its effect.
    """
    upper, lower = [], []
    for kind, one in by_kind.items():
        curves = {n: (one.amounts, one.relative_distances(n)) for n in one.distances}
        top = 1.05 * max(1, *(float(v.nan_to_num().max()) for _, v in curves.values()))
        quantity, title = TRANSFORMATIONS[kind].quantity, kind.capitalize()
        upper.append(Chart(curves, (), title, quantity, "relative distance", 1, ylim=(0, top)))
        curves = {"class probability": (one.amounts, one.probability.mean(1))}
        lower.append(Chart(curves, (), "", quantity, "probability", ylim=(0, 1.05)))
    return Drawing(
        chart_grid([upper, lower], size=(2.4, 1.9)),
        "Above: how far features of the first and of the last layer move with the image, relative "
        "to the distance between different images (dashed). Below: probability of the class of the "
        "original image. Means over images.",
        "Three pairs of charts: the first layer's curve rises at once, the last layer's slowly; "
        "the probability falls slowly with shift and scale, and fast with rotation.",
        {kind: one.probability for kind, one in by_kind.items()},
    )


def designs(comparison: DesignComparison) -> Drawing:
    """Draw F6: first-layer filters and second-layer projections of each network."""
    reports = comparison.reports
    images = [
        [mosaic(normalize_kernels(one.filters, shared=False)) for one in reports.values()],
        [mosaic(normalize_projections(one.second_layer)) for one in reports.values()],
    ]
    flagged = [
        [mosaic_boxes(_nonempty(one.flagged_filters), one.filters) for one in reports.values()],
        [
            mosaic_boxes(_nonempty(one.flagged_second_layer), one.second_layer)
            for one in reports.values()
        ],
    ]
    labels = ["first-layer\nfilters\n(a), (b)", "second-layer\nprojections\n(c), (d)"]
    is_marked = any(kinds for row in flagged for kinds in row)
    is_bounded = any(
        len(one.second_layer) < len(one.diagnosis.layers[1].dead) for one in reports.values()
    )
    return Drawing(
        image_grid(images, boxes=flagged, cell=3.6, row_labels=labels, column_labels=[*reports]),
        "F6 (a)-(d): first-layer filters, each on its own scale, and the projection of the highest "
        "activation of each map of the second layer. Frames mark flat or dead filters, dead maps, "
        "and maps with most of their energy at frequencies that alias."
        + ("" if is_marked else " Here there are none.")
        + (" Of larger layers, 128 maps are shown." if is_bounded else ""),
        "Mosaics of filters and of projections for each network.",
        {f"{name} second": one.second_layer for name, one in reports.items()},
    )


def _nonempty(kinds: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {kind: indices for kind, indices in kinds.items() if indices}


def design_charts(comparison: DesignComparison) -> Drawing:
    """Draw spectra of the first filters, dead maps and aliasing of each layer, for each network."""
    reports = comparison.reports
    lines = {name: one.spectrum for name, one in reports.items()}
    fraction = "fraction of energy"
    charts = [Chart(lines, (), "First-layer filters", "cycles per pixel", fraction)]
    names = [tuple(layer.layer for layer in one.diagnosis.layers) for one in reports.values()]
    fit = len({*names}) == 1 and max(map(len, names[0])) <= 4
    layers = names[0] if fit else [str(n + 1) for n in range(len(names[0]))]
    for column, title, ylabel in (
        ("dead_fraction", "Dead maps", "fraction of maps"),
        ("mean_aliasing", "Aliasing in projections", fraction),
    ):
        heights = {name: one.diagnosis.column(column) for name, one in reports.items()}
        charts.append(Chart(heights, layers, title, "layer", ylabel))
    return Drawing(
        chart_grid([charts], size=(2.4, 2.2)),
        "Mean spectrum of the first-layer filters, fraction of maps that no image activates, and "
        "fraction of the projections' energy at frequencies that alias, for each network.",
        "One line chart and two bar charts.",
        {
            f"{name} firing": one.diagnosis.column("mean_firing_rate")
            for name, one in reports.items()
        },
    )

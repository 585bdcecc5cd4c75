"""All units of a network by all methods: one scan of the layers, then many units at a time.

What a scan finds is small and can be written to a file; with it, each group of units is computed
independently of the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core import Bool, Float, InputError, Int
from ...core.statistics import TopK
from ...data import ImageSet, LabelledSet, Subset
from ...models import Model, graph
from .. import deconvnet, dissection, perturbation
from .layer import ConceptFit, LayerAnalysis, Unavailable
from .profile import Rendered, maximize_activations

TOP_COUNT, CONCEPT_COUNT = 9, 6
ABLATION_IMAGES = 64  # images on which units are set to zero
MASK_BATCH = 8  # images whose masks are computed together


@dataclass(frozen=True)
class LayerScan:
    """What one pass over a dataset shows about all units of a layer, in brief.

    Attributes:
        layer: name of the layer, as given by the caller.
        after_relu: name of the layer after its ReLU, if there is one.
        top: the top-activating images of every unit.
        active_fraction: fraction of the images on which each unit is active.
        concepts: for each unit, the concepts with the highest IoU above 0.
        detectors: for each unit, whether the first of these has the IoU of a detector.
        neighbors: for each unit, the units of the layer with the most similar activations, and
            their cosines.
        thresholds: (units,) activation that each unit's mask exceeds, see `dissection`.
    """

    layer: str
    after_relu: str
    top: TopK
    active_fraction: list[float]
    concepts: list[list[ConceptFit]] | Unavailable
    detectors: list[bool]
    neighbors: list[list[tuple[int, float]]]
    thresholds: Float[Tensor, " units"] | Unavailable

    def __len__(self) -> int:
        return len(self.active_fraction)

    def to_json(self) -> dict[str, Any]:
        """Return the scan as values that JSON can store exactly."""
        return {
            "layer": self.layer,
            "after_relu": self.after_relu,
            "top": {name: part.tolist() for name, part in self.top.state().items()},
            "active": self.active_fraction,
            "concepts": self.concepts if isinstance(self.concepts, list) else None,
            "reason": "" if isinstance(self.concepts, list) else self.concepts.reason,
            "detectors": self.detectors,
            "neighbors": self.neighbors,
            "thresholds": None
            if isinstance(self.thresholds, Unavailable)
            else self.thresholds.tolist(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "LayerScan":
        """Return the scan that `to_json` has stored."""
        top = TopK(max(len(stored["top"]["values"][0]), 1))
        top.values = torch.tensor(stored["top"]["values"])
        top.images = torch.tensor(stored["top"]["images"])
        top.positions = torch.tensor(stored["top"]["positions"])
        concepts = thresholds = Unavailable(stored["reason"])
        if stored["concepts"] is not None:
            concepts = [[ConceptFit(*fit) for fit in row] for row in stored["concepts"]]
            thresholds = torch.tensor(stored["thresholds"])
        return cls(
            stored["layer"],
            stored["after_relu"],
            top,
            stored["active"],
            concepts,
            stored["detectors"],
            [[(int(unit), cosine) for unit, cosine in row] for row in stored["neighbors"]],
            thresholds,
        )


@dataclass(frozen=True)
class UnitBatch:
    """Some units of a layer by all methods that need the network.

    Attributes:
        units: index of each unit.
        maximized: image of each unit by activation maximization.
        images: (units, k) indices of the top-activating images.
        activations: (units, k) the units' maximum activations on them.
        boxes: (units, k, 4) y0, x0, y1, x1 of the receptive fields of these activations.
        masks: (units, k, r, s) where the unit exceeds its threshold, cropped to the boxes.
        projections: (units, k, 3, r, s) projections of these activations, cropped to the boxes.
        class_effects: (units, classes) mean change of the class scores without the unit.
    """

    units: Sequence[int]
    maximized: list[Rendered] | Unavailable
    images: Int[Tensor, "u k"]
    activations: Float[Tensor, "u k"]
    boxes: Int[Tensor, "u k 4"]
    masks: Bool[Tensor, "u k r s"] | Unavailable
    projections: Float[Tensor, "u k c r s"] | Unavailable
    class_effects: Float[Tensor, "u classes"] | Unavailable


def all_layers(model: Model) -> list[str]:
    """Return the layers of a whole network.

    In the AlexNet family these are CL1..CL5 and FL1..FL3; in others the stages that contain
    convolutions, as in `models.graph.conv_blocks`, and the fully connected layers.
    """
    if model.survey_layers:
        return list(model.default_layers())
    dense = {name for name, one in model.net.named_modules() if isinstance(one, nn.Linear)}
    blocks = graph.conv_blocks(model.net, model.roles.order)
    order = list(model.roles.order) or [name for name, _ in model.net.named_modules()]
    inside = {name for name in dense for block in blocks if name.startswith(f"{block}.")}
    chosen = {*blocks, *(dense - inside)}
    scoring = model.layer_aliases["logits"].removeprefix("net").removeprefix(".")
    chosen.discard(scoring)
    return [*sorted(chosen & set(order), key=order.index), "logits"]


def summarize(analysis: LayerAnalysis) -> LayerScan:
    """Return an analysis in brief."""
    fits, detectors = [], [False] * len(analysis)
    if isinstance(analysis.table, Unavailable):
        fits = thresholds = analysis.table
    else:
        thresholds = analysis.table.thresholds
        best, _ = analysis.table.best()
        detectors = analysis.table.detected(best).tolist()
        for unit in range(len(analysis)):
            found = analysis.best_concepts(unit, CONCEPT_COUNT)
            fits.append([fit for fit in found if isinstance(fit, ConceptFit) and fit.iou > 0])
    return LayerScan(
        analysis.layer,
        analysis.after_relu,
        analysis.top,
        analysis.active_fraction.tolist(),
        fits,
        detectors,
        [[(unit, round(cosine, 4)) for unit, cosine in row] for row in analysis.neighbors],
        thresholds,
    )


def profile_units(
    model: Model,
    scan: LayerScan,
    units: Sequence[int],
    data: ImageSet | LabelledSet,
    *,
    steps: int | None = None,
    rule: str = "deconvnet",
) -> UnitBatch:
    """Profile some units of a layer together.

    Args:
        model: the network.
        scan: scan of the layer, over the same dataset.
        units: indices of the units.
        data: the dataset.
        steps: number of steps of the activation maximization; None for the default.
        rule: backward rule of the projections, see `deconvnet.project`.

    Raises:
        NameNotFound: no such rule.
    """
    rows = list(units)
    images, activations = scan.top.images[rows], scan.top.values[rows]
    height, width = data.batch([0]).shape[-2:]
    boxes = torch.tensor([0, 0, height, width]).expand(*images.shape, 4)
    try:
        top = deconvnet.top_projections(
            model,
            Subset(data, range(len(data))),
            [scan.layer],
            k=TOP_COUNT,
            units={scan.layer: rows},
            top_images={scan.layer: scan.top},
            rule=rule,
        )[scan.layer]
        boxes, projections = top.boxes, top.projections
    except InputError as error:
        projections = Unavailable(str(error))
    return UnitBatch(
        rows,
        maximize_activations(model, scan.layer, rows, steps=steps),
        images,
        activations,
        boxes,
        _masks(model, scan, rows, images, boxes, data),
        projections,
        _class_effects(model, scan.after_relu, rows, data),
    )


def _masks(
    model: Model,
    scan: LayerScan,
    rows: Sequence[int],
    images: Int[Tensor, "u k"],
    boxes: Int[Tensor, "u k 4"],
    data: ImageSet | LabelledSet,
) -> Bool[Tensor, "u k r s"] | Unavailable:
    """Return the units' masks on their images, each image's for its own units only."""
    if isinstance(scan.thresholds, Unavailable):
        return scan.thresholds
    height, width = (boxes[0, 0, 2:] - boxes[0, 0, :2]).tolist()
    masks = torch.zeros(*images.shape, height, width, dtype=torch.bool)
    for indices in images.unique().split(MASK_BATCH):
        pairs = torch.isin(images, indices).nonzero()
        own = pairs[:, 0].unique()
        found = dissection.unit_masks(
            model,
            data.batch(indices.tolist()).to(model.device),
            scan.after_relu,
            scan.thresholds,
            [rows[row] for row in own.tolist()],
        )
        for row, place in pairs.tolist():
            image = torch.searchsorted(indices, images[row, place])
            y0, x0, y1, x1 = boxes[row, place].tolist()
            masks[row, place] = found[image, torch.searchsorted(own, row), y0:y1, x0:x1]
    return masks


def _class_effects(
    model: Model, layer: str, units: Sequence[int], data: ImageSet | LabelledSet
) -> Float[Tensor, "u classes"] | Unavailable:
    """Set units to zero on images spread over the dataset."""
    count = min(ABLATION_IMAGES, len(data))
    images = data.batch([index * len(data) // count for index in range(count)])
    try:
        return perturbation.class_effects(model, layer, images.to(model.device), units)
    except (InputError, RuntimeError) as error:
        return Unavailable(f"{layer} cannot be edited ({' '.join(str(error).split())})")

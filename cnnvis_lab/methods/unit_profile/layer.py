"""Analysis of all units of a layer in one pass: top-activating images, concepts, concept vectors.

After this pass, profiles of single units are fast, except for two optimizations. Parts that would
need labels or a generator that do not exist are `Unavailable`, with a reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core import Float, InputError, hooks
from ...core.statistics import TopK
from ...data import ImageSet, LabelledSet, Subset
from ...models import Model
from .. import dissection, net2vec
from ..dissection import RunOptions
from .statistics import collect

MIN_IMAGES = 10
MIN_IMAGES_PER_SPLIT = 8
NEIGHBOR_COUNT = 6
HERE = RunOptions()
NO_LABELS = "the data set has no label maps to compare the unit with"


class Unavailable(NamedTuple):
    """A part of a profile that is not available, and the reason in one line."""

    reason: str


class ConceptFit(NamedTuple):
    """The IoU of a unit with a concept.

    Attributes:
        concept: name of the concept.
        category: category of the concept.
        iou: IoU of the unit's mask and the concept's labels, 0 to 1.
    """

    concept: str
    category: str
    iou: float


class ConceptWeight(NamedTuple):
    """A unit's weight in a concept vector.

    Attributes:
        concept: name of the concept.
        category: category of the concept.
        weight: weight of the unit, with the vector normalized to length 1.
        rank: rank of this weight among those of all units of the layer, from 1.
        score: score of the whole vector on held-out images: IoU, or accuracy in a layer without
            maps.
    """

    concept: str
    category: str
    weight: float
    rank: int
    score: float


@dataclass(frozen=True)
class ConceptVectors:
    """Concept vectors of a layer.

    Attributes:
        probes: the vectors.
        scores: (rows,) score of each vector on held-out images.
        concepts: (name, category) of each row.
    """

    probes: net2vec.Probes
    scores: Float[Tensor, " rows"]
    concepts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LayerAnalysis:
    """What one pass over a dataset shows about all units of a layer.

    Attributes:
        layer: name of the layer, as given by the caller.
        after_relu: name of the layer after its ReLU, if there is one.
        images: the dataset.
        top: the top-activating images of every unit.
        active_fraction: (units,) fraction of the images on which each unit is active.
        neighbors: for each unit, the units with the most similar maximum activations on the images,
            and their cosines, in descending order; only units with a cosine above 0.
        table: result of the dissection of the layer.
        vectors: vectors of the concepts that occur in enough images.
    """

    layer: str
    after_relu: str
    images: Subset
    top: TopK
    active_fraction: Float[Tensor, " units"]
    neighbors: list[list[tuple[int, float]]]
    table: dissection.LayerTable | Unavailable
    vectors: ConceptVectors | Unavailable

    def __len__(self) -> int:
        return len(self.top.values)

    def best_concepts(self, unit: int, count: int) -> tuple[ConceptFit, ...] | Unavailable:
        """Return the concepts with which a unit has the highest IoU, in descending order."""
        if isinstance(self.table, Unavailable):
            return self.table
        iou = self.table.iou[unit]
        columns = iou.argsort(descending=True, stable=True)[:count].tolist()
        fits = [(self.table.concepts[column], float(iou[column])) for column in columns]
        return tuple(ConceptFit(concept.name, concept.category, value) for concept, value in fits)

    def largest_weights(self, unit: int, count: int) -> tuple[ConceptWeight, ...] | Unavailable:
        """Return a unit's largest weights in concept vectors, in descending order."""
        if isinstance(self.vectors, Unavailable):
            return self.vectors
        vectors = torch.nn.functional.normalize(self.vectors.probes.weights, dim=1)
        weights = vectors[:, unit]
        ranks = 1 + (vectors > weights[:, None]).sum(1)
        return tuple(
            ConceptWeight(
                *self.vectors.concepts[row],
                weight=float(weights[row]),
                rank=int(ranks[row]),
                score=float(self.vectors.scores[row]),
            )
            for row in weights.argsort(descending=True, stable=True)[:count].tolist()
        )


def check_unit(layer: str, unit: int, count: int) -> None:
    """Check that a layer has a unit.

    Args:
        layer: name of the layer, for the message.
        unit: index of the unit.
        count: number of units of the layer.

    Raises:
        InputError: the unit is out of range.
    """
    if not 0 <= unit < count:
        raise InputError(f"unit {unit} of {layer}: it has {count}; expected 0 to {count - 1}")


def analyze_layer(
    model: Model, layer: str, data: ImageSet | LabelledSet, **settings: Any
) -> LayerAnalysis:
    """Analyze all units of a layer in one pass over a dataset.

    Args:
        model: the network.
        layer: dotted name or alias.
        data: the dataset; concepts need label maps.
        settings: other arguments of `analyze_layers`.

    Raises:
        NameNotFound: no such layer.
        InputError: activations that are not finite.
    """
    return analyze_layers(model, [layer], data, **settings)[layer]


def analyze_layers(
    model: Model,
    layers: Sequence[str],
    data: ImageSet | LabelledSet,
    *,
    top: int = 9,
    learn_vectors: bool = True,
    min_images: int = MIN_IMAGES,
    min_images_per_split: int = MIN_IMAGES_PER_SPLIT,
    run: RunOptions = HERE,
) -> dict[str, LayerAnalysis]:
    """Analyze all units of several layers together.

    Concept vectors are learned on two of every three images and scored on the third.

    Args:
        model: the network.
        layers: dotted names or aliases.
        data: the dataset; concepts need label maps.
        top: number of top-activating images of each unit.
        learn_vectors: whether to learn concept vectors.
        min_images: concepts that occur in fewer images are left out.
        min_images_per_split: concepts get no vector if they occur (or, in layers without maps, are
            missing) in fewer images of either split.
        run: how the passes run; progress is counted over all of them. Concept vectors are learned
            in this process.

    Returns:
        Layer -> its analysis.

    Raises:
        NameNotFound: no such layer.
        InputError: activations that are not finite.
    """
    for layer in layers:
        hooks.resolve(model, layer)
    images, report = Subset(data, range(len(data))), run.on_progress or (lambda done, total: None)
    passes = 3 if has_label_maps(data) else 1  # a dissection makes two
    statistics = collect(
        model,
        layers,
        images,
        min(top, len(data)),
        run.spread,
        lambda done: report(done, passes * len(data)),
    )
    tables: dict[str, dissection.LayerTable | Unavailable]
    tables = dict.fromkeys(layers, Unavailable(NO_LABELS))
    if has_label_maps(data):
        after = replace(run, on_progress=_after(report, len(data)))
        tables = _dissect(model, layers, images, min_images, after)
    result = {}
    for layer, (tops, rate, pairs) in statistics.items():
        vectors = Unavailable(NO_LABELS)
        if has_label_maps(data):
            vectors = Unavailable("no vectors were requested")
            if learn_vectors:
                after_relu = model.after_relu(layer)
                vectors = _learn_vectors(model, after_relu, images, min_images_per_split)
        result[layer] = LayerAnalysis(
            layer,
            model.after_relu(layer),
            images,
            tops,
            rate.fractions(),
            pairs.nearest(NEIGHBOR_COUNT),
            tables[layer],
            vectors,
        )
    return result


def _after(report: Callable[[int, int], None], before: int) -> Callable[[int, int], None]:
    """Return a callback that counts what was done before."""
    return lambda done, total: report(before + done, before + total)


def has_label_maps(data: ImageSet | LabelledSet) -> bool:
    """Return whether a dataset, or the set that it is a subset of, has label maps."""
    return isinstance(data.dataset if isinstance(data, Subset) else data, LabelledSet)


def _has_feature_maps(model: Model, layer: str) -> bool:
    return len(model.layer_shapes([layer])[layer]) == 3


def _dissect(
    model: Model,
    layers: Sequence[str],
    images: Subset,
    min_images: int,
    run: RunOptions,
) -> dict[str, dissection.LayerTable | Unavailable]:
    no_mask = Unavailable("a unit without a feature map has one activation per image: no mask")
    tables: dict[str, dissection.LayerTable | Unavailable] = dict.fromkeys(layers, no_mask)
    spatial = {
        layer: model.after_relu(layer) for layer in layers if _has_feature_maps(model, layer)
    }
    if not spatial:
        return tables
    try:
        found = dissection.dissect(
            model,
            images,
            list(spatial.values()),
            min_images=min_images,
            run=run,
        )
    except InputError as error:
        return tables | dict.fromkeys(spatial, Unavailable(str(error)))
    return tables | {layer: found[after_relu] for layer, after_relu in spatial.items()}


def _learn_vectors(
    model: Model, layer: str, images: Subset, min_images: int
) -> ConceptVectors | Unavailable:
    has_maps, indices = _has_feature_maps(model, layer), range(len(images))
    train_images = Subset(images, [index for index in indices if index % 3 < 2])
    validation_images = Subset(images, [index for index in indices if index % 3 == 2])
    if not len(validation_images):
        return Unavailable(f"{len(images)} images: too few to learn vectors and score them")
    train, validation = net2vec.prepare(model, train_images, [validation_images], [layer])
    columns = net2vec.usable_concepts(
        train, validation, min_images=min_images, segmentation=has_maps
    )
    if not columns:
        return Unavailable(f"no concept occurs in {min_images} images of both splits")
    if has_maps:
        probes = net2vec.segment(train, layer, columns)
        scores = net2vec.set_iou(validation, layer, probes)
    else:
        probes = net2vec.classify(train, layer, columns)
        scores = net2vec.balanced_accuracy(validation, layer, probes)
    concepts = [train.concepts[column] for column in columns]
    return ConceptVectors(probes, scores, tuple((one.name, one.category) for one in concepts))

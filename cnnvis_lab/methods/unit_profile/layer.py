"""One unit by all methods: what excites it, where it answers, which concepts it sees and serves.

First a layer is gone through once for all its units (`know`); what a single unit is then asked for
takes moments, but for the two ascents. A part that cannot be had, for want of labels or of a
generator, is an `Absent` that says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, InputError, hooks
from ...core.statistics import FiringRate, TopK, tally
from ...data import LabelledSet, Subset
from ...models import Model
from .. import dissection, net2vec
from ..dissection import LayerTable
from ..net2vec import Probes

MIN_IMAGES = 10  # that show a concept which names a unit
MIN_IMAGES_PER_SPLIT = 8  # that show a concept of which a vector is learned, in each of two sets
NO_LABELS = "the pictures have no label maps to compare it with"


class Unavailable(NamedTuple):
    """A part that cannot be had, and why, in one line."""

    why: str


class ConceptFit(NamedTuple):
    """A concept, its category, and how well a unit's mask covers it: IoU, 0 to 1."""

    concept: str
    category: str
    iou: float


class ConceptWeight(NamedTuple):
    """What a unit gives to a concept's vector.

    Attributes:
        concept: its name.
        category: its category.
        weight: of the unit, in the vector at unit length.
        place: of the unit among all of the layer, by weight, from 1.
        score: of the whole vector on other pictures: IoU, or accuracy in a layer without maps.
    """

    concept: str
    category: str
    weight: float
    place: int
    score: float


@dataclass(frozen=True)
class ConceptVectors:
    """Concept vectors of a layer: the probes, and how well each does on other pictures."""

    probes: Probes
    score: Float[Tensor, " rows"]
    names: tuple[tuple[str, str], ...]


def unit_counts(model: Model, layers: Sequence[str]) -> dict[str, int]:
    """Return layer -> its number of units."""
    return {layer: shape[0] for layer, shape in model.layer_shapes(layers).items()}


def check_unit(layer: str, unit: int, has: int) -> None:
    """Refuse a unit that a layer does not have.

    Raises:
        InputError: it is out of range.
    """
    if not 0 <= unit < has:
        raise InputError(f"unit {unit} of {layer}: it has {has}; expected 0 to {has - 1}")


@dataclass(frozen=True)
class LayerAnalysis:
    """What one pass over pictures tells of all units of a layer.

    Attributes:
        layer: as the caller wrote it.
        after: the same layer after its ReLU, where it has a name of its own.
        pictures: the data set.
        found: the strongest pictures of every unit.
        fires: (units,) share of the pictures in which each is above zero.
        table: the dissected layer.
        vectors: of the concepts that enough pictures show.
    """

    layer: str
    after: str
    pictures: Subset
    found: TopK
    fires: Float[Tensor, " units"]
    table: LayerTable | Unavailable
    vectors: ConceptVectors | Unavailable

    def __len__(self) -> int:
        return len(self.found.values)

    def check(self, unit: int) -> None:
        """Refuse a unit that the layer does not have.

        Raises:
            InputError: it is out of range.
        """
        check_unit(self.layer, unit, len(self))

    def fits(self, unit: int, count: int) -> tuple[ConceptFit, ...] | Unavailable:
        """Return the concepts a unit fits best, best first."""
        if isinstance(self.table, Unavailable):
            return self.table
        iou = self.table.iou[unit]
        order = iou.argsort(descending=True, stable=True)[:count].tolist()
        named = [(self.table.concepts[column], float(iou[column])) for column in order]
        return tuple(ConceptFit(concept.name, concept.category, value) for concept, value in named)

    def shares(self, unit: int, count: int) -> tuple[ConceptWeight, ...] | Unavailable:
        """Return the concepts whose vectors give the unit the largest weights, largest first."""
        if isinstance(self.vectors, Unavailable):
            return self.vectors
        weights = torch.nn.functional.normalize(self.vectors.probes.weights, dim=1)
        own = weights[:, unit]
        rows = own.argsort(descending=True, stable=True)[:count].tolist()
        place = 1 + (weights > own[:, None]).sum(1)
        score, names = self.vectors.score, self.vectors.names
        return tuple(
            ConceptWeight(*names[r], float(own[r]), int(place[r]), float(score[r])) for r in rows
        )


def analyze_layer(
    model: Model,
    layer: str,
    data: object,
    *,
    top: int = 9,
    learn: bool = True,
    min_images: int = MIN_IMAGES,
    least_learned: int = MIN_IMAGES_PER_SPLIT,
) -> LayerAnalysis:
    """Go through a data set for all units of a layer.

    Concept vectors are learned on two of every three pictures and scored on the third.

    Args:
        model: the network.
        layer: dotted name or alias.
        data: a data set; concepts need one that is `data.labelled.Labelled`.
        top: strongest pictures kept of each unit.
        learn: concept vectors, too.
        min_images: concepts seen in fewer name no unit.
        least_learned: concepts seen in fewer, or missing in fewer, of either part get no vector.

    Raises:
        NameNotFound: no such layer.
        InputError: activations that are no numbers.
    """
    hooks.resolve(model, layer)
    after, pictures = model.after_relu(layer), Subset(data, range(len(data)))
    found, fires, device = TopK(min(top, len(data))), FiringRate(), model.device
    batches = ((numbers, images.to(device)) for numbers, images in pictures.batches(50))
    tally(model, batches, {layer: [found, fires]})
    table, vectors = Unavailable(NO_LABELS), Unavailable(NO_LABELS)
    if has_label_maps(data):
        table = _dissect_layer(model, after, pictures, min_images)
        vectors = Unavailable("no vectors were asked for")
        vectors = _learn_vectors(model, after, pictures, least_learned) if learn else vectors
    return LayerAnalysis(layer, after, pictures, found, fires.shares(), table, vectors)


def has_label_maps(data: object) -> bool:
    """Return whether a data set, or the one a part is of, has label maps."""
    return has_label_maps(data.whole) if isinstance(data, Subset) else isinstance(data, LabelledSet)


def _dissect_layer(
    model: Model, layer: str, pictures: Subset, least: int
) -> LayerTable | Unavailable:
    if len(model.layer_shapes([layer])[layer]) != 3:
        return Unavailable("a unit without a map answers to whole pictures: it has no mask")
    try:
        return dissection.dissect(model, pictures, [layer], min_images=least)[layer]
    except InputError as error:
        return Unavailable(str(error))


def _learn_vectors(
    model: Model, layer: str, pictures: Subset, least: int
) -> ConceptVectors | Unavailable:
    numbers, maps = range(len(pictures)), len(model.layer_shapes([layer])[layer]) == 3
    train, other = (
        Subset(pictures, [n for n in numbers if (n % 3 == 2) == last]) for last in (0, 1)
    )
    if not len(other):
        return Unavailable(f"{len(pictures)} pictures: too few to learn vectors and score them")
    known, scored = net2vec.prepare(model, train, [other], [layer])
    concepts = net2vec.usable_concepts(known, scored, least=least, masked=maps)
    if not concepts:
        return Unavailable(
            f"no concept is shown by {least} pictures to learn from and {least} others"
        )
    learn = net2vec.segment if maps else net2vec.classify
    probes = learn(known, layer, concepts)
    score = (net2vec.set_iou if maps else net2vec.balanced_accuracy)(scored, layer, probes)
    names = tuple((known.concepts[c].name, known.concepts[c].category) for c in concepts)
    return ConceptVectors(probes, score, names)

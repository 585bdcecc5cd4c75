"""The profile of one unit by all methods: optimized and real images, concepts and history."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ... import models
from ...core import Float, InputError, hooks, receptive_field
from ...core.optimization import Options, objectives
from ...data import ImageSet, LabelledSet, Subset
from ...models import Model, generators
from .. import activation_maximization, deep_generator
from .history import TrainingHistory, UnitSnapshot, track, unit_history
from .layer import (
    ConceptFit,
    ConceptWeight,
    LayerAnalysis,
    Unavailable,
    analyze_layer,
    check_unit,
)
from .statistics import BATCH_SIZE
from .top_images import TopImages, top_images

GENERATOR = "generator_FL1"
CODE_IMAGES = 400  # images from whose codes the generator's bounds are computed
IMAGE_COUNT, CONCEPT_COUNT = 8, 6


class Rendered(NamedTuple):
    """An image that maximizes a unit's activation.

    Attributes:
        image: (3, r, c) in [0, 1].
        activation: the unit's activation on it.
    """

    image: Float[Tensor, "channels r c"]
    activation: float


class BoundedGenerator(NamedTuple):
    """A generator and the bounds of its codes."""

    generator: generators.Generator
    bounds: deep_generator.CodeBounds


@dataclass(frozen=True)
class UnitProfile:
    """What all methods show about one unit.

    Attributes:
        network: name of the network.
        layer: name of the layer, as given by the caller.
        unit: index of the unit.
        unit_count: number of units of the layer.
        class_name: the class that the unit scores; empty for other units.
        receptive_field: (rows, columns) in pixels; None if it cannot be computed.
        kernel: (3, h, w) of a unit of the first convolution; None for others.
        active_fraction: fraction of the images on which the unit is active.
        maximized: image by activation maximization.
        generated: image by activation maximization through a generator.
        top: top-activating images, masks and projections.
        concepts: the concepts with the highest IoU.
        is_detector: whether the unit is a detector of the first of these concepts.
        concept_weights: the unit's largest weights in concept vectors.
        history: the unit at steps of a training.
        source: origin of that training, in a few words.
    """

    network: str
    layer: str
    unit: int
    unit_count: int
    class_name: str
    receptive_field: receptive_field.Pair | None
    kernel: Float[Tensor, "c h w"] | None
    active_fraction: float
    maximized: Rendered | Unavailable
    generated: Rendered | Unavailable
    top: TopImages
    concepts: tuple[ConceptFit, ...] | Unavailable
    is_detector: bool
    concept_weights: tuple[ConceptWeight, ...] | Unavailable
    history: tuple[UnitSnapshot, ...] | Unavailable
    source: str

    def __str__(self) -> str:
        name = f"{self.network} {self.layer}:{self.unit}"
        if isinstance(self.concepts, Unavailable):
            return f"{name}: {self.concepts.reason}"
        best = self.concepts[0]
        if best.iou == 0:
            return f"{name} fits no concept"
        verb = "detects" if self.is_detector else "detects nothing; it fits best"
        return f"{name} {verb} {best.concept} ({best.category}), IoU {best.iou:.3f}"


def resolve_unit(model: Model, target: str) -> tuple[str, int]:
    """Split "layer:unit" and check that the unit exists.

    Raises:
        InputError: the target does not have this form, or the unit is out of range.
        NameNotFound: no such layer.
    """
    layer, unit = objectives.parse_target(target)
    check_unit(layer, unit, model.layer_shapes([layer])[layer][0])
    return layer, unit


def profile(
    model: Model,
    target: str,
    data: ImageSet | LabelledSet,
    *,
    generator: BoundedGenerator | Unavailable,
    history: TrainingHistory | Unavailable,
    steps: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> UnitProfile:
    """Profile one unit by all methods.

    Args:
        model: the network.
        target: "layer:unit".
        data: the dataset; concepts need label maps.
        generator: a generator from `generator_for`.
        history: a history from `shipped_history` or `recorded_history`.
        steps: number of steps of both optimizations; None for their defaults.
        on_progress: called with (parts done, total parts).

    Raises:
        InputError: no such unit.
        NameNotFound: no such layer.
    """
    layer, unit = resolve_unit(model, target)
    analysis = analyze_layer(model, layer, data, top=IMAGE_COUNT)
    on_progress(1, 4)
    maximized = maximize_activation(model, target, steps=steps)
    on_progress(2, 4)
    generated = maximize_with_generator(model, target, generator, steps=steps)
    on_progress(3, 4)
    if isinstance(history, TrainingHistory):
        tracked, concept = track(model, history, analysis), best_concept_name(analysis, unit)
        snapshots, source = tuple(unit_history(tracked, unit, concept)), history.source
    else:
        snapshots, source = history, ""
    on_progress(4, 4)
    table = analysis.table
    return UnitProfile(
        network=model.card.name,
        layer=layer,
        unit=unit,
        unit_count=len(analysis),
        class_name=model.unit_class(layer, unit),
        receptive_field=_receptive_field(model, layer),
        kernel=first_layer_kernel(model, layer, unit),
        active_fraction=float(analysis.active_fraction[unit]),
        maximized=maximized,
        generated=generated,
        top=top_images(model, analysis, unit, IMAGE_COUNT),
        concepts=analysis.best_concepts(unit, CONCEPT_COUNT),
        is_detector=not isinstance(table, Unavailable)
        and bool(table.detected(table.iou[unit].max())),
        concept_weights=analysis.largest_weights(unit, CONCEPT_COUNT),
        history=snapshots,
        source=source,
    )


def best_concept_name(analysis: LayerAnalysis, unit: int) -> str:
    """Return the name of a unit's best concept; empty if there is none."""
    fits = analysis.best_concepts(unit, 1)
    return "" if isinstance(fits, Unavailable) else fits[0].concept


def _receptive_field(model: Model, layer: str) -> receptive_field.Pair | None:
    with suppress(InputError):
        return receptive_field.receptive_fields(model, [layer], model.card.input_size)[layer].size
    return None


def first_layer_kernel(model: Model, layer: str, unit: int) -> Float[Tensor, "c h w"] | None:
    """Return the kernel (3, h, w) of a unit of the first convolution; None for other units.

    Args:
        model: the network.
        layer: dotted name or alias.
        unit: index of the unit.
    """
    with suppress(InputError):
        if hooks.resolve(model, layer) == hooks.resolve(model, model.first_conv()):
            return model.kernels()[unit].cpu()
    return None


def maximize_activation(
    model: Model,
    target: str,
    *,
    steps: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendered | Unavailable:
    """Maximize a unit's activation and crop the image to the unit's receptive field.

    Args:
        model: the network.
        target: "layer:unit".
        steps: number of optimization steps; None for the default.
        should_stop: called before each step; if it returns True, the optimization ends.

    Returns:
        The image; `Unavailable` if no gradient reaches the image.
    """
    layer, unit = objectives.parse_target(target)
    rendered = maximize_activations(model, layer, [unit], steps=steps, should_stop=should_stop)
    return rendered if isinstance(rendered, Unavailable) else rendered[0]


def maximize_activations(
    model: Model,
    layer: str,
    units: Sequence[int],
    *,
    steps: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Rendered] | Unavailable:
    """Maximize the activations of several units of a layer, see `maximize_activation`.

    Args:
        model: the network.
        layer: dotted name or alias.
        units: indices of the units.
        steps: number of optimization steps; None for the default.
        should_stop: called before each step; if it returns True, the optimization ends.
    """
    targets, options = [f"{layer}:{unit}" for unit in units], Options(should_stop=should_stop)
    try:
        rendering = activation_maximization.render(model, targets, steps=steps, options=options)
    except InputError as error:
        return Unavailable(str(error))
    patches, activations = rendering.patches.cpu(), rendering.activations.tolist()
    return [Rendered(*pair) for pair in zip(patches, activations, strict=True)]


def generator_for(model: Model, data: ImageSet | LabelledSet) -> BoundedGenerator | Unavailable:
    """Return the shipped generator of images like those on which a network was trained.

    Args:
        model: the network; unless it is a shipped one, the result is `Unavailable`.
        data: the dataset from whose codes the bounds are computed.
    """
    if model.card.name not in models.shipped():
        return Unavailable("no generator is available for the images this network was trained on")
    generator = generators.load(GENERATOR).to(model.device)
    is_encoder = model.card.name == generator.spec.encoder and model.card.accuracy is not None
    encoder = model if is_encoder else models.load(generator.spec.encoder)
    images = Subset(data, range(min(CODE_IMAGES, len(data))))
    codes = deep_generator.encode(encoder, generator, images.batches(BATCH_SIZE))
    return BoundedGenerator(generator, deep_generator.fit_bounds(codes))


def maximize_with_generator(
    model: Model,
    target: str,
    generator: BoundedGenerator | Unavailable,
    *,
    steps: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendered | Unavailable:
    """Maximize a unit's activation over the codes of a generator.

    Args:
        model: the network.
        target: "layer:unit".
        generator: a generator from `generator_for`.
        steps: number of optimization steps; None for the default.
        should_stop: called before each step; if it returns True, the optimization ends.

    Returns:
        The image; `Unavailable` without a generator, or if no gradient reaches the codes.
    """
    if isinstance(generator, Unavailable):
        return generator
    try:
        rendering = deep_generator.render(
            model,
            generator.generator,
            [target],
            generator.bounds,
            deep_generator.CodeAscent(steps) if steps else deep_generator.CodeAscent(),
            options=Options(should_stop=should_stop),
        )
    except InputError as error:
        return Unavailable(str(error))
    return Rendered(rendering.images[0].cpu(), float(rendering.activations[0]))

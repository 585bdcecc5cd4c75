"""Analysis of rendered images: agreement with kernels and between starts, recipes, recognition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core import Float, Images, image_metrics
from ...core.optimization import Options, objectives
from ...core.statistics import TopK
from ...models import Model
from .. import evaluation
from .render import Rendering, render


@dataclass(frozen=True)
class KernelAgreement:
    """Rendered units of a first convolution beside their kernels.

    Attributes:
        layer: the convolution, as in the model's default layers.
        patches: the rendered patches minus gray, for each random start.
        kernels: the kernels, as they act on images in [0, 1].
        correlation: of each patch with its kernel.
    """

    layer: str
    patches: Float[Tensor, "starts units c h w"]
    kernels: Float[Tensor, "units c h w"]
    correlation: Float[Tensor, "starts units"]

    @cached_property
    def saturation(self) -> Float[Tensor, " units"]:
        """The fraction of each kernel's energy that is not gray."""
        return image_metrics.saturation(self.kernels)

    @property
    def by_saturation(self) -> list[int]:
        """The units, the most colorful first."""
        return self.saturation.argsort(descending=True).tolist()

    @property
    def examples(self) -> list[int]:
        """Four units, from the most colorful to the grayest."""
        last = len(self.kernels) - 1
        return [self.by_saturation[round(place * last)] for place in (0, 0.3, 0.7, 1)]


def kernel_agreement(model: Model, *, seeds: Sequence[int] = (0,)) -> KernelAgreement:
    """Render every unit of the first convolution and correlate the result with its kernel.

    Under a norm constraint, that of the recipe "erhan", the optimum of a linear unit is its own
    kernel.

    Args:
        model: the network.
        seeds: seeds of the random starts; one run per seed.

    Source: Erhan et al. 2009; survey figure F1 (b).
    """
    kernels = model.kernels().cpu()
    targets = [f"{model.first_conv()}:{unit}" for unit in range(len(kernels))]
    runs = [Options(seeds=[seed + 1000 * unit for unit in range(len(kernels))]) for seed in seeds]
    renderings = [render(model, targets, recipe="erhan", options=run) for run in runs]
    patches = torch.stack([rendering.patches - 0.5 for rendering in renderings]).cpu()
    correlation = image_metrics.correlation(patches, kernels.expand_as(patches))
    return KernelAgreement(next(iter(model.default_layers())), patches, kernels, correlation)


def agreement_between_starts(
    model: Model,
    targets: Sequence[str],
    starts: int = 9,
    *,
    steps: int | None = None,
) -> Float[Tensor, " n"]:
    """Return the mean correlation between images of each unit from different random starts.

    The recipe is "erhan": a smooth image space increases the correlation by itself.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer.
        starts: number of random starts per target.
        steps: as in `render`.

    Source: Erhan et al. 2009, who find one optimum for all starts.
    """
    repeated = [target for target in targets for _ in range(starts)]
    seeds = [1 + s + 1000 * t for t in range(len(targets)) for s in range(starts)]
    rendering = render(model, repeated, recipe="erhan", steps=steps, options=Options(seeds=seeds))
    patches = rendering.patches.cpu() - 0.5
    return image_metrics.pairwise_correlation(
        patches.view(len(targets), starts, *patches.shape[1:])
    )


def agreement_by_layer(
    model: Model,
    units: Mapping[str, Sequence[int]],
    starts: int = 9,
    *,
    steps: int | None = None,
    units_per_layer: int = 3,
) -> dict[str, Float[Tensor, ""]]:
    """Return the mean of `agreement_between_starts` over some units of each layer.

    Args:
        model: the network.
        units: layer -> units.
        starts: number of random starts per unit.
        steps: as in `render`.
        units_per_layer: how many of the units are rendered, the first ones.
    """
    targets = {
        layer: [f"{layer}:{unit}" for unit in own[:units_per_layer]] for layer, own in units.items()
    }
    return {
        layer: agreement_between_starts(model, own, starts, steps=steps).mean()
        for layer, own in targets.items()
    }


@dataclass(frozen=True)
class RecipeComparison:
    """Class images by several recipes. Each number is a mean over a recipe's images.

    Attributes:
        images: recipe -> its images.
        classes: the intended class of each image.
        activation: recipe -> activation of the class.
        high_frequency: recipe -> fraction of the energy at high frequencies.
        recognized: recipe -> fraction of images that the classifier assigns to their class; empty
            if it does not have the classes.
    """

    images: dict[str, Images]
    classes: tuple[str, ...]
    activation: dict[str, float]
    high_frequency: dict[str, float]
    recognized: dict[str, float]

    def recognition_gain(self, recipe: str, over: str) -> float | None:
        """Return how many more of a recipe's images are recognized, as a fraction; None if unknown.

        Args:
            recipe: a recipe.
            over: the recipe to compare it with.
        """
        return self.recognized[recipe] - self.recognized[over] if self.recognized else None


def compare_recipes(
    renderings: Mapping[str, Rendering], classifier: Model | None, classes: Sequence[str]
) -> RecipeComparison:
    """Compare class images by different recipes.

    Args:
        renderings: recipe -> images of the classes; further images are ignored.
        classifier: a network that took no part in making the images; None for none.
        classes: the intended class of each image.
    """
    images = {recipe: result.images[: len(classes)] for recipe, result in renderings.items()}
    known = classifier if classifier and evaluation.has_classes(classifier, classes) else None
    return RecipeComparison(
        images,
        tuple(classes),
        {
            recipe: result.activations[: len(classes)].mean().item()
            for recipe, result in renderings.items()
        },
        {
            recipe: image_metrics.high_frequency_fraction(own).mean().item()
            for recipe, own in images.items()
        },
        {
            recipe: evaluation.fraction_recognized(known, own, classes)
            for recipe, own in images.items()
            if known
        },
    )


def companion_rates(
    model: Model,
    classifier: Model | None,
    class_images: Rendering,
    classes: Sequence[str],
    *,
    starts: int,
    scenes: int,
    **settings: Any,
) -> evaluation.CompanionRates:
    """Measure how often class images show the object that usually comes with the class.

    Args:
        model: the network that the images were rendered for.
        classifier: an independent classifier, whose features a probe uses; None to measure nothing.
        class_images: an image of each class.
        classes: the class of each image.
        starts: further images of each class that has a companion, from other random starts.
        scenes: number of scenes drawn to fit each probe; 0 to measure nothing.
        **settings: recipe and steps of the further images, as in `render`.
    """

    further = {}
    for name in evaluation.with_companions(classes) if scenes and classifier else []:
        targets = [class_images.targets[classes.index(name)]] * starts
        options = Options(seeds=range(starts))
        result = render(model, targets, scope="channel", options=options, **settings)
        further[name] = result.images
    images = class_images.images
    return evaluation.companion_rates(classifier, images, classes, further, image_count=scenes)


@torch.no_grad()
def first_recognized_step(model: Model, rendering: Rendering, classes: Sequence[str]) -> float:
    """Return the median step at which class images are first classified correctly.

    Args:
        model: the network that the images were rendered for.
        rendering: class images, with snapshots.
        classes: the class of each image.

    Returns:
        The step as a fraction of all steps; an image that is never classified correctly counts as
        1.
    """
    intended = torch.tensor([model.card.classes.index(name) for name in classes])
    steps = len(rendering.history)
    first = torch.full((len(classes),), float(steps))
    for step, images in sorted(rendering.snapshots.items(), reverse=True):
        first[model(images).argmax(1).cpu() == intended] = step
    return float(first.median()) / steps


def fraction_above_dataset_max(
    renderings: Mapping[str, Rendering], top: Mapping[str, TopK]
) -> dict[str, float]:
    """Return the fraction of units whose activation exceeds their maximum over a dataset.

    Args:
        renderings: layer -> images of its units.
        top: layer -> top-activating images of the dataset.

    Returns:
        layer -> fraction.
    """
    fractions = {}
    for layer, rendering in renderings.items():
        highest = top[layer].values[objectives.parse_targets(rendering.targets)[1], 0]
        fractions[layer] = float((rendering.activations > highest).float().mean())
    return fractions


def increases_most_at(values: Mapping[str, float], name: str) -> bool | None:
    """Return whether a name's value exceeds that of the name before by the most.

    Returns:
        None if there is no such name, or just one.
    """
    names = list(values)
    if name not in names or len(names) < 2:
        return None
    return names[1 + int(np.diff([*values.values()]).argmax())] == name

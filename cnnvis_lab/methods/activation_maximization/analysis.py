"""Analysis of rendered images: agreement with kernels and between starts, facets, recognition."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from ...core import Float, Images, InputError, image_metrics
from ...core.optimization import Options
from ...models import Model
from .recipes import Recipe
from .render import Rendering, render


def kernel_agreement(
    model: Model, *, recipe: str | Recipe = "erhan", seeds: Sequence[int] = (0,)
) -> tuple[Float[Tensor, "seeds units 3 h w"], Float[Tensor, "seeds units"]]:
    """Render every unit of the first convolution and correlate the result with its kernel.

    Under a norm constraint the optimum of a linear unit is its own kernel, so the correlation
    measures how much a recipe distorts the result.

    Args:
        model: the network.
        recipe: as in `render`.
        seeds: seeds of the random starts; one run per seed.

    Returns:
        The rendered patches minus gray, and their correlations with the kernels (as they act on
        images in [0, 1]).

    Source: Erhan et al. 2009; survey figure F1 (b).
    """
    layer, kernels = model.first_conv(), model.kernels()
    targets = [f"{layer}:{unit}" for unit in range(len(kernels))]
    runs = [Options(seeds=[seed + 1000 * unit for unit in range(len(kernels))]) for seed in seeds]
    renderings = [render(model, targets, recipe=recipe, options=run) for run in runs]
    patches = torch.stack([rendering.patches - 0.5 for rendering in renderings]).cpu()
    return patches, image_metrics.correlation(patches, kernels.cpu().expand_as(patches))


def agreement_between_starts(
    model: Model,
    targets: Sequence[str],
    starts: int = 9,
    *,
    recipe: str | Recipe = "erhan",
    steps: int | None = None,
) -> Float[Tensor, " n"]:
    """Return the mean correlation between images of each unit from different random starts.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer.
        starts: number of random starts per target.
        recipe: as in `render`; a smooth image space increases the correlation by itself.
        steps: as in `render`.

    Source: Erhan et al. 2009, who find one optimum for all starts.
    """
    repeated = [target for target in targets for _ in range(starts)]
    seeds = [1 + s + 1000 * t for t in range(len(targets)) for s in range(starts)]
    rendering = render(model, repeated, recipe=recipe, steps=steps, options=Options(seeds=seeds))
    patches = rendering.patches.cpu() - 0.5
    return image_metrics.pairwise_correlation(
        patches.view(len(targets), starts, *patches.shape[1:])
    )


def facet_starts(
    features: Float[Tensor, "n d"], images: Images, count: int, *, seed: int = 0
) -> Float[Tensor, "facets 3 h w"]:
    """Cluster images by their features (k-means) and return each cluster's mean image.

    Started from these means, optimization renders different facets of a unit.

    Args:
        features: one row per image.
        images: a unit's top-activating images.
        count: number of clusters.
        seed: seed of the first center; each further center is the point farthest from all previous
            ones.

    Raises:
        InputError: fewer images than clusters.

    Source: Nguyen et al. 2016 (multifaceted feature visualization).
    """
    if not 1 <= count <= len(features):
        raise InputError(f"{count} facets of {len(features)} images: expected 1 to {len(features)}")
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(features), (1,), generator=generator).tolist()
    while len(starts) < count:
        starts.append(int(torch.cdist(features, features[starts]).amin(1).argmax()))
    _, cluster = kmeans2(features.numpy(), features[starts].numpy(), iter=25, minit="matrix")
    members = [images[cluster == c] for c in range(count)]
    return torch.stack(
        [
            own.mean(0) if len(own) else images[start]
            for own, start in zip(members, starts, strict=True)
        ]
    )


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


def largest_increase(values: Sequence[float]) -> int:
    """Return the index of the value that exceeds its predecessor the most."""
    return 1 + int(np.diff(values).argmax())

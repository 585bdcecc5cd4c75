"""What one asks of maximised activations: do they agree, how far do they get, which facets exist.

Beside them the pictures of a data set that excite a unit most, and a photograph dreamt on.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ...core import Float, Images, InputError, image_metrics
from ...models import Model
from .recipes import Recipe
from .render import Rendering, render


def kernel_agreement(
    model: Model, *, recipe: str | Recipe = "erhan", seeds: Sequence[int] = (0,)
) -> tuple[Float[Tensor, "seeds units 3 h w"], Float[Tensor, "seeds units"]]:
    """Render every unit of the first convolution and correlate the result with its kernel.

    Under a norm constraint the optimum of a linear unit is its own kernel, so the correlation
    tells how far a recipe bends the result.

    Args:
        model: the network.
        recipe: how to climb.
        seeds: one run each.

    Returns:
        The pictures less gray, and their correlations with the kernels as these act on images.

    Source: Erhan et al. 2009; survey figure F1 (b).
    """
    layer, kernels = model.first_conv(), model.kernels()
    targets = [f"{layer}:{unit}" for unit in range(len(kernels))]
    runs = [
        render(model, targets, recipe=recipe, seeds=[seed + 1000 * u for u in range(len(kernels))])
        for seed in seeds
    ]
    patches = torch.stack([run.patches - 0.5 for run in runs]).cpu()
    return patches, image_metrics.correlation(patches, kernels.cpu().expand_as(patches))


def agreement_between_starts(
    model: Model,
    targets: Sequence[str],
    starts: int = 9,
    *,
    recipe: str | Recipe = "erhan",
    steps: int | None = None,
) -> Float[Tensor, " n"]:
    """Return, per target, the mean correlation between pictures from different random starts.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer.
        starts: how many starts each.
        recipe: how to climb; a space that itself is smooth would raise the numbers.
        steps: instead of the recipe's.

    Source: Erhan et al. 2009 (one optimum, whatever the start).
    """
    many = [target for target in targets for _ in range(starts)]
    seeds = [1 + s + 1000 * t for t in range(len(targets)) for s in range(starts)]
    drawn = render(model, many, recipe=recipe, seeds=seeds, steps=steps)
    patches = drawn.patches.cpu() - 0.5
    return image_metrics.pairwise_correlation(
        patches.view(len(targets), starts, *patches.shape[1:])
    )


def facet_starts(
    codes: Float[Tensor, "n d"], pictures: Images, count: int, *, seed: int = 0
) -> Float[Tensor, "facets 3 h w"]:
    """Return the mean picture of each of `count` clusters of pictures, to begin facets at.

    Args:
        codes: (n, d) features of the pictures by which they are clustered (k-means).
        pictures: a unit's strongest pictures.
        count: of clusters.
        seed: of the first centre.

    Source: Nguyen et al. 2016 (multifaceted feature visualization).
    """
    if not 1 <= count <= len(codes):
        raise InputError(f"{count} facets of {len(codes)} pictures: expected 1 to {len(codes)}")
    drawn = torch.Generator().manual_seed(seed)
    centres = codes[torch.randint(len(codes), (1,), generator=drawn)]
    while len(centres) < count:  # begin far apart
        centres = torch.cat([centres, codes[torch.cdist(codes, centres).amin(1).argmax()][None]])
    for _ in range(25):
        nearest = torch.cdist(codes, centres).argmin(1)
        kept = [codes[nearest == c] for c in range(count)]
        centres = torch.stack(
            [own.mean(0) if len(own) else centres[c] for c, own in enumerate(kept)]
        )
    nearest = torch.cdist(codes, centres).argmin(1)
    closest = torch.cdist(codes, centres).argmin(0)  # stands in for a cluster left empty
    return torch.stack(
        [
            pictures[nearest == c].mean(0) if (nearest == c).any() else pictures[closest[c]]
            for c in range(count)
        ]
    )


@torch.no_grad()
def first_recognized_step(model: Model, shown: Rendering, classes: Sequence[str]) -> float:
    """Return after which share of the steps pictures are first named as their class, the median.

    Args:
        model: the network they were made for.
        shown: class pictures with snapshots.
        classes: the class of each picture.
    """
    wanted = torch.tensor([model.card.classes.index(name) for name in classes])
    first = torch.full((len(classes),), float(len(shown.history)))
    for step, images in sorted(shown.snapshots.items(), reverse=True):
        first[model(images).argmax(1).cpu() == wanted] = step
    return float(first.median()) / len(shown.history)


def largest_increase(values: Sequence[float]) -> int:
    """Return the index that the largest step up between neighbours leads to."""
    steps = [after - before for before, after in itertools.pairwise(values)]
    return 1 + steps.index(max(steps))

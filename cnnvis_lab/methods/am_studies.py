"""What one asks of maximised activations: do they agree, how far do they get, which facets exist.

Beside them the pictures of a data set that excite a unit most, and a photograph dreamt on.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..core import imagespace, optimize, transforms
from ..core.errors import InputError
from ..core.measures import correlation, pairwise_correlation
from ..core.objectives import Objective
from ..core.shapes import Float, Images, Int
from ..core.tally import TopK, tally
from ..models import Model
from .activation_maximization import Recipe, Rendering, render


def strongest(
    model: Model,
    layers: Sequence[str],
    batches: Iterable[tuple[Int[Tensor, " n"], Tensor]],
    k: int = 9,
    progress: Callable[[int], None] | None = None,
) -> dict[str, TopK]:
    """Return the k pictures of a data set that excite each unit of the layers most."""
    found = {layer: TopK(k) for layer in layers}
    tally(model, batches, {layer: [top] for layer, top in found.items()}, progress)
    return found


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
    return patches, correlation(patches, kernels.cpu().expand_as(patches))


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
    return pairwise_correlation(patches.view(len(targets), starts, *patches.shape[1:]))


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


def deep_dream(
    model: Model,
    layer: str,
    image: Float[Tensor, "3 h w"],
    *,
    octaves: int = 3,
    scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.012,
    seed: int = 0,
) -> Float[Tensor, "3 h w"]:
    """Exaggerate what a layer sees in a photograph, from coarse to fine.

    At each octave the picture as dreamt so far is enlarged, the detail the enlargement lost is put
    back, and the mean square of the layer's activations is climbed on the shifted picture.

    Args:
        model: the network.
        layer: a layer of maps; dotted name or alias.
        image: the photograph, in [0, 1], of any size the layer can take.
        octaves: sizes worked at.
        scale: from one to the next.
        steps: at each.
        rate: change per step of an average pixel.
        seed: of the shifts.

    Source: Mordvintsev, Olah and Tyka 2015 (steps of the gradient over its mean size; their rate
    of 1.5 on 0..255 is half of the default here); survey section 3.
    """
    height, width = image.shape[-2:]
    sizes = [(round(height / scale**o), round(width / scale**o)) for o in reversed(range(octaves))]
    detail = torch.zeros(1, 3, *sizes[0])
    for size in sizes:
        base = functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)
        detail = functional.interpolate(detail, size=size, mode="bilinear")
        dreamt = optimize.ascend(
            model,
            Objective((layer,), lambda acts, *_: acts[layer].square().flatten(1).mean(1)),
            imagespace.pixels((base + detail).clamp(0, 1).to(model.mean.device)),
            steps=steps,
            optimizer=optimize.normalised(rate),
            transform=transforms.roll(16),
            seed=seed,
            keep="last",
        ).images.cpu()
        detail = dreamt - base
    return dreamt[0]


def living_units(found: TopK, count: int, seed: int = 0, *, pictures: int = 1) -> list[int]:
    """Draw units that pictures of the data set excite, at random; sorted.

    Args:
        found: the strongest pictures of a layer's units.
        count: how many at most.
        seed: of the draw.
        pictures: how many, at least, must excite a unit (one will do where no unit has so many).
    """
    needed = min(pictures, found.values.shape[1]) - 1
    each = [(found.values[:, rank] > 0).nonzero().flatten() for rank in (needed, 0)]
    alive = next((units for units in each if len(units)), torch.arange(len(found.values)))
    drawn = torch.randperm(len(alive), generator=torch.Generator().manual_seed(seed))
    return sorted(alive[drawn[:count]].tolist())


def share_above(found: TopK, units: Sequence[int], activations: Float[Tensor, " n"]) -> float:
    """Return the share of units whose picture excites them more than any of the data set."""
    return float((activations > found.values[list(units), 0]).float().mean())


@torch.no_grad()
def first_named(model: Model, shown: Rendering, classes: Sequence[str]) -> float:
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


def largest_rise(values: Sequence[float]) -> int:
    """Return the index that the largest step up between neighbours leads to."""
    steps = [after - before for before, after in itertools.pairwise(values)]
    return 1 + steps.index(max(steps))

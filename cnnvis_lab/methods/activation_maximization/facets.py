"""Facets of a unit (Nguyen et al. 2016): the different things that activate it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...core import Float, Images, InputError, with_gradients
from ...core.optimization import Options
from ...models import Model
from .render import Rendering, render


def facet_starts(
    features: Float[Tensor, "n d"], images: Images, count: int, *, seed: int = 0
) -> Float[Tensor, "facets c h w"]:
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
    from scipy.cluster.vq import kmeans2  # slow to import

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


@dataclass(frozen=True)
class Facets:
    """Images of one unit that differ from each other.

    Attributes:
        starts: mean images of clusters of the unit's top-activating images.
        from_starts: the result of the ascent from each of them.
        diverse: images from noise, rewarded for being dissimilar.
    """

    starts: Float[Tensor, "facets c h w"]
    from_starts: Rendering
    diverse: Rendering


@with_gradients
def render_facets(
    model: Model,
    target: str,
    images: Images,
    features: Float[Tensor, "n d"],
    count: int,
    *,
    diversity: float = 8.0,
    **settings: Any,
) -> Facets:
    """Render facets of a unit: from clusters of real images, and by a reward for dissimilarity.

    Args:
        model: the network.
        target: "layer:unit".
        images: the unit's top-activating images.
        features: features of these images, by which they are clustered.
        count: number of facets; at most one for each image.
        diversity: weight of the dissimilarity between the images.
        **settings: as for `render`.

    Source: Nguyen et al. 2016 (clusters); Olah, Mordvintsev and Schubert 2017 (diversity).
    """
    starts = facet_starts(features, images, min(count, len(images)))
    targets, seeds = [target] * len(starts), Options(seeds=range(len(starts)))
    return Facets(
        starts,
        render(model, targets, starts=starts, **settings),
        render(model, targets, diversity=diversity, options=seeds, **settings),
    )

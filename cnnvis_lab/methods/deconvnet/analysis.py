"""What one asks of projections: how far they reach, what is in them, do they explain the unit."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Bool, Float, Images, Int, image_metrics, receptive_field
from ...core.optimization import objectives
from ...core.statistics import TopK
from ...data import ImageSet
from ...data.scenes import SceneSet
from ...models import Model
from .project import Projections
from .top_projections import top_projections


def extent(pictures: Images, share: float = 0.99) -> Float[Tensor, " n"]:
    """Return the side of the box that holds a share of each picture's energy, in pixels.

    Args:
        pictures: projections; the mean of height and width counts.
        share: as much is left out above as below, and left as right.
    """
    energy, edge, sides = pictures.double().square().sum(1), (1 - share) / 2, []
    for line in (energy.sum(2), energy.sum(1)):
        below = line.cumsum(1) / line.sum(1, keepdim=True).clamp(min=1e-30)
        first, last = (below > edge).int().argmax(1), (below >= 1 - edge - 1e-9).int().argmax(1)
        sides.append(last - first + 1)
    return (sides[0] + sides[1]) / 2 * (pictures != 0).flatten(1).any(1)


def extents(shown: Projections) -> dict[str, float]:
    """Return the mean `extent` of each layer's projections, empty ones left out."""
    sides = torch.stack([extent(pictures) for pictures in shown.pictures.cpu()])
    layers = [objectives.parse_target(target)[0] for target in shown.targets]
    columns = {layer: [i for i, own in enumerate(layers) if own == layer] for layer in layers}
    parts = {layer: sides[:, own] for layer, own in columns.items()}
    return {
        layer: float(part.sum() / (part > 0).sum().clamp(min=1)) for layer, part in parts.items()
    }


def energy_outside_field(model: Model, shown: Projections) -> Float[Tensor, "n t"]:
    """Return the share of each projection's energy that lies outside the receptive field."""
    layers = [objectives.parse_target(target)[0] for target in shown.targets]
    fields = receptive_field.receptive_fields(model, layers, shown.pictures.shape[-1])
    energy, shares = shown.pictures.square().sum(2), torch.zeros(shown.activations.shape)
    for image, column in torch.cartesian_prod(*map(torch.arange, shares.shape)).tolist():
        place = tuple(shown.positions[image, column].tolist())
        y0, x0, y1, x1 = (max(edge, 0) for edge in fields[layers[column]].box(place))
        outside = energy[image, column].clone()
        outside[y0:y1, x0:x1] = 0
        shares[image, column] = outside.sum() / energy[image, column].sum().clamp(min=1e-30)
    return shares


def class_entropy(found: TopK, labels: Int[Tensor, " pictures"]) -> Float[Tensor, " units"]:
    """Return how mixed the classes of each unit's strongest pictures are, in bits.

    Args:
        found: the strongest pictures of a layer's units; those that fire on none are left out.
        labels: class of every picture of the data set.
    """
    alive = found.values[:, 0] > 0
    classes = labels[found.images[alive]]
    shares = functional.one_hot(classes, int(labels.max()) + 1).double().mean(1)
    return -(shares * shares.clamp(min=1e-30).log2()).sum(1).float()


def variation(pictures: Float[Tensor, "u k 3 h w"]) -> Float[Tensor, " u"]:
    """Return how unlike each unit's pictures are: 1 less the mean correlation of their pairs."""
    return 1 - image_metrics.pairwise_correlation(pictures - pictures.mean((-2, -1), keepdim=True))


def project_by_rule(
    model: Model,
    pictures: ImageSet,
    units: Mapping[str, Sequence[int]],
    found: Mapping[str, TopK],
    rules: Sequence[str],
) -> dict[str, dict[str, Float[Tensor, "u 3 h w"]]]:
    """Project each unit's strongest activation by different rules.

    Args:
        model: the network.
        pictures: the data set.
        units: layer -> which of its units.
        found: layer -> what a pass over the data set has found.
        rules: names in `core.reversals.RULES`.

    Returns:
        Rule -> layer -> the units' projections.
    """
    layers, same = [*units], {"k": 1, "units": units, "found": found}
    tops = {rule: top_projections(model, pictures, layers, rule=rule, **same) for rule in rules}
    return {
        rule: {layer: top.projections[:, 0] for layer, top in by.items()}
        for rule, by in tops.items()
    }


def similarity(groups: Sequence[Float[Tensor, "m 3 h w"]]) -> Float[Tensor, "g g"]:
    """Return the mean correlation between pictures of the same number in different groups."""
    pairs = [torch.stack([image_metrics.correlation(a, b).mean() for b in groups]) for a in groups]
    return torch.stack(pairs)


@torch.no_grad()
def one_per_class(model: Model, images: Images, count: int) -> list[int]:
    """Return the numbers of the first pictures that a network gives different classes.

    Args:
        model: the network; where it gives no class more than half of all probability it is taken
            to know none, but for want of others such pictures come last.
        images: to choose from.
        count: how many at most.
    """
    chances, named = model(images.to(model.device)).softmax(1).cpu().max(1)
    chosen: dict[int, int] = {}
    for number in (chances <= 0.5).int().argsort(stable=True).tolist():
        chosen.setdefault(int(named[number]), number)
    return [*chosen.values()][:count]


def object_masks(
    pictures: SceneSet, numbers: Sequence[int], size: int
) -> Bool[Tensor, "n size size"]:
    """Return where the main object shows on pictures of the embedded world, brought to a size."""
    drawn = [pictures.draw(number) for number in numbers]
    masks = [
        torch.from_numpy(picture.instances == picture.objects[picture.main].number)
        for picture in drawn
    ]
    return functional.interpolate(torch.stack(masks)[:, None].float(), size=size)[:, 0] > 0.5


def variation_ratio(
    pictures: Float[Tensor, "u k 3 h w"], projections: Float[Tensor, "u k 3 h w"]
) -> float:
    """Return how much more unlike units' pictures are than their projections, on average.

    In the first layer, where every projection of a unit is its kernel, that is next to no number.
    """
    return float(variation(pictures).mean() / variation(projections).mean().clamp(min=1e-6))


def min_increase(values: Mapping[str, float]) -> tuple[float, str]:
    """Return the least step up from one to the next, and all values in words."""
    steps = [float(after - before) for before, after in itertools.pairwise(values.values())]
    return min(steps), format_values(values, 0)


def format_values(values: Mapping[str, float], digits: int = 2) -> str:
    """Return numbers by name in words."""
    return ", ".join(f"{name} {float(value):.{digits}f}" for name, value in values.items())

"""Statistics of layers over a dataset, in one pass that other processes may share."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core.statistics import CoActivation, FiringRate, TopK, flatten_positions, tally
from ...data import Subset
from ...models import Model
from .. import dissection

BATCH_SIZE = 50


class LayerStatistics(NamedTuple):
    """What is collected of a layer.

    Attributes:
        top: the top-activating images of every unit.
        rate: the fraction of images on which each unit is active.
        pairs: units that respond to the same images.
    """

    top: TopK
    rate: FiringRate
    pairs: CoActivation


class _Peaks:
    """The maximum activation of each unit on each image."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Add one batch."""
        self.values.append(flatten_positions(activations).amax(2).cpu())


def collect(
    model: Model,
    layers: Sequence[str],
    images: Subset,
    top: int,
    spread: dissection.Spread | None,
    report: Callable[[int], None],
) -> dict[str, LayerStatistics]:
    """Run a dataset through a network once; the result does not depend on who does it.

    Args:
        model: the network.
        layers: dotted names or aliases.
        images: the dataset.
        top: number of top-activating images of each unit.
        spread: processes that share the images; None to use this one.
        report: called with the number of images seen so far.

    Returns:
        Layer -> its statistics.

    Raises:
        InputError: activations that are not finite.
    """
    statistics = {
        layer: LayerStatistics(TopK(top), FiringRate(), CoActivation()) for layer in layers
    }
    if spread is None:
        batches = ((part, batch.to(model.device)) for part, batch in images.batches(BATCH_SIZE))
        tally(model, batches, statistics, report)
        return statistics
    parts = [part.tolist() for part in torch.arange(len(images)).split(BATCH_SIZE)]
    waiting, seen = {}, 0
    for part, found in spread.run_parts(_find, parts, tuple(layers), top, describe=_describe):
        waiting[part[0]] = part, found
        while seen in waiting:  # in the order of the images
            indices, found = waiting.pop(seen)
            for layer, own in statistics.items():
                _add(own, layer, indices, found)
            seen += len(indices)
            report(seen)
    return statistics


def _find(
    open_subject: Callable, part: Sequence[int], layers: Sequence[str], top: int
) -> dict[str, Tensor]:
    """Return the maximum activations on some images, and which are the highest, elsewhere."""
    model, images = open_subject()
    found = {layer: (TopK(top), _Peaks()) for layer in layers}
    tally(model, [(torch.tensor(part), images.batch(part).to(model.device))], found)
    parts = {f"{layer}.peaks": torch.cat(peaks.values) for layer, (_, peaks) in found.items()}
    for layer, (highest, _) in found.items():
        parts |= {f"{layer}.{name}": value for name, value in highest.state().items()}
    return parts


def _add(
    statistics: LayerStatistics, layer: str, indices: Sequence[int], found: Mapping[str, Tensor]
) -> None:
    """Add what was found on some images."""
    top, peaks = TopK(statistics.top.k), found[f"{layer}.peaks"]
    vars(top).update({name: found[f"{layer}.{name}"] for name in top.state()})
    statistics.top.merge(top)
    statistics.rate.update(peaks, torch.tensor(indices))
    statistics.pairs.update(peaks, torch.tensor(indices))


def _describe(part: Sequence[int]) -> str:
    return f"images {part[0]} to {part[-1]}"

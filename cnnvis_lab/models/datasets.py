"""Images for a network: of its size and channels, and of the world that it knows."""

from dataclasses import replace
from pathlib import Path

from .. import data
from ..data.images import to_channels
from .model import Model


def knows_scenes(model: Model) -> bool:
    """Return whether all classes of a network are classes of the synthetic scenes."""
    return {*model.card.classes} <= {*data.scenes.CLASS_NAMES}


def choose_source(model: Model, source: str | Path) -> str | Path:
    """Return which images to open for a network: `source` or, if it is empty, the default ones.

    Args:
        model: the network.
        source: as for `data.open_images`; "scenes" for the synthetic scenes.

    Returns:
        `source`; by default "" (the synthetic scenes) for a network that knows them, and
        "photographs" (those of scikit-image) for any other.
    """
    if source:
        return "" if source == "scenes" else source
    return "" if knows_scenes(model) else data.PHOTOGRAPHS


def open_images(model: Model, source: str | Path, count: int) -> data.ResizedImages:
    """Open images in the size and with the channels that a network takes.

    Args:
        model: the network.
        source: see `choose_source`.
        count: maximum number of images.

    Returns:
        The images; their `source` is that of `choose_source`.
    """
    dataset = data.open_images(choose_source(model, source), model.card.input_size, count)
    if model.channels != 1:
        return dataset
    return replace(dataset, read=lambda indices: to_channels(dataset.batch(indices), 1))

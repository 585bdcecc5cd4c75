"""Images for a network: of its size and channels, and of the world that it knows."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .. import data
from ..core import Float
from ..data.images import to_channels
from .model import Model
from .registry import load, shipped


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
    return fit_images(
        model, data.open_images(choose_source(model, source), model.card.input_size, count)
    )


def fit_channels(model: nn.Module, images: Float[Tensor, "... c h w"]) -> Tensor:
    """Return images with the channels that a `Model` takes; for other modules, the same images."""
    return to_channels(images, model.channels) if isinstance(model, Model) else images


def fit_images(model: Model, dataset: data.ResizedImages) -> data.ResizedImages:
    """Return the same images in the size and with the channels that a network takes."""
    sized = dataset.at_size(model.card.input_size)
    if model.channels not in (1, 3):
        return sized
    return replace(sized, read=lambda indices: to_channels(sized.batch(indices), model.channels))


def open_dataset(
    model: Model, source: str | Path, count: int
) -> data.LabelledSet | data.ResizedImages:
    """Open RGB images in the size that a network takes, with their label maps if they have them.

    Args:
        model: the network.
        source: see `choose_source`.
        count: maximum number of images.
    """
    chosen = choose_source(model, source)
    if data.has_labels(chosen):
        return data.open_labelled(chosen, model.card.input_size, count)
    return data.open_images(chosen, model.card.input_size, count)


def load_compared(
    model: Model, source: str, options: Mapping[str, Any] | None = None
) -> Model | None:
    """Load another network, to compare a network with.

    Args:
        model: the network.
        source: a shipped network; or NAME=WEIGHTS, a name as for `load` and a weights file.
        options: `input_size` and the like of networks of the user's own code.

    Returns:
        The other network, on the same device; None for a shipped one with other classes.
    """
    name, given, weights = source.partition("=")
    if not given and tuple(shipped().get(name, {}).get("classes", ())) != model.card.classes:
        return None
    own = dict(options or {}) if ":" in name else {}
    return load(name, weights=weights, device=str(model.device), **own)

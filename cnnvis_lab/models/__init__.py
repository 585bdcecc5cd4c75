"""Networks: the AlexNet family, its shipped mini versions, torchvision's, and your own."""

from . import architectures, decoders, generators, graph, hog, layouts, trained, weights
from .datasets import (
    choose_source,
    fit_channels,
    fit_images,
    knows_scenes,
    load_compared,
    open_dataset,
    open_images,
)
from .model import Model, ModelCard
from .own import find_input_size
from .registry import load, names, shipped

__all__ = [
    "Model", "ModelCard", "architectures", "choose_source", "decoders", "find_input_size",
    "fit_channels", "fit_images", "generators", "graph", "hog", "knows_scenes", "layouts", "load",
    "load_compared", "names", "open_dataset", "open_images", "shipped", "trained", "weights",
]  # fmt: skip

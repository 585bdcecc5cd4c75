"""Networks: the AlexNet family, its shipped mini versions, torchvision's, and your own."""

from . import architectures, decoders, generators, graph, hog, layouts, trained, weights
from .datasets import choose_source, knows_scenes, open_images
from .model import Model, ModelCard
from .registry import load, names, shipped

__all__ = [
    "Model", "ModelCard", "architectures", "choose_source", "decoders", "generators", "graph",
    "hog", "knows_scenes", "layouts", "load", "names", "open_images", "shipped", "trained",
    "weights",
]  # fmt: skip

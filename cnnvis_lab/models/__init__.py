"""Networks: the AlexNet family, its shipped mini versions, torchvision's, and your own."""

from . import architectures, decoders, generators, graph, hog, weights
from .model import Model, ModelCard
from .registry import load, names, shipped

__all__ = [
    "Model", "ModelCard", "architectures", "decoders", "generators", "graph", "hog", "load",
    "names", "shipped", "weights",
]  # fmt: skip

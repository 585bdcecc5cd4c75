"""Networks: the AlexNet family, the shipped minis, torchvision's, and your own."""

from .registry import Card, Model, load, names, shipped

__all__ = ["Card", "Model", "load", "names", "shipped"]

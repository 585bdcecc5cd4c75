"""Images and their labels: photographs, synthetic scenes, image folders, and folders in Broden's
format.
"""

from . import broden, images, scenes
from .class_folders import ClassFolders, open_class_folders
from .datasets import (
    PHOTOGRAPHS,
    ResizedImages,
    ResizedLabelled,
    Subset,
    as_labelled,
    check_files,
    has_labels,
    open_images,
    open_labelled,
    open_labelled_splits,
)
from .images import photograph
from .labels import CATEGORIES, Label
from .protocols import ImageSet, LabelledSet

__all__ = [
    "CATEGORIES", "PHOTOGRAPHS", "ClassFolders", "ImageSet", "Label", "LabelledSet",
    "ResizedImages", "ResizedLabelled", "Subset", "as_labelled", "broden", "check_files",
    "has_labels", "images", "open_class_folders", "open_images", "open_labelled",
    "open_labelled_splits", "photograph", "scenes",
]  # fmt: skip

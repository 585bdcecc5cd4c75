"""Broden (Bau et al. 2017): read, write and download datasets in its format."""

from .download import SOURCES, cache_dir, download_file, fetch, resolve
from .reader import Broden, Record, open_folder
from .writer import Item, write_folder, write_scenes

__all__ = [
    "SOURCES", "Broden", "Item", "Record", "cache_dir", "download_file", "fetch", "open_folder",
    "resolve", "write_folder", "write_scenes",
]  # fmt: skip

"""What an atlas consists of, and under which keys its parts are stored.

A part's key is a digest of everything that determines it: code, network, weights, images, settings.
Parts that exist under their key are not computed again, whenever and by whatever they were made.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ....core import InputError, choose, files, hooks, receptive_field
from ....core.backward import RULES
from ....data import ImageSet, LabelledSet
from ....models import Model
from ...dependencies import code_digest
from ..html import file_stem

CHUNK = 16  # units that are drawn together, at most
DEFAULT_STEPS = 48
_SEAL = "sha256"  # key in a record
# What reading a file raises that is missing, damaged, or of another kind.
_ODD = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
_SCAN_CODE = """
from cnnvis_lab.data import open_images, open_labelled
from cnnvis_lab.methods import unit_profile
open_images, open_labelled, unit_profile.analyze_layers, unit_profile.summarize
"""
_CHUNK_CODE = "from cnnvis_lab.lab.gallery.atlas import chunks\nchunks.draw\n"
CODE = _SCAN_CODE + _CHUNK_CODE


@dataclass(frozen=True)
class Subject:
    """The network and the images of an atlas, and how units are drawn.

    Attributes:
        model: the network.
        data: the images; concepts need label maps.
        data_key: identifies the images: the same text means the same images.
        layers: the layers, from first to last.
        unit_limit: number of units of each layer, from the first; None for all.
        steps: steps of the activation maximization.
        rule: backward rule of the projections, see `deconvnet.project`.
    """

    model: Model
    data: ImageSet | LabelledSet
    data_key: str
    layers: tuple[str, ...]
    unit_limit: int | None = None
    steps: int = DEFAULT_STEPS
    rule: str = "deconvnet"


class Chunk(NamedTuple):
    """Units of one layer that are drawn together.

    Attributes:
        layer: the layer.
        first: index of the first unit.
        count: number of units.
        cost: about how long they take, in units that see the whole image.
        stem: how the names of their files begin; it contains the key.
    """

    layer: str
    first: int
    count: int
    cost: float
    stem: str

    @property
    def units(self) -> list[int]:
        """The units' indices."""
        return list(range(self.first, self.first + self.count))

    @property
    def record(self) -> str:
        """The file that is written last."""
        return f"{self.stem}.json"


@dataclass(frozen=True)
class Plan:
    """The parts of an atlas.

    Attributes:
        subject: what is shown.
        out: the folder.
    """

    subject: Subject
    out: Path

    @cached_property
    def image_key(self) -> str:
        """Part of the names of the image files."""
        return _key(_code(_CHUNK_CODE), self.subject.data_key)

    @cached_property
    def network_key(self) -> str:
        """Identifies the network and its weights."""
        return network_key(self.subject.model)

    @cached_property
    def _scan_key(self) -> str:
        return _key(_code(_SCAN_CODE), self.network_key, self.subject.data_key)

    @cached_property
    def scans(self) -> dict[str, str]:
        """Layer -> file of its scan."""
        return {
            layer: f"scans/{file_stem(layer)}-{_key(self._scan_key, layer)}.json"
            for layer in self.subject.layers
        }

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return self.subject.model.layer_shapes(self.subject.layers)

    @cached_property
    def chunks(self) -> list[Chunk]:
        """All chunks, layer by layer."""
        chunks = []
        for layer in self.subject.layers:
            count = self._shapes[layer][0]
            limit = min(count, self.subject.unit_limit or count)
            # An even number of equal parts occupies two workers, or four, to the end.
            parts = min(2 * -(-limit // (2 * CHUNK)), limit)
            ends = [limit * part // parts for part in range(parts + 1)]
            chunks += [self.chunk(layer, one, end - one) for one, end in pairwise(ends)]
        return chunks

    def chunk(self, layer: str, first: int, count: int) -> Chunk:
        """Return a chunk with its key.

        Args:
            layer: the layer.
            first: index of the first unit.
            count: number of units.
        """
        subject, cost = self.subject, _cost(self.subject.model, layer, self._shapes[layer])
        settings = (subject.steps, subject.rule, subject.model.device.type)
        key = _key(_code(_CHUNK_CODE), self.scans[layer], settings, first, count)
        stem = f"units/{file_stem(layer)}-{first:05d}-{key}"
        return Chunk(layer, first, count, cost * count, stem)

    def image_file(self, index: int) -> str:
        """Return the name of the file of an image of the dataset."""
        return f"images/{index}-{self.image_key}.webp"

    def read(self, file: str) -> dict[str, Any] | None:
        """Return a record; None if it, or a file that it lists, is missing or damaged."""
        try:
            record = json.loads((self.out / file).read_text())
            if record.pop(_SEAL) != _seal(record):
                return None
            listed = record.get("files", {}).items()
            whole = all(files.digest(self.out / name) == digest for name, digest in listed)
            shared = map(self.image_file, record.get("images", ()))
            return record if whole and all((self.out / name).is_file() for name in shared) else None
        except _ODD:
            return None


def network_key(model: Model) -> str:
    """Return a text that identifies a network and its weights.

    Args:
        model: the network.
    """
    card = replace(model.card, origin="", license="", accuracy=None)
    state = hashlib.sha256(repr((card, model.net)).encode())
    for name, value in model.state_dict().items():
        state.update(name.encode() + _bytes(value))
    return state.hexdigest()[:12]


def record_text(record: Mapping[str, Any]) -> str:
    """Return a record as JSON, with a digest by which `Plan.read` recognizes damage."""
    return to_json({_SEAL: _seal(record), **record})


def to_json(value: object) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def _seal(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(record).encode()).hexdigest()


def make_plan(subject: Subject, out: Path) -> Plan:
    """Check what is to be shown, and plan an atlas of it.

    Args:
        subject: what is shown.
        out: the folder.

    Raises:
        NameNotFound: no such layer.
        InputError: there is no layer or image, or the folder has the atlas of another network.
    """
    if not subject.layers or not len(subject.data):
        raise InputError("no layer or no image; expected at least one each")
    for layer in subject.layers:
        hooks.resolve(subject.model, layer)
    choose("backward rule", subject.rule, RULES)
    check_folder(out, subject.model.card.name)
    return Plan(subject, out)


def check_folder(out: Path, network: str) -> None:
    """Check that a folder does not contain the atlas of another network.

    Raises:
        InputError: it does.
    """
    found = _network_of(out)
    if found not in ("", network):
        raise InputError(f"{out} has the atlas of {found}, not of {network}; give another --out")


def _network_of(out: Path) -> str:
    """Return the network of the atlas in a folder; empty if there is none."""
    try:
        return str(json.loads((out / "atlas.json").read_text())["network"])
    except _ODD:
        return ""


def _cost(model: Model, layer: str, shape: Sequence[int]) -> float:
    """Return a unit's cost: the part of the image that it sees, and a rest that all have."""
    if len(shape) < 3:
        return 1.2
    size = model.card.input_size
    field = receptive_field.fields_or_image(model, [layer], size)[layer]
    height, width = (size, size) if isinstance(size, int) else size
    seen = min(field.size[0] / height, 1.0) * min(field.size[1] / width, 1.0)
    return seen + 0.2


def _bytes(value: Tensor) -> bytes:
    return np.ascontiguousarray(value.detach().cpu().float().numpy()).tobytes()


@cache
def _code(code: str) -> str:
    return code_digest(code)


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

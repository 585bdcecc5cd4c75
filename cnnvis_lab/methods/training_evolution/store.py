"""Snapshots of a network in training: one file per step, written atomically, and a common header.

An interrupted recording can therefore always be resumed. The header lists layers, units and
concepts, and contains digests of the network's architecture and of the dataset, so that snapshots
of another training are rejected.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...core import FileError, Float, InputError, Int, files
from ...data import ImageSet, Label
from ...models import Model, weights
from ..deconvnet import TopProjections

HEADER = "evolution.json"
T = TypeVar("T")


@dataclass(frozen=True)
class UnitMaxima:
    """The maximum activation of each unit of a layer over a dataset.

    Attributes:
        values: (units,) the activations.
        images: (units,) indices of the images.
        positions: (units, 2) row and column in the feature map.
    """

    values: Float[Tensor, " units"]
    images: Int[Tensor, " units"]
    positions: Int[Tensor, "units 2"]


@dataclass(frozen=True)
class BestConcepts:
    """The best concept of each unit of a layer.

    Attributes:
        labels: (units,) the concept's number in the label maps.
        iou: (units,) IoU of the unit's mask with this concept.
    """

    labels: Int[Tensor, " units"]
    iou: Float[Tensor, " units"]


@dataclass(frozen=True)
class Snapshot:
    """A network at one step of its training; everything is computed from the rounded weights.

    Attributes:
        step: counted from 1; 0 is the network before its first step.
        weights: name -> tensor, with floats in 16 bits.
        kernels: (units, 3, h, w) kernels of the first convolution, as they act on images.
        maxima: layer -> maximum activations of all its units.
        projections: layer -> projection of each chosen unit's top-activating image.
        rendered: layer -> images of the chosen units by activation maximization; may be empty.
        concepts: layer -> best concept of all its units, even if they are no detectors; may be
            empty.
        metrics: name -> value.
    """

    step: int
    weights: dict[str, Tensor]
    kernels: Float[Tensor, "units c h w"]
    maxima: dict[str, UnitMaxima]
    projections: dict[str, TopProjections]
    rendered: dict[str, Tensor]
    concepts: dict[str, BestConcepts]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evolution:
    """A recorded training.

    Attributes:
        layers: layer names as given to `record`.
        units: layer -> the chosen units.
        labels: number -> concept; empty if no detectors were recorded.
        snapshots: by step, ascending.
    """

    layers: tuple[str, ...]
    units: dict[str, list[int]]
    labels: dict[int, Label]
    snapshots: tuple[Snapshot, ...]

    @property
    def steps(self) -> list[int]:
        """The recorded steps, ascending."""
        return [snapshot.step for snapshot in self.snapshots]

    @property
    def metrics(self) -> dict[str, Float[Tensor, " steps"]]:
        """Name -> metric over the steps, for those that were recorded at every step."""
        every = [{*snapshot.metrics} for snapshot in self.snapshots]
        return {name: self.metric(name) for name in sorted(set.intersection(*every))}

    def metric(self, name: str) -> Float[Tensor, " steps"]:
        """Return a metric over the steps.

        Raises:
            InputError: the metric was not recorded at every step.
        """
        if not all(name in snapshot.metrics for snapshot in self.snapshots):
            raise InputError(f"{name!r} was not recorded at every step; name it in metrics=")
        return torch.tensor([snapshot.metrics[name] for snapshot in self.snapshots])

    def top_projections(self, layer: str) -> Float[Tensor, "steps units c h w"]:
        """Return the projection of each chosen unit's top-activating image, at every step."""
        tops = [snapshot.projections[layer].projections[:, 0] for snapshot in self.snapshots]
        return torch.stack(tops)

    def by_layer(self, values: Float[Tensor, " layers"]) -> dict[str, float]:
        """Return layer -> value."""
        return dict(zip(self.layers, values.tolist(), strict=True))


def half_precision_state(net: nn.Module, step: int) -> dict[str, Tensor]:
    """Return a network's state on the CPU, with floats rounded to 16 bits.

    Raises:
        InputError: a weight is not finite, or too large for 16 bits.
    """
    state = {}
    for name, value in net.state_dict().items():
        value = value.detach().cpu()
        state[name] = (value.half() if value.is_floating_point() else value).contiguous().clone()
        if not torch.isfinite(state[name]).all():
            what = f"step {step}: {name} holds NaN, infinity or values beyond 65504"
            raise InputError(f"{what}; the training diverges, take smaller steps")
    return state


def restore(view: Model, snapshot: Snapshot) -> Model:
    """Load a snapshot's weights into a network of the same architecture, in place.

    Args:
        view: a loaded network, such as the recorder's own or one with random weights.
        snapshot: the snapshot whose weights are loaded.

    Returns:
        The same network.

    Raises:
        InputError: the network is of another architecture.
    """
    weights.load_into(view.net, snapshot.weights, f"step {snapshot.step}")
    return view


class SnapshotStore:
    """The folder of a recording."""

    def __init__(self, folder: str | Path, header: dict) -> None:
        self._folder, header = Path(folder), json.loads(json.dumps(header))
        file = self._folder / HEADER
        if file.is_file() and (known := _read_header(self._folder)) != header:
            (key, *_) = (key for key in header if known.get(key) != header[key])
            raise FileError(f"{folder} holds another recording (its {key} differ); give another")
        files.remove_partial(self._folder)
        files.write_atomically(file, json.dumps(header, indent=1) + "\n")

    def has(self, step: int) -> bool:
        """Return whether a step is recorded."""
        return _snapshot_path(self._folder, step).is_file()

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot atomically, with images in 16 bits."""
        tensors = {}
        for name, value in _flatten(snapshot):
            if name.startswith("rendered/"):
                value = value.half()
            if name.startswith("projections/") and name.endswith("/projections"):
                value = value.bfloat16()  # for its range: they grow a thousandfold in training
            tensors[name] = value.contiguous()
        files.write_tensors(_snapshot_path(self._folder, snapshot.step), tensors)


def header(
    view: Model,
    images: ImageSet,
    units: Mapping[str, list[int]],
    labels: Mapping[int, Label],
) -> dict:
    """Return the header of a recording: what all its snapshots share, and what identifies it.

    Args:
        view: a network of the recorded architecture.
        images: the dataset of the recording.
        units: layer -> the chosen units.
        labels: number -> concept.
    """
    shapes = [f"{name} {tuple(value.shape)}" for name, value in view.net.state_dict().items()]
    first_and_last = images.batch([0, len(images) - 1]).contiguous().numpy().tobytes()
    return {
        "weights": hashlib.sha256("\n".join(shapes).encode()).hexdigest(),
        "images": [len(images), hashlib.sha256(first_and_last).hexdigest()],
        "labels": {str(number): label[1:3] for number, label in labels.items()},
        "units": dict(units),
    }


def load(folder: str | Path) -> Evolution:
    """Read a recording, finished or not.

    Args:
        folder: the folder that was given to `record`.

    Raises:
        FileError: there is no recording, it has no snapshots yet, or a file is damaged.
    """
    folder = Path(folder)
    common, snapshots = _read_header(folder), sorted(folder.glob("step-*.safetensors"))
    if not snapshots:
        raise FileError(f"no step is recorded in {folder} yet; call recorder.step while training")
    try:
        labels = {
            int(number): Label(int(number), str(name), str(category), 0)
            for number, (name, category) in common["labels"].items()
        }
        units = {str(layer): [int(unit) for unit in row] for layer, row in common["units"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FileError(f"{folder / HEADER} is not of a recording; record again") from None
    return Evolution(tuple(units), units, labels, tuple(map(_read_snapshot, snapshots)))


def _read_header(folder: Path) -> dict:
    try:
        header = json.loads((folder / HEADER).read_text())
    except (OSError, ValueError, RecursionError):
        raise FileError(f"no recording of a training in {folder}; check the path") from None
    if not isinstance(header, dict):
        raise FileError(f"{folder / HEADER} is not of a recording; record again")
    return header


def _snapshot_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}.safetensors"


def _flatten(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor and float of nested mappings and dataclasses, as (path, tensor)."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, float):
        yield name, torch.tensor(value, dtype=torch.float64)
    elif not isinstance(value, int):  # the step is part of the file name
        for key, part in (value if isinstance(value, Mapping) else vars(value)).items():
            yield from _flatten(part, f"{name}/{key}" if name else key)


def _read_snapshot(path: Path) -> Snapshot:
    parts = {field.name: {} for field in fields(Snapshot)}
    try:
        for key, value in load_file(path).items():
            kind, _, name = key.partition("/")
            parts[kind][name] = value.float() if value.dtype == torch.bfloat16 else value
        return _from_parts(int(path.stem.removeprefix("step-")), parts)
    except (SafetensorError, KeyError, OSError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise FileError(f"{path} is damaged ({reason}); remove it, and record again") from None


def _from_parts(step: int, parts: dict[str, dict]) -> Snapshot:
    return Snapshot(
        step=step,
        weights=parts["weights"],
        kernels=parts["kernels"][""],
        maxima=_by_layer(UnitMaxima, parts["maxima"]),
        projections=_by_layer(TopProjections, parts["projections"]),
        rendered={layer: images.float() for layer, images in parts["rendered"].items()},
        concepts=_by_layer(BestConcepts, parts["concepts"]),
        metrics={name: float(value) for name, value in parts["metrics"].items()},
    )


def _by_layer(kind: Callable[..., T], parts: Mapping[str, Tensor]) -> dict[str, T]:
    """Build one object per layer from tensors named "layer/field"."""
    fields_of_layer: dict[str, dict[str, Tensor]] = {}
    for key, value in parts.items():
        layer, name = key.rsplit("/", 1)
        fields_of_layer.setdefault(layer, {})[name] = value
    return {layer: kind(**values) for layer, values in fields_of_layer.items()}

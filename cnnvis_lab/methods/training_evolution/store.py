"""What is kept of a network under training: a file for each chosen step, read back by step.

Every file is written whole or not at all, so that a recording can be killed at any moment and gone
on with. Beside the files lies what holds for all of them: layers, units, concepts, and a digest by
which a folder knows its own network and pictures again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...core import FileError, Float, InputError, Int, files
from ...data import ImageSet, Label
from ...models import Model, weights
from ..deconvnet import TopProjections

HEADER = "evolution.json"


class UnitMaxima(NamedTuple):
    """The picture that excites each unit of a layer most: how much, its number, and where."""

    values: Float[Tensor, " units"]
    images: Int[Tensor, " units"]
    positions: Int[Tensor, "units 2"]


class BestConcepts(NamedTuple):
    """The concept each unit of a layer fits best, by its number, and how well."""

    numbers: Int[Tensor, " units"]
    iou: Float[Tensor, " units"]


@dataclass(frozen=True)
class Snapshot:
    """A network at one step of its training. All but the weights is of the rounded network.

    Attributes:
        step: counted from 1; 0 is the network before its first step.
        weights: name -> tensor, floats in 16 bit.
        kernels: (units, 3, h, w) of the first convolution, as they act on images.
        strongest: layer -> of all its units, over the data set.
        projections: layer -> of its chosen units, each on its strongest picture.
        rendered: layer -> pictures of activation maximization of the chosen units; may be empty.
        concepts: layer -> of all its units, whether or not the fit makes a detector; may be empty.
        numbers: name -> what was measured beside.
    """

    step: int
    weights: dict[str, Tensor]
    kernels: Float[Tensor, "units 3 h w"]
    strongest: dict[str, UnitMaxima]
    projections: dict[str, TopProjections]
    rendered: dict[str, Tensor]
    concepts: dict[str, BestConcepts]
    numbers: dict[str, float]


@dataclass(frozen=True)
class Evolution:
    """A network through its training.

    Attributes:
        layers: names as the recorder was given them.
        units: layer -> the chosen units.
        labels: number -> concept, where detectors were looked for.
        snapshots: by step, rising.
    """

    layers: tuple[str, ...]
    units: dict[str, list[int]]
    labels: dict[int, Label]
    snapshots: tuple[Snapshot, ...]

    @property
    def steps(self) -> list[int]:
        """The recorded steps, rising."""
        return [state.step for state in self.snapshots]

    def number(self, name: str) -> Float[Tensor, " steps"]:
        """Return a measured number over the steps.

        Raises:
            InputError: it was not measured at every step.
        """
        if not all(name in state.numbers for state in self.snapshots):
            raise InputError(f"{name!r} was not measured at every step; name it in measured=")
        return torch.tensor([state.numbers[name] for state in self.snapshots])


def half_precision_state(net: nn.Module, step: int) -> dict[str, Tensor]:
    """Return a network's state with its floats in 16 bit, on the CPU.

    Raises:
        InputError: a weight is no number, or beyond what 16 bit can hold.
    """
    state = {}
    for name, value in net.state_dict().items():
        value = value.detach().cpu()
        state[name] = (value.half() if value.is_floating_point() else value).contiguous().clone()
        if not torch.isfinite(state[name]).all():
            what = f"step {step}: {name} holds NaN, infinity or values beyond 65504"
            raise InputError(f"{what}; the training diverges, take smaller steps")
    return state


def restore(view: Model, state: Snapshot) -> Model:
    """Put a state's weights into a network of the same architecture, in place.

    Args:
        view: a loaded network, such as the recorder's own or one with random weights.
        state: whose weights.

    Returns:
        The same network.

    Raises:
        InputError: the network is of another architecture.
    """
    weights.load_into(view.net, state.weights, f"step {state.step}")
    return view


class SnapshotStore:
    """The folder of a recording.

    Attributes:
        folder: the folder.
        head: what holds for all steps.
    """

    def __init__(self, folder: str | Path, head: dict) -> None:
        self.folder, self.head = Path(folder), json.loads(json.dumps(head))
        mark = self.folder / HEADER
        if mark.is_file() and (known := _read_header(self.folder)) != self.head:
            (odd, *_) = (key for key in self.head if known.get(key) != self.head[key])
            raise FileError(f"{folder} holds another recording (its {odd} differ); give another")
        for cut_off in self.folder.glob(".partial-*"):
            cut_off.unlink()
        files.write_atomically(mark, json.dumps(self.head, indent=1) + "\n")

    def has(self, step: int) -> bool:
        """Whether a step is recorded."""
        return _snapshot_path(self.folder, step).is_file()

    def write(self, state: Snapshot) -> None:
        """Write a step, whole or not at all. Pictures take 16 bit a value."""
        parts = {f"weights/{name}": value for name, value in state.weights.items()}
        parts |= {"kernels/": state.kernels}
        for layer, found in state.strongest.items():
            parts |= {f"strongest/{layer}/{name}": v for name, v in found._asdict().items()}
        for layer, shown in state.projections.items():
            own = {field.name: getattr(shown, field.name) for field in fields(shown)}
            # They grow a thousandfold while a network learns; this kind of 16 bit has the range.
            own["projections"] = own["projections"].bfloat16()
            parts |= {f"projections/{layer}/{name}": value for name, value in own.items()}
        parts |= {f"rendered/{layer}": images.half() for layer, images in state.rendered.items()}
        for layer, best in state.concepts.items():
            parts |= {f"concepts/{layer}/{name}": v for name, v in best._asdict().items()}
        for name, value in state.numbers.items():
            parts[f"numbers/{name}"] = torch.tensor(value, dtype=torch.float64)
        with files.replace_atomically(_snapshot_path(self.folder, state.step)) as partial:
            save_file({name: part.contiguous() for name, part in parts.items()}, partial)


def header(
    view: Model,
    pictures: ImageSet,
    units: Mapping[str, list[int]],
    labels: Mapping[int, Label],
) -> dict:
    """Return what holds for all steps of a recording, and tells it from others."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in view.net.state_dict().items()]
    shown = pictures.batch([0, len(pictures) - 1]).contiguous().numpy().tobytes()
    return {
        "weights": hashlib.sha256("\n".join(shapes).encode()).hexdigest(),
        "pictures": [len(pictures), hashlib.sha256(shown).hexdigest()],
        "labels": {str(number): label[1:3] for number, label in labels.items()},
        "units": dict(units),
    }


def load(folder: str | Path) -> Evolution:
    """Read a recording, finished or under way.

    Args:
        folder: where it was recorded.

    Returns:
        Everything that was kept, by step.

    Raises:
        FileProblem: no recording, none of its steps yet, or a damaged file.
    """
    known = _read_header(Path(folder))
    files = sorted(Path(folder).glob("step-*.safetensors"))
    if not files:
        raise FileError(f"no step is recorded in {folder} yet; call recorder.step while training")
    return Evolution(
        tuple(known["units"]),
        known["units"],
        {int(number): Label(int(number), *words, 0) for number, words in known["labels"].items()},
        tuple(map(_read_snapshot, files)),
    )


def _read_header(folder: Path) -> dict:
    try:
        return json.loads((folder / HEADER).read_text())
    except (OSError, ValueError):
        raise FileError(f"no recording of a training in {folder}; check the path") from None


def _snapshot_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}.safetensors"


def _read_snapshot(path: Path) -> Snapshot:
    try:
        parts = load_file(path)
    except SafetensorError as error:
        raise FileError(f"{path} is damaged ({error}); remove it, and record again") from None
    kinds = {field.name: {} for field in fields(Snapshot)}
    for key, value in parts.items():
        kind, name = key.split("/", 1)
        kinds[kind][name] = value
    return Snapshot(
        int(path.stem.removeprefix("step-")),
        kinds["weights"],
        kinds["kernels"][""],
        {layer: UnitMaxima(**own) for layer, own in _group_by_layer(kinds["strongest"]).items()},
        {
            layer: _read_projections(own)
            for layer, own in _group_by_layer(kinds["projections"]).items()
        },
        {layer: images.float() for layer, images in kinds["rendered"].items()},
        {layer: BestConcepts(**own) for layer, own in _group_by_layer(kinds["concepts"]).items()},
        {name: float(value) for name, value in kinds["numbers"].items()},
    )


def _group_by_layer(parts: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, value in parts.items():
        layer, name = key.rsplit("/", 1)
        grouped.setdefault(layer, {})[name] = value
    return grouped


def _read_projections(own: dict[str, Tensor]) -> TopProjections:
    return TopProjections(**own | {"projections": own["projections"].float()})

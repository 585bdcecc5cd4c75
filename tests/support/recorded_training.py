"""A small network, a training loop for it, and recordings of its training."""

import os
import signal
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.methods.training_evolution import Evolution, Observations, Recorder, Snapshot

from .reference_dissection import LabelledTensors, random_data
from .tensor_images import TensorImages

LAYERS = ["first", "second"]
AT = [0, 1, 3, 6]


class LabelledImages(LabelledTensors, TensorImages):
    """The small labeled dataset, which also gives its images in batches."""


def labelled_images(count: int = 20, seed: int = 0) -> LabelledImages:
    """Return a small labeled dataset."""
    parts = vars(random_data(count, seed=seed))
    return LabelledImages(**{name: part for name, part in parts.items() if name != "read"})


class SmallNet(nn.Module):
    """A network with functional ReLUs, batch normalization and dropout."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, width, 5, 2, 2), nn.BatchNorm2d(width)
        self.second, self.drop = nn.Conv2d(width, 7, 3, 2, 1), nn.Dropout(0.5)
        self.last = nn.Linear(7 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.last(self.drop(x.flatten(1)))


def untrained(seed: int = 0, width: int = 5) -> SmallNet:
    """Return the network before its training."""
    torch.manual_seed(seed)
    return SmallNet(width)


def train_by_hand(net: nn.Module, recorder: Recorder | None = None, steps: int = 6) -> nn.Module:
    """Train by hand; dropout draws from the global random stream."""
    torch.manual_seed(5)
    images, classes = random_data(16, seed=9).images, torch.arange(16) % 4
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for step in range(1, steps + 1):
        loss = functional.cross_entropy(net((images - 0.45) / 0.25), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder:
            recorder.step(step)
    return net


def view() -> models.Model:
    """Return a loaded network of the same architecture with other weights."""
    return models.load(untrained(99), input_size=32)


def record(
    net: nn.Module, folder: Path, *, at: list[int] | None = None, view=None, **options
) -> Recorder:
    """Start recording two units of each layer, or what the options of `Observations` say."""
    options = {"images": labelled_images(), "layers": LAYERS, "units": 2, **options}
    steps = AT if at is None else at
    return training_evolution.record(net, folder, Observations(**options), at=steps, view=view)


def recorded(folder: Path, **options) -> Evolution:
    """Record a whole training and read it back."""
    net = untrained()
    with record(net, folder, **options) as recorder:
        train_by_hand(net, recorder)
    return training_evolution.load(folder)


def record_until_killed(folder: str) -> None:
    """Record in a process of its own, which is killed while it writes the third snapshot."""
    torch.set_num_threads(1)
    written, replace = [], os.replace

    def put(partial: str, file: Path) -> None:
        written.append(file)
        if sum(file.suffix == ".safetensors" for file in written) == 3:
            Path(partial).write_bytes(Path(partial).read_bytes()[:1000])
            signal.raise_signal(signal.SIGKILL)
        replace(partial, file)

    os.replace = put
    recorded(Path(folder))


def recording_of(snapshots: list[dict], layers: tuple[str, ...] = ("a", "b"), **given) -> Evolution:
    """Return a recording of snapshots with the given fields; other fields are empty."""
    empty = {"weights": {}, "kernels": torch.zeros(1, 3, 7, 7), "maxima": {}, "projections": {}}
    empty |= {"rendered": {}, "concepts": {}, "metrics": {}}
    recorded_snapshots = tuple(
        Snapshot(**empty | {"step": 10 * i} | one) for i, one in enumerate(snapshots)
    )
    return Evolution(
        layers, {layer: [] for layer in layers}, given.get("labels", {}), recorded_snapshots
    )


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return reproducible normal noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

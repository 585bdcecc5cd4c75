"""Recordings that several tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import recorded_training

from cnnvis_lab.methods import training_evolution
from cnnvis_lab.methods.training_evolution import Evolution


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: results are the same bits, and small networks run faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weight_norm(model) -> float:
    """Return a metric of the network."""
    return float(model.net.last.weight.norm())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, _one_thread) -> Path:
    """A recording with everything that can be recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    labelled = recorded_training.labelled_images()
    recorded_training.recorded(
        folder, labelled=labelled, render_steps=2, metrics={"norm": weight_norm}
    )
    return folder


@pytest.fixture(scope="module")
def recorded(folder) -> Evolution:
    return training_evolution.load(folder)

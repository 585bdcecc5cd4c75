"""Trainings of shipped networks in other processes; their checkpoints come back whole."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ..core import files, prefixed, tasks
from ..models import training
from . import premises
from .executors import stop_if_cancelled
from .premises import Premises

_CODE = "from cnnvis_lab.models import training\ntraining.train\n"


def train_elsewhere(
    executor: Executor, names: Sequence[str], folder: Path, device: str, threads: int
) -> Iterator[str]:
    """Train networks at once, each on one worker, and yield their names as they end.

    The checkpoint of a network that is trained lies in the folder, where `training.train` finds it.

    Args:
        executor: runs the trainings.
        names: names of shipped networks.
        folder: folder of the checkpoints, from which unfinished trainings resume.
        device: as for `training.train`.
        threads: number of CPU threads of each training.
    """
    needed = premises.find_premises(_CODE)
    waiting = {}
    for name in names:
        file = _checkpoint(folder, name)
        start = file.read_bytes() if file.is_file() else b""
        waiting[executor.submit(_train, name, start, device, threads, needed)] = name
    for name, content in tasks.completed(waiting, str):
        files.write_atomically(_checkpoint(folder, name), content)
        yield name


def _train(name: str, start: bytes, device: str, threads: int, needed: Premises) -> bytes:
    """Train a network in the process that was chosen for it; return its last checkpoint."""
    premises.check(needed)
    torch.set_num_threads(threads)
    with TemporaryDirectory() as folder, prefixed(premises.worker_name()):
        file = _checkpoint(Path(folder), name)
        if start:
            file.write_bytes(start)
        training.train(name, folder, lambda line: stop_if_cancelled(), device=device)
        return file.read_bytes()


def _checkpoint(folder: Path, name: str) -> Path:
    return folder / f"{name}.checkpoint.pt"

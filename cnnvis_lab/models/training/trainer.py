"""What every training here shares: one checkpoint file, written whole, and going on from it."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from ...core import FileError, files

Progress = Callable[[str], None]


@runtime_checkable
class Stateful(Protocol):
    """A network or an optimiser: something with a state that can be kept."""

    def state_dict(self) -> dict:
        """Return the state."""

    def load_state_dict(self, state: dict) -> object:
        """Take up a state."""


class ResumableTrainer:
    """A training that can be cut off after any epoch.

    Attributes:
        recipe: a frozen dataclass with `epochs`; a checkpoint fits only its own.
        parts: everything that changes while training, by name.
        epoch: how many epochs are done.
    """

    def __init__(self, recipe: object, parts: dict[str, Stateful]) -> None:
        self.recipe, self.parts, self.epoch = recipe, parts, 0

    def epoch_losses(self) -> Iterator[float]:
        """Train one epoch, giving the loss of every step; the epoch counts when it is over."""
        raise TypeError(f"{type(self).__name__} does not say how an epoch is trained")

    def prepare(self, on_progress: Progress) -> None:
        """Get ready what the epochs need; called only where some are left."""

    def glance(self) -> str:
        """Say in a few words how good the network is now."""
        return ""

    def save(self, path: Path) -> None:
        """Write everything needed to go on from here."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        with files.replace_atomically(path) as partial:
            torch.save({"recipe": self._recipe_text(), "epoch": self.epoch, **state}, partial)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe.

        Raises:
            FileProblem: the checkpoint is damaged, or was written by another recipe.
        """
        try:
            state = torch.load(path, weights_only=True)
            written = state["recipe"]
        except Exception:  # on damaged files the reader raises nearly anything
            raise FileError(f"{path} is no readable checkpoint; remove it to start anew") from None
        if written != self._recipe_text():
            raise FileError(f"{path} was written by another recipe; remove it to start anew")
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.epoch = state["epoch"]

    def _recipe_text(self) -> str:
        return json.dumps(asdict(self.recipe), sort_keys=True)

    def run(self, name: str, folder: str | Path, on_progress: Progress) -> None:
        """Train all epochs that are left, keeping `NAME.checkpoint.pt` in `folder`."""
        checkpoint = Path(folder) / f"{name}.checkpoint.pt"
        if checkpoint.is_file():
            self.resume(checkpoint)
            on_progress(f"{name}: going on after epoch {self.epoch}")
        if self.epoch < self.recipe.epochs:
            self.prepare(on_progress)
        while self.epoch < self.recipe.epochs:
            losses = list(self.epoch_losses())
            self.save(checkpoint)
            mean = sum(losses) / len(losses)
            on_progress(
                f"{name}: epoch {self.epoch}/{self.recipe.epochs} loss {mean:.3f} {self.glance()}"
            )


def lr_factor(done: float) -> float:
    """Share of the highest step size when `done` (0 to 1) of the training is over."""
    if done < 0.15:
        return 0.04 + 0.96 * done / 0.15
    return 0.5 + 0.5 * math.cos(math.pi * (done - 0.15) / 0.85)

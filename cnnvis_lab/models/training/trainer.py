"""Resumable training: one checkpoint file, written atomically after each epoch."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from ...core import FileError, Images, files
from ...data import ImageSet
from ...data.scenes import TRAIN_SEED, SceneSet
from ..generators import GeneratorSpec
from ..model import Model
from ..registry import WEIGHTS
from ..weights import check_archive, register, write_half

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """Base of all recipes: warm-up, then cosine decay of the learning rate.

    Attributes:
        images: number of training images.
        epochs: number of epochs; a checkpoint is written after each.
        batch: images per step.
        rate: highest learning rate, reached after 15 % of the steps.
        bfloat16: compute in 16 bits where that is precise enough, which is faster.
        seed: seed of all random choices.
    """

    images: int = 16000
    epochs: int = 10
    batch: int = 32
    rate: float = 1e-3
    bfloat16: bool = True
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in one pass over the images."""
        return self.images // self.batch

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        return self.rate * lr_factor(step / (self.epochs * self.steps_per_epoch))


@dataclass(frozen=True)
class Subject:
    """What a decoder or generator of one's own is trained for.

    Attributes:
        spec: its layout.
        encoder: the network whose codes it reads.
        held_out: images that are not trained on.
        digest: of the encoder's weights.
    """

    spec: GeneratorSpec
    encoder: Model
    held_out: ImageSet
    digest: str


RecipeT = TypeVar("RecipeT", bound=TrainingRecipe)


@runtime_checkable
class Stateful(Protocol):
    """A module or an optimizer: an object whose state can be saved and restored."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Restore a state."""
        ...


def _text_of(recipe: Any) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def read_checkpoint(path: Path, recipe: object = None) -> dict[str, Any]:
    """Read a checkpoint; before a trainer is made, too, which imports PyTorch's compiler.

    Args:
        path: the file.
        recipe: the one that it has to be of; None for any.

    Raises:
        FileError: the checkpoint is damaged, or was written by another recipe.
    """
    check_archive(path)
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        written, parts = (
            state["recipe"],
            [part for part in state.values() if isinstance(part, dict)],
        )
    except Exception:  # the reader raises almost any error on damaged files
        raise FileError(f"{path} is not a readable checkpoint; remove it to start again") from None
    if recipe and written != _text_of(recipe):
        raise FileError(f"{path} was written by another recipe; remove it to start again")
    if not any(parts):
        raise FileError(f"{path} is damaged (it holds no weights); remove it to start again")
    return state


class ResumableTrainer(Generic[RecipeT]):
    """A training run that can be interrupted after any epoch.

    Subclasses implement `_epoch`, `snapshot`, `measure` and `evaluate_briefly`.

    Args:
        recipe: the training recipe; a checkpoint can only be resumed with the same recipe.
        images: the training set; None to draw the recipe's.
        parts: name -> module or optimizer whose state changes during training.
        device: torch device of these modules.

    Attributes:
        table: file name of the table of shipped networks that `export` extends.
        epoch: number of finished epochs.
        trained_on: name -> hash of the shipped weights that the training starts from or reads
            codes of.
    """

    table = "table.json"
    trained_on: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        recipe: RecipeT,
        images: ImageSet | None,
        parts: Mapping[str, Stateful],
        device: str = "cpu",
    ) -> None:
        self.recipe, self.parts, self.device, self.epoch = recipe, parts, device, 0
        self.images: Any = images or SceneSet(TRAIN_SEED, recipe.images)

    def _epoch(self, generator: torch.Generator) -> Iterator[float]:
        """Train one epoch with random numbers from `generator`, yielding the loss of every step."""
        raise NotImplementedError

    def snapshot(self) -> nn.Sequential:
        """Return a copy of the network as it would be exported now, in eval mode."""
        raise NotImplementedError

    def measure(self, net: nn.Sequential) -> dict[str, object]:
        """Return the measured entries of a network's row in the table."""
        raise NotImplementedError

    def evaluate_briefly(self) -> str:
        """Return a few words about the current quality on a few held-out images."""
        raise NotImplementedError

    def epoch_losses(self) -> Iterator[float]:
        """Train one epoch, yielding the loss of every step; `epoch` then increases by 1."""
        seed = self.recipe.seed * 100_003 + self.epoch
        yield from self._epoch(torch.Generator().manual_seed(seed))
        self.epoch += 1

    def _first_step(self) -> int:
        """Return the number of steps before this epoch."""
        return self.epoch * self.recipe.steps_per_epoch

    def _autocast(self) -> AbstractContextManager:
        """Return the context in which a step computes."""
        kind = torch.device(self.device).type
        if not self.recipe.bfloat16 or not torch.amp.is_autocast_available(kind):
            return nullcontext()
        return torch.autocast(kind, torch.bfloat16)

    def _digests(self, *names: str) -> dict[str, str]:
        """Return name -> hash of the weights of shipped networks."""
        return {name: files.digest(WEIGHTS / f"{name}.safetensors") for name in names}

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 over all epochs."""
        return self.recipe.lr_at(step)

    def is_finished(self) -> bool:
        """Return whether all epochs are done."""
        return self.epoch >= self.recipe.epochs

    def progress(self) -> str:
        """Return how much of the training is done."""
        return f"epoch {self.epoch}/{self.recipe.epochs}"

    def _draw_images(self, on_progress: Progress) -> None:
        self.images.draw_all(on_progress=lambda n, of: on_progress(f"drew {n} of {of} images"))

    def _batch(self, images: ImageSet, indices: Sequence[int]) -> Images:
        return images.batch(indices).to(self.device)

    def _batches(self, generator: torch.Generator) -> Iterator[Images]:
        """Yield an epoch's batches of random training images, on the CPU."""
        for _ in range(self.recipe.steps_per_epoch):
            yield self.images.batch(self._random_batch(generator))

    def _shuffled(self, count: int, generator: torch.Generator) -> Iterator[list[int]]:
        """Yield the indices of each step's images, of `count` in random order, each once.

        Dropout, which uses the global random generator, is seeded in the meantime.
        """
        recipe, order = self.recipe, torch.randperm(count, generator=generator)
        dropout_seed = int(torch.randint(2**31, (1,), generator=generator))
        with torch.random.fork_rng():
            torch.manual_seed(dropout_seed)
            for step in range(recipe.steps_per_epoch):
                yield order[step * recipe.batch : (step + 1) * recipe.batch].tolist()

    @staticmethod
    def _update(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> float:
        """Take a step down the gradient of a loss; return the loss."""
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def _random_batch(self, generator: torch.Generator) -> list[int]:
        return torch.randint(len(self.images), (self.recipe.batch,), generator=generator).tolist()

    def save(self, path: Path) -> None:
        """Write everything that is needed to resume from here."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"recipe": _text_of(self.recipe), "trained_on": dict(self.trained_on)}
        content = BytesIO()  # in a file, torch would also write its name, which is a random one
        torch.save({"epoch": self.epoch, **state}, content)
        files.write_atomically(path, content.getvalue())

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint of the same recipe, written on any device.

        Raises:
            FileError: the checkpoint is damaged, or was written by another recipe, or of a training
                on other networks.
        """
        state = read_checkpoint(path, self.recipe)
        trained_on = state.get("trained_on", {})
        for name, digest in self.trained_on.items():
            if trained_on.get(name) != digest:
                raise FileError(
                    f"{path} was trained on other weights of {name}; remove it to start again"
                )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.epoch = int(state["epoch"])
        except Exception as error:  # parts may be missing, or of any other kind
            reason = " ".join(str(error).split())[:200]
            raise FileError(f"{path} is damaged ({reason}); remove it to start again") from None

    def run(self, name: str, folder: str | Path, on_progress: Progress) -> None:
        """Train the remaining epochs.

        Args:
            name: name of the network.
            folder: folder of the checkpoint `NAME.checkpoint.pt`.
            on_progress: called with one line of text after each epoch, and while images are drawn.
        """
        checkpoint = Path(folder) / f"{name}.checkpoint.pt"
        if checkpoint.is_file():
            self.resume(checkpoint)
            on_progress(f"{name}: resumed after epoch {self.epoch}")
        if not self.is_finished():
            self._draw_images(on_progress)
        while not self.is_finished():
            losses = list(self.epoch_losses())
            self.save(checkpoint)
            mean = sum(losses) / len(losses)
            on_progress(f"{name}: {self.progress()} loss {mean:.3f} {self.evaluate_briefly()}")

    def export(self, name: str, folder: Path = WEIGHTS) -> dict[str, object]:
        """Write the network's 16-bit weights and its row in the table of shipped networks.

        Args:
            name: name of the network.
            folder: folder of the weights and the table.

        Returns:
            The row.
        """
        net = self.snapshot()
        row = self.measure(net) | {
            "parameters": sum(p.numel() for p in net.parameters()),
            "recipe": asdict(self.recipe),
            "seed": self.recipe.seed,
        }
        path = folder / f"{name}.safetensors"
        write_half(net, path)  # written last, just before its row in the table
        return register(folder / self.table, name, row, path)


def lr_factor(progress: float) -> float:
    """Return the fraction of the highest learning rate at a `progress` of the training, 0 to 1."""
    if progress < 0.15:
        return 0.04 + 0.96 * progress / 0.15
    return 0.5 + 0.5 * math.cos(math.pi * (progress - 0.15) / 0.85)

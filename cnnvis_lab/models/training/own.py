"""Train decoders and generators for any layer of any network, on any images.

A run is limited by its recipe's number of steps, or by time. It writes a checkpoint, the trained
weights and a sheet of held-out images after each epoch; with a time limit, an epoch takes at most a
minute, so that little is lost if the run is interrupted.
"""

import multiprocessing
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ...core import Images, InputError, features, files
from ...data import ImageSet, ResizedImages, Subset, images, open_images
from ...data.scenes import TRAIN_SEED, SceneSet
from .. import generators, layouts, registry, trained
from ..model import Model
from ..weights import state_digest
from .decoder import DecoderRecipe, DecoderTrainer
from .generator import GeneratorRecipe, GeneratorTrainer
from .trainer import Progress, ResumableTrainer, Subject, lr_factor, read_checkpoint

EPOCH_SECONDS = 60.0  # of an epoch of a run with a time limit, at most
TIMED_STEPS = 10_000  # of such an epoch, at most
HELD_OUT = 64  # images, at most a tenth of all
SCENES = 4000  # synthetic images that are drawn unless their number is given
SHEET_IMAGES = 8
MIN_ROWS = 4  # of maps that a discriminator reads


@dataclass(frozen=True)
class RunOptions:
    """How a training runs on this machine; nothing of this is part of the recipe.

    Attributes:
        minutes: time limit, over all parts of an interrupted run; 0 for the recipe's steps.
        workers: processes that load images in advance; 0 to load them in this process.
        device: torch device; "" for the GPU, or the CPU where there is none.
    """

    minutes: float = 0.0
    workers: int = 0
    device: str = ""


def _default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class _Clock:
    """The seconds that a training has taken; part of its checkpoint."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = float(state["seconds"])


class _Loaded(Dataset):
    """The images of a set one by one, as a loader reads them."""

    def __init__(self, dataset: ImageSet) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor:
        return self.dataset.batch([index])[0]


@dataclass(frozen=True)
class _Scenes(ResizedImages):
    """Synthetic scenes of one size, drawn when the training begins."""

    scenes: SceneSet


class _OwnRun(ResumableTrainer[Any]):
    """What trainings for any network add to those of the shipped networks."""

    kind: str
    spec: generators.GeneratorSpec
    held_out: ImageSet

    def __init__(self, recipe: Any, dataset: ImageSet, subject: Subject, run: RunOptions) -> None:
        self._run_options, self._clock, self.row = run, _Clock(), {}
        device = run.device or _default_device()
        registry.on_device(nn.Identity(), device)
        example = dataset.batch([0]).to(subject.encoder.device)
        self._layout = features.memory_format(subject.encoder, example, [subject.spec.layer])
        super().__init__(recipe, dataset, device, subject)  # type: ignore[call-arg]
        self.parts = {**self.parts, "clock": self._clock}

    def encode(self, images: Images) -> Tensor:
        laid_out = images.contiguous(memory_format=self._layout)
        return super().encode(laid_out)  # type: ignore[missing-attribute]

    def is_finished(self) -> bool:
        if not self._run_options.minutes:
            return super().is_finished()
        return self._clock.seconds >= self._limit

    @property
    def _limit(self) -> float:
        return 60 * self._run_options.minutes

    def progress(self) -> str:
        if not self._run_options.minutes:
            return super().progress()
        return f"{self._clock.seconds / 60:.1f} of {self._run_options.minutes:g} minutes"

    def rate_at(self, step: int) -> float:
        if not self._run_options.minutes:
            return super().rate_at(step)
        return self.recipe.rate * lr_factor(min(1.0, self._clock.seconds / self._limit))

    def _epoch(self, generator: torch.Generator) -> Iterator[float]:
        begun, first = time.monotonic(), self._clock.seconds
        for loss in super()._epoch(generator):
            self._clock.seconds = first + time.monotonic() - begun
            yield loss
            is_long = self._clock.seconds - first >= EPOCH_SECONDS
            if self._run_options.minutes and (is_long or self.is_finished()):
                return

    def _draw_images(self, on_progress: Progress) -> None:
        whole = self.images.dataset if isinstance(self.images, Subset) else None
        if isinstance(whole, _Scenes):
            whole.scenes.draw_all(on_progress=lambda n, of: on_progress(f"drew {n} of {of} images"))
        on_progress(f"{len(self.images)} images, {len(self.held_out)} held out")

    def _batches(self, generator: torch.Generator) -> Iterator[Images]:
        recipe, workers = self.recipe, self._run_options.workers
        size = (recipe.steps_per_epoch, recipe.batch)
        indices = torch.randint(len(self.images), size, generator=generator).tolist()
        yield from DataLoader(
            _Loaded(self.images),
            batch_sampler=indices,
            num_workers=workers,
            # Image sets hold functions, which other ways to start a process cannot pass on.
            multiprocessing_context=multiprocessing.get_context("fork") if workers else None,
        )

    def save(self, path: Path) -> None:
        super().save(path)
        name = path.name.removesuffix(".checkpoint.pt")
        net = self.snapshot()
        self.row = self.measure(net) | {
            "kind": self.kind,
            "encoder": self.spec.encoder,
            "encoder_digest": self.trained_on[self.spec.encoder],
            "layer": self.spec.layer,
            "layout": asdict(self.spec),
            "recipe": asdict(self.recipe),
            "minutes": round(self._clock.seconds / 60, 2),
            "images": len(self.images),
            "parameters": sum(p.numel() for p in net.parameters()),
        }
        trained.write(net, path.with_name(f"{name}.safetensors"), self.row)
        sheet = path.with_name(f"{name}.sheets") / f"{self.epoch:05d}.png"
        with files.replace_atomically(sheet) as partial:
            images.to_pil(self._sheet(net)).save(partial)

    @torch.no_grad()
    def _sheet(self, net: nn.Sequential) -> Tensor:
        """Return held-out images, and below them what is drawn from their codes."""
        real = self.held_out.batch(range(min(SHEET_IMAGES, len(self.held_out)))).to(self.device)
        drawn = generators.to_rgb(net(self.encode(real)), self.spec).clamp(0, 1)
        return images.tile([*real.cpu(), *drawn.cpu()], len(real))

    def evaluate_briefly(self) -> str:
        measured = {k: v for k, v in self.row.items() if k.startswith("held_out")}
        return " ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in measured.items())


class OwnDecoderTrainer(_OwnRun, DecoderTrainer):
    """Training run of a decoder for any network; see `DecoderTrainer`."""

    kind = "decoder"


class OwnGeneratorTrainer(_OwnRun, GeneratorTrainer):
    """Training run of a generator for any network; see `GeneratorTrainer`."""

    kind = "generator"

    def _features(self, images: Images) -> dict[str, Tensor]:
        return super()._features(images.contiguous(memory_format=self._layout))


Trainer = OwnDecoderTrainer | OwnGeneratorTrainer


def training_sets(
    source: str | Path, size: images.Size, count: int | None
) -> tuple[ImageSet, ImageSet]:
    """Open images to train on, and others that are held out.

    Args:
        source: "" for synthetic scenes; otherwise a folder of images, see `data.open_images`.
        size: of the network's images.
        count: number of images; None for all of a folder.

    Raises:
        FileError: there is no such folder, or no images in it.
        InputError: there are fewer than four images.
    """
    if source:
        everything: ImageSet = open_images(source, size, count or 2**31)
    else:
        scenes = SceneSet(TRAIN_SEED, count or SCENES)
        everything = _Scenes(
            "", size, len(scenes), lambda i: images.resize(scenes.batch(i), size), scenes
        )
    if len(everything) < 4:
        raise InputError(f"{len(everything)} images: expected at least 4 to train on")
    held_out = {*range(0, len(everything), max(10, len(everything) // HELD_OUT))}
    held_out |= {1} if len(held_out) < 2 else set()
    rest = [index for index in range(len(everything)) if index not in held_out]
    return Subset(everything, rest), Subset(everything, sorted(held_out))


def build(
    kind: str,
    model: Model,
    layer: str,
    training: ImageSet,
    held_out: ImageSet,
    *,
    run: RunOptions = RunOptions(),
    **changes: Any,
) -> Trainer:
    """Prepare the training of a decoder or generator.

    Args:
        kind: "decoder" or "generator".
        model: the network whose codes it reads.
        layer: dotted name or alias of a layer.
        training: images of the network's input size.
        held_out: images that are not trained on, at least two.
        run: how it runs on this machine.
        **changes: fields of `DecoderRecipe` or `GeneratorRecipe` that differ from their defaults
            here (`bfloat16` is the default on a GPU), and the layout's `width`.

    Raises:
        NameNotFound: no such kind or layer.
        InputError: the layer gives neither maps nor a vector; no such device; or no processes can
            load images here.
    """
    if run.workers and "fork" not in multiprocessing.get_all_start_methods():
        raise InputError("workers: this system cannot fork the processes that load images; give 0")
    spec = layouts.derive(kind, model, layer, changes.pop("width", 32))
    subject = Subject(spec, model, held_out, state_digest(model.net))
    name = name_of(kind, model, layer)
    settings: dict[str, Any] = {"batch": 16, "epochs": 100, "images": len(training)}
    settings["bfloat16"] = not (run.device or _default_device()).startswith("cpu")
    settings |= {"steps_per_epoch": TIMED_STEPS} if run.minutes else {}
    settings |= changes
    if kind == "decoder":
        return OwnDecoderTrainer(DecoderRecipe(name, **settings), training, subject, run)
    deep = [each for each in model.conv_layers() if _rows(model, each) >= MIN_ROWS]
    read = {"decay": 0.99, "discriminated": deep[:4], "comparator": [*deep[-1:], layer]}
    settings = {**read, **settings}
    return OwnGeneratorTrainer(GeneratorRecipe(name, **settings), training, subject, run)


def _rows(model: Model, layer: str) -> int:
    shape = model.layer_shapes([layer])[layer]
    return min(shape[1:]) if len(shape) == 3 else 0


def check_checkpoint(folder: str | Path, name: str) -> None:
    """Check that the checkpoint of an interrupted training can be read, if there is one.

    Args:
        folder: folder of the checkpoint.
        name: from `name_of`.

    Raises:
        FileError: it cannot.
    """
    checkpoint = Path(folder) / f"{name}.checkpoint.pt"
    if checkpoint.is_file():
        read_checkpoint(checkpoint)


def name_of(kind: str, model: Model, layer: str) -> str:
    """Return the name of a decoder's or generator's files.

    Args:
        kind: "decoder" or "generator".
        model: the network.
        layer: the layer whose codes it reads.
    """
    return re.sub(r"[^\w.-]+", "_", f"{kind}_{model.card.name}_{layer}")

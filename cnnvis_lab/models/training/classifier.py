"""Trains the shipped networks from scratch on the picture world: seeded and resumable."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Images, not_found
from ...data.scenes import ATTRIBUTES, CLASS_NAMES, HELD_OUT_SEED, TRAIN_SEED, SceneSet
from .. import architectures
from ..registry import MINI_NORMALIZATION, WEIGHTS
from ..weights import register, write_half
from . import batch_norm
from .trainer import Progress, ResumableTrainer, lr_factor

MAX_SHIFT = 8
BRIEF_EVALUATION_IMAGES = (
    800  # held-out pictures looked at after each epoch; the table's accuracy uses them all
)


@dataclass(frozen=True)
class ClassifierRecipe:
    """How one network is trained: AdamW, warm-up then cosine, mirrored and shifted pictures.

    Attributes:
        family: key of `nets.SPECS`.
        dropout: share dropped in FL1 and FL2.
        batch_norm: normalise after each layer.
        folded: ship the normalisations folded into the layers before them, so that the network
            is of plain layers again.
        pictures: how many pictures of the training world.
        epochs: passes over them.
        batch: pictures a step.
        rate: highest step size, reached after 15 % of the steps.
        weight_decay: AdamW's decoupled decay.
        attributes: weight of a second task, only for training: to name, from what the last layer
            reads, each picture's scene, its colours, texture and material. With 16 classes that
            colour never tells apart, a network would soon forget colour; a thousand classes, of
            which many differ in nothing else, keep it. 0 for none.
        seed: of the initial weights, the order, the shifts and the dropout.
        held_out: pictures of the held-out world the accuracy is measured on.
    """

    family: str
    dropout: float = 0.3
    batch_norm: bool = False
    folded: bool = False
    pictures: int = 16000
    epochs: int = 14
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 5e-2
    attributes: float = 0.0
    seed: int = 0
    held_out: int = 3200

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass."""
        return self.pictures // self.batch

    def rate_at(self, step: int) -> float:
        """Step size of a step, counted from 0."""
        return self.rate * lr_factor(step / (self.epochs * self.steps_per_epoch))


_CONDITION_RECIPE = ClassifierRecipe("alexnet_mini", epochs=10, attributes=1.0)
# Without normalisation two thirds of CL2's units would hardly ever fire, and what little the others
# let through could not be inverted.
_DEFAULT_RECIPE = replace(_CONDITION_RECIPE, batch_norm=True, folded=True)
RECIPES = {
    "alexnet_mini": _DEFAULT_RECIPE,
    # The training conditions of Bau et al. 2017, section 3.5: all of one schedule, from four
    # starts, and then with one thing different each.
    "alexnet_mini_repeat0": _CONDITION_RECIPE,
    "alexnet_mini_repeat1": replace(_CONDITION_RECIPE, seed=1),
    "alexnet_mini_repeat2": replace(_CONDITION_RECIPE, seed=2),
    "alexnet_mini_repeat3": replace(_CONDITION_RECIPE, seed=3),
    "alexnet_mini_no_dropout": replace(_CONDITION_RECIPE, dropout=0.0),
    "alexnet_mini_batch_norm": replace(_CONDITION_RECIPE, batch_norm=True),
    "alexnet_mini_half_width": replace(_CONDITION_RECIPE, family="alexnet_mini_half_width"),
    "zfnet_mini": replace(_DEFAULT_RECIPE, family="zfnet_mini"),
    "judge_mini": ClassifierRecipe("judge_mini", 0.1, True, epochs=12, weight_decay=2e-2, seed=7),
}


class ClassifierTrainer(ResumableTrainer):
    """One classifier's training under way."""

    def __init__(self, recipe: ClassifierRecipe, pictures: SceneSet | None = None) -> None:
        self.pictures = pictures or SceneSet(TRAIN_SEED, recipe.pictures)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self.net = architectures.build(
                recipe.family,
                len(CLASS_NAMES),
                dropout=recipe.dropout,
                batch_norm=recipe.batch_norm,
            ).to(memory_format=torch.channels_last)
            self.second_task = nn.ModuleList()
            if recipe.attributes:
                width = self.net[-1].in_features
                self.second_task.extend(nn.Linear(width, many) for many in ATTRIBUTES.values())
        learned = [*self.net.parameters(), *self.second_task.parameters()]
        self.optimizer = torch.optim.AdamW(learned, weight_decay=recipe.weight_decay)
        parts = {"net": self.net, "second_task": self.second_task, "optimizer": self.optimizer}
        super().__init__(recipe, parts)

    def epoch_losses(self) -> Iterator[float]:
        """Train one epoch, giving the loss of every step; the epoch counts when it is over."""
        recipe = self.recipe
        drawn = torch.Generator().manual_seed(recipe.seed * 100_003 + self.epoch)
        order = torch.randperm(recipe.pictures, generator=drawn)
        dropout_seed = int(torch.randint(2**31, (1,), generator=drawn))
        with torch.random.fork_rng():  # dropout knows only the global stream
            torch.manual_seed(dropout_seed)
            self.net.train()
            for step in range(recipe.steps_per_epoch):
                chosen = order[step * recipe.batch : (step + 1) * recipe.batch].tolist()
                for group in self.optimizer.param_groups:
                    group["lr"] = recipe.rate_at(self.epoch * recipe.steps_per_epoch + step)
                loss = self._loss(normalize(augment(self.pictures.batch(chosen), drawn)), chosen)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                yield loss.item()
        self.epoch += 1

    def _loss(self, images: Images, chosen: list[int]) -> Tensor:
        classes = self.pictures.classes(chosen)
        if not self.second_task:
            return functional.cross_entropy(self.net(images), classes)
        read = self.net[:-1](images)
        loss = functional.cross_entropy(self.net[-1](read), classes)
        attributes = self.pictures.attributes(chosen).unbind(1)
        named = zip(self.second_task, attributes, strict=True)
        second = [functional.cross_entropy(head(read), values) for head, values in named]
        return loss + self.recipe.attributes * torch.stack(second).mean()

    def snapshot(self) -> nn.Sequential:
        """Copy the network as it would be shipped now, in eval mode; the training is not touched.

        Where the recipe says so, normalisations are folded.
        """
        net = copy.deepcopy(self.net).eval()
        return batch_norm.fold_batch_norm(net) if self.recipe.folded else net

    def prepare(self, on_progress: Progress) -> None:
        """Draw the pictures, in several processes."""
        self.pictures.draw_all(on_progress=lambda n, of: on_progress(f"drew {n} of {of} pictures"))

    def glance(self) -> str:
        """Say how many held-out pictures are named right."""
        return f"held-out {accuracy(self.net, _brief_held_out()):.3f}"


def normalize(images: Images) -> Tensor:
    """Normalise as the mini networks expect, in the memory layout that is fastest on CPU."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in MINI_NORMALIZATION)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images: Images, drawn: torch.Generator) -> Tensor:
    """Mirror half of the pictures, shift each, vary the brightness."""
    size, count = images.shape[-1], len(images)
    mirrored = torch.rand(count, generator=drawn) < 0.5
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    padded = functional.pad(images, (MAX_SHIFT,) * 4, mode="replicate")
    corners = torch.randint(2 * MAX_SHIFT + 1, (count, 2), generator=drawn).tolist()
    images = torch.stack(
        [
            image[:, y : y + size, x : x + size]
            for image, (y, x) in zip(padded, corners, strict=True)
        ]
    )
    return images * (0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=drawn))


@torch.no_grad()
def accuracy(net: nn.Module, pictures: SceneSet) -> float:
    """Share of a set's pictures whose class the network names; `net` takes normalised input."""
    net.eval()
    right = sum(
        int((net(normalize(images)).argmax(1) == pictures.classes(indices.tolist())).sum())
        for indices, images in pictures.batches(200)
    )
    return right / len(pictures)


def first_losses(recipe: ClassifierRecipe, steps: int) -> list[float]:
    """Losses of the recipe's first steps, drawing only the pictures these need."""
    losses = ClassifierTrainer(recipe).epoch_losses()
    return [next(losses) for _ in range(steps)]


def train(name: str, folder: str | Path, on_progress: Progress = print) -> nn.Module:
    """Train a shipped network by its recipe, going on from the last checkpoint in `folder`.

    Args:
        name: one of `RECIPES`.
        folder: where `NAME.checkpoint.pt` is kept.
        on_progress: takes one line of text now and then.

    Returns:
        The trained network, in eval mode; it takes normalised input.
    """
    if name not in RECIPES:
        raise not_found("recipe", name, RECIPES)
    trainer = ClassifierTrainer(RECIPES[name])
    trainer.run(name, folder, on_progress)
    return trainer.snapshot()


@cache
def _brief_held_out() -> SceneSet:
    held_out = SceneSet(HELD_OUT_SEED, BRIEF_EVALUATION_IMAGES)
    held_out.draw_all()
    return held_out


def export(name: str, net: nn.Module, folder: Path = WEIGHTS) -> dict:
    """Write a trained network's 16-bit weights and its row in the table of shipped networks.

    The accuracy in the table is that of the rounded weights, on the recipe's held-out pictures.
    """
    recipe = RECIPES[name]
    options = {"dropout": recipe.dropout, "batch_norm": recipe.batch_norm and not recipe.folded}
    rounded = architectures.build(recipe.family, len(CLASS_NAMES), **options)
    rounded.load_state_dict({k: v.half().float() for k, v in net.state_dict().items()})
    row = {
        "family": recipe.family,
        "options": options,
        "classes": list(CLASS_NAMES),
        "parameters": sum(p.numel() for p in net.parameters()),
        "accuracy": round(accuracy(rounded, SceneSet(HELD_OUT_SEED, recipe.held_out)), 4),
        "seed": recipe.seed,
        "recipe": asdict(recipe),
        "first_losses": first_losses(recipe, 3),
    }
    path = folder / f"{name}.safetensors"
    write_half(net, path)  # only now, so that the file and its row are never long apart
    return register(folder / "table.json", name, row, path)

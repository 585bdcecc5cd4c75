"""Train the shipped classifiers from scratch on the synthetic scenes, seeded and resumable."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float, Images
from ...data import CATEGORIES
from ...data.scenes import (
    ATTRIBUTES,
    CLASS_NAMES,
    HELD_OUT_SEED,
    SIZE,
    TRAIN_SEED,
    SceneSet,
)
from .. import architectures
from ..registry import MINI_NORMALIZATION, on_device
from .augmentation import add_noise, augment, cut_out
from .batch_norm import fold_batch_norm
from .trainer import ResumableTrainer, TrainingRecipe

PLACES = 8  # rows and columns of regions in which the object is located
BRIEF_IMAGES = 800  # held-out images evaluated after each epoch; the exported accuracy uses all


@dataclass(frozen=True)
class ClassifierRecipe(TrainingRecipe):
    """Training recipe of a classifier: AdamW, with mirrored, shifted and brightened images.

    Attributes:
        family: key of `architectures.SPECS`.
        dropout: fraction of units dropped in FL1 and FL2.
        batch_norm: add batch normalization after each layer.
        folded: fold batch normalization into the preceding layers on export, so that the network
            consists of plain layers.
        epochs: passes over the images.
        batch: images per step.
        rate: highest learning rate.
        weight_decay: AdamW's decoupled decay.
        group_decay: the decay of groups of parameters where it differs from `weight_decay`, see
            `parameter_groups`: group -> decay.
        noise: noise is added to each training image, with a random standard deviation up to this.
        cutout: fraction of the training images in which a square is covered.
        last_scale: factor on the last layer's initial weights; with 0 it has no random start, which
            the features would adapt to, and which decay would not remove.
        attributes: weight of an auxiliary task, used in training only: predict each image's scene,
            colors, texture and material from the input of the last layer. Colors do not distinguish
            the 16 classes, so a network would soon discard them; networks trained on a thousand
            classes, some of which differ in color only, keep them. 0 for none.
        place: weight of another such task: predict how much of each of 8x8 regions the object
            covers. Networks trained on photographs keep places, too (Dosovitskiy and Brox 2016).
        held_out: number of held-out images for the accuracy.
    """

    family: str
    dropout: float = 0.3
    batch_norm: bool = False
    folded: bool = False
    _: KW_ONLY
    epochs: int = 14
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 5e-2
    group_decay: Mapping[str, float] = field(default_factory=dict)
    noise: float = 0.0
    cutout: float = 0.0
    last_scale: float = 1.0
    attributes: float = 0.0
    place: float = 0.0
    held_out: int = 3200


# Chosen by a search, see weights/search.json. Much decay in the convolutions, whose random start
# would otherwise stay visible, and less behind them, so that class images stay whole. Without batch
# normalization, two thirds of CL2's units would be inactive on almost all images, and the little
# information in the other units would not suffice for inversion.
_DEFAULT_RECIPE = ClassifierRecipe(
    "alexnet_mini",
    batch_norm=True,
    folded=True,
    images=32000,
    epochs=16,
    attributes=1.0,
    place=2.0,
    group_decay={"first": 6.0, "conv": 2.0, "hidden": 1.0, "last": 0.5, "other": 0.0},
    cutout=0.5,
    last_scale=0.0,
)
# Without batch normalization, as much decay and as high a rate would slow the training down.
_CONDITION_RECIPE = replace(
    _DEFAULT_RECIPE,
    dropout=0.2,
    batch_norm=False,
    folded=False,
    images=16000,
    rate=1e-3,
    group_decay={"first": 3.0, "conv": 0.5, "hidden": 0.2, "last": 0.1, "other": 0.0},
    last_scale=1.0,
)
RECIPES = {
    "alexnet_mini": _DEFAULT_RECIPE,
    "judge_mini": ClassifierRecipe(
        "judge_mini", 0.1, True, images=32000, epochs=9, weight_decay=0.2, seed=7
    ),
    "zfnet_mini": replace(_DEFAULT_RECIPE, family="zfnet_mini"),
    # The training conditions of Bau et al. 2017, section 3.5, all with the same schedule: four
    # initializations, then one change at a time.
    "alexnet_mini_repeat0": _CONDITION_RECIPE,
    "alexnet_mini_repeat1": replace(_CONDITION_RECIPE, seed=1),
    "alexnet_mini_repeat2": replace(_CONDITION_RECIPE, seed=2),
    "alexnet_mini_repeat3": replace(_CONDITION_RECIPE, seed=3),
    "alexnet_mini_no_dropout": replace(_CONDITION_RECIPE, dropout=0.0),
    "alexnet_mini_batch_norm": replace(_CONDITION_RECIPE, batch_norm=True),
    "alexnet_mini_half_width": replace(_CONDITION_RECIPE, family="alexnet_mini_half_width"),
}


class ClassifierTrainer(ResumableTrainer[ClassifierRecipe]):
    """Training run of a classifier.

    Args:
        recipe: how it is trained.
        images: the training set; None to draw the recipe's.
        device: torch device.
    """

    def __init__(
        self, recipe: ClassifierRecipe, images: SceneSet | None = None, device: str = "cpu"
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self.net = architectures.build(
                recipe.family,
                len(CLASS_NAMES),
                dropout=recipe.dropout,
                batch_norm=recipe.batch_norm,
            ).to(memory_format=torch.channels_last)
            self.second_task = nn.ModuleList()
            last = self.net[-1]
            if recipe.attributes and isinstance(last, nn.Linear):
                width = last.in_features
                self.second_task.extend(nn.Linear(width, many) for many in ATTRIBUTES.values())
                if recipe.place:
                    self.second_task.append(nn.Linear(width, PLACES**2))
        with torch.no_grad():
            self.net[-1].get_parameter("weight").mul_(recipe.last_scale)
        on_device(self.net, device)
        on_device(self.second_task, device)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": group, "weight_decay": recipe.group_decay.get(name, recipe.weight_decay)}
                for name, group in parameter_groups(self.net, self.second_task).items()
            ]
        )
        parts = {"net": self.net, "second_task": self.second_task, "optimizer": self.optimizer}
        # Label maps, if they are needed, are drawn with the images and kept.
        images = images or SceneSet(TRAIN_SEED, recipe.images, labelled=recipe.place > 0)
        super().__init__(recipe, images, parts, device)

    def _epoch(self, generator: torch.Generator) -> Iterator[float]:
        self.net.train()
        steps = enumerate(self._shuffled(self.recipe.images, generator), self._first_step())
        for step, indices in steps:
            images, places = self._augmented(indices, generator)
            with self._autocast():
                loss = self._loss(images, indices, places)
            yield self._update(self.optimizer, loss, self.rate_at(step))

    def _augmented(
        self, indices: list[int], generator: torch.Generator
    ) -> tuple[Tensor, Float[Tensor, "n regions"]]:
        """Return changed images, normalized, and the fraction of each region that is the object."""
        images = self.images.batch(indices)
        if self.recipe.place:
            images = torch.cat([images, object_masks(self.images, indices)], 1)
        images = augment(images, generator)
        images, masks = images[:, :3], images[:, 3:]
        if self.recipe.cutout:
            images = cut_out(images, self.recipe.cutout, generator)
        if self.recipe.noise:
            images = add_noise(images, self.recipe.noise, generator)
        places = functional.adaptive_avg_pool2d((masks > 0).float(), PLACES).flatten(1)
        return normalize(images).to(self.device), places.to(self.device)

    def _loss(self, images: Tensor, indices: list[int], places: Tensor) -> Tensor:
        classes = self.images.classes(indices).to(self.device)
        if not self.second_task:
            return functional.cross_entropy(self.net(images), classes)
        features = self.net[:-1](images)
        loss = functional.cross_entropy(self.net[-1](features), classes)
        attributes = self.images.attributes(indices).to(self.device).unbind(1)
        pairs = zip(self.second_task, attributes, strict=False)
        second = [functional.cross_entropy(head(features), values) for head, values in pairs]
        loss = loss + self.recipe.attributes * torch.stack(second).mean()
        if not self.recipe.place:
            return loss
        covered = functional.binary_cross_entropy_with_logits(
            self.second_task[-1](features), places
        )
        return loss + self.recipe.place * covered

    def snapshot(self) -> nn.Sequential:
        """Return a copy of the network as it would be exported now, in eval mode."""
        net = copy.deepcopy(self.net).eval()
        return fold_batch_norm(net) if self.recipe.folded else net

    def measure(self, net: nn.Sequential) -> dict[str, object]:
        """Return the row of the table; the accuracy is that of the weights rounded to 16 bits."""
        recipe = self.recipe
        batch_norm = recipe.batch_norm and not recipe.folded
        rounded = architectures.build(
            recipe.family,
            len(CLASS_NAMES),
            dropout=recipe.dropout,
            batch_norm=batch_norm,
        )
        rounded.load_state_dict({k: v.half().float() for k, v in net.state_dict().items()})
        held_out = SceneSet(HELD_OUT_SEED, recipe.held_out)
        return {
            "family": recipe.family,
            "options": {"dropout": recipe.dropout, "batch_norm": batch_norm},
            "classes": list(CLASS_NAMES),
            "accuracy": round(accuracy(rounded, held_out), 4),
            "first_losses": first_losses(recipe),
        }

    def evaluate_briefly(self) -> str:
        """Return the accuracy on a few held-out images."""
        return f"held-out {accuracy(self.net, _brief_held_out()):.3f}"


def first_losses(recipe: ClassifierRecipe) -> list[float]:
    """Return the losses of the first three steps, in 32 bits, which agree between machines."""
    trainer = ClassifierTrainer(replace(recipe, bfloat16=False))
    return list(islice(trainer.epoch_losses(), 3))


def object_masks(images: SceneSet, indices: Sequence[int]) -> Float[Tensor, "n 1 h w"]:
    """Return 1 where an object of the image's class is, and 0 elsewhere."""
    maps = images.label_maps(indices)[:, CATEGORIES.index("object")]
    first = min(n for n, label in images.labels.items() if label.category == "object")
    numbers = first + images.classes(indices)  # classes are the first objects
    masks = (maps == numbers.view(-1, 1, 1)).float()[:, None]
    return functional.interpolate(masks, size=(SIZE, SIZE))


def parameter_groups(net: nn.Module, second_task: nn.Module) -> dict[str, list[Tensor]]:
    """Return the parameters that are trained, in groups that may have decays of their own.

    Args:
        net: the network.
        second_task: the layers that predict further properties from the input of the last layer.

    Returns:
        The weights of the "first" convolution, of the other convolutions ("conv"), of the hidden
        fully connected layers ("hidden"), of the "last" layer and the second task, and all biases
        and parameters of batch normalization ("other").
    """
    kinds = nn.Conv2d | nn.Linear
    first, *inner, last = (module for module in net.modules() if isinstance(module, kinds))
    heads = [module for module in second_task.modules() if isinstance(module, kinds)]
    groups: dict[str, list[Tensor]] = {
        "first": [first.weight],
        "conv": [module.weight for module in inner if isinstance(module, nn.Conv2d)],
        "hidden": [module.weight for module in inner if isinstance(module, nn.Linear)],
        "last": [module.weight for module in (last, *heads)],
    }
    grouped = {id(weight) for group in groups.values() for weight in group}
    everything = (*net.parameters(), *second_task.parameters())
    groups["other"] = [weight for weight in everything if id(weight) not in grouped]
    return groups


def normalize(images: Images) -> Tensor:
    """Normalize for the mini networks, in the memory layout that is fastest on CPU."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in MINI_NORMALIZATION)
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(net: nn.Module, images: SceneSet) -> float:
    """Return the fraction of images that are classified correctly; `net` is set to eval mode.

    Args:
        net: network that takes normalized images.
        images: the images, with their classes.
    """
    net.eval()
    device = next(net.parameters(), torch.empty(0)).device
    correct = 0
    for indices, batch in images.batches(200):
        predicted = net(normalize(batch).to(device)).argmax(1).cpu()
        correct += int((predicted == images.classes(indices.tolist())).sum())
    return correct / len(images)


@cache
def _brief_held_out() -> SceneSet:
    held_out = SceneSet(HELD_OUT_SEED, BRIEF_IMAGES)
    held_out.draw_all()
    return held_out

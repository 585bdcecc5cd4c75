"""Trains the shipped generators: image, feature and adversarial loss, after DeePSiM.

The encoder turns a picture into a code, the generator draws a picture from it, and three losses
pull that picture towards the first: in coarse pixels, in the features of a comparator (the
encoder's own deep layers), and in what a critic takes for real (`critic`). A code leaves much of a
picture open. Losses that ask for the very pixels, or for the fine features, are least for the mean
of all that is possible, a blur; so only what the code can know is compared: colours at their
places, deep features, the code itself. Fine detail is the critic's to judge.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...core import Images, InputError, hooks, not_found
from ...data.scenes import HELD_OUT_SEED, TRAIN_SEED, SceneSet
from .. import generators, registry
from ..weights import register, write_half
from . import batch_norm, discriminator
from .trainer import Progress, ResumableTrainer, lr_factor

ENCODER_STRIDE = 4  # of the encoder's first layer
CROP = 64  # side of the part whose pixels the critic is shown, half a picture's
HELD_OUT_IMAGES = 128  # held-out pictures the losses are looked at on


@dataclass(frozen=True)
class GeneratorRecipe:
    """How one generator is trained: Adam, warm-up then cosine, mirrored pictures.

    Attributes:
        generator: key of `generators.SPECS`.
        begins: generator whose shipped up-convolutions this one begins with, or "".
        image: weight of the mean squared error of colours.
        grain: side of the fields whose mean colours are compared; 1 for every pixel.
        feature: weight of the squared feature error over the features' own mean square.
        adversarial: weight of the critic's disbelief.
        comparator: the encoder's layers whose features are compared.
        judged: the encoder's layers whose features the critic sees.
        pictures: how many pictures of the training world.
        epochs: parts the training is cut into, a checkpoint after each.
        steps_per_epoch: steps of each.
        batch: pictures a step.
        rate: highest step size, the generator's and the critic's.
        memory: how much of the averaged weights, which are shipped, stays at each step.
        seed: of weights and order.

    Source: the three losses and Adam are DeePSiM's; a critic that sees a trained network's
    features is from Sauer et al. 2021, the averaging of weights from Karras et al. 2018. Weights
    and sizes, the coarse grain and batch normalisation while training are this project's, chosen
    for small pictures and short training.
    """

    generator: str
    begins: str = ""
    image: float = 1.0
    grain: int = 8
    feature: float = 1.0
    adversarial: float = 1.0
    comparator: tuple[str, ...] = ("CL5.relu", "FL1.relu")
    judged: tuple[str, ...] = ("CL1.relu", "CL2.relu", "CL3.relu", "CL5.relu")
    pictures: int = 16000
    epochs: int = 54
    steps_per_epoch: int = 100
    batch: int = 24
    rate: float = 1e-3
    memory: float = 0.998
    seed: int = 0


_SHORT_RECIPE = {"begins": "generator_FL1", "epochs": 10}
RECIPES = {"generator_FL1": GeneratorRecipe("generator_FL1")} | {
    name: GeneratorRecipe(name, **_SHORT_RECIPE)
    for name in ("generator_CL5", "generator_FL2", "generator_FL3")
}
RECIPES["generator_FL1_image_loss"] = GeneratorRecipe(
    "generator_FL1_image_loss", grain=1, feature=0.0, adversarial=0.0, epochs=16
)


class GeneratorTrainer(ResumableTrainer):
    """One generator's training under way."""

    def __init__(self, recipe: GeneratorRecipe, pictures: SceneSet | None = None) -> None:
        self.pictures = pictures or SceneSet(TRAIN_SEED, recipe.pictures)
        self.held_out = SceneSet(HELD_OUT_SEED, HELD_OUT_IMAGES)
        self.spec = generators.SPECS[recipe.generator]
        self.encoder = registry.load(self.spec.encoder)
        self.encoder.to(memory_format=torch.channels_last)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            net = generators.build(recipe.generator)
            if recipe.begins:
                _copy_upconvolutions(net, recipe.begins)
            net = batch_norm.add_batch_norm(net)
            self.critic = self._critic(recipe.judged)
        with torch.no_grad():  # the first layer reads codes: to their own size
            net[0].weight /= self.encode(self.held_out.batch(range(64))).std()
        self.net = net.to(memory_format=torch.channels_last)
        self.critic.to(memory_format=torch.channels_last)
        mean = get_ema_multi_avg_fn(recipe.memory)
        self.average = AveragedModel(self.net, multi_avg_fn=mean, use_buffers=True)
        self.optimizer = torch.optim.Adam(self.net.parameters(), betas=(0.0, 0.99))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), betas=(0.0, 0.99))
        parts = {"net": self.net, "average": self.average, "critic": self.critic}
        parts |= {"optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer}
        super().__init__(recipe, parts)

    @torch.no_grad()
    def _critic(self, judged: tuple[str, ...]) -> discriminator.Discriminator:
        """Build the critic, fitted to the encoder's features."""
        images = self.held_out.batch(range(64))
        features = hooks.activations(self.encoder, images, list(judged))
        return discriminator.Discriminator(features, self.encode(images))

    def prepare(self, on_progress: Progress) -> None:
        """Draw the pictures, in several processes."""
        self.pictures.draw_all(on_progress=lambda n, of: on_progress(f"drew {n} of {of} pictures"))

    def epoch_losses(self) -> Iterator[float]:
        """Train one epoch, giving the generator's loss of every step."""
        recipe = self.recipe
        drawn = torch.Generator().manual_seed(recipe.seed * 100_003 + self.epoch)
        self.net.train()
        for step in range(recipe.steps_per_epoch):
            chosen = torch.randint(len(self.pictures), (recipe.batch,), generator=drawn)
            images = _mirror_half(self.pictures.batch(chosen.tolist()), drawn)
            yield self._step(images, self.epoch * recipe.steps_per_epoch + step, drawn)
        self.epoch += 1

    def _step(self, images: Images, done: int, drawn: torch.Generator) -> float:
        recipe = self.recipe
        rate = recipe.rate * lr_factor(done / (recipe.epochs * recipe.steps_per_epoch))
        images = images.contiguous(memory_format=torch.channels_last)
        codes = self.encode(images)
        made = generators.to_rgb(self.net(codes), self.spec)
        seen = made.detach().requires_grad_()
        loss = self.image_loss(seen, images) * recipe.image
        if recipe.feature or recipe.adversarial:
            loss = loss + self._seen_loss(seen, images, codes, rate, drawn)
        loss.backward()
        self.optimizer.zero_grad()
        made.backward(seen.grad)
        _optimizer_step(self.optimizer, rate)
        self.average.update_parameters(self.net)
        return loss.item()

    def _seen_loss(
        self, made: Images, images: Images, codes: Tensor, rate: float, drawn: torch.Generator
    ) -> Tensor:
        """The losses that look at pictures through the encoder, the critic being taught first."""
        # Both are shifted alike: else pixels between the first layer's strides would stay free.
        shift = torch.randint(ENCODER_STRIDE, (2,), generator=drawn).tolist()
        with torch.no_grad():
            wanted = self._features(images.roll(shift, (2, 3)))
        features = self._features(made.roll(shift, (2, 3)))
        y, x = torch.randint(CROP + 1, (2,), generator=drawn).tolist()
        part = (..., slice(y, y + CROP), slice(x, x + CROP))
        taught = self.critic(images[part], wanted, codes)
        mistakes = discriminator.discriminator_loss(
            taught, self._verdict(made.detach()[part], features, codes)
        )
        self.critic_optimizer.zero_grad()
        mistakes.backward()
        _optimizer_step(self.critic_optimizer, rate)
        self.critic.requires_grad_(False)
        disbelief = discriminator.generator_loss(self.critic(made[part], features, codes))
        self.critic.requires_grad_(True)
        feature = self.feature_loss(features, wanted)
        return feature * self.recipe.feature + disbelief * self.recipe.adversarial

    def _verdict(self, part: Images, features: Mapping[str, Tensor], codes: Tensor) -> list[Tensor]:
        return self.critic(part, {k: maps.detach() for k, maps in features.items()}, codes)

    def _features(self, images: Images) -> dict[str, Tensor]:
        layers = dict.fromkeys((*self.recipe.judged, *self.recipe.comparator))
        return hooks.activations(self.encoder, images, list(layers))

    @torch.no_grad()
    def encode(self, images: Images) -> Tensor:
        """Return the codes of pictures."""
        return hooks.activations(self.encoder, images, [self.spec.layer])[self.spec.layer]

    def image_loss(self, made: Images, images: Images) -> Tensor:
        """Mean squared error of the fields' mean colours, a quarter of the range being 1."""
        coarse = (functional.avg_pool2d(part * 4, self.recipe.grain) for part in (made, images))
        return functional.mse_loss(*coarse)

    def feature_loss(self, made: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
        """Squared error in each comparator layer over its own mean square, averaged."""
        parts = [
            functional.mse_loss(made[layer], wanted[layer]) / wanted[layer].square().mean()
            for layer in self.recipe.comparator
        ]
        return torch.stack(parts).mean()

    @torch.no_grad()
    def held_out_losses(self) -> tuple[float, float]:
        """Return the image and the feature loss on held-out pictures."""
        net = self.average.module.eval()
        losses = []
        for _, images in self.held_out.batches(32):
            made = generators.to_rgb(net(self.encode(images)), self.spec).clamp(0, 1)
            feature = self.feature_loss(self._features(made), self._features(images))
            losses.append((self.image_loss(made, images), feature))
        image, feature = torch.tensor(losses).mean(0).tolist()
        return image, feature

    def glance(self) -> str:
        """Say how far held-out pictures are missed."""
        image, feature = self.held_out_losses()
        return f"held-out image {image:.3f} feature {feature:.3f}"


def _copy_upconvolutions(net: nn.Sequential, name: str) -> None:
    """Copy the up-convolutions of a shipped generator, those that begin at 4x4."""
    if name not in generators.shipped():
        raise InputError(f"begins with {name}, which is not here; first cnnvis train {name} --ship")
    state = generators.load(name).net.state_dict()
    own = {k: v for k, v in state.items() if k.startswith(("deconv", "conv"))}
    net.load_state_dict(net.state_dict() | own)


def _mirror_half(images: Images, drawn: torch.Generator) -> Images:
    """Mirror half of the pictures."""
    mirror = torch.rand(len(images), 1, 1, 1, generator=drawn) < 0.5
    return torch.where(mirror, images.flip(3), images)


def _optimizer_step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
        nn.utils.clip_grad_norm_(group["params"], 5.0)
    optimizer.step()


def train(name: str, folder: str | Path, on_progress: Progress = print) -> GeneratorTrainer:
    """Train a shipped generator by its recipe, going on from the last checkpoint in `folder`.

    Raises:
        NameNotFound: no such recipe.
    """
    if name not in RECIPES:
        raise not_found("recipe", name, RECIPES)
    trainer = GeneratorTrainer(RECIPES[name])
    trainer.run(name, folder, on_progress)
    return trainer


def export(name: str, trainer: GeneratorTrainer, folder: Path = registry.WEIGHTS) -> dict:
    """Write a trained generator's 16-bit weights and its row in the table of generators.

    Batch normalisations, which only training needs, are folded into the layers' weights.
    """
    path = folder / f"{name}.safetensors"
    write_half(batch_norm.fold_batch_norm(trainer.average.module), path)
    image, feature = trainer.held_out_losses()
    row = {
        "held_out_image_loss": round(image, 4),
        "held_out_feature_loss": round(feature, 4),
        "parameters": sum(p.numel() for p in generators.build(name).parameters()),
        "recipe": asdict(trainer.recipe),
        "seed": trainer.recipe.seed,
    }
    return register(folder / generators.TABLE.name, name, row, path)

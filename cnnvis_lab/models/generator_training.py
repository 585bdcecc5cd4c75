"""Trains the shipped generators: image, feature and adversarial loss, after DeePSiM.

The encoder turns a picture into a code, the generator draws a picture from it, and three losses
pull that picture towards the first: in pixels, in the features of a comparator (the encoder's own
convolutional layers), and in what a discriminator takes for real.
"""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ..core import hooks
from ..core.errors import InputError, not_found
from ..core.shapes import Float, Images
from ..data.scenes.sets import HELD_OUT_SEED, TRAIN_SEED, PictureSet
from . import generators, registry
from .resumable import Progress, Resumable, rate_share
from .training import augmented
from .weights_file import enter, write_half

STRIDE = 4  # of the encoder's first layer
CROP = 64  # side of the part the discriminator is shown, half a picture's
GLANCE = 128  # held-out pictures the losses are looked at on


@dataclass(frozen=True)
class GeneratorRecipe:
    """How one generator is trained: Adam, warm-up then cosine, mirrored and shifted pictures.

    Attributes:
        generator: key of `generators.SPECS`.
        begins: generator whose shipped up-convolutions this one begins with, or "".
        image: weight of the mean squared pixel error.
        feature: weight of the squared feature error over the features' own mean square.
        adversarial: size of the discriminator's pull at the last layer's weights, as a share of
            that of the other two losses together.
        comparator: the encoder's layers whose features are compared.
        pictures: how many pictures of the training world.
        epochs: parts the training is cut into, a checkpoint after each.
        steps_per_epoch: steps of each.
        batch: pictures a step.
        rate: the generator's highest step size.
        judge_rate: the discriminator's.
        alone: share of the steps before the discriminator joins.
        seed: of weights, order and shifts.

    Source: the three losses and Adam are DeePSiM's; their weights, the step sizes, the hinge form
    of the adversarial loss and batch normalisation while training are this project's, chosen for
    small pictures and short training. Weighing the adversarial loss by the sizes of gradients is
    from Esser, Rombach and Ommer 2021 (equation 7).
    """

    generator: str
    begins: str = ""
    image: float = 2.0
    feature: float = 1.0
    adversarial: float = 0.5
    comparator: tuple[str, ...] = ("CL2.relu", "CL3.relu", "CL5.relu")
    pictures: int = 16000
    epochs: int = 80
    steps_per_epoch: int = 100
    batch: int = 24
    rate: float = 1.5e-3
    judge_rate: float = 5e-4
    alone: float = 0.3
    seed: int = 0


_SHORT = {"begins": "generator_FL1", "epochs": 16, "alone": 0.0}
RECIPES = {"generator_FL1": GeneratorRecipe("generator_FL1")} | {
    name: GeneratorRecipe(name, **_SHORT)
    for name in ("generator_CL5", "generator_FL2", "generator_FL3")
}
RECIPES["generator_FL1_image_loss"] = GeneratorRecipe(
    "generator_FL1_image_loss", feature=0.0, adversarial=0.0, epochs=40
)


class Discriminator(nn.Module):
    """Says of each patch of a picture how real it looks.

    It shrinks pictures by averages, not by strides: gradients of strides are checkerboards, which
    the generator would learn to draw.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, channels in itertools.pairwise((3, *widths)):
            layers += [spectral_norm(nn.Conv2d(incoming, channels, 3, 1, 1)), nn.LeakyReLU(0.2)]
            layers.append(nn.AvgPool2d(2))
        self.patches = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 y x"]:
        """Return a verdict for each patch; above 0 for real."""
        return self.patches((images - 0.5) * 4)


class GeneratorTrainer(Resumable):
    """One generator's training under way."""

    def __init__(self, recipe: GeneratorRecipe, pictures: PictureSet | None = None) -> None:
        self.pictures = pictures or PictureSet(TRAIN_SEED, recipe.pictures)
        self.held_out = PictureSet(HELD_OUT_SEED, GLANCE)
        self.spec = generators.SPECS[recipe.generator]
        self.encoder = registry.load(self.spec.encoder)
        self.encoder.to(memory_format=torch.channels_last)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            net = generators.build(recipe.generator)
            if recipe.begins:
                _take_over(net, recipe.begins)
            net = generators.with_batch_norm(net)
            self.critic = Discriminator()
        self.net = net.to(memory_format=torch.channels_last)
        self.critic.to(memory_format=torch.channels_last)
        self._fit_to_codes()
        self.optimizer = torch.optim.Adam(self.net.parameters(), betas=(0.5, 0.99))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), betas=(0.5, 0.99))
        parts = {"net": self.net, "critic": self.critic}
        parts |= {"optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer}
        super().__init__(recipe, parts)

    @torch.no_grad()
    def _fit_to_codes(self) -> None:
        """Scale the first layer, which reads codes, to the codes' own size."""
        images = self.held_out.batch(range(32))
        size = hooks.activations(self.encoder, images, [self.spec.layer])[self.spec.layer].std()
        self.net[0].weight /= size

    def prepare(self, progress: Progress) -> None:
        """Draw the pictures, in several processes."""
        self.pictures.draw_all(progress=lambda n, of: progress(f"drew {n} of {of} pictures"))

    def epoch_losses(self) -> Iterator[float]:
        """Train one epoch, giving the generator's loss of every step."""
        recipe = self.recipe
        drawn = torch.Generator().manual_seed(recipe.seed * 100_003 + self.epoch)
        self.net.train()
        for step in range(recipe.steps_per_epoch):
            chosen = torch.randint(len(self.pictures), (recipe.batch,), generator=drawn)
            images = augmented(self.pictures.batch(chosen.tolist()), drawn).clamp(0, 1)
            yield self._step(images, self.epoch * recipe.steps_per_epoch + step, drawn)
        self.epoch += 1

    def _step(self, images: Images, done: int, drawn: torch.Generator) -> float:
        recipe, total = self.recipe, self.recipe.epochs * self.recipe.steps_per_epoch
        share = rate_share(done / total)
        images = images.contiguous(memory_format=torch.channels_last)
        code = self.encode(images)
        made = generators.to_rgb(self.net(code), self.spec)
        seen = made.detach().requires_grad_()
        loss = self.image_loss(seen, images) * recipe.image
        if recipe.feature:
            # Shifted alike: else pixels that fall between the first layer's strides stay free.
            by = (done % STRIDE, done // STRIDE % STRIDE)
            shifted = (pictures.roll(by, (2, 3)) for pictures in (seen, images))
            loss = loss + self.feature_loss(*shifted) * recipe.feature
        (gradient,) = torch.autograd.grad(loss, seen)
        if recipe.adversarial and done >= recipe.alone * total:
            y, x = (int(corner) for corner in torch.randint(CROP + 1, (2,), generator=drawn))
            part = (..., slice(y, y + CROP), slice(x, x + CROP))
            self._teach_critic(images[part], made.detach()[part], share)
            (other,) = torch.autograd.grad(-self.critic(seen[part]).mean(), seen)
            size = self._pull(made, gradient) / self._pull(made, other).clamp(min=1e-12)
            gradient = gradient + recipe.adversarial * size * other
        self.optimizer.zero_grad()
        made.backward(gradient)
        _step(self.optimizer, recipe.rate * share)
        return loss.item()

    def _pull(self, made: Images, gradient: Images) -> Tensor:
        """How hard a gradient in the picture pulls at the weights of the last layer."""
        (own,) = torch.autograd.grad(made, self.net[-1].weight, gradient, retain_graph=True)
        return own.norm()

    def _teach_critic(self, real: Images, made: Images, share: float) -> None:
        verdict = functional.relu(1 - self.critic(real)).mean()
        verdict = verdict + functional.relu(1 + self.critic(made)).mean()
        self.critic_optimizer.zero_grad()
        verdict.backward()
        _step(self.critic_optimizer, self.recipe.judge_rate * share)

    @torch.no_grad()
    def encode(self, images: Images) -> Tensor:
        """Return the codes of pictures."""
        return hooks.activations(self.encoder, images, [self.spec.layer])[self.spec.layer]

    def image_loss(self, made: Images, images: Images) -> Tensor:
        """Mean squared pixel error, a quarter of the range being 1."""
        return functional.mse_loss(made * 4, images * 4)

    def feature_loss(self, made: Images, images: Images) -> Tensor:
        """Squared error in each comparator layer over its own mean square, averaged."""
        with torch.no_grad():
            wanted = hooks.activations(self.encoder, images, self.recipe.comparator)
        acts = hooks.activations(self.encoder, made, self.recipe.comparator)
        parts = [
            functional.mse_loss(acts[layer], wanted[layer]) / wanted[layer].square().mean()
            for layer in self.recipe.comparator
        ]
        return torch.stack(parts).mean()

    @torch.no_grad()
    def held_out_losses(self) -> tuple[float, float]:
        """Return the image and the feature loss on held-out pictures."""
        self.net.eval()
        losses = []
        for _, images in self.held_out.batches(32):
            made = generators.to_rgb(self.net(self.encode(images)), self.spec)
            losses.append((self.image_loss(made, images), self.feature_loss(made, images)))
        image, feature = torch.tensor(losses).mean(0).tolist()
        return image, feature

    def glance(self) -> str:
        """Say how far held-out pictures are missed."""
        image, feature = self.held_out_losses()
        return f"held-out image {image:.3f} feature {feature:.3f}"


def _take_over(net: nn.Sequential, name: str) -> None:
    """Copy the up-convolutions of a shipped generator, those that begin at 4x4."""
    if name not in generators.shipped():
        raise InputError(f"begins with {name}, which is not here; first cnnvis train {name} --ship")
    state = generators.load(name).net.state_dict()
    own = {k: v for k, v in state.items() if k.startswith(("deconv", "conv"))}
    net.load_state_dict(net.state_dict() | own)


def _step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()


def train(name: str, folder: str | Path, progress: Progress = print) -> GeneratorTrainer:
    """Train a shipped generator by its recipe, going on from the last checkpoint in `folder`.

    Raises:
        NameNotFound: no such recipe.
    """
    if name not in RECIPES:
        raise not_found("recipe", name, RECIPES)
    trainer = GeneratorTrainer(RECIPES[name])
    trainer.run(name, folder, progress)
    return trainer


def ship(name: str, trainer: GeneratorTrainer, folder: Path = registry.WEIGHTS) -> dict:
    """Write a trained generator's 16-bit weights and its row in the table of generators.

    Batch normalisations, which only training needs, are folded into the layers' weights.
    """
    path = folder / f"{name}.safetensors"
    write_half(generators.without_batch_norm(trainer.net), path)
    image, feature = trainer.held_out_losses()
    row = {
        "held_out_image_loss": round(image, 4),
        "held_out_feature_loss": round(feature, 4),
        "parameters": sum(p.numel() for p in generators.build(name).parameters()),
        "recipe": asdict(trainer.recipe),
        "seed": trainer.recipe.seed,
    }
    return enter(folder / generators.TABLE.name, name, row, path)

"""Trains the shipped decoders: the least mean squared pixel error, after Dosovitskiy and Brox.

W* = argmin_W sum ||x - D(f(x); W)||^2. What minimises it draws the mean of all pictures that share
a code, so a blurred picture says that the code leaves much open.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Images, hooks, image_metrics, not_found, perturbations
from ...data.scenes import HELD_OUT_SEED, TRAIN_SEED, SceneSet
from .. import decoders, generators, registry
from ..weights import register, write_half
from . import batch_norm
from .classifier import augment, normalize
from .trainer import Progress, ResumableTrainer, lr_factor

HELD_OUT_IMAGES = 128  # held-out pictures the error is looked at on
# Names in `core.codes.CHANGES`.
PERTURBED = ("binarised", "dropout active", "least active", "most active")


@dataclass(frozen=True)
class DecoderRecipe:
    """How one decoder is trained: Adam, warm-up then cosine, mirrored and shifted pictures.

    Attributes:
        decoder: key of `decoders.SPECS`.
        perturbed: change the codes of every batch in one of the ways of `PERTURBED`, drawn anew.
        autoencoder: train the encoder, from scratch, with the decoder.
        pictures: how many pictures of the training world.
        epochs: parts the training is cut into, a checkpoint after each.
        steps_per_epoch: steps of each.
        batch: pictures a step.
        rate: highest step size.
        seed: of weights, order and shifts.

    Source: loss, Adam and leaky ReLUs are the authors'; batch normalisation while training and the
    short schedule are this project's.
    """

    decoder: str
    perturbed: bool = False
    autoencoder: bool = False
    pictures: int = 16000
    epochs: int = 10
    steps_per_epoch: int = 100
    batch: int = 32
    rate: float = 3e-3
    seed: int = 0


def _recipe(name: str) -> DecoderRecipe:
    layer = name.removesuffix("_perturbed").rpartition("_")[2]
    epochs = {"CL1": 7, "CL2": 18, "FL1": 12, "FL2": 12, "FL3": 12}.get(layer, 9)
    perturbed, autoencoder = name.endswith("_perturbed"), name.startswith("autoencoder")
    return DecoderRecipe(name, perturbed, autoencoder, epochs=epochs)


RECIPES = {name: _recipe(name) for name in decoders.SPECS if not name.startswith("upconv")}


class DecoderTrainer(ResumableTrainer):
    """One decoder's training under way."""

    def __init__(self, recipe: DecoderRecipe, pictures: SceneSet | None = None) -> None:
        self.pictures = pictures or SceneSet(TRAIN_SEED, recipe.pictures)
        self.held_out = SceneSet(HELD_OUT_SEED, HELD_OUT_IMAGES)
        self.spec = decoders.SPECS[recipe.decoder]
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self.net = batch_norm.add_batch_norm(decoders.build(recipe.decoder))
            self.encoder = self._encoder(recipe)
        self.net.to(memory_format=torch.channels_last)
        self.encoder.to(memory_format=torch.channels_last)
        learned = [p for part in (self.net, self.encoder) for p in part.parameters()]
        self.optimizer = torch.optim.Adam(p for p in learned if p.requires_grad)
        parts = {"net": self.net, "optimizer": self.optimizer}
        super().__init__(recipe, parts | ({"encoder": self.encoder} if recipe.autoencoder else {}))
        if not recipe.autoencoder:
            self._fit_to_codes()

    def _encoder(self, recipe: DecoderRecipe) -> nn.Module:
        if not recipe.autoencoder:
            return registry.load(self.spec.encoder)
        return batch_norm.add_batch_norm(decoders.build_encoder(recipe.decoder))

    @torch.no_grad()
    def _fit_to_codes(self) -> None:
        """Scale the first layer, which reads codes, to the codes' own size."""
        self.net[0].weight /= self.encode(self.held_out.batch(range(32))).std()

    def prepare(self, on_progress: Progress) -> None:
        """Draw the pictures, in several processes."""
        self.pictures.draw_all(on_progress=lambda n, of: on_progress(f"drew {n} of {of} pictures"))

    def encode(self, images: Images) -> Tensor:
        """Return the codes of pictures, unchanged."""
        if self.recipe.autoencoder:
            return self.encoder(normalize(images))
        with torch.no_grad():
            return hooks.activations(self.encoder, images, [self.spec.layer])[self.spec.layer]

    def decode(self, codes: Tensor) -> Images:
        """Draw pictures of codes, in the range of [0, 1]."""
        return generators.to_rgb(self.net(codes), self.spec)

    def changed(self, codes: Tensor, seed: int) -> Tensor:
        """Change codes as the recipe asks."""
        if not self.recipe.perturbed:
            return codes
        return perturbations.PERTURBATIONS[PERTURBED[seed % len(PERTURBED)]](
            codes, codes.abs(), seed
        )

    def epoch_losses(self) -> Iterator[float]:
        """Train one epoch, giving the loss of every step."""
        recipe = self.recipe
        drawn = torch.Generator().manual_seed(recipe.seed * 100_003 + self.epoch)
        self._train(True)
        for step in range(recipe.steps_per_epoch):
            chosen = torch.randint(len(self.pictures), (recipe.batch,), generator=drawn)
            seed = int(torch.randint(2**31, (1,), generator=drawn))
            images = augment(self.pictures.batch(chosen.tolist()), drawn).clamp(0, 1)
            yield self._step(images, seed, self.epoch * recipe.steps_per_epoch + step)
        self.epoch += 1

    def _train(self, on: bool) -> None:
        self.net.train(on)
        self.encoder.train(on and self.recipe.autoencoder)

    def _step(self, images: Images, seed: int, done: int) -> float:
        share = lr_factor(done / (self.recipe.epochs * self.recipe.steps_per_epoch))
        images = images.contiguous(memory_format=torch.channels_last)
        loss = self.loss(self.decode(self.changed(self.encode(images), seed)), images)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * share
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def loss(self, made: Images, images: Images) -> Tensor:
        """Mean squared pixel error, a quarter of the range being 1."""
        return functional.mse_loss(made * 4, images * 4)

    @torch.no_grad()
    def held_out_error(self) -> float:
        """Return how far held-out pictures are missed, a picture of another being 1."""
        self._train(False)
        errors = []
        for number, (_, images) in enumerate(self.held_out.batches(32)):
            made = self.decode(self.changed(self.encode(images), number)).clamp(0, 1)
            errors.append(image_metrics.distance(made, images))
        everything = self.held_out.batch(range(len(self.held_out)))
        return float(torch.cat(errors).mean()) / image_metrics.mean_pairwise_distance(everything)

    def glance(self) -> str:
        """Say how far held-out pictures are missed."""
        return f"held-out error {self.held_out_error():.3f}"

    def finished(self) -> nn.Sequential:
        """Return what is shipped: batch normalisations folded, an autoencoder's encoder before."""
        decoder = batch_norm.fold_batch_norm(self.net)
        if not self.recipe.autoencoder:
            return decoder
        return decoders.join_autoencoder(batch_norm.fold_batch_norm(self.encoder), decoder)


def train(name: str, folder: str | Path, on_progress: Progress = print) -> DecoderTrainer:
    """Train a shipped decoder by its recipe, going on from the last checkpoint in `folder`.

    Raises:
        NameNotFound: no such recipe.
    """
    if name not in RECIPES:
        raise not_found("recipe", name, RECIPES)
    trainer = DecoderTrainer(RECIPES[name])
    trainer.run(name, folder, on_progress)
    return trainer


def export(name: str, trainer: DecoderTrainer, folder: Path = registry.WEIGHTS) -> dict:
    """Write a trained decoder's 16-bit weights and its row in the table of decoders."""
    path, net = folder / f"{name}.safetensors", trainer.finished()
    write_half(net, path)
    row = {
        "held_out_error": round(trainer.held_out_error(), 4),
        "parameters": sum(p.numel() for p in net.parameters()),
        "recipe": asdict(trainer.recipe),
        "seed": trainer.recipe.seed,
    }
    return register(folder / decoders.TABLE.name, name, row, path)

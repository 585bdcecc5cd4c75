"""Train the shipped decoders by mean squared pixel error, after Dosovitskiy and Brox (2016).

W* = argmin_W sum ||x - D(f(x); W)||^2. The minimizer returns the mean of all images that share a
code, so a blurred image shows how much the code leaves undetermined.
"""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Images, hooks, image_metrics, perturbations
from ...data import ImageSet
from ...data.scenes import HELD_OUT_SEED, SceneSet
from .. import decoders, generators, registry
from .augmentation import augment
from .batch_norm import add_batch_norm, fold_batch_norm
from .classifier import normalize
from .trainer import ResumableTrainer, Subject, TrainingRecipe

HELD_OUT_IMAGES = 128  # for the error after each epoch
# Keys of `core.perturbations.PERTURBATIONS`.
PERTURBED = ("binarized", "dropout active", "least active", "most active")


@dataclass(frozen=True)
class DecoderRecipe(TrainingRecipe):
    """Training recipe of a decoder: Adam, mirrored and shifted images.

    Attributes:
        decoder: key of `decoders.SPECS`.
        perturbed: perturb the codes of every batch by a random one of `PERTURBED`.
        autoencoder: train the encoder from scratch, together with the decoder.
        steps_per_epoch: steps of each epoch.
        rate: highest learning rate.

    Source: loss, Adam and leaky ReLUs are those of Dosovitskiy and Brox; batch normalization in
    training and the short schedule are this project's.
    """

    decoder: str
    perturbed: bool = False
    autoencoder: bool = False
    _: KW_ONLY
    steps_per_epoch: int = 100
    rate: float = 3e-3


EPOCHS = {"CL1": 40, "CL2": 14, "CL4": 24, "CL5": 24, "FL2": 60, "FL3": 40}  # others 30


def _recipe(name: str) -> DecoderRecipe:
    layer = name.removesuffix("_perturbed").rpartition("_")[2]
    perturbed, autoencoder = name.endswith("_perturbed"), name.startswith("autoencoder")
    epochs = 9 if perturbed else EPOCHS.get(layer, 30)
    return DecoderRecipe(name, perturbed, autoencoder, epochs=epochs)


RECIPES = {name: _recipe(name) for name in decoders.SPECS if not name.startswith("upconv")}


class DecoderTrainer(ResumableTrainer[DecoderRecipe]):
    """Training run of a decoder.

    Args:
        recipe: how it is trained.
        images: the training set; None to draw the recipe's.
        device: torch device.
        subject: layout, encoder and held-out images; None for those of the shipped decoder.
    """

    table = decoders.TABLE.name

    def __init__(
        self,
        recipe: DecoderRecipe,
        images: ImageSet | None = None,
        device: str = "cpu",
        subject: Subject | None = None,
    ) -> None:
        scenes = SceneSet(HELD_OUT_SEED, HELD_OUT_IMAGES)
        self.held_out: ImageSet = subject.held_out if subject else scenes
        self.spec = subject.spec if subject else decoders.SPECS[recipe.decoder]
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            self.net = add_batch_norm(generators.assemble(self.spec))
            self.encoder: nn.Module = (
                add_batch_norm(decoders.build_encoder(recipe.decoder))
                if recipe.autoencoder
                else subject.encoder
                if subject
                else registry.load(self.spec.encoder)
            )
        for part in (self.net, self.encoder):
            registry.on_device(part, device).to(memory_format=torch.channels_last)
        weights = [p for part in (self.net, self.encoder) for p in part.parameters()]
        self.optimizer = torch.optim.Adam(p for p in weights if p.requires_grad)
        parts = {"net": self.net, "optimizer": self.optimizer}
        parts |= {"encoder": self.encoder} if recipe.autoencoder else {}
        super().__init__(recipe, images, parts, device)
        if not recipe.autoencoder:
            own = {self.spec.encoder: subject.digest} if subject else None
            self.trained_on = own or self._digests(self.spec.encoder)
            self._scale_to_codes()

    @torch.no_grad()
    def _scale_to_codes(self) -> None:
        """Divide the first layer's weights by the standard deviation of the codes that it reads."""
        weight = next(self.net.parameters())
        some = range(min(32, len(self.held_out)))
        weight /= self.encode(self._batch(self.held_out, some)).std().clamp_min(1e-6)

    def encode(self, images: Images) -> Tensor:
        """Return the unperturbed codes of images."""
        if self.recipe.autoencoder:
            return self.encoder(normalize(images))
        with torch.no_grad():
            return hooks.activations(self.encoder, images, [self.spec.layer])[self.spec.layer]

    def decode(self, codes: Tensor) -> Images:
        """Decode codes to images on the scale [0, 1], not clipped."""
        return generators.to_rgb(self.net(codes), self.spec)

    def perturb(self, codes: Tensor, seed: int) -> Tensor:
        """Perturb codes if the recipe requires it."""
        if not self.recipe.perturbed:
            return codes
        perturbation = perturbations.PERTURBATIONS[PERTURBED[seed % len(PERTURBED)]]
        return perturbation(codes, codes.abs(), seed)

    def _epoch(self, generator: torch.Generator) -> Iterator[float]:
        first = self._first_step()
        self._train(True)
        for step, batch in enumerate(self._batches(generator), first):
            seed = int(torch.randint(2**31, (1,), generator=generator))
            images = augment(batch, generator).clamp(0, 1).to(self.device)
            yield self._step(images, seed, self.rate_at(step))

    def _train(self, on: bool) -> None:
        self.net.train(on)
        self.encoder.train(on and self.recipe.autoencoder)

    def _step(self, images: Images, seed: int, rate: float) -> float:
        images = images.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            loss = self.loss(self.decode(self.perturb(self.encode(images), seed)), images)
        return self._update(self.optimizer, loss, rate)

    def loss(self, decoded: Images, images: Images) -> Tensor:
        """Return the mean squared pixel error, with a quarter of the value range as unit."""
        return functional.mse_loss(decoded * 4, images * 4)

    @torch.no_grad()
    def held_out_error(self) -> float:
        """Return the error on held-out images, relative to the mean distance between two images."""
        self._train(False)
        errors = []
        for seed, (_, batch) in enumerate(self.held_out.batches(32)):
            images = batch.to(self.device)
            decoded = self.decode(self.perturb(self.encode(images), seed)).clamp(0, 1)
            errors.append(image_metrics.distance(decoded, images).cpu())
        everything = self.held_out.batch(range(len(self.held_out)))
        distance = max(image_metrics.mean_pairwise_distance(everything), 1e-6)  # 0 if all are equal
        return float(torch.cat(errors).mean()) / distance

    def evaluate_briefly(self) -> str:
        """Return the error on held-out images."""
        return f"held-out error {self.held_out_error():.3f}"

    def snapshot(self) -> nn.Sequential:
        """Return the decoder, or the autoencoder, with batch normalization folded in."""
        decoder = fold_batch_norm(self.net)
        if not isinstance(self.encoder, nn.Sequential):
            return decoder
        return decoders.join_autoencoder(fold_batch_norm(self.encoder), decoder)

    def measure(self, net: nn.Sequential) -> dict[str, object]:
        """Return the row of the table."""
        return {"held_out_error": round(self.held_out_error(), 4)}

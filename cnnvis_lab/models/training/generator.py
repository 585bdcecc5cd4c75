"""Train the shipped generators with image, feature and adversarial losses, after DeePSiM.

The encoder computes an image's code, the generator maps the code to an image, and three losses
compare that image with the original: in coarse pixels, in the features of a comparator (the
encoder's own deep layers), and by a discriminator (`discriminator`). A code leaves much of an image
undetermined. The minimizer of a loss on exact pixels, or on fine features, is the mean of all
possible images, a blur; so only what the code can determine is compared: the colors of image
regions, deep features, the code itself. The discriminator scores the fine detail.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...core import Images, InputError, hooks
from ...data import ImageSet
from ...data.scenes import HELD_OUT_SEED, SceneSet
from .. import generators, registry
from .batch_norm import add_batch_norm, fold_batch_norm
from .discriminator import Discriminator, discriminator_loss, generator_loss
from .trainer import ResumableTrainer, Subject, TrainingRecipe

ENCODER_STRIDE = 4  # of the encoder's first layer
PLAIN_LAYERS = 4  # the last ones: at full size, batch normalization would take half of the time
HELD_OUT_IMAGES = 128  # for the losses after each epoch


@dataclass(frozen=True)
class GeneratorRecipe(TrainingRecipe):
    """Training recipe of a generator: Adam, mirrored images.

    Attributes:
        generator: key of `generators.SPECS`.
        starts_from: shipped generator whose up-convolutions initialize this one's, or "".
        image: weight of the mean squared error of colors.
        grain: size of the image regions whose mean colors are compared; 1 for every pixel.
        feature: weight of the squared feature error, relative to the features' mean square.
        adversarial: weight of the adversarial loss.
        comparator: the encoder's layers whose features are compared.
        discriminated: the encoder's layers whose features the discriminator reads.
        epochs: number of epochs; a checkpoint is written after each.
        steps_per_epoch: steps of each epoch.
        batch: images per step.
        decay: decay per step of the exponential moving average of the weights, which is exported.

    Source: the three losses and Adam are DeePSiM's; a discriminator that reads a trained network's
    features is from Sauer et al. 2021, the averaging of weights from Karras et al. 2018. Loss
    weights and sizes, the coarse grain and batch normalization in training are this project's,
    chosen for small images and short training.
    """

    generator: str
    starts_from: str = ""
    image: float = 1.0
    grain: int = 4
    feature: float = 1.0
    adversarial: float = 1.0
    comparator: Sequence[str] = ("CL3.relu", "CL5.relu", "FL1.relu")
    discriminated: Sequence[str] = ("CL1.relu", "CL2.relu", "CL3.relu", "CL5.relu")
    _: KW_ONLY
    epochs: int = 90
    steps_per_epoch: int = 100
    batch: int = 16
    decay: float = 0.998


# What a code leaves undetermined must not be compared: the mean of its features draws lattices.
_COMPARATORS = {
    "generator_CL5": ("CL3.relu", "CL5.relu", "FL1.relu"),
    "generator_FL2": ("CL5.relu", "FL1.relu", "FL2.relu"),
    "generator_FL3": ("FL1.relu", "FL2.relu", "FL3"),
}
RECIPES = {"generator_FL1": GeneratorRecipe("generator_FL1")} | {
    name: GeneratorRecipe(name, "generator_FL1", feature=0.5, comparator=layers, epochs=40)
    for name, layers in _COMPARATORS.items()
}
RECIPES["generator_FL1_image_loss"] = GeneratorRecipe(
    "generator_FL1_image_loss", grain=1, feature=0.0, adversarial=0.0, epochs=9
)


class GeneratorTrainer(ResumableTrainer[GeneratorRecipe]):
    """Training run of a generator.

    Args:
        recipe: how it is trained.
        images: the training set; None to draw the recipe's.
        device: torch device.
        subject: layout, encoder and held-out images; None for those of the shipped generator.
    """

    table = generators.TABLE.name

    def __init__(
        self,
        recipe: GeneratorRecipe,
        images: ImageSet | None = None,
        device: str = "cpu",
        subject: Subject | None = None,
    ) -> None:
        self.device = device
        scenes = SceneSet(HELD_OUT_SEED, HELD_OUT_IMAGES)
        self.held_out: ImageSet = subject.held_out if subject else scenes
        self.spec = subject.spec if subject else generators.SPECS[recipe.generator]
        encoder = subject.encoder if subject else registry.load(self.spec.encoder)
        self.encoder = registry.on_device(encoder, device)
        self.encoder.to(memory_format=torch.channels_last)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            net = generators.assemble(self.spec)
            if recipe.starts_from:
                _copy_upconvolutions(net, recipe.starts_from)
            net = registry.on_device(add_batch_norm(net, PLAIN_LAYERS), device)
            discriminator = self._build_discriminator(recipe.discriminated)
            self.discriminator = registry.on_device(discriminator, device)
        with torch.no_grad():  # scale the first layer by the codes' standard deviation
            weight = next(net.parameters())
            some = self._batch(self.held_out, range(min(64, len(self.held_out))))
            weight /= self.encode(some).std().clamp_min(1e-6)
        self.net = net.to(memory_format=torch.channels_last)
        self.discriminator.to(memory_format=torch.channels_last)
        mean = get_ema_multi_avg_fn(recipe.decay)
        self.average = AveragedModel(self.net, multi_avg_fn=mean, use_buffers=True)
        adam = {"betas": (0.0, 0.99), "fused": torch.device(device).type in ("cpu", "cuda")}
        self.optimizer = torch.optim.Adam(self.net.parameters(), **adam)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), **adam)
        parts = {
            "net": self.net,
            "average": self.average,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        super().__init__(recipe, images, parts, device)
        own = {self.spec.encoder: subject.digest} if subject else None
        shipped = filter(None, (self.spec.encoder, recipe.starts_from))
        self.trained_on = own or self._digests(*shipped)

    @torch.no_grad()
    def _build_discriminator(self, layers: Sequence[str]) -> Discriminator:
        """Build the discriminator, fitted to the encoder's features."""
        images = self._batch(self.held_out, range(min(64, len(self.held_out))))
        return Discriminator(hooks.activations(self.encoder, images, layers), self.encode(images))

    def _epoch(self, generator: torch.Generator) -> Iterator[float]:
        first = self._first_step()
        self.net.train()
        for step, batch in enumerate(self._batches(generator), first):
            images = _mirror_half(batch, generator).to(self.device)
            yield self._step(images, self.rate_at(step), generator)

    def _step(self, images: Images, rate: float, generator: torch.Generator) -> float:
        images = images.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            codes = self.encode(images)
            generated = generators.to_rgb(self.net(codes), self.spec).float()
            detached = generated.detach().requires_grad_()
            loss = self.image_loss(detached, images) * self.recipe.image
            if self.recipe.feature or self.recipe.adversarial:
                loss = loss + self._perceptual_loss(detached, images, codes, rate, generator)
        loss.backward()
        self.optimizer.zero_grad()
        generated.backward(detached.grad)
        _optimizer_step(self.optimizer, rate)
        self.average.update_parameters(self.net)
        return loss.item()

    def _perceptual_loss(
        self,
        generated: Images,
        images: Images,
        codes: Tensor,
        rate: float,
        generator: torch.Generator,
    ) -> Tensor:
        """Train the discriminator for one step; return the feature and the adversarial loss."""
        # Shift both images alike by a random offset; otherwise the loss would depend on the
        # position of pixels relative to the first layer's stride.
        shift = torch.randint(ENCODER_STRIDE, (2,), generator=generator).tolist()
        with torch.no_grad():
            wanted = self._features(images.roll(shift, (2, 3)))
        features = self._features(generated.roll(shift, (2, 3)))
        real = self.discriminator(images, wanted, codes)
        detached = {layer: maps.detach() for layer, maps in features.items()}
        fake = self.discriminator(generated.detach(), detached, codes)
        self.discriminator_optimizer.zero_grad()
        discriminator_loss(real, fake).backward()
        _optimizer_step(self.discriminator_optimizer, rate)
        self.discriminator.requires_grad_(False)
        adversarial = generator_loss(self.discriminator(generated, features, codes))
        self.discriminator.requires_grad_(True)
        feature = self.feature_loss(features, wanted)
        return feature * self.recipe.feature + adversarial * self.recipe.adversarial

    def _features(self, images: Images) -> dict[str, Tensor]:
        """Return the encoder's features of smoothed images.

        The encoder is sensitive to fine patterns that no image has, and its gradients draw them;
        so fine detail is left to the discriminator's pixel head.
        """
        layers = dict.fromkeys((*self.recipe.discriminated, *self.recipe.comparator))
        return hooks.activations(self.encoder, _smoothed(images), list(layers))

    @torch.no_grad()
    def encode(self, images: Images) -> Tensor:
        """Return the codes of images."""
        return hooks.activations(self.encoder, images, [self.spec.layer])[self.spec.layer]

    def image_loss(self, generated: Images, images: Images) -> Tensor:
        """Return the squared error of regions' mean colors, with a quarter of the range as unit."""
        coarse, wanted = (
            functional.avg_pool2d(part * 4, self.recipe.grain) for part in (generated, images)
        )
        return functional.mse_loss(coarse, wanted)

    def feature_loss(self, features: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
        """Return the squared error of features over their mean square, averaged over layers."""
        errors = [
            functional.mse_loss(features[layer], wanted[layer]) / wanted[layer].square().mean()
            for layer in self.recipe.comparator
        ]
        return torch.stack(errors).mean()

    @torch.no_grad()
    def held_out_losses(self) -> tuple[float, float]:
        """Return the image and the feature loss on held-out images."""
        net = self.average.module.eval()
        losses = []
        for _, batch in self.held_out.batches(32):
            images = batch.to(self.device)
            generated = generators.to_rgb(net(self.encode(images)), self.spec).clamp(0, 1)
            feature = self.feature_loss(self._features(generated), self._features(images))
            losses.append((self.image_loss(generated, images), feature))
        image, feature = torch.tensor(losses).mean(0).tolist()
        return image, feature

    def evaluate_briefly(self) -> str:
        """Return the losses on held-out images."""
        image, feature = self.held_out_losses()
        return f"held-out image {image:.3f} feature {feature:.3f}"

    def snapshot(self) -> nn.Sequential:
        """Return the generator with averaged weights and batch normalization folded in."""
        return fold_batch_norm(self.average.module)

    def measure(self, net: nn.Sequential) -> dict[str, object]:
        """Return the row of the table."""
        image, feature = self.held_out_losses()
        return {
            "held_out_image_loss": round(image, 4),
            "held_out_feature_loss": round(feature, 4),
        }


def _copy_upconvolutions(net: nn.Sequential, name: str) -> None:
    """Copy the up-convolutions of a shipped generator, which begin with 4x4 maps."""
    if name not in generators.shipped():
        raise InputError(
            f"the recipe starts from {name}, which is missing; first run cnnvis train {name} --ship"
        )
    state = generators.load(name).net.state_dict()
    copied = {k: v for k, v in state.items() if k.startswith("conv")}
    net.load_state_dict(net.state_dict() | copied)


def _smoothed(images: Images) -> Images:
    """Average neighboring pixels with weights 1, 2, 1 in rows and columns."""
    weights = torch.tensor([0.25, 0.5, 0.25], device=images.device)
    kernel = torch.outer(weights, weights).expand(images.shape[1], 1, 3, 3)
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=images.shape[1])


def _mirror_half(images: Images, generator: torch.Generator) -> Images:
    mirror = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirror, images.flip(3), images)


def _optimizer_step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
        nn.utils.clip_grad_norm_(group["params"], 5.0)
    optimizer.step()

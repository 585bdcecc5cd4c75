"""A frozen network with its input size, normalization, layer names, classes and origin."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..core import Float, Images, InputError, features, hooks
from ..data.images import Normalization, Size, height_and_width, resize, to_channels
from . import graph


@dataclass(frozen=True)
class ModelCard:
    """Information about a network besides its weights.

    Attributes:
        name: the name under which it was loaded.
        input_size: size of its square input, or (height, width), in pixels.
        normalization: mean and standard deviation by which inputs in [0, 1] are normalized.
        classes: class names in the order of its outputs.
        origin: source of the weights.
        license: terms of the weights, as far as known.
        accuracy: top-1 accuracy on the held-out images of its dataset, in [0, 1]; None if unknown.
    """

    name: str
    input_size: Size
    normalization: Normalization
    classes: tuple[str, ...]
    origin: str
    license: str
    accuracy: float | None = None


class Model(nn.Module):
    """A frozen network in eval mode that takes images in [0, 1].

    Layers are addressed by torch's dotted names as in the wrapped network, and, in the AlexNet
    family, by the survey's names: CL1..CL5 and FL1..FL3 are the outputs of the convolutions and
    fully connected layers before the ReLU (after batch normalization where the network has it),
    and "CL1.relu" is the output of the ReLU. "logits" is the layer that scores the classes.

    Attributes:
        card: name, input, classes and origin of the network.
        net: the network itself; it takes normalized images.
        roles: the layers that read the image and score the classes.
        mean: mean of the input normalization, per channel.
        std: standard deviation of the input normalization, per channel.
        survey_layers: the survey's layer name -> dotted name in `net`; empty outside the AlexNet
            family.
        layer_aliases: every accepted layer name -> dotted name in this module.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        card: ModelCard,
        survey_layers: dict[str, str] | None = None,
        roles: graph.Roles | None = None,
    ) -> None:
        super().__init__()
        self.net = freeze(net)
        self.card = card
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in card.normalization)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.survey_layers = dict(survey_layers or {})
        names = {name: name for name, _ in net.named_modules() if name}
        self.roles = roles or graph.roles_by_definition(net, len(mean), len(card.classes))
        names |= self.survey_layers | {"logits": self.roles.class_layer}
        self.layer_aliases = {
            alias: f"net.{name}" if name else "net" for alias, name in names.items()
        }

    @property
    def device(self) -> torch.device:
        """Torch device of the network."""
        return self.mean.device

    @property
    def channels(self) -> int:
        """Number of channels of the images that the network takes."""
        return len(self.mean)

    def normalize(self, images: Float[Tensor, "... c h w"]) -> Float[Tensor, "... d h w"]:
        """Normalize images in [0, 1] to the input of `net`.

        A network of one channel also takes RGB images, of which it sees the gray values, and a
        network of three channels takes gray images.

        Raises:
            InputError: the images have another number of channels.
        """
        if images.shape[-3] != self.channels:
            images = to_channels(images, self.channels)
        return (images - self.mean) / self.std

    def resize(self, images: Float[Tensor, "... c h w"]) -> Float[Tensor, "... d y x"]:
        """Return images in the size and with the channels that the network takes.

        Raises:
            InputError: see `normalize`.
        """
        return to_channels(resize(images, self.card.input_size), self.channels)

    def forward(self, images: Images) -> Tensor:
        """Score the classes of images in [0, 1]."""
        return self.net(self.normalize(images))

    def kernels(self) -> Float[Tensor, "units c kh kw"]:
        """Return the weights of the first convolution, scaled to act on images in [0, 1].

        With groups, they are zero in the channels that a unit does not see.
        """
        conv = self._first_conv()[1]
        kernels = conv.weight
        if conv.groups > 1:
            units, seen = len(kernels) // conv.groups, kernels.shape[1]
            kernels = kernels.new_zeros(len(kernels), conv.in_channels, *kernels.shape[2:])
            for group in range(conv.groups):
                rows = slice(group * units, (group + 1) * units)
                kernels[rows, group * seen : (group + 1) * seen] = conv.weight[rows]
        return kernels / self.std

    def first_conv(self) -> str:
        """Return the dotted name of the convolution that reads the image.

        Raises:
            InputError: no convolution reads the image.
        """
        return self._first_conv()[0]

    def _first_conv(self) -> tuple[str, nn.Conv2d]:
        name = self.roles.first_conv
        module = self.net.get_submodule(name)
        if isinstance(module, nn.Conv2d):
            return name, module
        kind = "RGB images" if self.channels == 3 else f"images of {self.channels} channels"
        raise InputError(f"{self.card.name} has no convolution over {kind}")

    def default_layers(self) -> dict[str, str]:
        """Return label -> layer for the layers that are shown by default, from first to last.

        In the AlexNet family these are CL1..CL5 and FL1..FL3. In any other network they are the
        first convolution, up to five more stages spread over the depth, and the class layer, each
        under its own name.
        """
        if self.survey_layers:
            return {layer: layer for layer in self.survey_layers if "." not in layer}
        scoring = self.layer_aliases["logits"]
        blocks = graph.conv_blocks(self.net, self.roles.order)
        stages = [n for n in blocks if self.layer_aliases[n] != scoring]
        steps = [round(i * (len(stages) - 1) / 5) for i in range(6 if stages else 0)]
        return {stages[i]: stages[i] for i in dict.fromkeys(steps)} | {"logits": "logits"}

    def conv_layers(self) -> list[str]:
        """Return the default layers without fully connected ones and class scores."""
        dense = {name for name in self.survey_layers if name.startswith("FL")}
        return [name for name in self.default_layers() if name not in dense | {"logits"}]

    def after_relu(self, layer: str) -> str:
        """Return the survey's name of a layer after its ReLU; `layer` itself if there is none."""
        after = f"{layer}.relu"
        return after if after in self.survey_layers else layer

    def unit_class(self, layer: str, unit: int) -> str:
        """Return the class that a unit scores; empty for other units.

        Args:
            layer: dotted name or alias.
            unit: index of the unit.
        """
        is_score = hooks.resolve(self, layer) == self.layer_aliases["logits"]
        return self.card.classes[unit] if is_score and unit < len(self.card.classes) else ""

    @torch.no_grad()
    def layer_shapes(
        self, layers: Sequence[str], size: Size | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Return the shape of each layer's output for one image, without the batch dimension.

        Args:
            layers: dotted names or aliases.
            size: size of a square image, or (height, width), in pixels; None for the network's
                input size.

        Returns:
            Layer -> (units, height, width), or (units,) of a fully connected layer.
        """
        blank = features.blank_image(self, size or self.card.input_size, 0.5)
        outputs = hooks.activations(self, blank, layers)
        return {layer: tuple(output.shape[1:]) for layer, output in outputs.items()}

    def is_sequential_from(self, layer: str) -> bool:
        """Return whether everything after a layer depends on its output only.

        Args:
            layer: dotted name or alias.
        """
        name = hooks.resolve(self, layer)
        return graph.is_sequential_from(self.net, name.removeprefix("net").removeprefix("."))

    @cached_property
    def units_last(self) -> frozenset[str]:
        """Layers with units on the last axis of their maps, as in Swin transformers and ConvNeXt.

        Their outputs are shown as (units, height, width) like those of all other layers.
        """
        found = graph.units_last(self.net, self.channels, height_and_width(self.card.input_size))
        return frozenset(f"net.{name}" for name in found)

    def trace_calls(self) -> graph.CallTrace:
        """Run the network on an image of noise and record what each module read and returned."""
        size, generator = self.card.input_size, torch.Generator().manual_seed(0)
        shape = (1, self.channels, *height_and_width(size))
        noise = torch.rand(shape, generator=generator).to(self.device)
        return graph.trace_calls(self.net, self.normalize(noise))


def freeze(net: nn.Module) -> nn.Module:
    """Set eval mode; disable weight gradients, and in-place operations, which would alter outputs.

    Returns:
        The same network.
    """
    return keep_inputs(net).eval().requires_grad_(False)


def keep_inputs(net: nn.Module) -> nn.Module:
    """Disable operations in place, which would alter outputs of layers.

    Returns:
        The same network.
    """
    for module in net.modules():
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010 - only some modules have it
    return net

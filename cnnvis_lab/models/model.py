"""A frozen network that knows its input, its layers and its origin."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core import Float, Images, InputError
from ..data import images


@dataclass(frozen=True)
class ModelCard:
    """What is known of a network besides its weights.

    Attributes:
        name: the name it was loaded by.
        input_size: side of the square pictures it takes, in pixels.
        normalization: mean and deviation its inputs are normalised with, RGB in [0, 1].
        classes: class names in the order of its outputs.
        origin: where the weights come from.
        license: their terms, as far as known.
        accuracy: top-1 on the held-out pictures of its data set, in [0, 1]; None where unknown.
    """

    name: str
    input_size: int
    normalization: images.Normalization
    classes: tuple[str, ...]
    origin: str
    license: str
    accuracy: float | None = None


class Model(nn.Module):
    """A frozen network in eval mode that takes images in [0, 1].

    Layers are addressed by torch's dotted names as in the wrapped network, by the survey's names
    where the network is of the AlexNet family (CL1..CL5 and FL1..FL3 are the outputs of the
    convolutions and full layers, batch-normalised where the network does that, before the ReLU;
    "CL1.relu" is after it), and "logits" is the layer that scores the classes.

    Attributes:
        card: what is known of it.
        net: the network itself; normalised input.
        layer_aliases: every accepted layer word -> its name below this module.
    """

    def __init__(
        self, net: nn.Module, card: ModelCard, survey_layers: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self.net = freeze(net)
        self.card = card
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in card.normalization)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.survey_layers = dict(survey_layers or {})
        names = {name: name for name, _ in net.named_modules() if name}
        known = names | self.survey_layers | {"logits": _class_layer(net, len(card.classes))}
        self.layer_aliases = {
            word: f"net.{name}" if name else "net" for word, name in known.items()
        }

    def forward(self, images: Images) -> Tensor:
        """Score the classes of images in [0, 1]."""
        return self.net((images - self.mean) / self.std)

    def kernels(self) -> Float[Tensor, "units 3 kh kw"]:
        """Weights of the first convolution, as they act on images in [0, 1]."""
        return self.net.get_submodule(self.first_conv()).weight / self.std

    def first_conv(self) -> str:
        """Dotted name of the convolution that reads the picture."""
        for name, module in self.net.named_modules():
            if isinstance(module, nn.Conv2d) and module.in_channels == 3:
                return name
        raise InputError(f"{self.card.name} has no convolution over RGB pictures")

    def default_layers(self) -> dict[str, str]:
        """Label -> layer, from the first layer to the classes, as the survey's figures walk.

        The AlexNet family gives CL1..CL5, FL1..FL3; any other network its first convolution, five
        more of its stages spread over its depth, and its class layer, each under its own name.
        """
        if self.survey_layers:
            return {word: word for word in self.survey_layers if "." not in word}
        scoring = self.layer_aliases["logits"]
        stages = [name for name in _stages(self.net) if self.layer_aliases[name] != scoring]
        steps = [round(i * (len(stages) - 1) / 5) for i in range(6 if stages else 0)]
        return {stages[i]: stages[i] for i in dict.fromkeys(steps)} | {"logits": "logits"}

    def after_relu(self, layer: str) -> str:
        """Return the survey's name of a layer after its ReLU; the layer's own where it has none."""
        after = f"{layer}.relu"
        return after if after in self.survey_layers else layer


def freeze(net: nn.Module) -> nn.Module:
    """Eval mode, no gradients for weights, nothing in place (hooks keep outputs)."""
    for module in net.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    return net.eval().requires_grad_(False)


def _class_layer(net: nn.Module, classes: int) -> str:
    scoring = [
        name
        for name, module in net.named_modules()
        if getattr(module, "out_features", getattr(module, "out_channels", None)) == classes
    ]
    return scoring[-1] if scoring else ""


def _stages(net: nn.Module, prefix: str = "") -> list[str]:
    """Modules with convolutions, looking only inside containers, in the order of definition."""
    found = []
    for name, child in net.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            found += _stages(child, f"{prefix}{name}.")
        elif any(isinstance(module, nn.Conv2d) for module in child.modules()):
            found.append(prefix + name)
    return found

"""From a name to a frozen network that knows its input, its layers and where it comes from."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from ..core.errors import FileProblem, InputError, not_found
from ..core.shapes import Float, Images
from ..data.images import IMAGENET, Normalization
from . import nets
from .weights_file import fit, is_narrowed, narrow, read_state

WEIGHTS = Path(__file__).parent / "weights"
MINI_NORMALIZATION = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
_TORCHVISION_ALEXNET = {
    **{f"CL{i}": f"features.{n}" for i, n in enumerate((0, 3, 6, 8, 10), 1)},
    **{f"CL{i}.relu": f"features.{n}" for i, n in enumerate((1, 4, 7, 9, 11), 1)},
    **{f"FL{i}": f"classifier.{n}" for i, n in enumerate((1, 4, 6), 1)},
    **{f"FL{i}.relu": f"classifier.{n}" for i, n in enumerate((2, 5), 1)},
}
_OWN_FAMILY = {
    **{f"CL{i}": f"conv{i}" for i in range(1, 6)},
    **{f"CL{i}.relu": f"relu{i}" for i in range(1, 6)},
    **{f"FL{i}": f"fc{i + 5}" for i in range(1, 4)},
    **{f"FL{i}.relu": f"relu{i + 5}" for i in range(1, 3)},
}
# The ReLU reads what was normalised.
_OWN_FAMILY_NORMALISED = {
    **_OWN_FAMILY,
    **{f"CL{i}": f"bn{i}" for i in range(1, 6)},
    **{f"FL{i}": f"bn{i + 5}" for i in range(1, 3)},
}
# Built like this they take the same input as their published weights, and warn of nothing.
_INCEPTION = {"transform_input": True, "init_weights": False, "aux_logits": False}
_EXTRA = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION, "vit_h_14": {"image_size": 518}}


@dataclass(frozen=True)
class Card:
    """What is known of a network besides its weights.

    Attributes:
        name: the name it was loaded by.
        input_size: side of the square pictures it takes, in pixels.
        normalization: mean and deviation its inputs are normalised with, RGB in [0, 1].
        classes: class names in the order of its outputs.
        origin: where the weights come from.
        licence: their terms, as far as known.
        accuracy: top-1 on the held-out pictures of its data set, in [0, 1]; None where unknown.
    """

    name: str
    input_size: int
    normalization: Normalization
    classes: tuple[str, ...]
    origin: str
    licence: str
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

    def __init__(self, net: nn.Module, card: Card, survey: dict[str, str] | None = None) -> None:
        super().__init__()
        self.net = _frozen(net)
        self.card = card
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in card.normalization)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.survey = dict(survey or {})
        names = {name: name for name, _ in net.named_modules() if name}
        known = names | self.survey | {"logits": _class_layer(net, len(card.classes))}
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

    def tour(self) -> dict[str, str]:
        """Label -> layer, from the first layer to the classes, as the survey's figures walk.

        The AlexNet family gives CL1..CL5, FL1..FL3; any other network its first convolution, five
        more of its stages spread over its depth, and its class layer, each under its own name.
        """
        if self.survey:
            return {word: word for word in self.survey if "." not in word}
        scoring = self.layer_aliases["logits"]
        stages = [name for name in _stages(self.net) if self.layer_aliases[name] != scoring]
        steps = [round(i * (len(stages) - 1) / 5) for i in range(6 if stages else 0)]
        return {stages[i]: stages[i] for i in dict.fromkeys(steps)} | {"logits": "logits"}

    def after_relu(self, layer: str) -> str:
        """Return the survey's name of a layer after its ReLU; the layer's own where it has none."""
        after = f"{layer}.relu"
        return after if after in self.survey else layer


def _frozen(net: nn.Module) -> nn.Module:
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


def shipped() -> dict[str, dict]:
    """Return the table of shipped networks: name -> family, accuracy, seed, recipe, hash."""
    return json.loads((WEIGHTS / "table.json").read_text())


def names() -> list[str]:
    """Every name `load` accepts: shipped networks, full-size families, torchvision classifiers."""
    own = dict.fromkeys([*shipped(), *nets.SPECS])
    return [*own, *torchvision.models.list_models(torchvision.models)]


def load(
    source: str | nn.Module,
    *,
    weights: str | Path = "",
    input_size: int | None = None,
    normalization: Normalization | None = None,
    classes: tuple[str, ...] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Model:
    """Load a network, frozen and ready to be looked into.

    Args:
        source: a shipped name, a full-size family, any torchvision classifier, or your own module
            that maps (n, 3, h, w) to class scores.
        weights: a weights file (safetensors or a torch state dict); "download" for torchvision's
            own weights; "random" for a fresh network; empty for shipped networks and own modules
            that already carry their weights.
        input_size: side of its square input in pixels; needed for own modules.
        normalization: mean and deviation of its inputs; own modules default to ImageNet's.
        classes: names of its outputs, where they are not known.
        device: torch device, such as "cpu" or "cuda".
        seed: seeds "random" weights.

    Raises:
        NameNotFound: no network of that name; suggests near ones.
        InputError: weights that do not fit, or needed and not given; class names of another
            number than its outputs; a device that is not there.
        FileProblem: a weights file that is missing, damaged or holds code.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if isinstance(source, nn.Module):
            model = _own_module(source, weights, input_size)
        elif source in shipped():
            model = _shipped(source, weights)
        elif source in nets.SPECS:
            model = _family(source, weights, classes)
        elif source in torchvision.models.list_models(torchvision.models):
            model = _torchvision(source, weights)
        else:
            raise not_found("network", str(source), names())
    model = _adjusted(model, input_size, normalization, classes)
    try:
        return model.to(torch.device(device))
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used here ({reason}); try 'cpu'") from None


def _adjusted(
    model: Model,
    input_size: int | None,
    normalization: Normalization | None,
    classes: tuple[str, ...] | None,
) -> Model:
    """Let the caller's own facts override what is known."""
    card = model.card
    words = tuple(classes or card.classes)
    if len(words) != len(card.classes):
        raise InputError(
            f"{len(words)} class names for the {len(card.classes)} outputs of {card.name}"
        )
    new = replace(
        card,
        input_size=input_size or card.input_size,
        normalization=normalization or card.normalization,
        classes=words,
    )
    return model if new == card else Model(model.net, new, model.survey)


def _fill(net: nn.Module, weights: str | Path, name: str) -> str:
    """Put the weights asked for into a freshly built network; return their origin."""
    if weights == "random":
        return "random weights"
    if not weights:
        raise InputError(
            f"{name} comes without weights here; give weights=FILE, or weights='random' "
            "(--weights on the command line, WEIGHTS in a notebook)"
        )
    state = read_state(weights)
    if is_narrowed(weights):
        narrow(net, state)
    fit(net, state, Path(weights).name)
    return f"weights file {Path(weights).name}"


def _shipped(name: str, weights: str | Path) -> Model:
    row = shipped()[name]
    net = nets.build(row["family"], len(row["classes"]), **row["options"])
    own = not weights
    origin = _fill(net, weights or WEIGHTS / f"{name}.safetensors", name)
    card = Card(
        name,
        nets.SPECS[row["family"]].input_size,
        MINI_NORMALIZATION,
        tuple(row["classes"]),
        "trained by this project on its picture world" if own else origin,
        "as this project" if own else "unknown",
        row["accuracy"] if own else None,
    )
    batch_norm = row["options"].get("batch_norm", False)
    return Model(net, card, survey_names(row["family"], batch_norm=batch_norm))


def survey_names(family: str, *, batch_norm: bool = False) -> dict[str, str] | None:
    """Return survey name -> module name for a family of AlexNet's kind, None for others."""
    if not isinstance(nets.SPECS[family], nets.NetSpec):
        return None
    return _OWN_FAMILY_NORMALISED if batch_norm else _OWN_FAMILY


def _family(name: str, weights: str | Path, classes: tuple[str, ...] | None) -> Model:
    words = tuple(classes) if classes else _imagenet_classes()
    net = nets.build(name, len(words))
    origin = _fill(net, weights, name)
    size = nets.SPECS[name].input_size
    return Model(net, Card(name, size, IMAGENET, words, origin, "unknown"), survey_names(name))


def _imagenet_classes() -> tuple[str, ...]:
    return tuple(torchvision.models.get_model_weights("alexnet").DEFAULT.meta["categories"])


def _torchvision(name: str, weights: str | Path) -> Model:
    builder = torchvision.models.get_model_builder(name)
    published = torchvision.models.get_model_weights(name).DEFAULT
    net = builder(weights=None, **_EXTRA.get(name, {}))
    if weights == "download":
        fit(net, _downloaded(published, name), name)
        origin = published.url
    else:
        origin = _fill(net, weights, name)
    preset = published.transforms()
    card = Card(
        name,
        preset.crop_size[0],
        Normalization(tuple(preset.mean), tuple(preset.std)),
        tuple(published.meta["categories"]),
        origin,
        "as torchvision states for its weights" if weights == "download" else "unknown",
    )
    return Model(net, card, _TORCHVISION_ALEXNET if name == "alexnet" else None)


def _downloaded(published: object, name: str) -> dict[str, Tensor]:
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no connection, or not the file that was published
        raise FileProblem(
            f"the weights of {name} could not be downloaded ({error}); give weights=FILE instead"
        ) from None


def _own_module(net: nn.Module, weights: str | Path, input_size: int | None) -> Model:
    name = type(net).__name__
    if not input_size:
        raise InputError(f"{name} is your own module: say input_size=PIXELS, the side of its input")
    origin = "given in memory"
    if weights:
        origin = _fill(net, weights, name)
    try:
        scores = _frozen(net)(torch.zeros(1, 3, input_size, input_size))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} takes no {input_size}x{input_size} picture ({reason})") from None
    if not isinstance(scores, Tensor) or scores.ndim < 2:
        raise InputError(f"{name} must map (n, 3, h, w) to one tensor of class scores (n, classes)")
    words = tuple(f"class {index}" for index in range(scores.shape[1]))
    return Model(net, Card(name, input_size, IMAGENET, words, origin, "unknown"))

"""From a name to a frozen network that knows its input, its layers and where it comes from."""

import json
from dataclasses import replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from ..core import FileError, InputError, not_found
from ..data import images
from . import architectures
from .model import Model, ModelCard, freeze
from .weights import is_pruned, load_into, read_state, resize_to

WEIGHTS = Path(__file__).parent / "weights"
MINI_NORMALIZATION = images.Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
_TORCHVISION_ALEXNET = {
    **{f"CL{i}": f"features.{n}" for i, n in enumerate((0, 3, 6, 8, 10), 1)},
    **{f"CL{i}.relu": f"features.{n}" for i, n in enumerate((1, 4, 7, 9, 11), 1)},
    **{f"FL{i}": f"classifier.{n}" for i, n in enumerate((1, 4, 6), 1)},
    **{f"FL{i}.relu": f"classifier.{n}" for i, n in enumerate((2, 5), 1)},
}
_SURVEY_LAYERS = {
    **{f"CL{i}": f"conv{i}" for i in range(1, 6)},
    **{f"CL{i}.relu": f"relu{i}" for i in range(1, 6)},
    **{f"FL{i}": f"fc{i + 5}" for i in range(1, 4)},
    **{f"FL{i}.relu": f"relu{i + 5}" for i in range(1, 3)},
}
# The ReLU reads what was normalised.
_SURVEY_LAYERS_BATCH_NORM = {
    **_SURVEY_LAYERS,
    **{f"CL{i}": f"bn{i}" for i in range(1, 6)},
    **{f"FL{i}": f"bn{i + 5}" for i in range(1, 3)},
}
# Built like this they take the same input as their published weights, and warn of nothing.
_INCEPTION = {"transform_input": True, "init_weights": False, "aux_logits": False}
_BUILDER_OPTIONS = {
    "googlenet": _INCEPTION,
    "inception_v3": _INCEPTION,
    "vit_h_14": {"image_size": 518},
}


def shipped() -> dict[str, dict]:
    """Return the table of shipped networks: name -> family, accuracy, seed, recipe, hash."""
    return json.loads((WEIGHTS / "table.json").read_text())


def names() -> list[str]:
    """Every name `load` accepts: shipped networks, full-size families, torchvision classifiers."""
    own = dict.fromkeys([*shipped(), *architectures.SPECS])
    return [*own, *torchvision.models.list_models(torchvision.models)]


def load(
    source: str | nn.Module,
    *,
    weights: str | Path = "",
    input_size: int | None = None,
    normalization: images.Normalization | None = None,
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
            model = _wrap_module(source, weights, input_size)
        elif source in shipped():
            model = _load_shipped(source, weights)
        elif source in architectures.SPECS:
            model = _load_family(source, weights, classes)
        elif source in torchvision.models.list_models(torchvision.models):
            model = _load_torchvision(source, weights)
        else:
            raise not_found("network", str(source), names())
    model = _with_overrides(model, input_size, normalization, classes)
    try:
        return model.to(torch.device(device))
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used here ({reason}); try 'cpu'") from None


def _with_overrides(
    model: Model,
    input_size: int | None,
    normalization: images.Normalization | None,
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
    return model if new == card else Model(model.net, new, model.survey_layers)


def _load_weights(net: nn.Module, weights: str | Path, name: str) -> str:
    """Put the weights asked for into a freshly built network; return their origin."""
    if weights == "random":
        return "random weights"
    if not weights:
        raise InputError(
            f"{name} comes without weights here; give weights=FILE, or weights='random' "
            "(--weights on the command line, WEIGHTS in a notebook)"
        )
    state = read_state(weights)
    if is_pruned(weights):
        resize_to(net, state)
    load_into(net, state, Path(weights).name)
    return f"weights file {Path(weights).name}"


def _load_shipped(name: str, weights: str | Path) -> Model:
    row = shipped()[name]
    net = architectures.build(row["family"], len(row["classes"]), **row["options"])
    own = not weights
    origin = _load_weights(net, weights or WEIGHTS / f"{name}.safetensors", name)
    card = ModelCard(
        name,
        architectures.SPECS[row["family"]].input_size,
        MINI_NORMALIZATION,
        tuple(row["classes"]),
        "trained by this project on its picture world" if own else origin,
        "as this project" if own else "unknown",
        row["accuracy"] if own else None,
    )
    batch_norm = row["options"].get("batch_norm", False)
    return Model(net, card, survey_layers(row["family"], batch_norm=batch_norm))


def survey_layers(family: str, *, batch_norm: bool = False) -> dict[str, str] | None:
    """Return survey name -> module name for a family of AlexNet's kind, None for others."""
    if not isinstance(architectures.SPECS[family], architectures.NetSpec):
        return None
    return _SURVEY_LAYERS_BATCH_NORM if batch_norm else _SURVEY_LAYERS


def _load_family(name: str, weights: str | Path, classes: tuple[str, ...] | None) -> Model:
    words = tuple(classes) if classes else _imagenet_classes()
    net = architectures.build(name, len(words))
    origin = _load_weights(net, weights, name)
    size = architectures.SPECS[name].input_size
    return Model(
        net, ModelCard(name, size, images.IMAGENET, words, origin, "unknown"), survey_layers(name)
    )


def _imagenet_classes() -> tuple[str, ...]:
    return tuple(torchvision.models.get_model_weights("alexnet").DEFAULT.meta["categories"])


def _load_torchvision(name: str, weights: str | Path) -> Model:
    builder = torchvision.models.get_model_builder(name)
    published = torchvision.models.get_model_weights(name).DEFAULT
    net = builder(weights=None, **_BUILDER_OPTIONS.get(name, {}))
    if weights == "download":
        load_into(net, _download(published, name), name)
        origin = published.url
    else:
        origin = _load_weights(net, weights, name)
    preset = published.transforms()
    card = ModelCard(
        name,
        preset.crop_size[0],
        images.Normalization(tuple(preset.mean), tuple(preset.std)),
        tuple(published.meta["categories"]),
        origin,
        "as torchvision states for its weights" if weights == "download" else "unknown",
    )
    return Model(net, card, _TORCHVISION_ALEXNET if name == "alexnet" else None)


def _download(published: object, name: str) -> dict[str, Tensor]:
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no connection, or not the file that was published
        raise FileError(
            f"the weights of {name} could not be downloaded ({error}); give weights=FILE instead"
        ) from None


def _wrap_module(net: nn.Module, weights: str | Path, input_size: int | None) -> Model:
    name = type(net).__name__
    if not input_size:
        raise InputError(f"{name} is your own module: say input_size=PIXELS, the side of its input")
    origin = "given in memory"
    if weights:
        origin = _load_weights(net, weights, name)
    try:
        scores = freeze(net)(torch.zeros(1, 3, input_size, input_size))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} takes no {input_size}x{input_size} picture ({reason})") from None
    if not isinstance(scores, Tensor) or scores.ndim < 2:
        raise InputError(f"{name} must map (n, 3, h, w) to one tensor of class scores (n, classes)")
    words = tuple(f"class {index}" for index in range(scores.shape[1]))
    return Model(net, ModelCard(name, input_size, images.IMAGENET, words, origin, "unknown"))

"""Load networks: shipped ones, full-size families and torchvision's by name, and your own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from ..core import FileError, InputError, files, not_found
from ..data.images import IMAGENET, Normalization, height_and_width
from . import architectures, graph
from .model import Model, ModelCard, freeze
from .weights import is_pruned, load_into, read_state, resize_head, resize_to

ModuleT = TypeVar("ModuleT", bound=nn.Module)
WEIGHTS = Path(__file__).parent / "weights"
MINI_NORMALIZATION = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
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
# With batch normalization, a layer's output is that of the normalization, which the ReLU reads.
_SURVEY_LAYERS_BATCH_NORM = {
    **_SURVEY_LAYERS,
    **{f"CL{i}": f"bn{i}" for i in range(1, 6)},
    **{f"FL{i}": f"bn{i + 5}" for i in range(1, 3)},
}
# With these options the networks take the input of their published weights, and give no warnings.
_INCEPTION = {"transform_input": True, "init_weights": False, "aux_logits": False}
_BUILDER_OPTIONS = {
    "googlenet": _INCEPTION,
    "inception_v3": _INCEPTION,
    "vit_h_14": {"image_size": 518},
}


def shipped() -> dict[str, dict]:
    """Return the table of shipped networks: name -> family, accuracy, seed, recipe, hash."""
    table = WEIGHTS / "table.json"
    files.record_input(table)
    return json.loads(table.read_text())


def names() -> list[str]:
    """Return every name that `load` accepts: shipped, full-size families, torchvision's."""
    ours = dict.fromkeys([*shipped(), *architectures.SPECS])
    return [*ours, *torchvision.models.list_models(torchvision.models)]


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
    """Load a network, frozen and ready for visualization.

    Args:
        source: a shipped name, a full-size family, any torchvision classifier, or your own module
            that maps (n, 3, h, w) to class scores.
        weights: a weights file (safetensors or a torch state dict); "download" for torchvision's
            own weights; "random" for random weights; empty for shipped networks and for own modules
            that already have their weights.
        input_size: height and width of the square input, in pixels; required for own modules.
        normalization: mean and standard deviation of the inputs; ImageNet's for own modules.
        classes: names of the outputs; None for the known ones.
        device: torch device, such as "cpu" or "cuda".
        seed: seed of "random" weights.

    Raises:
        NameNotFound: no network has that name; the message suggests similar names.
        InputError: the weights do not fit, or are required and not given; the number of class names
            differs from that of the outputs; the device does not exist.
        FileError: the weights file is missing, damaged or contains code.
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
            raise not_found("network", source, names())
    model = _with_overrides(model, input_size, normalization, classes)
    if isinstance(source, str) and is_pruned(weights):
        _check_first_pass(model, Path(weights).name)
    return on_device(model, device)


def _check_first_pass(model: Model, file: str) -> None:
    """Run a narrowed network once; raise InputError if its layers do not fit each other."""
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, *height_and_width(model.card.input_size)))
    except Exception as error:  # any kind: it is the file that decides what is computed
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{file}: its layers do not fit each other ({reason}); export the pruned network again"
        ) from None


def on_device(module: ModuleT, device: str) -> ModuleT:
    """Move a module to a torch device.

    Raises:
        InputError: the device does not exist.
    """
    try:
        return module.to(torch.device(device))
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used here ({reason}); try 'cpu'") from None


def _with_overrides(
    model: Model,
    input_size: int | None,
    normalization: Normalization | None,
    classes: tuple[str, ...] | None,
) -> Model:
    """Return the model with the properties that the caller gave."""
    card = model.card
    class_names = tuple(classes or card.classes)
    if len(class_names) != len(card.classes):
        raise InputError(
            f"{len(class_names)} class names for the {len(card.classes)} outputs of {card.name}"
        )
    new = replace(
        card,
        input_size=input_size or card.input_size,
        normalization=normalization or card.normalization,
        classes=class_names,
    )
    return model if new == card else Model(model.net, new, model.survey_layers)


def _load_weights(net: nn.Module, weights: str | Path, name: str, head: str = "") -> str:
    """Load the requested weights into a newly built network; return their origin.

    A file of a network that was fine-tuned to another number of classes changes the layer `head`.
    """
    if weights == "random":
        return "random weights"
    if not weights:
        raise InputError(
            f"no weights are shipped for {name}; give weights=FILE, or weights='random' "
            "(--weights on the command line, WEIGHTS in a notebook)"
        )
    state = read_state(weights, net.state_dict())
    if is_pruned(weights):
        resize_to(net, state)
    else:
        resize_head(net, state, head)
    load_into(net, state, Path(weights).name)
    return f"weights file {Path(weights).name}"


def _load_shipped(name: str, weights: str | Path) -> Model:
    row = shipped()[name]
    net = architectures.build(row["family"], len(row["classes"]), **row["options"])
    is_shipped = not weights
    origin = _load_weights(net, weights or WEIGHTS / f"{name}.safetensors", name)
    card = ModelCard(
        name,
        architectures.SPECS[row["family"]].input_size,
        MINI_NORMALIZATION,
        tuple(row["classes"]),
        "trained by this project on its synthetic scenes" if is_shipped else origin,
        "not stated" if is_shipped else "unknown",
        row["accuracy"] if is_shipped else None,
    )
    batch_norm = row["options"].get("batch_norm", False)
    return Model(net, card, survey_layers(row["family"], batch_norm=batch_norm))


def survey_layers(family: str, *, batch_norm: bool = False) -> dict[str, str] | None:
    """Return the survey's layer name -> module name; None outside the AlexNet family."""
    if not isinstance(architectures.SPECS[family], architectures.NetSpec):
        return None
    return _SURVEY_LAYERS_BATCH_NORM if batch_norm else _SURVEY_LAYERS


def _load_family(name: str, weights: str | Path, classes: tuple[str, ...] | None) -> Model:
    class_names = tuple(classes) if classes else _imagenet_classes()
    net = architectures.build(name, len(class_names))
    head = graph.class_layer(net, len(class_names))
    origin = _load_weights(net, weights, name, head)
    class_names = _names_of_outputs(net, head, class_names)
    size = architectures.SPECS[name].input_size
    return Model(
        net, ModelCard(name, size, IMAGENET, class_names, origin, "unknown"), survey_layers(name)
    )


def _names_of_outputs(net: nn.Module, head: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names, or numbered ones if a weights file has another number of classes."""
    outputs = len(net.get_parameter(f"{head}.weight")) if head else len(names)
    return names if outputs == len(names) else tuple(f"class {n}" for n in range(outputs))


def _imagenet_classes() -> tuple[str, ...]:
    return tuple(_published("alexnet").meta["categories"])


def _published(name: str) -> WeightsEnum:
    """Return torchvision's own weights of a network."""
    return torchvision.models.get_model_weights(name)["DEFAULT"]


def _load_torchvision(name: str, weights: str | Path) -> Model:
    builder = torchvision.models.get_model_builder(name)
    published = _published(name)
    net = builder(weights=None, **_BUILDER_OPTIONS.get(name, {}))
    categories = tuple(published.meta["categories"])
    head = graph.class_layer(net, len(categories))
    if weights == "download":
        load_into(net, _download(published, name), name)
        origin = published.url
    else:
        origin = _load_weights(net, weights, name, head)
    preset = published.transforms()
    card = ModelCard(
        name,
        preset.crop_size[0],
        Normalization(tuple(preset.mean), tuple(preset.std)),
        _names_of_outputs(net, head, categories),
        origin,
        "as torchvision states for its weights" if weights == "download" else "unknown",
    )
    return Model(net, card, _TORCHVISION_ALEXNET if name == "alexnet" else None)


def _download(published: WeightsEnum, name: str) -> dict[str, Tensor]:
    try:
        return published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no connection, or a file with another hash
        raise FileError(
            f"the weights of {name} could not be downloaded ({error}); give weights=FILE instead"
        ) from None


def _wrap_module(net: nn.Module, weights: str | Path, input_size: int | None) -> Model:
    name = type(net).__name__
    if not input_size:
        raise InputError(
            f"{name} is your own module: give input_size=PIXELS, the size of its square input"
        )
    origin = "given in memory"
    if weights:
        origin = _load_weights(net, weights, name)
    try:
        scores = freeze(net)(torch.zeros(1, 3, input_size, input_size))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name} takes no {input_size}x{input_size} image ({reason})") from None
    if not isinstance(scores, Tensor) or scores.ndim < 2:
        raise InputError(f"{name} must map (n, 3, h, w) to one tensor of class scores (n, classes)")
    class_names = tuple(f"class {index}" for index in range(scores.shape[1]))
    return Model(net, ModelCard(name, input_size, IMAGENET, class_names, origin, "unknown"))

"""Load networks: shipped ones, full-size families and torchvision's by name, and your own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..core import InputError, features, not_found
from ..data.images import IMAGENET, Normalization, Size, height_and_width
from . import architectures, graph, own, sources
from .model import Model, ModelCard
from .weights import (
    is_pruned,
    load_into,
    read_state,
    read_table,
    resize_head,
    resize_input,
    resize_to,
)

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
    return read_table(WEIGHTS / "table.json")


def names() -> list[str]:
    """Return every name that `load` accepts: shipped, full-size families, torchvision's."""
    ours = dict.fromkeys([*shipped(), *architectures.SPECS])
    return [*ours, *sources.torchvision_names()]


def load(
    source: str | nn.Module,
    *,
    weights: str | Path = "",
    input_size: Size | None = None,
    channels: int | None = None,
    normalization: Normalization | None = None,
    classes: Sequence[str] | Path | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Model:
    """Load a network, frozen and ready for visualization.

    Args:
        source: a shipped name, a full-size family, any torchvision classifier, or "timm:NAME"
            where timm is installed; your own module that maps (n, channels, h, w) to class scores,
            of which a copy is used; or "file.py:factory" or "package.module:factory", which runs
            that code of yours to build one.
        weights: a weights file (safetensors or a torch state dict); "download" for torchvision's
            own weights; "random" for random weights; empty for shipped networks and for own modules
            that already have their weights.
        input_size: size of the square input, or (height, width), in pixels; required for own
            modules.
        channels: of the input; None for RGB, and for those that an own module takes.
        normalization: mean and standard deviation of the inputs; ImageNet's for own modules.
        classes: names of the outputs, or a text file with one name per line; None for the known
            ones.
        device: torch device, such as "cpu" or "cuda"; None for the CPU, and for the device on
            which an own module is.
        seed: seed of "random" weights.

    Raises:
        NameNotFound: no network has that name; the message suggests similar names.
        InputError: the weights do not fit, or are required and not given; the number of class names
            differs from that of the outputs; the device does not exist.
        FileError: the weights file is missing, damaged or contains code, or there is no file with
            the class names or the factory.
    """
    class_names = sources.read_classes(classes)
    with torch.inference_mode(False), torch.random.fork_rng():
        torch.manual_seed(seed)
        if not isinstance(source, str) or sources.is_factory(source):
            model = _load_own(source, weights, input_size, channels)
        elif source.startswith(sources.TIMM):
            model = _load_timm(source, weights, input_size, channels)
        elif source in shipped():
            model = _load_shipped(source, weights, channels)
        elif source in architectures.SPECS:
            model = _load_family(source, weights, class_names, channels)
        elif source in sources.torchvision_names():
            model = _load_torchvision(source, weights, channels)
        else:
            raise not_found("network", source, names())
        model = _with_overrides(model, input_size, normalization, class_names)
        if isinstance(source, str) and is_pruned(weights):
            what = f"{Path(weights).name}: its layers do not fit each other"
            _check_first_pass(model, what, "export the pruned network again")
        elif isinstance(source, str) and input_size:
            height, width = height_and_width(input_size)
            what = f"{source} takes no images of {height}x{width} pixels"
            _check_first_pass(model, what, "give another input_size")
        weight = next(model.net.parameters(), None)
        return on_device(model, device or str("cpu" if weight is None else weight.device))


def _check_first_pass(model: Model, what: str, advice: str) -> None:
    """Run a network once; raise InputError if it fails."""
    try:
        with torch.no_grad():
            model(features.blank_image(model, model.card.input_size))
    except (Exception, SystemExit) as error:  # any kind: it is the file that decides
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{what} ({reason}); {advice}") from None


def on_device(module: ModuleT, device: str) -> ModuleT:
    """Move a module to a torch device.

    Raises:
        InputError: the device does not exist.
    """
    try:
        return module.to(torch.device(device))
    except Exception as error:  # of any kind: each backend has its own
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"device {device!r} cannot be used here ({reason}); try 'cpu'") from None


def _with_overrides(
    model: Model,
    input_size: Size | None,
    normalization: Normalization | None,
    classes: tuple[str, ...] | None,
) -> Model:
    """Return the model with the properties that the caller gave."""
    card = model.card
    if normalization and {*map(len, normalization)} != {model.channels}:
        raise InputError(
            f"normalization {tuple(normalization)}: expected {model.channels} means and standard "
            f"deviations, one for each channel of {card.name}"
        )
    height, width = height_and_width(input_size or card.input_size)
    class_names = tuple(classes or card.classes)
    if len(class_names) != len(card.classes):
        raise InputError(
            f"{len(class_names)} class names for the {len(card.classes)} outputs of {card.name}"
        )
    new = replace(
        card,
        input_size=height if height == width else (height, width),
        normalization=normalization or card.normalization,
        classes=class_names,
    )
    return model if new == card else Model(model.net, new, model.survey_layers, model.roles)


def _load_weights(net: nn.Module, weights: str | Path, name: str, head: str = "") -> str:
    """Load the requested weights into a newly built network; return their origin.

    A file of a network that was fine-tuned to another number of classes changes the layer `head`.
    """
    if weights == "random":
        return "random weights"
    state = read_state(weights, net.state_dict())
    if is_pruned(weights):
        resize_to(net, state)
    else:
        resize_head(net, state, head)
    load_into(net, state, Path(weights).name)
    return f"weights file {Path(weights).name}"


def _require_weights(name: str, weights: str | Path) -> None:
    if not weights:
        raise InputError(
            f"no weights are shipped for {name}; give weights=FILE, or weights='random' "
            "(--weights on the command line, WEIGHTS in a notebook)"
        )


def _load_shipped(name: str, weights: str | Path, channels: int | None) -> Model:
    row = shipped()[name]
    net = architectures.build(row["family"], len(row["classes"]), **row["options"])
    resize_input(net, channels or 3)
    is_shipped = not weights
    origin = _load_weights(net, weights or WEIGHTS / f"{name}.safetensors", name)
    card = ModelCard(
        name,
        architectures.SPECS[row["family"]].input_size,
        _for_channels(MINI_NORMALIZATION, channels or 3),
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


def _load_family(
    name: str, weights: str | Path, classes: tuple[str, ...] | None, channels: int | None
) -> Model:
    _require_weights(name, weights)
    class_names = classes or _imagenet_classes()
    net = architectures.build(name, len(class_names))
    resize_input(net, channels or 3)
    head = graph.class_layer(net, len(class_names))
    origin = _load_weights(net, weights, name, head)
    class_names = _names_of_outputs(net, head, class_names)
    size = architectures.SPECS[name].input_size
    normalization = _for_channels(IMAGENET, channels or 3)
    card = ModelCard(name, size, normalization, class_names, origin, "unknown")
    return Model(net, card, survey_layers(name))


def _names_of_outputs(net: nn.Module, head: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names, or numbered ones if a weights file has another number of classes."""
    weight = getattr(net.get_submodule(head), "weight", None) if head else None
    outputs = len(weight) if isinstance(weight, Tensor) else len(names)
    return names if outputs == len(names) else tuple(f"class {n}" for n in range(outputs))


def _imagenet_classes() -> tuple[str, ...]:
    return tuple(sources.published("alexnet").meta["categories"])


def _load_torchvision(name: str, weights: str | Path, channels: int | None) -> Model:
    _require_weights(name, weights)
    builder = sources.torchvision_models().get_model_builder(name)
    published, channels = sources.published(name), channels or 3
    options = _BUILDER_OPTIONS.get(name, {})
    if channels != 3 and "transform_input" in options:  # it changes the normalization of RGB
        options = {**options, "transform_input": False}
    net = builder(weights=None, **options)
    resize_input(net, channels)
    categories = tuple(published.meta["categories"])
    head = graph.class_layer(net, len(categories))
    if weights == "download":
        load_into(net, sources.published_state(published.url, net, name), name)
        origin = published.url
    else:
        origin = _load_weights(net, weights, name, head)
    preset = published.transforms()
    card = ModelCard(
        name,
        preset.crop_size[0],
        _for_channels(Normalization(tuple(preset.mean), tuple(preset.std)), channels),
        _names_of_outputs(net, head, categories),
        origin,
        "as torchvision states for its weights" if weights == "download" else "unknown",
    )
    return Model(net, card, _TORCHVISION_ALEXNET if name == "alexnet" else None)


def _for_channels(normalization: Normalization, channels: int) -> Normalization:
    """Return the normalization of images with another number of channels: the mean over RGB."""
    if channels == len(normalization.mean):
        return normalization
    mean, std = ((sum(values) / len(values),) * channels for values in normalization)
    return Normalization(mean, std)


def _load_timm(
    source: str, weights: str | Path, input_size: Size | None, channels: int | None
) -> Model:
    net, size, normalization = sources.from_timm(source, str(weights), channels)
    _require_weights(source, weights)
    size = size[0] if size[0] == size[1] else size
    normalization = _for_channels(normalization, channels or 3)
    probed = own.copy_and_probe(net, input_size or size, channels or 3)
    origin = "timm's own weights"
    if weights != "download":
        origin = _load_weights(probed.net, weights, source, probed.roles.class_layer)
    return _own_model(source, probed, input_size or size, normalization, origin)


def _load_own(
    source: str | nn.Module, weights: str | Path, input_size: Size | None, channels: int | None
) -> Model:
    name, net = (
        sources.from_factory(source)
        if isinstance(source, str)
        else (type(own.unwrap(source)).__name__, own.unwrap(source))
    )
    if not input_size:
        raise own.size_required(name, net)
    probed = own.copy_and_probe(net, input_size, channels)
    origin = "given in memory"
    if weights == "random":
        own.reset_parameters(probed.net)
    if weights:
        origin = _load_weights(probed.net, weights, name, probed.roles.class_layer)
    normalization = _for_channels(IMAGENET, probed.channels)
    return _own_model(name, probed, input_size, normalization, origin)


def _own_model(
    name: str, probed: own.Probed, size: Size, normalization: Normalization, origin: str
) -> Model:
    head = probed.roles.class_layer
    numbered = tuple(f"class {index}" for index in range(probed.classes))
    class_names = _names_of_outputs(probed.net, head, numbered)
    card = ModelCard(name, size, normalization, class_names, origin, "unknown")
    return Model(probed.net, card, roles=probed.roles)

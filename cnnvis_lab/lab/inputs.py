"""What parameters name is opened before a notebook's kernel starts: networks, generators, folders.

Mistakes are then reported at once, and by the name of the parameter. A parameter's comment says
what it names: `folder of images`, `folder of images per class`, `folder in the Broden format`,
`folder to record in`, or `decoder's file`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..core import InputError, LabError, files
from .notebooks import Notebook

CHECKED_IMAGES = 64  # of a folder; what is wrong with later ones shows when the notebook reads them


def check(notebook: Notebook, values: Mapping[str, Any]) -> None:
    """Open what a notebook's parameters name, if they have other values than the declared ones.

    Args:
        notebook: the notebook.
        values: its parameters by name, whose types, ranges and names are already checked.

    Raises:
        InputError: something is missing, damaged, or does not fit; the message names the parameter.
    """
    changed = {n: p for n, p in notebook.parameters.items() if values[n] != p.default}
    if changed.keys() & {"MODEL", "TRAIN_DATA", "RECORD"} and "TRAIN_DATA" in values:
        _attempt(notebook, "MODEL", _find_recipe, values)
    if changed.keys() & {"MODEL", "WEIGHTS", "MODEL_OPTIONS"}:
        _attempt(notebook, "WEIGHTS" if values["WEIGHTS"] else "MODEL", _load_model, values)
    if changed.keys() & {"GENERATOR", "GENERATOR_WEIGHTS"}:
        name = "GENERATOR_WEIGHTS" if values["GENERATOR_WEIGHTS"] else "GENERATOR"
        _attempt(notebook, name, _load_generator, values)
    for name, parameter in changed.items():
        opens = next((call for words, call in _FOLDERS.items() if words in parameter.help), None)
        if opens and values[name]:
            _attempt(notebook, name, opens, values[name], values)


def _attempt(notebook: Notebook, name: str, call: Callable[..., object], *given: object) -> None:
    try:
        call(*given)
    except LabError as error:
        raise InputError(f"{notebook.name}: {name}: {error}") from None


def _load_model(values: Mapping[str, Any]) -> Any:
    from .. import models

    options = values.get("MODEL_OPTIONS", {})
    weights = values["WEIGHTS"] or ("random" if "TRAIN_DATA" in values else "")  # is trained here
    try:
        return models.load(values["MODEL"], weights=weights, **options)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, LabError) or not options:
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"MODEL_OPTIONS = {options}: {reason}; see models.load") from None


def _find_recipe(values: Mapping[str, Any]) -> object:
    from ..methods import training_evolution as evolution

    is_own = bool(values["TRAIN_DATA"]) or evolution.is_recording(values["RECORD"])
    return evolution.recipe_for(values["MODEL"], own=is_own)


def _load_generator(values: Mapping[str, Any]) -> object:
    from ..methods import deep_generator

    given = values["GENERATOR"], values["GENERATOR_WEIGHTS"]
    return deep_generator.load(*given, model=_load_model(values))


def _open_decoders(source: str, values: Mapping[str, Any]) -> None:
    from ..models import trained

    trained.decoders_of(_load_model(values), source)


def _untrained(values: Mapping[str, Any]) -> Any:
    return _load_model({**values, "WEIGHTS": "random"})


def _open_images(folder: str, values: Mapping[str, Any]) -> None:
    from .. import data, models

    if data.has_labels(folder):
        _open_labelled(folder, values)
    else:
        models.open_images(_untrained(values), folder, CHECKED_IMAGES)


def _open_classes(folder: str, values: Mapping[str, Any]) -> None:
    from .. import data

    size = _untrained(values).card.input_size
    data.open_class_folders(folder, size, CHECKED_IMAGES)


def _open_labelled(folder: str, values: Mapping[str, Any]) -> None:
    from .. import data, models

    model = _untrained(values)
    source = models.choose_source(model, folder)
    dataset = data.open_labelled(source, model.card.input_size, CHECKED_IMAGES)
    data.check_files(dataset, CHECKED_IMAGES)


def _open_both_splits(folder: str, values: Mapping[str, Any]) -> None:
    from .. import data

    size, half = _untrained(values).card.input_size, CHECKED_IMAGES // 2
    for dataset in data.open_labelled_splits(folder, size, half, half):
        data.check_files(dataset, half)


def _check_writable(folder: str, values: Mapping[str, Any]) -> None:
    """Check that a folder can be written to or created, or that it holds a whole recording."""
    from ..methods import training_evolution

    if training_evolution.is_recording(folder):
        training_evolution.load(folder)
        return
    files.check_writable(files.expand(folder))


_FOLDERS: dict[str, Callable[[str, Mapping[str, Any]], None]] = {  # words of a comment -> check
    "folder of images per class": _open_classes,
    "folder of images": _open_images,
    "folder in the Broden format, with both splits": _open_both_splits,
    "folder in the Broden format": _open_labelled,
    "folder to record in": _check_writable,
    "decoder's file": _open_decoders,
}

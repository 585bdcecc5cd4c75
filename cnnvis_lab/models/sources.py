"""What comes from outside: code of the user's own, timm's networks, downloads, class names."""

import importlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core import FileError, InputError, files, not_found
from ..data import broden
from ..data.images import Normalization
from .weights import read_state

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

TIMM = "timm:"
PACKAGE = Path(__file__).parents[1]
_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)", re.MULTILINE)
MAX_CLASSES_BYTES = 10_000_000  # of a file with class names


def read_classes(classes: Sequence[str] | Path | None) -> tuple[str, ...] | None:
    """Return class names from a list, or from a text file with one name per line.

    Raises:
        FileError: there is no such file, or it is not text.
    """
    if classes is None or not isinstance(classes, str | Path):
        return tuple(classes) if classes else None
    path = files.expand(classes)
    try:
        if not path.is_file() or path.stat().st_size > MAX_CLASSES_BYTES:  # such as a pipe
            raise OSError
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise FileError(
            f"no text file with class names at {classes}; give one with a name per line"
        ) from None
    files.record_input(path)
    return tuple(line.strip() for line in lines if line.strip())


@cache
def torchvision_names() -> list[str]:
    """Return the names of torchvision's classifiers, read from its files: its import is slow."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    files_of_models = sorted((Path(spec.origin).parent / "models").glob("*.py"))
    texts = [file.read_text(encoding="utf-8") for file in files_of_models]
    return sorted(name for text in texts for name in _REGISTERED.findall(text))


def torchvision_models() -> ModuleType:
    """Return the module, imported on first use: it imports PyTorch's compiler."""
    from torchvision import models

    return models


def published(name: str) -> "WeightsEnum":
    """Return torchvision's own weights of a network."""
    return torchvision_models().get_model_weights(name)["DEFAULT"]


def is_factory(source: str) -> bool:
    """Return whether a source has the form `file.py:factory` or `package.module:factory`."""
    place, colon, factory = source.rpartition(":")
    return bool(colon and place) and factory.isidentifier() and not source.startswith(TIMM)


def from_factory(source: str) -> tuple[str, nn.Module]:
    """Run a user's own code, which builds a network, and return its name and the network.

    Args:
        source: `file.py:factory` or `package.module:factory`; the factory is a function or class
            without arguments, or the network itself.

    Raises:
        FileError: there is no such file.
        NameNotFound: the file or module has no such name.
        InputError: the code fails, or gives no network.
    """
    place, _, name = source.rpartition(":")
    factory = _attribute(place, name)
    try:
        net = factory if isinstance(factory, nn.Module) else factory()
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise InputError(f"{name}() of {place} failed ({_reason(error)}); mend the code") from None
    if not isinstance(net, nn.Module):
        kind = type(net).__name__
        raise InputError(f"{name} of {place} gives a {kind}; expected a torch nn.Module")
    _record_code(place)
    return name, net


def _attribute(place: str, name: str) -> Any:
    path = files.expand(place)
    if path.suffix == ".py" and not path.is_file():
        raise FileError(f"no Python file at {place}; check the path")
    is_file = path.suffix == ".py"
    try:
        with _importable(path.parent if is_file else Path()):
            module = _import_file(path) if is_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise InputError(f"{place} cannot be imported ({_reason(error)}); mend the code") from None
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value)]
        raise not_found(f"function or class in {place}", name, public)
    return getattr(module, name)


def _import_file(path: Path) -> object:
    # A name that no installed module has; classes remember the module that defines them.
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _record_code(place: str) -> None:
    """Record the modules that user's own code has imported from its folder, and itself.

    Args:
        place: `file.py` or `package.module`.
    """
    is_file = place.endswith(".py")
    own = files.expand(place) if is_file else _file_of(sys.modules[place.partition(".")[0]])
    installed = [Path(path).resolve() for path in (*sysconfig.get_paths().values(), PACKAGE)]
    for file in {path for module in [*sys.modules.values()] if (path := _file_of(module))}:
        is_beside = own and file.is_relative_to(own.resolve().parent)
        if is_beside and not any(file.is_relative_to(folder) for folder in installed):
            files.record_input(file)


def _file_of(module: object) -> Path | None:
    """Return the source file of an entry of `sys.modules`; None if it has none."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) and Path(file).is_file() else None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let imports inside the block find modules in a folder."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def from_timm(
    source: str, weights: str, channels: int | None
) -> tuple[nn.Module, tuple[int, int], Normalization]:
    """Build a network of timm.

    Args:
        source: "timm:NAME".
        weights: "download" for timm's own weights.
        channels: of the images; None for RGB.

    Returns:
        The network, height and width of its images, and the normalization of RGB images.

    Raises:
        NameNotFound: timm has no such network.
        InputError: timm is not installed.
        FileError: the weights cannot be downloaded.
    """
    name = source.removeprefix(TIMM)
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise InputError(f"{source} needs timm, which is not installed: pip install timm") from None
    if name not in timm.list_models():
        raise not_found("network of timm", name, timm.list_models())
    pretrained = weights == "download"
    try:
        net = timm.create_model(name, pretrained=pretrained, in_chans=channels or 3)
    except (OSError, RuntimeError) as error:
        reason = _reason(error)
        raise FileError(
            f"the weights of {source} could not be downloaded ({reason}); give weights=FILE instead"
        ) from None
    known = timm.data.resolve_data_config({}, model=net)
    _, height, width = known["input_size"]
    return net, (height, width), Normalization(tuple(known["mean"]), tuple(known["std"]))


def published_state(url: str, net: nn.Module, name: str) -> dict[str, Tensor]:
    """Return published weights for a network that torchvision has built.

    Args:
        url: of their file.
        net: the network.
        name: its name, for the message.

    Raises:
        FileError: they cannot be downloaded.
    """
    try:
        state = read_state(published_file(url), net.state_dict())
    except OSError as error:  # no connection, or a file with another hash
        raise FileError(
            f"the weights of {name} could not be downloaded ({error}); give weights=FILE instead"
        ) from None
    return as_built(state, net.state_dict())


def published_file(url: str) -> Path:
    """Return the file of published weights, downloaded to torch's cache if it is not there.

    An interrupted download resumes. The name of the file ends in the first digits of its hash.

    Raises:
        FileError: it cannot be reached, is incomplete, or has another hash.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if digits is None:
        raise FileError(f"{url} does not end in the hash of its file, as published weights do")
    if not file.is_file():
        part = file.with_name(f".{file.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        broden.download_file(url, part, lambda line: print(line, file=sys.stderr))
        _require_hash(part, digits[1], url)
        part.replace(file)
    _require_hash(file, digits[1], url)
    return file


def _require_hash(file: Path, digits: str, url: str) -> None:
    """Delete a file whose hash begins otherwise."""
    actual = files.digest(file)
    if not actual.startswith(digits):
        file.unlink()
        raise FileError(f"{url} has sha256 {actual}, expected {digits}...; the file is deleted")


# In torchvision's published files, layers of DenseNets have a dot more than in its networks.
_DENSE_LAYER = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def as_built(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return published weights under the names of the network that torchvision builds.

    Args:
        state: the published weights.
        expected: those of the network; it may lack the auxiliary classifiers of the training.
    """
    renamed = {_DENSE_LAYER.sub(r"\1\2", name): tensor for name, tensor in state.items()}
    auxiliary = ("aux1.", "aux2.", "AuxLogits.")
    return {k: v for k, v in renamed.items() if k in expected or not k.startswith(auxiliary)}

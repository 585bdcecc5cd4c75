"""Read and write weights files without ever executing code from them."""

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core import FileError, InputError, files

PRUNED_FROM = "narrowed from"  # key in a file's header: name of the network that was pruned
_NUMPY_NUMBERS: list = [
    np.dtype,
    multiarray.scalar,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]
# GoogLeNet's and Inception's auxiliary classifiers, which only training uses.
TRAINING_ONLY = ("aux1.", "aux2.", "AuxLogits.")


def read_state(path: str | Path, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Read a state dict from safetensors, or from a torch file that runs no code.

    Training checkpoints keep the weights in a nested dict, under names with a prefix such as
    "module." or "model.", beside other entries. The dict and the prefix are those with which most
    of the expected names fit.

    Args:
        path: the file.
        expected: names of the network's state; empty to take the largest dict as it is.

    Raises:
        FileError: the file is missing, truncated, compressed, not a weights file, or contains
            pickled code.
    """
    path = files.expand(path)
    if not path.is_file():
        raise FileError(f"no weights file at {path}; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol of damaged files
            content = _read_file(path)
    except pickle.UnpicklingError:
        raise FileError(
            f"{path.name} is not a plain weights file (it is damaged, or contains code, which is "
            "never run); save a state dict of tensors, preferably as safetensors"
        ) from None
    except FileError:
        raise
    except Exception as error:  # the readers raise almost any error on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(
            f"{path.name} cannot be read as weights ({reason}); expected safetensors or a torch "
            "state dict: check the path, or get the file again"
        ) from None
    files.record_input(path)
    states = sorted(_tensor_dicts(content), key=len, reverse=True)
    if not states:
        raise FileError(
            f"{path.name} contains no state dict; save model.state_dict() and give that"
        )
    renamed = [_without_prefix(state, set(expected)) for state in states]
    chosen = max(renamed, key=lambda state: len(state.keys() & set(expected)))
    _check_sizes(chosen, path)
    return chosen


def _check_sizes(state: dict[str, Tensor], path: Path) -> None:
    """Raise FileError if a tensor, such as an expanded or a sparse one, exceeds its file."""
    for name, value in state.items():
        if value.numel() * value.element_size() > path.stat().st_size:
            raise FileError(
                f"{path.name}: {name} declares {value.numel():,} numbers, more than the file "
                "holds; save contiguous, dense tensors"
            )


def check_archive(path: Path) -> None:
    """Check that a zip archive is not compressed; PyTorch stores tensors as they are.

    Raises:
        FileError: it is compressed.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise FileError(
            f"{path.name} is compressed, and would take {unpacked / 1e6:,.0f} MB; save the state "
            "dict again with torch.save, or as safetensors"
        )


def _read_file(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    check_archive(path)
    # Training loops store numbers of NumPy's beside the weights, such as the best accuracy.
    with torch.serialization.safe_globals(_NUMPY_NUMBERS):
        return torch.load(path, map_location="cpu", weights_only=True)


def _tensor_dicts(content: object, depth: int = 3) -> list[dict[str, Tensor]]:
    """Return the dicts of tensors in nested dicts, without their other entries."""
    if not isinstance(content, dict) or not depth:
        return []
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    nested = [found for value in content.values() for found in _tensor_dicts(value, depth - 1)]
    return [*([tensors] if tensors else []), *nested]


def _without_prefix(state: dict[str, Tensor], expected: set[str]) -> dict[str, Tensor]:
    """Rename a state's entries so that most names are expected ones, by a prefix on either side."""
    stored = {name[: -len(e)] for name in state for e in expected if name.endswith(f".{e}")}
    lacking = {e[: -len(name)] for name in state for e in expected if e.endswith(f".{name}")}
    attempts = [state]
    for prefix in sorted(stored, key=len):  # entries without it belong to other modules
        inner = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        attempts.append(inner)
    attempts += [{prefix + n: v for n, v in state.items()} for prefix in sorted(lacking, key=len)]
    return max(attempts, key=lambda attempt: len(attempt.keys() & expected))


def load_into(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a state dict into a network of exactly its shape, as 32-bit floats.

    Args:
        net: the network.
        state: name -> tensor; single numbers that the network lacks, such as counters, are ignored.
        source: name of the state's source, for error messages.

    Raises:
        InputError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    current = net.state_dict(keep_vars=True)
    needed = [name for name in current if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in state]
    extra = [
        name
        for name, value in state.items()
        if name not in current and value.ndim and not name.startswith(TRAINING_ONLY)
    ]
    if missing or extra:
        fitting = f"{len(needed) - len(missing)} of the network's {len(needed)} names are in it"
        first = [f"it lacks {missing[0]}"] if missing else []
        first += [f"it has {extra[0]}, which the network lacks"] if extra else []
        raise InputError(
            f"{source} does not fit: {fitting}; {', and '.join(first)}; it belongs to another "
            "network"
        )
    for name in needed:
        if state[name].shape != current[name].shape:
            given, wanted = tuple(state[name].shape), tuple(current[name].shape)
            raise InputError(
                f"{source} does not fit: {name} is {given}, the network has {wanted}; "
                "it belongs to another network or number of classes"
            )
        _check_numbers(name, state[name], current[name], source)
    net.load_state_dict(
        {
            name: value.float() if value.is_floating_point() else value
            for name, value in state.items()
        },
        strict=False,
    )


def _check_numbers(name: str, value: Tensor, wanted: Tensor, source: str) -> None:
    """Raise InputError unless a tensor's numbers are of a kind that the network can use."""
    if value.layout != torch.strided or value.is_floating_point() != wanted.is_floating_point():
        kind = str(value.dtype if value.layout == torch.strided else value.layout)
        raise InputError(
            f"{source} does not fit: {name} holds {kind.removeprefix('torch.')} numbers; expected "
            f"{str(wanted.dtype).removeprefix('torch.')}"
        )
    is_learned = isinstance(wanted, nn.Parameter) or "running_" in name
    if is_learned and not torch.isfinite(value.float()).all():
        raise InputError(f"{source} is damaged: {name} contains NaN or infinity; get it again")


def write_half(net: nn.Module, path: str | Path, about: Mapping[str, str] | None = None) -> None:
    """Write a network's weights as 16-bit safetensors, atomically.

    Args:
        net: the network.
        path: the file.
        about: texts for the file's header.
    """
    state = {
        name: value.detach().cpu().half().contiguous()
        for name, value in net.state_dict().items()
        if value.is_floating_point()
    }
    files.write_tensors(path, state, about or {})


def write_pruned(net: nn.Module, path: str | Path, name: str) -> None:
    """Write the weights of a pruned network, at full precision.

    The file's header marks it as pruned: only such a file may have other layer widths than the
    network that it names.

    Args:
        net: the network.
        path: the safetensors file.
        name: name of the network that was pruned.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    files.write_tensors(path, state, {PRUNED_FROM: name})


def state_digest(net: nn.Module) -> str:
    """Return a hash of a network's parameters and buffers, by their names."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def is_pruned(path: str | Path) -> bool:
    """Return whether a file was written by `write_pruned`."""
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return PRUNED_FROM in (file.metadata() or {})
    except Exception:  # a damaged file: reading the weights then explains the problem
        return False


def resize_head(net: nn.Module, state: dict[str, Tensor], head: str) -> None:
    """Give the layer that scores the classes as many outputs as it has in a state dict.

    Nothing is changed unless that is the only difference in shapes.

    Args:
        net: the network.
        state: name -> tensor.
        head: dotted name of the layer.
    """
    own = net.state_dict()
    differing = [n for n, v in own.items() if n in state and state[n].shape != v.shape]
    inputs = {n: (own[n].shape[1:], state[n].shape[1:]) for n in differing}
    if head and all(n.rpartition(".")[0] == head and len({*inputs[n]}) == 1 for n in differing):
        resize_to(net, state)


def resize_input(net: nn.Module, channels: int) -> None:
    """Let the first convolution of a network read images with another number of channels.

    Args:
        net: the network, which takes RGB images.
        channels: of the images; with 3, nothing is changed.

    Raises:
        InputError: no convolution reads the image.
    """
    if channels == 3:
        return
    conv = next((m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3), None)
    if conv is None or channels < 1:
        raise InputError(f"{type(net).__name__} takes 3 channels; {channels} are not possible")
    wanted = (conv.out_channels, channels, *conv.weight.shape[2:])
    conv.weight, conv.in_channels = nn.Parameter(conv.weight.new_empty(wanted)), channels
    conv.reset_parameters()


def resize_to(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Resize layers to fit a state dict; the weights are undefined until it is loaded."""
    for name, module in net.named_modules():
        for key, value in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            wanted = state.get(f"{name}.{key}")
            if wanted is None or wanted.ndim != value.ndim or wanted.shape == value.shape:
                continue
            if isinstance(value, nn.Parameter):
                setattr(module, key, nn.Parameter(value.new_empty(wanted.shape)))
            else:
                module.register_buffer(key, value.new_empty(wanted.shape))
            _set_widths(module, key, wanted.shape)


def _set_widths(module: nn.Module, key: str, shape: torch.Size) -> None:
    if key != "weight":
        return
    names = {
        "out_channels": 0,
        "out_features": 0,
        "num_features": 0,
        "in_channels": 1,
        "in_features": 1,
    }
    for attribute, axis in names.items():
        if hasattr(module, attribute):
            setattr(module, attribute, shape[axis])


def read_table(file: Path) -> dict[str, dict]:
    """Return the table of shipped networks beside their weights: name -> row; empty if missing.

    Args:
        file: the table, which becomes an input of this run.
    """
    if not file.is_file():
        return {}
    files.record_input(file)
    return json.loads(file.read_text())


def register(table_file: Path, name: str, row: dict[str, object], weights: Path) -> dict:
    """Add a network's row, with its weights' hash, to the table beside them.

    Args:
        table_file: the JSON table.
        name: name of the network.
        row: what the table states about it.
        weights: its weights file.

    Returns:
        The row with the hash.
    """
    table = json.loads(table_file.read_text()) if table_file.is_file() else {}
    table[name] = row | {"sha256": files.digest(weights)}
    files.write_atomically(table_file, json.dumps(table, indent=1, sort_keys=True) + "\n")
    return table[name]

"""Weights in and out of files without ever running code from them."""

import json
import pickle
import warnings
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core import FileError, InputError, files

PRUNED_FROM = "narrowed from"  # in a file's header: name of the network that was pruned
# Classifiers beside GoogLeNet's and Inception's trunk, which only their training uses.
TRAINING_ONLY = ("aux1.", "aux2.", "AuxLogits.")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict: safetensors, or a torch file that holds tensors only.

    A training checkpoint that keeps its weights under "state_dict" or "model", or prefixes them
    with "module.", is understood.

    Raises:
        FileProblem: missing, truncated, not a weights file, or pickled with code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"no weights file at {path}; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle protocol a damaged file seems to have
            state = _read_file(path)
    except pickle.UnpicklingError:
        raise FileError(
            f"{path.name} is no plain weights file (it is damaged, or holds code, which is never "
            "run); save a state dict of tensors, best as safetensors"
        ) from None
    except Exception as error:  # on damaged files the readers raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(
            f"{path.name} cannot be read as weights ({reason}); expected safetensors or a torch "
            "state dict: check the path, or get the file anew"
        ) from None
    files.record_input(path)
    return _unwrap(state, path)


def _read_file(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(state: object, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )
    if not tensors or not state:
        raise FileError(f"{path.name} holds no state dict; save model.state_dict() and give that")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_into(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Put a state into a network of exactly its shape, as 32-bit floats.

    Raises:
        InputError: a tensor is missing, left over, of another shape, or not finite.
    """
    own = net.state_dict()
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in state]
    extra = [name for name in state if name not in own and not name.startswith(TRAINING_ONLY)]
    if missing or extra:
        odd = f"lacks {missing[0]}" if missing else f"has {extra[0]}, which the network lacks"
        raise InputError(f"{source} does not fit: it {odd}; it belongs to another network")
    for name in needed:
        if state[name].shape != own[name].shape:
            given, wanted = tuple(state[name].shape), tuple(own[name].shape)
            raise InputError(
                f"{source} does not fit: {name} is {given}, the network has {wanted}; "
                "it belongs to another network or number of classes"
            )
        if not torch.isfinite(state[name].float()).all():
            raise InputError(f"{source} is damaged: {name} holds NaN or infinity; get it anew")
    net.load_state_dict(
        {
            name: value.float() if value.is_floating_point() else value
            for name, value in state.items()
        },
        strict=False,
    )


def write_half(net: nn.Module, path: str | Path) -> None:
    """Write a network's weights as 16-bit safetensors, whole or not at all."""
    state = {
        name: value.detach().cpu().half().contiguous()
        for name, value in net.state_dict().items()
        if value.is_floating_point()
    }
    with files.replace_atomically(path) as partial:
        save_file(state, partial)


def write_pruned(net: nn.Module, path: str | Path, name: str) -> None:
    """Write the weights of a network with fewer maps than its plan, at full precision.

    The file's header says so: only such a file may have other widths than the network named.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    with files.replace_atomically(path) as partial:
        save_file(state, partial, {PRUNED_FROM: name})


def is_pruned(path: str | Path) -> bool:
    """Return whether a file was written by `write_narrowed`."""
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return PRUNED_FROM in (file.metadata() or {})
    except Exception:  # damaged: whoever reads the weights says how
        return False


def resize_to(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Give layers the widths that a state has, so that it fits; their weights are left open."""
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


def register(table_file: Path, name: str, row: dict[str, object], weights: Path) -> dict:
    """Put a network's row, with its weights' hash, into the table beside them; return the row."""
    table = json.loads(table_file.read_text()) if table_file.is_file() else {}
    table[name] = row | {"sha256": files.digest(weights)}
    files.write_atomically(table_file, json.dumps(table, indent=1, sort_keys=True) + "\n")
    return table[name]

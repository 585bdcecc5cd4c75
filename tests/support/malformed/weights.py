"""Weights files that cannot be used."""

import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cnnvis_lab import models

from .case import Case

READ = "layers alexnet_mini --weights"


class Planted:
    """Creates a folder when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("ran",)


def network() -> dict[str, Tensor]:
    """Return the weights of the network that the commands load."""
    return models.load("alexnet_mini", weights="random").net.state_dict()


def _torch(name: str, content: Callable[[], object], **options: object) -> Callable:
    return lambda folder: torch.save(content(), folder / name, **options)


def _changed(**tensors: Callable[[Tensor], object]) -> Callable[[Path], object]:
    """Return a function that writes the weights with some of them changed; None removes one."""

    def write(folder: Path) -> None:
        state = network()
        for name, change in tensors.items():
            key = name.replace("_", ".")
            state[key] = change(state.get(key, torch.zeros(1)))
        torch.save({k: v for k, v in state.items() if v is not None}, folder / "w.pt")

    return write


def _bytes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _safetensors(header: object, data: bytes = b"") -> Callable[[Path], object]:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return _bytes("w.safetensors", struct.pack("<Q", len(text)) + text + data)


def _compressed(folder: Path) -> None:
    torch.save({"0.weight": torch.zeros(2_000_000)}, folder / "plain.pt")
    with (
        zipfile.ZipFile(folder / "plain.pt") as plain,
        zipfile.ZipFile(folder / "w.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    (folder / "plain.pt").unlink()


def _half(write: Callable[[Path], object], name: str) -> Callable[[Path], object]:
    def cut(folder: Path) -> None:
        write(folder)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return cut


def _scripted(folder: Path) -> None:
    archive = zipfile.ZipFile(folder / "w.pt", "w")
    with archive:
        archive.writestr("w/constants.pkl", pickle.dumps(()))
        archive.writestr("w/data.pkl", pickle.dumps(Planted()))
        archive.writestr("w/version", "3")


def _narrowed(folder: Path) -> None:
    state = {key: value.contiguous() for key, value in network().items()}
    state["conv2.weight"] = state["conv2.weight"][:, :7].contiguous()
    save_file(state, folder / "w.safetensors", {"narrowed from": "alexnet_mini"})


def _nested() -> object:
    inside: dict = {}
    for _ in range(200):
        inside = {"state_dict": inside}
    return inside


def _other() -> dict[str, Tensor]:
    return models.load("judge_mini").net.state_dict()


def _nan(value: Tensor) -> Tensor:
    return torch.full_like(value, torch.nan)


def _quantized(value: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its future
        return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def _of_own_training(about: object) -> Callable[[Path], object]:
    """Return a function that writes a file whose header tells that of a decoder."""
    text = about if isinstance(about, str) else json.dumps(about)
    return _safetensors({"__metadata__": {"cnnvis": text}, "a": _F32}, bytes(8))


_F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
_LAYOUT = {"encoder": "alexnet_mini", "layer": "CL1", "code": [8, 9, 9],
           "fully_connected": [], "convs": [], "ups": [[8, 0], [3, 0]]}  # fmt: skip
DECODER = "render 05 --preset smoke -p DECODERS w.safetensors --out out"
PT, SAFE = f"{READ} w.pt", f"{READ} w.safetensors"
WEIGHTS = {
    "no file": Case(PT, None, "--weights: no weights file at w.pt"),
    "a folder": Case(PT, lambda folder: (folder / "w.pt").mkdir(), "no weights file at w.pt"),
    "a pipe": Case(PT, lambda folder: os.mkfifo(folder / "w.pt"), "no weights file at w.pt"),
    "nothing in it": Case(PT, _bytes("w.pt", b""), "w.pt"),
    "nothing in safetensors": Case(SAFE, _bytes("w.safetensors", b""), "w.safetensors"),
    "text": Case(PT, _bytes("w.pt", b"<html>404</html>"), "w.pt"),
    "noise": Case(PT, _bytes("w.pt", bytes(range(256)) * 50), "w.pt"),
    "half a file": Case(PT, _half(_changed(), "w.pt"), "w.pt"),
    "half of an old file": Case(
        PT, _half(_torch("w.pt", network, _use_new_zipfile_serialization=False), "w.pt"), "w.pt"
    ),
    "another format": Case(PT, _bytes("w.pt", b"\x89HDF\r\n\x1a\n" + bytes(99)), "w.pt"),
    "NumPy": Case(PT, _bytes("w.pt", b"\x93NUMPY\x01\0v\0" + bytes(200)), "w.pt"),
    "code": Case(PT, _torch("w.pt", lambda: network() | {"x": Planted()}), "never run"),
    "code in an old file": Case(
        PT, _torch("w.pt", Planted, _use_new_zipfile_serialization=False), "never run"
    ),
    "code as safetensors": Case(SAFE, _bytes("w.safetensors", pickle.dumps(Planted())), "w.safe"),
    "bare pickle": Case(PT, _bytes("w.pt", pickle.dumps(Planted())), "w.pt"),
    "a scripted network": Case(PT, _scripted, "w.pt"),
    "a whole network": Case(PT, _torch("w.pt", lambda: nn.Linear(2, 2)), "never run"),
    "a list": Case(PT, _torch("w.pt", lambda: [1, 2]), "w.pt contains no state dict"),
    "a tensor": Case(PT, _torch("w.pt", lambda: torch.zeros(3)), "w.pt contains no state dict"),
    "an empty dict": Case(PT, _torch("w.pt", dict), "w.pt contains no state dict"),
    "numbers": Case(PT, _torch("w.pt", lambda: {"conv1.weight": 3}), "contains no state dict"),
    "deeply nested": Case(PT, _torch("w.pt", _nested), "w.pt contains no state dict"),
    "another network": Case(PT, _torch("w.pt", _other), "it belongs to another network"),
    "one is missing": Case(PT, _changed(conv1_weight=lambda _: None), "it lacks conv1.weight"),
    "one too many": Case(PT, _changed(conv9_weight=lambda _: torch.ones(2, 2)), "conv9.weight"),
    "another shape": Case(PT, _changed(conv1_weight=lambda w: w[:, :, 1:]), "conv1.weight is"),
    "NaN": Case(PT, _changed(conv1_weight=_nan), "conv1.weight contains NaN"),
    "infinity": Case(PT, _changed(fc8_bias=lambda w: w / 0), "fc8.bias contains NaN"),
    "too large for 32 bits": Case(
        PT, _changed(conv1_weight=lambda w: w.double() * 1e300), "conv1.weight contains NaN"
    ),
    "integers": Case(PT, _changed(conv1_weight=Tensor.int), "conv1.weight holds int32"),
    "booleans": Case(PT, _changed(conv1_weight=Tensor.bool), "conv1.weight holds bool"),
    "complex numbers": Case(PT, _changed(conv1_weight=Tensor.cfloat), "holds complex64"),
    "sparse": Case(PT, _changed(fc8_weight=Tensor.to_sparse), "fc8.weight holds sparse_coo"),
    "quantized": Case(
        PT,
        _changed(fc8_weight=_quantized),
        "fc8.weight",
    ),
    "more than the file holds": Case(
        PT, _changed(fc8_bias=lambda _: torch.zeros(1).expand(10**6, 10**6)), "fc8.bias declares"
    ),
    "compressed": Case(PT, _compressed, "w.pt is compressed"),
    "a huge header": Case(SAFE, _bytes("w.safetensors", struct.pack("<Q", 2**62)), "w.safetens"),
    "no JSON in the header": Case(SAFE, _safetensors(b"{" * 99), "w.safetensors"),
    "a list as the header": Case(SAFE, _safetensors([1]), "w.safetensors"),
    "no tensors": Case(SAFE, _safetensors({}), "w.safetensors contains no state dict"),
    "a tensor outside the file": Case(SAFE, _safetensors({"a": _F32}, b"1234"), "w.safetensors"),
    "tensors that overlap": Case(SAFE, _safetensors({"a": _F32, "b": _F32}, bytes(8)), "w.safe"),
    "a wrong size": Case(SAFE, _safetensors({"a": {**_F32, "shape": [9]}}, bytes(8)), "w.safet"),
    "a huge shape": Case(
        SAFE, _safetensors({"a": {**_F32, "shape": [2**40, 2**40]}}, bytes(8)), "w.safetensors"
    ),
    "an unknown kind": Case(SAFE, _safetensors({"a": {**_F32, "dtype": "F1"}}, bytes(8)), "w.safe"),
    "narrowed layers that do not fit": Case(SAFE, _narrowed, "its layers do not fit each other"),
    "none are shipped": Case("layers resnet18", None, "no weights are shipped for resnet18"),
    "in a notebook": Case(
        "render 00 --preset smoke -p WEIGHTS w.pt --out out", _changed(conv1_weight=_nan), "WEIGHTS"
    ),
    "no file in a notebook": Case("render 00 -p WEIGHTS w.pt --out out", None, "WEIGHTS: no weig"),
    "a decoder of noise": Case(
        DECODER, _bytes("w.safetensors", bytes(range(256))), "DECODERS: w.s"
    ),
    "a decoder that is no JSON": Case(DECODER, _of_own_training("{"), "DECODERS: w.safetensors"),
    "a decoder of deep nesting": Case(DECODER, _of_own_training("[" * 10**5), "DECODERS: w.safet"),
    "a decoder as a list": Case(DECODER, _of_own_training([]), "DECODERS: w.safetensors"),
    "a decoder without a layout": Case(
        DECODER, _of_own_training({"kind": "decoder"}), "does not say what it reads"
    ),
    "a decoder of odd layers": Case(
        DECODER,
        _of_own_training({"kind": "decoder", "layout": _LAYOUT | {"convs": "abc"}}),
        "has other layers than its header says",
    ),
    "a decoder of huge layers": Case(
        DECODER,
        _of_own_training({"kind": "decoder", "layout": _LAYOUT | {"convs": [[10**9, 3, 1]]}}),
        "has other layers than its header says",
    ),
    "a decoder that is a generator": Case(
        DECODER,
        _of_own_training({"kind": "generator", "layout": _LAYOUT}),
        "is a generator; expected a decoder",
    ),
    "of a generator": Case(
        "render 02 -p GENERATOR_WEIGHTS '[\"w.pt\"]' --out out", _changed(), "GENERATOR_WEIGHTS"
    ),
}

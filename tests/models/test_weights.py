"""Weights are read and written completely and exactly, and no code in a file runs."""

import pickle
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cnnvis_lab.core import FileError, InputError, files
from cnnvis_lab.models import decoders, generators, registry, weights


def _net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    net[1].running_mean.normal_()
    return net.eval()


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _legacy(state: object, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


WRITERS = {"a.safetensors": save_file, "a.pt": torch.save, "a.pth": _legacy}


@pytest.fixture(params=WRITERS)
def weights_file(request, tmp_path) -> Path:
    path = tmp_path / request.param
    WRITERS[request.param](_net().state_dict(), path)
    return path


def test_every_kind_of_file_is_read_back(weights_file):
    assert _same(weights.read_state(weights_file), _net().state_dict())


def _lightning(state: dict[str, Tensor]) -> dict:
    inside = {f"model.{name}": value for name, value in state.items()}
    inside |= {"loss.weight": torch.ones(2), "ema.3.bias": torch.ones(2)}
    return {"epoch": 3, "optimizer_states": [{"state": {}}], "state_dict": inside}


@pytest.mark.parametrize(
    "wrap",
    [
        _lightning,
        lambda state: {"model_state_dict": state, "best": np.float64(0.5), "at": np.int64(3)},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
        lambda state: {"net": {"weights": state}, "optimizer": {"m": torch.zeros(2)}},
        lambda state: {**state, "epoch": 3, "name": "mine"},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"module.{n}": v for n, v in state.items()}, "best": 0.5},
    ],
    ids=[
        "Lightning", "NumPy", "compiled", "compiled in parallel", "nested", "flat",
        "state_dict", "model", "parallel", "both",
    ],
)  # fmt: skip
def test_a_training_checkpoint_is_unwrapped(wrap, tmp_path):
    torch.save(wrap(_net().state_dict()), tmp_path / "checkpoint.pt")
    state = _net().state_dict()
    assert _same(weights.read_state(tmp_path / "checkpoint.pt", state), state)


def test_the_prefix_may_be_on_the_side_of_the_network(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = _net(seed=1)

    torch.save(_net().state_dict(), tmp_path / "plain.pt")
    net = Wrapped()
    state = weights.read_state(tmp_path / "plain.pt", net.state_dict())
    weights.load_into(net, state, "plain.pt")
    assert _same(net.backbone.state_dict(), _net().state_dict())


def test_what_does_not_fit_is_counted_and_named():
    state = {f"other.{name}": value for name, value in _net().state_dict().items()}
    state |= {"0.weight": torch.zeros(4, 3, 3, 3)}
    with pytest.raises(
        InputError, match=r"1 of the network's 8 names.*lacks 0.bias, and it has other.0.weight"
    ):
        weights.load_into(_net(), state, "given.pt")


@pytest.mark.parametrize(
    ("convert", "kind"),
    [
        (torch.Tensor.int, "int32"),
        (torch.Tensor.bool, "bool"),
        (torch.Tensor.cfloat, "complex64"),
        (torch.Tensor.to_sparse, "sparse_coo"),
    ],
)
def test_weights_of_another_kind_of_number_are_refused_by_name(convert, kind):
    state = _net().state_dict()
    state["3.weight"] = convert(state["3.weight"])
    with pytest.raises(InputError, match=f"3.weight holds {kind} numbers; expected float32"):
        weights.load_into(_net(), state, "given.pt")


def test_buffers_that_are_not_learned_may_be_infinite():
    net = _net()
    net.register_buffer("mask", torch.full((2,), -torch.inf))
    weights.load_into(net, net.state_dict(), "given.pt")


def test_counters_beside_the_weights_are_ignored():
    state = _net().state_dict() | {"total_ops": torch.zeros(()), "3.total_params": torch.ones(())}
    net = _net(seed=1)
    weights.load_into(net, state, "given.pt")
    assert _same(net.state_dict(), _net().state_dict())


def test_only_the_number_of_classes_may_differ():
    state = _net().state_dict() | {"3.weight": torch.ones(5, 16), "3.bias": torch.ones(5)}
    net = _net()
    weights.resize_head(net, state, "3")
    weights.load_into(net, state, "given.pt")
    assert net[3].out_features == 5 and net(torch.rand(1, 3, 4, 4)).shape == (1, 5)
    for changed in ({"0.weight": torch.ones(4, 3, 5, 5)}, {"3.weight": torch.ones(5, 17)}):
        net = _net()
        weights.resize_head(net, state | changed, "3")
        assert net[3].out_features == 2


def test_a_file_that_is_read_is_an_input_of_the_run(weights_file):
    weights.read_state(weights_file)
    assert files.recorded_inputs()[str(weights_file.resolve())] == files.digest(weights_file)


@pytest.mark.parametrize(
    ("of", "table"),
    [(registry, "table.json"), (decoders, "decoders.json"), (generators, "generators.json")],
)
def test_a_table_of_shipped_weights_is_an_input_of_the_run_that_reads_it(of, table, monkeypatch):
    monkeypatch.setattr(files, "_inputs", {})
    assert of.shipped()
    path = registry.WEIGHTS / table
    assert files.recorded_inputs() == {str(path.resolve()): files.digest(path)}


@pytest.mark.parametrize(
    "content",
    [[1, 2], {}, {"state_dict": {}}, torch.rand(3), {"a": 1}, {1: torch.rand(2)}],
    ids=["list", "nothing", "nothing inside", "tensor", "number", "numbered"],
)
def test_a_torch_file_without_a_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(FileError, match=r"other\.pt contains no state dict"):
        weights.read_state(tmp_path / "other.pt")


def test_a_missing_file_is_named_in_the_error(tmp_path):
    with pytest.raises(FileError, match=r"no weights file at .*none\.pt"):
        weights.read_state(tmp_path / "none.pt")
    with pytest.raises(FileError, match="no weights file"):
        weights.read_state(tmp_path)


def test_a_truncated_file_is_refused_in_one_line(weights_file):
    whole = weights_file.read_bytes()
    for part in range(40):
        weights_file.write_bytes(whole[: len(whole) * part // 40])
        with pytest.raises(FileError, match=re.escape(weights_file.name)) as caught:
            weights.read_state(weights_file)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("originals")
    for name, write in WRITERS.items():
        write(_net().state_dict(), folder / name)
    return [folder / name for name in WRITERS]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    which=st.integers(0, 2), positions=st.lists(st.floats(0, 1), min_size=1), byte=st.integers(1)
)
def test_a_damaged_file_is_read_or_refused(originals, which, positions, byte):
    content = bytearray(originals[which].read_bytes())
    for position in positions:
        content[round(position * (len(content) - 1))] ^= byte % 255 + 1
    damaged = originals[which].with_stem("damaged")
    damaged.write_bytes(content)
    try:
        state = weights.read_state(damaged)
    except FileError:
        return
    assert all(isinstance(value, Tensor) for value in state.values())


class FolderMaker:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("name", ["evil.pt", "evil.pth", "evil.pkl", "evil.safetensors"])
def test_code_in_a_file_never_runs(name, tmp_path):
    planted, path = tmp_path / "planted", tmp_path / name
    state = _net().state_dict() | {"0.bias": FolderMaker(planted)}
    pickle.loads(pickle.dumps(state))
    planted.rmdir()  # it exists: the code does run in an unrestricted unpickler
    if name == "evil.pt":
        torch.save(state, path)
    elif name == "evil.pth":
        _legacy(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(FileError, match=name):
        weights.read_state(path)
    assert not planted.exists()


def _misfits() -> dict[str, tuple[dict[str, Tensor], str]]:
    """Name -> a state that does not fit `_net`, and the reason that the error gives."""
    state = _net().state_dict()
    nan, infinite = state["3.weight"].clone(), state["1.running_var"].clone()
    nan[1, 2], infinite[0] = float("nan"), float("inf")
    return {
        "lacking": ({n: v for n, v in state.items() if n != "3.bias"}, "lacks 3.bias"),
        "left over": (state | {"4.bias": torch.zeros(1)}, "has 4.bias"),
        "other shape": (state | {"0.weight": torch.zeros(4, 3, 5, 5)}, r"\(4, 3, 5, 5\).*3, 3\)"),
        "NaN": (state | {"3.weight": nan}, "3.weight contains NaN"),
        "infinite": (state | {"1.running_var": infinite}, "1.running_var contains NaN or infinity"),
    }


@pytest.mark.parametrize("kind", _misfits())
def test_a_state_that_does_not_fit_is_refused_with_the_reason_and_changes_nothing(kind):
    state, reason = _misfits()[kind]
    net = _net(seed=1)
    with pytest.raises(InputError, match=f"given.pt .*{reason}"):
        weights.load_into(net, state, "given.pt")
    assert _same(net.state_dict(), _net(seed=1).state_dict())


def test_a_fitting_state_gives_the_same_network():
    net, images = _net(seed=1), torch.rand(2, 3, 4, 4)
    assert not torch.equal(net(images), _net()(images))
    weights.load_into(net, _net().state_dict(), "given.pt")
    assert torch.equal(net(images), _net()(images))


def test_heads_that_only_training_uses_are_ignored():
    net = _net(seed=1)
    heads = {f"{head}fc.weight": torch.zeros(2, 2) for head in weights.TRAINING_ONLY}
    weights.load_into(net, _net().state_dict() | heads, "given.pt")
    assert _same(net.state_dict(), _net().state_dict())


def test_weights_written_in_half_precision_are_rounded_once(tmp_path):
    net, rounded = _net(), _net(seed=1)
    weights.write_half(net, tmp_path / "half.safetensors")
    on_disk = load_file(tmp_path / "half.safetensors")
    assert {value.dtype for value in on_disk.values()} == {torch.float16}
    weights.load_into(rounded, weights.read_state(tmp_path / "half.safetensors"), "half")
    for name, value in rounded.state_dict().items():
        if value.is_floating_point():
            assert value.dtype == torch.float32
            assert torch.equal(value, net.state_dict()[name].half().float()), name
    weights.write_half(rounded, tmp_path / "again.safetensors")
    assert files.digest(tmp_path / "again.safetensors") == files.digest(
        tmp_path / "half.safetensors"
    )


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    resource = pytest.importorskip("resource", reason="no limits of file sizes here")
    path = tmp_path / "half.safetensors"
    weights.write_half(_net(), path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            weights.write_half(_net(seed=1), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"0.weight": torch.zeros(2_000_000)}, tmp_path / "plain.pth")
    packed = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for entry in plain.infolist():
            archive.writestr(entry.filename, plain.read(entry))
    assert packed.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(FileError, match=r"packed\.pth is compressed, and would take 8 MB; save"):
        weights.read_state(packed)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    "huge",
    [
        torch.zeros(1).expand(10**6, 10**6),
        torch.sparse_coo_tensor(
            torch.tensor([[0], [0]]), torch.ones(1), (10**6, 10**6), check_invariants=True
        ),
    ],
    ids=["expanded", "sparse"],
)
def test_a_tensor_that_declares_more_than_its_file_holds_is_refused(huge, tmp_path):
    torch.save({"3.weight": huge, "3.bias": torch.zeros(10)}, tmp_path / "a.pth")
    with pytest.raises(FileError, match=r"a\.pth: 3\.weight declares 1,000,000,000,000 numbers"):
        weights.read_state(tmp_path / "a.pth", ["3.weight", "3.bias"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (torch.int64, "int64"), (torch.uint8, "uint8"), (torch.bool, "bool"),
        (torch.complex64, "complex64"), ("sparse", "sparse_coo"),
    ],
)  # fmt: skip
def test_numbers_of_another_kind_are_refused_by_name(kind, name, tmp_path):
    state = _net().state_dict()
    value = state["3.bias"]
    state["3.bias"] = value.to_sparse() if kind == "sparse" else value.to(kind)
    torch.save(state, tmp_path / "a.pth")
    net, before = _net(1), _net(1).state_dict()
    with pytest.raises(InputError, match=f"3.bias holds {name} numbers; expected float32"):
        weights.load_into(net, weights.read_state(tmp_path / "a.pth"), "a.pth")
    assert _same(net.state_dict(), before)

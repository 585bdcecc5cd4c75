"""Published weights: downloaded from a server on this machine, resumed, and checked by hash."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from support.server import Served, serve

from cnnvis_lab import models
from cnnvis_lab.core import FileError
from cnnvis_lab.models import sources


@pytest.fixture(scope="module")
def weights() -> bytes:
    torch.manual_seed(0)
    stream = io.BytesIO()
    torch.save(torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict(), stream)
    return stream.getvalue()


@pytest.fixture
def served(weights, tmp_path, monkeypatch) -> Iterator[Served]:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    real = sources.published("shufflenet_v2_x0_5")
    with serve(weights, f"net-{hashlib.sha256(weights).hexdigest()[:8]}.pth") as state:
        published = SimpleNamespace(url=state.url, meta=real.meta, transforms=real.transforms)
        monkeypatch.setattr(sources, "published", lambda name: published)
        yield state


def _stored(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in (tmp_path / "hub" / "checkpoints").iterdir()]


def _load() -> models.Model:
    return models.load("shufflenet_v2_x0_5", weights="download")


def test_a_download_is_resumed_verified_and_kept(served, weights, tmp_path):
    served.cut_after = len(weights) // 2
    with pytest.raises(FileError, match=r"could not be downloaded.*was cut off.*weights=FILE"):
        _load()
    assert _stored(tmp_path) == [weights[: served.cut_after]]
    served.cut_after = 0
    model = _load()
    assert served.requests == ["", f"bytes={len(weights) // 2}-"]
    expected = torch.load(io.BytesIO(weights), weights_only=True)
    assert all(model.net.state_dict()[name].equal(tensor) for name, tensor in expected.items())
    assert model.card.origin == served.url and "torchvision" in model.card.license
    _load()
    assert len(served.requests) == 2 and _stored(tmp_path) == [weights]


def test_another_file_is_refused_and_deleted(served, weights, tmp_path):
    served.content = weights[:-1] + bytes([weights[-1] ^ 1])
    for _ in range(2):
        with pytest.raises(FileError, match=r"could not be downloaded.*has sha256"):
            _load()
        assert _stored(tmp_path) == []
    served.content = weights
    _load()


def test_a_server_out_of_reach_is_named_in_one_line(served):
    published = sources.published("")
    published.url = published.url.replace("net-", "missing-")
    with pytest.raises(FileError, match=r"shufflenet_v2_x0_5 could not .* 404") as error:
        _load()
    assert "\n" not in str(error.value)


def test_published_names_are_those_of_the_networks_that_torchvision_builds():
    dense = {"features.denselayer1.norm.1.weight": torch.zeros(1), "aux1.fc.bias": torch.ones(1)}
    built = {"features.denselayer1.norm1.weight": torch.zeros(1)}
    assert sources.as_built(dense, built).keys() == built.keys()
    unknown = {"elsewhere.weight": torch.zeros(1)}
    assert sources.as_built(unknown, built).keys() == unknown.keys()  # told when it is loaded

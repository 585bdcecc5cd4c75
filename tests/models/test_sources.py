"""Networks are built by a user's own code, or by timm."""

import sys
import sysconfig

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound, files

CODE = """
import torch
from torch import nn
from own_layers import conv

class Net(nn.Sequential):
    def __init__(self, width=5):
        super().__init__(conv(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))

def make():
    return Net(7)

ready = Net()
number = 5

def fails():
    raise KeyError("no weights here")

def gives_a_dict():
    return {}
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "own_layers.py").write_text(
        "from torch import nn\ndef conv(width):\n    return nn.Conv2d(3, width, 3)\n"
    )
    path = tmp_path / "own_net.py"
    path.write_text(CODE)
    yield path
    for name in ("own_layers", "own_net", "user_own_net", "installed"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("factory", "width"), [("make", 7), ("Net", 5), ("ready", 5)])
def test_a_file_builds_the_network_and_finds_modules_beside_it(file, factory, width):
    before = list(sys.path)
    model = models.load(f"{file}:{factory}", input_size=12)
    assert model.card.name == factory and model.net[0].out_channels == width
    code = {str(file), str(file.with_name("own_layers.py"))}
    assert code <= files.recorded_inputs().keys() and sys.path == before
    again = models.load(f"{file}:{factory}", input_size=12)
    assert torch.equal(again.net[0].weight, model.net[0].weight)


def test_a_package_builds_the_network(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    installed = file.parent / "env" / "installed.py"
    installed.parent.mkdir()
    installed.write_text("")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"purelib": str(installed.parent)})
    monkeypatch.syspath_prepend(installed.parent)
    file.write_text(f"import installed\n{CODE}")
    monkeypatch.setattr(files, "_inputs", {})
    model = models.load("own_net:make", input_size=(12, 9), classes=["a", "b", "c"])
    assert model.card.input_size == (12, 9) and model.card.classes == ("a", "b", "c")
    assert files.recorded_inputs().keys() == {str(file), str(file.with_name("own_layers.py"))}
    torch.save(model.net.state_dict(), "own.pt")
    other = models.load("own_net:make", input_size=12, weights="own.pt", seed=5)
    assert torch.equal(other.net[3].weight, model.net[3].weight)


def test_a_fine_tuned_head_is_rebuilt_from_the_file(file):
    weights = models.load(f"{file}:Net", input_size=12).net.state_dict()
    weights["3.weight"], weights["3.bias"] = torch.rand(8, 5), torch.rand(8)
    torch.save(weights, file.parent / "tuned.pt")
    names = file.parent / "names.txt"
    names.write_text("\ufeffone\n two \r\n\nthree\nfour\nfive\nsix\nseven\neight\n")
    tuned = models.load(
        f"{file}:Net", input_size=12, weights=file.parent / "tuned.pt", classes=names
    )
    assert tuned.card.classes[:2] == ("one", "two") and len(tuned.card.classes) == 8
    assert tuned(torch.rand(2, 3, 12, 12)).shape == (2, 8)
    assert tuned.layer_aliases["logits"] == "net.3"


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        ("mak", NameNotFound, "did you mean make"),
        ("fails", InputError, r"fails\(\) of .* failed \(KeyError: 'no weights here'\)"),
        ("gives_a_dict", InputError, "gives a dict; expected a torch nn.Module"),
        ("number", InputError, "failed"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_code(file, factory, error, message):
    with pytest.raises(error, match=message) as caught:
        models.load(f"{file}:{factory}", input_size=12)
    assert "\n" not in str(caught.value)


def test_files_and_modules_that_are_missing_or_broken_are_named(file):
    with pytest.raises(FileError, match=r"no Python file at nowhere\.py"):
        models.load("nowhere.py:make", input_size=12)
    with pytest.raises(InputError, match="no_such_package cannot be imported"):
        models.load("no_such_package:make", input_size=12)
    file.write_text("def make(:\n")
    with pytest.raises(InputError, match=r"cannot be imported \(SyntaxError"):
        models.load(f"{file}:make", input_size=12)
    with pytest.raises(FileError, match="no text file with class names"):
        models.load("alexnet_mini", classes=file.parent / "none.txt")


def test_a_network_of_timm_knows_its_input():
    pytest.importorskip("timm", reason="timm is not installed")
    model = models.load("timm:resnet10t", weights="random", channels=1)
    assert model.channels == 1 and model.card.input_size == 176
    assert len(model.card.classes) == 1000 and model.layer_aliases["logits"] == "net.fc"
    with pytest.raises(NameNotFound, match="resnet10t"):
        models.load("timm:resnet10", weights="random")


def test_the_error_without_timm_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match="pip install timm"):
        models.load("timm:resnet10t", weights="random")


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "alexnet_mini", "caffenet"])
def test_networks_by_name_take_other_numbers_of_channels(name):
    size = {"alexnet_mini": 128, "caffenet": 227}.get(name, (96, 128))
    model = models.load(name, weights="random", channels=1, input_size=size)
    scores = models.load(name, weights="random").card.classes
    if isinstance(model.net.get_submodule(model.first_conv()), nn.Conv2d):
        assert model.kernels().shape[1] == 1 and model.card.classes == scores
    assert len(model.card.normalization.mean) == 1

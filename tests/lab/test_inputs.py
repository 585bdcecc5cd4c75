"""What parameters name is opened before a kernel starts, and what is wrong is named."""

import re

import pytest
from support.malformed import broden, images, weights

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.lab import cli, inputs, notebooks
from cnnvis_lab.lab.render import job

KNOWN = notebooks.read_all()
WRONG = {  # notebook, parameters -> the parameter that is named, and what is said of it
    ("00", "MODEL=resnet18"): ("MODEL", "no weights are shipped for resnet18"),
    ("00", "WEIGHTS=w.pt"): ("WEIGHTS", "w.pt is damaged: conv1.weight contains NaN"),
    ("01", "MODEL=alexnet_mini", "WEIGHTS=none.pt"): ("WEIGHTS", "no weights file at none.pt"),
    ("02", "GENERATOR=deepsim_fc6"): ("GENERATOR", "deepsim_fc6"),
    ("02", "GENERATOR_WEIGHTS=w.pt"): ("GENERATOR_WEIGHTS", "w.pt does not fit"),
    ("01", "DATA=none"): ("DATA", "no folder with images at none"),
    ("01", "DATA=~nobody_here"): ("DATA", "~nobody_here is no path"),
    ("06", "DATA=images"): ("DATA", "1 of 2 images in images cannot be read: images/a.png"),
    ("07", "DATA=images"): ("DATA", "images is not a Broden folder"),
    ("07", "DATA=broden"): ("DATA", "index.csv row 3, object: label map b_object.png"),
    ("03", "DATA=broden"): ("DATA", "index.csv row 3, object: label map b_object.png"),
    ("08", "DATA=broden"): ("DATA", "no image of split 'val' in broden"),
    ("04", "RECORD=w.pt/below"): ("RECORD", "cannot write to w.pt/below"),
    ("04", "RECORD=recorded"): ("RECORD", "no step is recorded in recorded yet"),
    ("04", "MODEL=squeezenet1_1"): ("MODEL", "to train another network, give TRAIN_DATA"),
    ("04", "TRAIN_DATA=images"): ("TRAIN_DATA", "images"),
    ("02", "GENERATOR=w.pt"): ("GENERATOR", "w.pt does not say what it reads"),
    ("05", "DECODERS=none"): ("DECODERS", "no weights file at none"),
    ("06", "DECODERS=images"): ("DECODERS", "images: no decoder; expected decoders of alexnet"),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a file of weights, images, and a Broden folder, all of them malformed."""
    folder = tmp_path_factory.mktemp("given")
    weights.WEIGHTS["NaN"].write(folder)
    images.files(a_png=b"no image", b_png=images.encoded("PNG"))(folder)
    broden.BRODEN["a damaged map"].write(folder)
    (folder / "recorded").mkdir()
    (folder / "recorded" / "evolution.json").write_text('{"labels": {}, "units": {}}')
    return folder


def _values(book: str, *pairs: str) -> tuple[notebooks.Notebook, dict[str, object]]:
    notebook = notebooks.find(book, KNOWN)
    values = {name: parameter.default for name, parameter in notebook.parameters.items()}
    for name, text in (pair.split("=") for pair in pairs):
        values[name] = [text] if isinstance(values[name], list) else text
    return notebook, values


@pytest.mark.parametrize("case", WRONG, ids="-".join)
def test_what_is_missing_damaged_or_unfit_is_named_by_its_parameter(case, given, monkeypatch):
    monkeypatch.chdir(given)
    before = sorted(given.rglob("*"))
    name, says = WRONG[case]
    notebook, values = _values(*case)
    with pytest.raises(InputError, match=f"^{notebook.name}: {name}: .*{re.escape(says)}"):
        inputs.check(notebook, values)
    assert sorted(given.rglob("*")) == before


def test_mistakes_are_reported_before_code_is_searched(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(job, "dependencies", lambda *_: pytest.fail("code was searched"))
    assert cli.main(["render", "01", "-p", "DATA", "none", "--out", str(tmp_path / "out")]) == 2
    assert "DATA: no folder with images at none" in capsys.readouterr().err


def test_declared_values_open_nothing(monkeypatch):
    monkeypatch.setattr(inputs, "_load_model", lambda _: pytest.fail("a network was loaded"))
    monkeypatch.setattr(models, "open_images", lambda *_: pytest.fail("images were opened"))
    for book in KNOWN:
        inputs.check(*_values(book))


def test_what_can_be_used_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broden.write(tmp_path)
    images.files(a_png=images.encoded("PNG"))(tmp_path)
    for case in (
        ("01", "MODEL=zfnet_mini", "DATA=images"),
        ("07", "DATA=broden"),
        ("02", "GENERATOR=generator_FL2"),
        ("04", "MODEL=alexnet_mini", "RECORD=new/below"),
        ("04", "MODEL=squeezenet1_1", "TRAIN_DATA=."),
    ):
        inputs.check(*_values(*case))
    assert not (tmp_path / "new").exists()


def test_every_folder_is_declared_in_words_that_are_checked():
    declared = [
        one
        for book in KNOWN.values()
        for one in book.parameters.values()
        if "folder" in one.help and one.name != "OUT"
    ]
    assert len(declared) >= 8
    for one in declared:
        assert any(words in one.help for words in inputs._FOLDERS), f"{one.name}: {one.help}"

"""Records of foreign results folders: paths stay inside, and odd values are one line."""

import json
import shutil
from pathlib import Path

import pytest
from support import tiny_notebooks

from cnnvis_lab.lab import cli, records
from cnnvis_lab.lab.render import execute

NAME = "01_first"


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    with tiny_notebooks.known_notebooks(folder, {NAME: "F1"}):
        assert not (folder / "out").exists()
        tiny_notebooks.render_without_kernel(folder / "out", NAME)
    return folder


@pytest.fixture
def out(drawn_once, tmp_path, monkeypatch) -> Path:
    """A results folder beside files of somebody else."""
    shutil.copytree(drawn_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    monkeypatch.setattr(execute, "execute", tiny_notebooks.execute_without_kernel)
    (tmp_path / "victim.png").write_text("mine")
    return tmp_path / "out"


def _change(out: Path, change: object) -> None:
    file = records.record_path(out, NAME)
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def _commands(out: Path) -> list[list[str]]:
    page = str(out.parent / "compared.html")
    return [
        ["render", "-p", "NOTE", "another", "--out", str(out)],
        ["render", "--force", "--out", str(out)],
        ["verify", "--out", str(out)],
        ["claims", "--out", str(out)],
        ["compare", str(out), str(out), "--out", page],
    ]


def _refused(out: Path, capsys: pytest.CaptureFixture, says: str) -> None:
    """Check that every command refuses the folder in one line and changes no file."""
    before = {file: file.read_bytes() for file in out.parent.rglob("*") if file.is_file()}
    for words in _commands(out):
        assert cli.main(words) == 2, words
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.count("\n") == 1, words
        assert says in printed.err and NAME in printed.err
        after = {file: file.read_bytes() for file in out.parent.rglob("*") if file.is_file()}
        after.pop(out / ".cnnvis-lock", None)
        assert after == before, words


@pytest.mark.parametrize(
    "path",
    ["../victim.png", "figures/../../victim.png", "{absolute}", "figures/link/victim.png",
     "figures\\..\\..\\victim.png", "records/01_first.json", "figures/.", "figures/", "",
     "javascript:alert(1)", "figures/linked.png", "figures/a\nb.png", "figures/a\0b"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["outputs", "file", "arrays"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path, where, out, capsys):
    (out / "figures" / "link").symlink_to(out.parent, target_is_directory=True)
    (out / "figures" / "linked.png").symlink_to(out.parent / "victim.png")
    path = path.format(absolute=out.parent / "victim.png")

    def change(record: dict) -> None:
        if where == "outputs":
            record["outputs"][path] = records.files.digest(out.parent / "victim.png")
        else:
            record["figures"]["F1"][where] = path

    _change(out, change)
    _refused(out, capsys, "which is no output of a render")


ODD = {
    "figures": [[], "F1", {"F1": []}, {"F1": {}}, {"F1": {"file": 1, "caption": "", "alt": ""}}],
    "claims": [
        [],
        {"F1.1": 3},
        {"F1.1": {"measured": "1", "holds": True, "note": ""}},
        {"F1.1": {"measured": float("nan"), "holds": True, "note": ""}},
        {"F1.1": {"measured": 0.5, "holds": None, "note": ""}},
        {"F1.1": {"measured": None, "holds": None, "note": ["<b>"]}},
        {"F1.1": {"measured": None, "holds": None, "note": "", "id": "another"}},
    ],
    "outputs": [["figures/F1.png"], {"figures/F1.png": None}],
    "inputs": [[], {"a": 1}],
    "needed": ["", {"02": []}],
    "parameters": [[], None],
    "metrics": [{"mean": float("inf")}, {"mean": True}],
    "seconds": ["1", float("nan"), True],
    "key": [1],
    "preset": [["default"]],
    "command": [{}],
}


@pytest.mark.parametrize(
    ("part", "value"), [(part, value) for part, values in ODD.items() for value in values]
)
def test_a_value_of_an_odd_type_is_refused(part, value, out, capsys):
    _change(out, lambda record: record.update({part: value}))
    _refused(out, capsys, f"its {part} are odd")


def test_deep_nesting_and_missing_parts_are_no_record(out):
    file = records.record_path(out, NAME)
    record = json.loads(file.read_text())
    for text in ("[" * 10**5, json.dumps({**record, "preset": 0} | {}).replace("preset", "x"), "3"):
        file.write_text(text)
        assert records.read_record(out, NAME) is None


def test_an_output_that_its_owner_has_changed_is_not_removed_with_the_old_ones(out):
    kept, removed = out / "figures" / "kept.png", out / "figures" / "removed.png"
    for file in (kept, removed):
        file.write_text("drawn")
        name = f"figures/{file.name}"
        digest = records.files.digest(file)
        _change(out, lambda record, name=name, was=digest: record["outputs"].update({name: was}))
    kept.write_text("mine")
    assert cli.main(["render", "--force", "--out", str(out)]) == 0
    assert kept.read_text() == "mine" and not removed.exists()

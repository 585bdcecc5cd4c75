"""Keys and records detect every change since a notebook was drawn, and nothing else."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from support import tiny_notebooks

from cnnvis_lab.core import FileError
from cnnvis_lab.core.files import digest
from cnnvis_lab.lab import notebooks, records, render
from cnnvis_lab.lab.render import fingerprint

MODULES = {
    "__init__": "",
    "alone": "import os\nvalue = 1",
    "a/__init__": "",
    "a/first": "from .second import thing\nfrom . import third",
    "a/second": "thing = 1\n\n\ndef later():\n    from ..b import inner\n    return inner",
    "a/third": "import json",
    "b/__init__": "from .exported import *",
    "b/exported": "from lab_of_test.alone import value as exported_value",
    "b/inner": "import lab_of_test.b.deep.bottom",
    "b/deep/__init__": "",
    "b/deep/bottom": "from ... import alone\nfrom ...a import second",
    "idle/__init__": "",
    "idle/first": "from ..a import first",
}
IMPORTS = {
    "import lab_of_test.alone": {"__init__", "alone"},
    "from lab_of_test import alone": {"__init__", "alone"},
    "from lab_of_test.alone import value": {"__init__", "alone"},
    "import os, json\nimport lab_of_test_other": set(),
    "%matplotlib inline\n!ls\nif True:\n    %time 1\nimport lab_of_test": {"__init__"},
    "from lab_of_test.a import third": {"__init__", "a/__init__", "a/third"},
    "x = (7\n  % 4)\nfrom lab_of_test.a import third": {"__init__", "a/__init__", "a/third"},
}


@pytest.fixture
def package(tmp_path):
    for name, text in MODULES.items():
        file = tmp_path / "lab_of_test" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return (tmp_path / "lab_of_test").resolve()


def _library_modules(code, package) -> set[str]:
    files = fingerprint.library_files(code, package)
    return {file.relative_to(package).with_suffix("").as_posix() for file in files}


@pytest.mark.parametrize("code", IMPORTS)
def test_imported_modules_are_found_for_every_form_of_import(package, code):
    assert _library_modules(code, package) == IMPORTS[code]


def test_exactly_the_modules_that_python_loads_are_found(package):
    code = "from lab_of_test.a import first\nfirst.thing\n"
    loading = code + (
        "from lab_of_test.a.second import later; later(); import sys, lab_of_test as p\n"
        "loaded = [m.__file__ for n, m in sys.modules.items() if n.startswith('lab_of_test')]\n"
        "print('\\n'.join(loaded))"
    )
    environment = os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", loading], capture_output=True, text=True, env=environment, check=True
    )
    loaded = {
        name for name in MODULES if str(package / f"{name}.py") in finished.stdout.splitlines()
    }
    assert (
        _library_modules(code, package)
        == loaded
        == {n for n in MODULES if not n.startswith("idle")}
    )


def test_the_librarys_modules_are_found_through_their_imports():
    names = _library_modules("from cnnvis_lab import lab", records.PACKAGE)
    assert {"__init__", "lab/run", "lab/figures/images", "lab/notebooks", "core/files"} <= names
    assert not any(
        name.startswith(("methods", "models/")) or name.startswith("lab/cli") for name in names
    )


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory):
    """Two notebooks, the second of which needs the first, and their results."""
    folder = tmp_path_factory.mktemp("drawn")
    tiny_notebooks.write(folder / "notebooks", "01_first")
    tiny_notebooks.write(folder / "notebooks", "02_second", figure="F2", needs=("01_first",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIS_NOTEBOOKS", str(folder / "notebooks"))
        for name in ("01_first", "02_second"):
            tiny_notebooks.render_without_kernel(folder / "out", name)
    return folder


@pytest.fixture
def known(drawn_once, tmp_path, monkeypatch):
    shutil.copytree(drawn_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    return notebooks.read_all()


def _key(notebook, **changed) -> str:
    return fingerprint.fingerprint(notebook, notebook.resolve("default", changed))


def test_a_key_depends_on_parameters_source_versions_and_code_but_not_on_the_folder(
    known, monkeypatch
):
    first = known["01_first"]
    key = _key(first)
    assert key == _key(first) == _key(first, OUT="elsewhere") == _key(first, LEVEL=0.25)
    changed = [_key(first, LEVEL=0.5), _key(first, SIDES=[4, 6]), _key(known["02_second"])]
    tiny_notebooks.replace_in(first.path, "Its mean", "The mean")
    changed.append(_key(notebooks.read(first.path)))
    monkeypatch.setattr(fingerprint, "version", lambda name: "0.0.1")
    changed.append(_key(first))
    monkeypatch.setattr(fingerprint.files, "digest", lambda file: f"another {file.name}")
    changed.append(_key(first))
    assert len({key, *changed}) == 7


def test_code_that_is_not_python_is_named_in_the_error(known):
    path = known["01_first"].path
    tiny_notebooks.replace_in(path, '"pass"', '"value = = 1"')
    with pytest.raises(FileError, match=r"01_first.ipynb: not Python: 'value = = 1'"):
        _key(notebooks.read(path))


@pytest.fixture
def out(tmp_path, known):
    return tmp_path / "out"


def _stale(out, known) -> set[str]:
    return {
        name for name, book in known.items() if not fingerprint.is_up_to_date(out, book, _key(book))
    }


def _files(out) -> list:
    return [file for file in sorted(out.rglob("*")) if file.is_file()]


def test_nothing_is_stale_right_after_drawing(out, known):
    assert _stale(out, known) == set()
    assert not fingerprint.is_up_to_date(out, known["01_first"], _key(known["01_first"], LEVEL=0.5))


@pytest.mark.parametrize("damage", ["change", "empty", "delete"])
def test_a_damaged_output_makes_only_its_notebook_stale(out, known, damage):
    for file in _files(out):
        content = file.read_bytes()
        changed = bytes([content[0] ^ 1]) + content[1:]
        file.unlink() if damage == "delete" else file.write_bytes(changed * (damage == "change"))
        owner = "01_first" if "01_first" in file.name or file.stem == "F1" else "02_second"
        # The second needs the results of the first, which the first's record describes.
        lost_record = file.parent.name == "records" and owner == "01_first"
        assert _stale(out, known) == {owner} | ({"02_second"} if lost_record else set()), file
        file.write_bytes(content)
        assert _stale(out, known) == set()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"outputs": {}}', "\udcff"])
def test_an_unreadable_record_counts_as_missing(out, known, text):
    records.record_path(out, "02_second").write_text(text, errors="surrogateescape")
    assert records.read_record(out, "02_second") is None
    assert _stale(out, known) == {"02_second"}


def test_a_changed_or_missing_input_makes_its_reader_stale(out, known, tmp_path):
    record = records.read_record(out, "02_second")
    for name, path in ("file", tmp_path / "weights.bin"), ("folder", tmp_path / "data"):
        if name == "folder":
            path.mkdir()
            (path / "a.png").write_text("pixels")
        else:
            path.write_text("weights")
        record["inputs"] = {str(path): digest(path)}
        records.record_path(out, "02_second").write_text(json.dumps(record))
        assert _stale(out, known) == set() and records.changed_inputs(record) == []
        (path / "b.png" if name == "folder" else path).write_text("other")
        assert _stale(out, known) == {"02_second"}
        assert records.changed_inputs(record) == [str(path)]
    path.rename(tmp_path / "moved")
    assert records.changed_inputs(record) == [str(path)]


def test_a_notebook_is_stale_if_one_that_it_needs_has_other_results(out, known):
    tiny_notebooks.render_without_kernel(out, "01_first")
    assert _stale(out, known) == set()  # the results are the same
    tiny_notebooks.render_without_kernel(out, "01_first", LEVEL=0.5, SIDES=[2, 2])
    assert _stale(out, known) == {"01_first", "02_second"}


def test_a_plan_resolves_parameters_and_runs_needed_notebooks_first(known, tmp_path):
    def plan(*names, **overrides):
        return render.plan(names, known, preset="smoke", overrides=overrides, out=tmp_path)

    jobs = plan("02", LEVEL="0.5", SIDES=[3, 3])
    assert [job.notebook.name for job in jobs] == ["01_first", "02_second"]
    assert all(job.parameters["SIDES"] == [3, 3] for job in jobs)
    assert [job.overrides for job in jobs] == [{"LEVEL": 0.5, "SIDES": [3, 3]}] * 2
    assert [job.fingerprint for job in jobs] == [
        job.fingerprint for job in plan(LEVEL="0.5", SIDES=[3, 3])
    ]

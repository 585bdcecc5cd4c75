"""Keys and records detect every change since a notebook was drawn, and nothing else."""

import json
import shutil
from dataclasses import replace

import pytest
from support import tiny_notebooks

from cnnvis_lab.core import FileError
from cnnvis_lab.core.files import digest
from cnnvis_lab.lab import gallery, notebooks, records, render
from cnnvis_lab.lab.dependencies import find_dependencies
from cnnvis_lab.lab.render import fingerprint


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
    values = notebook.resolve("default", changed)
    return fingerprint.fingerprint(fingerprint.dependencies(notebook, values))


def test_a_key_depends_on_parameters_source_versions_and_code_but_not_on_the_folder(
    known, monkeypatch
):
    first = known["01_first"]
    key = _key(first)
    assert key == _key(first) == _key(first, OUT="elsewhere") == _key(first, LEVEL=0.25)
    changed = [_key(first, LEVEL=0.5), _key(first, SIDES=[4, 6]), _key(known["02_second"])]
    tiny_notebooks.replace_in(first.path, "Its mean", "The mean")
    changed.append(_key(notebooks.read(first.path)))
    monkeypatch.setattr(fingerprint, "code_digest", lambda code: "other code, or other packages")
    changed.append(_key(first))
    assert len({key, *changed}) == 6


def _explained(known, tmp_path, *, force=False, **overrides) -> list[str]:
    jobs = render.plan([], known, preset="default", overrides=overrides, out=tmp_path / "out")
    return render.explain(jobs, known, force=force)


def test_what_would_be_drawn_is_explained_and_nothing_is_written(known, tmp_path, monkeypatch):
    gallery.build(tmp_path / "out", known)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert _explained(known, tmp_path) == ["01_first: up to date", "02_second: up to date"]
    assert _explained(known, tmp_path, LEVEL=0.5) == [
        f"{name}: would be drawn: LEVEL is 0.5, was 0.25" for name in known
    ]
    assert _explained(known, tmp_path, force=True)[0].endswith(": --force is given")
    assert before == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    (tmp_path / "out" / "index.html").unlink()
    assert _explained(known, tmp_path)[2:] == ["the gallery would be made again"]
    figure = tmp_path / "out" / "figures" / "F1.png"
    figure.write_bytes(figure.read_bytes()[:-1])
    assert _explained(known, tmp_path) == [
        "01_first: would be drawn: figures/F1.png is missing or changed",
        "02_second: would be drawn if the results of 01_first change",
    ]
    monkeypatch.setattr(fingerprint, "code_digest", lambda code: "other code")
    code = "code that it uses, or the version of a package, changed"
    assert _explained(known, tmp_path)[1] == f"02_second: would be drawn: {code}"


def test_reasons_name_what_changed_since_a_notebook_was_drawn(known, tmp_path):
    out, first = tmp_path / "out", known["01_first"]
    tiny_notebooks.replace_in(first.path, "Its mean", "The mean")
    known = notebooks.read_all()
    explained = _explained(known, tmp_path)
    assert explained[0] == "01_first: would be drawn: its cells or what it declares changed"
    record = records.read_record(out, "01_first")
    record.pop("parts")
    record |= {"inputs": {"gone.png": "0"}, "metrics": {"mean": 2.0}}
    records.write_record(out, "01_first", record)
    assert _explained(known, tmp_path) == [
        "01_first: would be drawn: its cells, what it declares, or code that it uses changed; "
        "gone.png, which it read, changed",
        "02_second: would be drawn: results of 01_first changed",
    ]
    records.record_path(out, "01_first").write_text("{")
    records.record_path(out, "02_second").unlink()
    assert [line.split(": ")[2] for line in _explained(known, tmp_path)] == [
        "its record is damaged",
        "it was not drawn yet",
    ]


def test_a_key_depends_on_what_executes_notebooks_and_cleans_them(known, monkeypatch):
    seen = []
    monkeypatch.setattr(fingerprint, "code_digest", seen.append)
    _key(known["01_first"])
    counted = find_dependencies(seen[0]).digests
    assert {"cnnvis_lab.lab.render.execute", "cnnvis_lab.lab.run"} <= counted.keys()
    without = find_dependencies(known["01_first"].code).digests
    assert "cnnvis_lab.lab.render.execute" not in without


def test_the_same_relative_path_in_another_folder_is_another_parameter(
    known, tmp_path, monkeypatch
):
    first, keys = known["01_first"], []
    for folder in ("here", "there"):
        (tmp_path / folder / "images").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / folder)
        keys += [_key(first, NOTE="images"), _key(first, SIDES=["images", 3])]
        assert _key(first, NOTE=str(tmp_path / folder / "images")) == keys[-2]
        assert _key(first, NOTE="../here/images") == keys[0]
        assert _key(first, NOTE="none here") == _key(first, NOTE="none here")
        keys.append(_key(first, NOTE="own.py:build"))
        assert keys[-1] == _key(first, NOTE=f"{tmp_path / folder / 'own.py'}:build")
    assert len({*keys, _key(first), _key(first, NOTE="")}) == 8
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    assert _key(first, NOTE="~/images") == keys[0]
    for odd in ("a" * 5000, "\0", "~nobody-of-this-name/images"):
        assert _key(first, NOTE=odd) != keys[0]


def test_a_folder_that_the_run_creates_is_the_same_parameter_before_and_after(
    known, tmp_path, monkeypatch
):
    note = replace(known["01_first"].parameters["NOTE"], help="folder to record in, or none")
    first = replace(known["01_first"], parameters=known["01_first"].parameters | {"NOTE": note})
    monkeypatch.chdir(tmp_path)
    key = _key(first, NOTE="recorded")
    (tmp_path / "recorded").mkdir()
    assert _key(first, NOTE="recorded") == key != _key(first)


def test_magics_are_no_obstacle(known):
    path = known["01_first"].path
    tiny_notebooks.replace_in(path, '"pass"', '"%matplotlib inline\\n!ls\\nif True:\\n    %time 1"')
    assert _key(notebooks.read(path)) != _key(known["01_first"])


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

"""The shipped notebooks have no outputs in the repository and run at smoke size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from cnnvis_lab.lab import notebooks

KNOWN = notebooks.read_all()
FOLDER = notebooks.folder()


@pytest.mark.parametrize("name", KNOWN)
def test_a_notebook_has_no_outputs_and_little_code(name):
    content = nbformat.read(KNOWN[name].path, as_version=4)
    nbformat.validate(content)
    every = [cell for cell in content.cells if cell.cell_type == "code"]
    lesson = [cell for cell in content.cells if not notebooks.EXERCISE_TAGS & notebooks.tags(cell)]
    code = [cell for cell in lesson if cell.cell_type == "code"]
    assert content.metadata.kernelspec.name == "python3" and content.nbformat_minor == 5
    assert not any(cell.outputs or cell.execution_count for cell in every)
    assert content.cells[0].cell_type == "markdown" and content.cells[0].source.startswith("# ")
    assert len(code) <= 16 and not any("def " in cell.source for cell in code)
    texts = [cell for cell in lesson if cell.cell_type == "markdown"]
    assert len(texts) >= len(code) / 2


@pytest.mark.parametrize("name", KNOWN)
def test_papermill_finds_every_parameter(name):
    inferred = papermill.inspect_notebook(KNOWN[name].path)
    assert set(inferred) == set(KNOWN[name].parameters)
    assert {"MODEL", "WEIGHTS", "MODEL_OPTIONS", "SEED", "THREADS", "OUT"} <= set(inferred)
    for preset in ("smoke", "default", "paper"):
        KNOWN[name].resolve(preset, {})


@pytest.mark.parametrize("name", KNOWN)
def test_layers_of_a_preset_are_not_used_for_another_network(name):
    if "LAYERS" in KNOWN[name].parameters:
        assert KNOWN[name].resolve("smoke", {"MODEL": "squeezenet1_1"})["LAYERS"] == []
        overrides = {"MODEL": "squeezenet1_1", "LAYERS": ["features.3"]}
        assert KNOWN[name].resolve("smoke", overrides)["LAYERS"] == ["features.3"]
        layers = KNOWN[name].presets.get("smoke", {}).get("LAYERS", [])
        assert KNOWN[name].resolve("smoke", {})["LAYERS"] == layers


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """All notebooks drawn at smoke size by the command line."""
    out = tmp_path_factory.mktemp("smoke") / "results"
    command = [sys.executable, "-m", "cnnvis_lab.lab.cli", "render", "--preset", "smoke"]
    command += ["-p", "THREADS", "1"]  # the other core is for another worker of the tests
    finished = subprocess.run([*command, "--out", out], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return out


@pytest.mark.parametrize("name", KNOWN)
def test_a_notebook_draws_and_measures_everything_that_it_declares(smoke, name):
    record = json.loads((smoke / "records" / f"{name}.json").read_text())
    assert set(record["figures"]) == set(KNOWN[name].figures)
    assert set(record["claims"]) == {claim.id for claim in KNOWN[name].claims}
    for figure in record["figures"].values():
        assert (smoke / figure["file"]).stat().st_size > 2000
        assert figure["alt"] and figure["caption"]
    assert any("weights" in path for path in record["inputs"])


def test_plain_papermill_runs_a_notebook_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = next(iter(KNOWN.values()))
    small = first.resolve("smoke", {})
    command = [sys.executable, "-m", "papermill", str(first.path), "out.ipynb", "--no-progress-bar"]
    for parameter, value in small.items():
        command += ["-y", json.dumps({parameter: value})]
    environment = {**os.environ, "PYTHONPATH": ""}
    finished = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert any(
        out.output_type == "display_data" for c in executed.cells for out in c.get("outputs", ())
    )
    # OUT is empty, so that nothing else is written.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.ipynb"]

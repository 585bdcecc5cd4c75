"""A run takes its parameters, sets the seeds, and records what it draws and measures."""

import json
import random

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from support import tiny_notebooks

from cnnvis_lab.core import InputError, LabError, NameNotFound
from cnnvis_lab.core.files import digest, record_input
from cnnvis_lab.lab import begin, figures, run
from cnnvis_lab.lab.run import NOT_FINITE, Run


@pytest.fixture(autouse=True)
def _notebook(tmp_path, monkeypatch):
    """One tiny notebook; torch's settings are restored."""
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    threads = "THREADS: int = 1  # CPU threads\n"
    tiny_notebooks.write(
        tmp_path / "notebooks", "01_first", parameters=tiny_notebooks.PARAMETERS + threads
    )
    state = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    yield
    torch.set_num_threads(state[0])
    torch.set_float32_matmul_precision(state[1])
    torch.set_deterministic_debug_mode("default")


def _figure() -> Figure:
    return figures.image_grid([[np.eye(3)]])


def _draw(run: Run, **arrays: object) -> None:
    drawing = figures.Drawing(_figure(), "An eye", "A diagonal", arrays)
    run.figure("F1", drawing, question="Where?")


def _complete(run: Run) -> run.Verdicts:
    run.measure("F1.1", 0.25, "of one")
    run.measure("F1.2", 0.5)
    return run.finish()


def test_only_names_of_parameters_are_taken_from_the_notebook():
    started = begin("01_first", {"LEVEL": 0.5, "SIDES": [2, 2], "STRANGER": 1, "np": np})
    defaults = started.notebook.resolve("default", {})
    assert started.parameters == defaults | {"LEVEL": 0.5, "SIDES": [2, 2]}
    assert begin("01_first", {}).parameters == defaults


def _random_numbers() -> tuple:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_seed_determines_the_numbers_of_every_generator():
    drawn = []
    for seed in (3, 3, 4):
        begin("01_first", {"SEED": seed})
        drawn.append(_random_numbers())
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_the_number_of_threads_is_set_and_algorithms_are_deterministic():
    for threads in (1, 2):
        begin("01_first", {"THREADS": threads})
        assert torch.get_num_threads() == threads
        assert torch.are_deterministic_algorithms_enabled()
        # MaxUnpool2d has no deterministic version.
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    with pytest.raises(InputError, match="THREADS = 0: expected at least 1"):
        begin("01_first", {"THREADS": 0})


@pytest.mark.parametrize(
    ("name", "given", "error", "says"),
    [
        ("01_fist", {}, NameNotFound, "did you mean 01_first"),
        ("01_first", {"SIDES": (2, 2)}, InputError, r"SIDES = \(2, 2\), expected list"),
        ("01_first", {"SEED": 0.5}, InputError, "SEED = 0.5, expected int"),
        ("01_first", {"LEVEL": True}, InputError, "LEVEL = True, expected float"),
    ],
)
def test_wrong_names_and_parameters_are_refused_in_one_line(name, given, error, says):
    with pytest.raises(error, match=says) as caught:
        begin(name, given)
    assert "\n" not in str(caught.value)


def test_a_run_records_everything_as_json(tmp_path):
    read = tmp_path / "read.txt"
    read.write_text("pixels")
    started = begin("01_first", {"OUT": str(tmp_path / "out"), "LEVEL": 1})
    record_input(read)
    started.metric("rate", torch.tensor(0.5).item())
    _draw(started, eye=np.eye(3))
    verdicts = _complete(started)
    text = (tmp_path / "out" / "run.json").read_text()
    record = json.loads(text, parse_constant=pytest.fail)  # neither NaN nor infinity
    assert record["notebook"] == "01_first" and record["metrics"] == {"rate": 0.5}
    assert record["parameters"] == {k: v for k, v in started.parameters.items() if k != "OUT"}
    assert record["claims"] == {
        "F1.1": {"measured": 0.25, "holds": True, "note": "of one"},
        "F1.2": {"measured": 0.5, "holds": False, "note": ""},
    }
    assert [verdict.holds for verdict in verdicts] == [True, False]
    figure = record["figures"]["F1"]
    assert (figure["caption"], figure["alt"]) == ("An eye", "A diagonal")
    assert (figure["question"], figure["claims"]) == ("Where?", ["F1.1", "F1.2"])
    for kind, file in (("sha256", "file"), ("arrays_sha256", "arrays")):
        assert figure[kind] == digest(tmp_path / "out" / figure[file])
    assert record["inputs"][str(read)] == digest(read)
    assert record["environment"]["threads"] == 1
    assert record["environment"]["torch"] == torch.__version__.split("+")[0]


def test_the_displayed_image_is_the_saved_one(tmp_path, monkeypatch):
    displayed = []
    monkeypatch.setattr(run, "display", displayed.append)
    started = begin("01_first", {"OUT": str(tmp_path / "out")})
    started.show(_figure(), alt="A diagonal")
    assert not (tmp_path / "out").exists()
    _draw(started)
    saved = (tmp_path / "out" / "figures" / "F1.png").read_bytes()
    assert saved == figures.to_png(_figure()) and len(displayed) == 2
    for image in displayed:
        assert image.data == saved and image._repr_png_()[1]["alt"] == "A diagonal"


def test_without_an_output_folder_a_run_works_and_writes_nothing(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    started = begin("01_first", {})
    started.show(_figure(), alt="A diagonal")
    _draw(started, eye=np.eye(3))
    assert len(_complete(started)) == 2
    assert sorted(tmp_path.rglob("*")) == before


def _frozen() -> np.ndarray:
    array = np.arange(6.0)
    array.flags.writeable = False
    return array


WHOLE = torch.arange(24.0).view(4, 6)
ARRAYS = {
    "with gradient": torch.rand(3, requires_grad=True),
    "turned": WHOLE.T,
    "every other": WHOLE[::2, 1::2],
    "sharing memory": WHOLE,
    "sharing it too": WHOLE[:2],
    "expanded": torch.ones(1).expand(5),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "half": torch.rand(4).bfloat16(),
    "counts": torch.arange(5),
    "mask": torch.tensor([True, False]),
    "numpy": np.linspace(0, 1, 5),
    "numpy backwards": np.arange(12.0).reshape(3, 4)[:, ::-1],
    "numpy turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "numpy bytes": np.arange(5, dtype=np.uint8),
    "numpy read-only": _frozen(),
}


def test_arrays_are_saved_with_a_figure_exactly_as_given(tmp_path):
    for folder, arrays in ("a", ARRAYS), ("b", dict(reversed(ARRAYS.items()))):
        _draw(begin("01_first", {"OUT": str(tmp_path / folder)}), **arrays)
    saved = load_file(tmp_path / "a" / "arrays" / "F1.safetensors")
    assert saved.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        expected = torch.as_tensor(array.copy()) if isinstance(array, np.ndarray) else array
        assert saved[name].dtype == expected.dtype and torch.equal(saved[name], expected), name
    files = [tmp_path / folder / "arrays" / "F1.safetensors" for folder in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_unknown_figures_and_claims_are_refused_with_the_known_ones():
    started = begin("01_first", {})
    with pytest.raises(NameNotFound, match="no figure of 01_first named 'F11'; did you mean F1"):
        started.figure("F11", figures.Drawing(_figure(), "", ""))
    with pytest.raises(NameNotFound, match=r"no claim of 01_first named 'F1.3'; did you mean F1"):
        started.measure("F1.3", 0.5)


@pytest.mark.parametrize("left_out", ["F1.1", "F1.2", "F1"])
def test_a_missing_figure_or_claim_is_an_error_in_one_line_and_leaves_no_record(tmp_path, left_out):
    started = begin("01_first", {"OUT": str(tmp_path)})
    steps = {
        "F1": lambda: _draw(started),
        "F1.1": lambda: started.measure("F1.1", 0.25),
        "F1.2": lambda: started.measure("F1.2", 0.25),
    }
    for name, step in steps.items():
        if name != left_out:
            step()
    with pytest.raises(LabError, match=rf"{left_out} was declared but not (measured|drawn)$"):
        started.finish()
    assert not (tmp_path / "run.json").exists()
    steps[left_out]()
    started.finish()
    assert (tmp_path / "run.json").exists()


def test_a_claim_that_cannot_be_measured_says_why(tmp_path):
    started = begin("01_first", {"OUT": str(tmp_path)})
    _draw(started)
    started.measure("F1.1", 0.25)
    started.measure("F1.2", None, "no <white> here")
    with pytest.raises(NameNotFound):
        started.measure("F9.9", None)
    verdicts = started.finish()
    assert verdicts[1].holds is None
    assert repr(verdicts).splitlines()[1].endswith("not measured: no <white> here")
    row = verdicts._repr_html_().split("<tr>")[3]
    assert "not measured" in row and "no &lt;white&gt; here" in row and "holds" not in row
    claims = json.loads((tmp_path / "run.json").read_text())["claims"]
    assert claims["F1.2"] == {"measured": None, "holds": None, "note": "no <white> here"}


def test_without_a_reason_the_shared_one_is_given():
    started = begin("01_first", {})
    _draw(started)
    started.measure("F1.1", None)
    started.measure("F1.2", 1.0)
    assert started.finish()[0].note == run.NOT_MEASURABLE


def test_a_claim_belongs_to_the_figure_drawn_last_also_when_a_cell_is_run_again(tmp_path):
    tiny_notebooks.write(tmp_path / "notebooks", "01_first", figures=("F1", "X"))
    started = begin("01_first", {"OUT": str(tmp_path)})
    started.measure("F1.2", 0.5)  # before any figure: of none
    for id in ("F1", "X", "F1"):
        started.figure(id, figures.Drawing(_figure(), "", ""))
    started.measure("F1.1", 0.25)
    started.measure("F1.1", 0.5)
    started.finish()
    drawn = json.loads((tmp_path / "run.json").read_text())["figures"]
    assert {id: entry["claims"] for id, entry in drawn.items()} == {"F1": ["F1.1"], "X": []}


def test_sizes_follow_the_preset_and_former_parameters_say_what_replaces_them(tmp_path):
    declared = {
        "sizes": {
            "default": {"steps": 8, "images": 4},
            "smoke": {"steps": 1},
            "smoke of own networks": {"steps": 3},
        },
        "replaced": {"STEPS": "use PRESET"},
    }
    preset = 'PRESET: str = "default"  # sizes: smoke, default or paper\n'
    preset += 'MODEL: str = ""  # network to analyze\n'
    tiny_notebooks.write(
        tmp_path / "notebooks",
        "01_first",
        parameters=tiny_notebooks.PARAMETERS + preset,
        **declared,
    )
    assert vars(begin("01_first", {}).sizes) == {"steps": 8, "images": 4}
    assert vars(begin("01_first", {"PRESET": "smoke"}).sizes) == {"steps": 1, "images": 4}
    assert vars(begin("01_first", {"PRESET": "smoke", "MODEL": "zfnet_mini"}).sizes)["steps"] == 1
    own = begin("01_first", {"PRESET": "smoke", "MODEL": "resnet18"})
    assert vars(own.sizes) == {"steps": 3, "images": 4}
    own.metric("rate", float("nan"))  # a network with random weights may give no number
    own.measure("F1.1", float("inf"))
    assert own._measured["F1.1"] == (None, NOT_FINITE) and not own._metrics
    with pytest.raises(NameNotFound, match="no preset named 'smok'; did you mean smoke"):
        begin("01_first", {"PRESET": "smok"})
    with pytest.raises(InputError, match="STEPS is no longer a parameter; use PRESET"):
        begin("01_first", {"STEPS": 3})
    tiny_notebooks.write(tmp_path / "notebooks", "01_first", sizes={"smoke": {"steps": 1}})
    with pytest.raises(LabError, match="size steps of preset smoke has no default"):
        begin("01_first", {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_measurements_of_shipped_networks_must_be_finite_numbers(value):
    started = begin("01_first", {})
    with pytest.raises(InputError, match=r"claim F1.1 measured .*; expected a finite number"):
        started.measure("F1.1", value)
    with pytest.raises(InputError, match=r"metric rate measured .*; expected a finite number"):
        started.metric("rate", value)


def test_a_claim_that_does_not_hold_is_shown_as_such():
    started = begin("01_first", {})
    _draw(started)
    verdicts = _complete(started)
    lines = repr(verdicts).splitlines()
    assert "holds" in lines[0] and "DOES NOT HOLD" not in lines[0]
    assert "DOES NOT HOLD" in lines[1] and "0.5 (expected >= 0.99)" in lines[1]
    rows = verdicts._repr_html_().split("<tr>")[2:]
    assert ">holds</td>" in rows[0] and "does not hold" in rows[1]
    assert rows[0].count("text-align: left") == rows[0].count("<td") == 5
    assert "*dark* &amp; &lt; white" in rows[0] and "of one" in rows[0]


def test_a_sentence_takes_the_place_of_a_figure_and_is_the_note_of_its_claims(tmp_path):
    started = begin("01_first", {"OUT": str(tmp_path / "out")})
    started.figure("F1", "no labels here: give DATA")
    started.measure("F1.1", None)
    _draw(started)
    started.measure("F1.2", None)
    started.figure("F1", "no labels here: give DATA")
    notes = [verdict.note for verdict in started.finish()]
    assert notes == ["no labels here: give DATA", run.NOT_MEASURABLE]
    (drawn,) = json.loads((tmp_path / "out" / "run.json").read_text())["figures"].values()
    assert drawn["alt"] == "no labels here: give DATA" and (tmp_path / "out" / drawn["file"]).stat()

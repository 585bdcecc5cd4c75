"""The command line: what it prints, and one line for every mistake."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from support import tiny_notebooks

import cnnvis_lab
from cnnvis_lab import data, models
from cnnvis_lab.lab import cli, progress, render
from cnnvis_lab.models import training


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with two tiny notebooks, one of which has parameters for a network."""
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    tiny_notebooks.write(tmp_path / "notebooks", "01_first")
    network = 'MODEL: str = "alexnet_mini"  # network\nWEIGHTS: str = ""  # its weights\n'
    tiny_notebooks.write(
        tmp_path / "notebooks",
        "02_second",
        figure="F2",
        parameters=tiny_notebooks.PARAMETERS + network,
    )
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


MISTAKES = {
    "": "Missing command",
    "rendr": "No such command 'rendr'",
    "render --jbs 2": "--jbs",
    "render --jobs two": "'--jobs': 'two' is not a valid integer",
    "render --jobs 0": "'--jobs': 0 is not in the range 1<=x<=",
    "render --jobs -1": "'--jobs': -1 is not in the range 1<=x<=",
    "render 01_fist": "no notebook named '01_fist'; did you mean 01_first",
    "render 0": "no notebook named '0'; known: 01_first, 02_second",
    "render --preset smok": "no preset named 'smok'; did you mean smoke",
    "render 01 -p LEVL 1": "no parameter of 01_first named 'LEVL'; did you mean LEVEL",
    "render 01 -p LEVEL high": "LEVEL = 'high': expected float, such as 0.25",
    "render 01 -p LEVEL": "Option '-p' requires 2 arguments",
    "render 01 --model alexnet": "no parameter of 01_first named 'MODEL'",
    "render 02 --weights none.safetensors": "no weights file at none.safetensors; check the path",
    "render 02 --model resnet18": "02_second: MODEL: no weights are shipped for resnet18",
    "render 01 -p OUT elsewhere": "OUT is set by --out",
    "render --out taken": "cannot write to",
    "render --out taken/below": "cannot write to",
    "verify": "no results in reports",
    "verify --out taken": "no results in taken",
    "claims --jsn": "--jsn",
    "params 01_fist": "no notebook named '01_fist'; did you mean 01_first",
    "render 01 --dry-run -p LEVL 1": "no parameter of 01_first named 'LEVL'; did you mean LEVEL",
    "layers alexnet_mni": "no network named 'alexnet_mni'; did you mean alexnet_mini",
    "layers alexnet_mini --weights none.pt": "no weights file at none.pt; check the path",
    "layers alexnet_mini --weights taken": "taken",
    "layers resnet18": "no weights are shipped for",
    "layers": "Missing argument 'MODEL'. See cnnvis layers --help",
    "unit alexnet_mini CL1:1 --images 8 --out taken": "cannot write to taken",
    "dissect alexnet_mini --layers CL1 --images 8 --out taken": "cannot write to taken",
    "dissect alexnet_mini --layers CL1 --data taken": "taken is not a Broden folder",
    "dissect alexnet_mini --layers CL1 --min-images 0": "--min-images': 0 is not in the range",
    "atlas alexnet_mini --layers CL9": "no layer named 'CL9'; did you mean CL",
    "atlas alexnet_mini CL1": "CL1: not expected; layers follow --layers",
    "atlas alexnet_mini --rule deconv": "no backward rule named 'deconv'; did you mean deconvnet",
    "atlas alexnet_mini --units 0": "'--units': 0 is not in the range 1<=x<=1000000000",
    "atlas alexnet_mini --device gpu": "device 'gpu' cannot be used here",
    "atlas alexnet_mini --device meta": "device 'meta' cannot be used here",
    "atlas alexnet_mini --device hpu": "device 'hpu' cannot be used here",
    "atlas alexnet_mini --steps 1000000000000": "--steps",
    "atlas alexnet_mini --jobs 1000000": "--jobs",
    "mark here --memory nan": "'--memory': nan is not a finite number",
    "mark here --out taken": "cannot write to taken",
    "atlas compare here": "1 folders given; expected those of two atlases",
    "atlas compare here taken": "no atlas in here; make one with `cnnvis atlas MODEL`",
    "render --preset fast": "no preset named 'fast'; known: smoke, default, paper",
    "student": "Missing argument 'OUTDIR'. See cnnvis student --help",
    "student out 01_fist": "no notebook named '01_fist'; did you mean 01_first",
    "student taken": "cannot write to taken",
    "train alexnet_mni": "no recipe named 'alexnet_mni'; did you mean alexnet_mini",
    "train alexnet_mini --out taken": "cannot write to taken",
    "train alexnet_mini --device gpu": "device 'gpu' cannot be used here",
    "train all": "generators and decoders are trained on the shipped networks; add --ship",
    "train alexnet_mini --threads 0": "'--threads': 0 is not in the range 1<=x<=256",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_every_mistake_is_one_line_on_the_error_stream_and_leaves_no_file(command, folder, capsys):
    (folder / "here" / "taken").write_text("a file where a folder was expected")
    before = sorted(folder.rglob("*"))
    assert cli.main(command.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("cnnvis: ")
    assert printed.err.count("\n") == 1 and MISTAKES[command] in printed.err
    assert sorted(folder.rglob("*")) == before


def test_an_error_in_the_middle_of_work_is_a_line_below_the_progress_bar(capsys):
    update = progress.progress_bar("work")
    update(1, 3)
    assert cli.main(["layers", "no_such_network"]) == 2
    *bar, line = capsys.readouterr().err.splitlines()
    assert "work" in bar[-1] and line.startswith("cnnvis: no network named")


def _commands() -> dict[str, click.Command]:
    return cli.cnnvis.commands


@pytest.mark.parametrize("name", _commands())
def test_every_command_explains_its_options_and_has_an_example_that_parses(name, folder):
    command = _commands()[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert re.search(r"\.(  \[default: .+\])?$", parameter.help or ""), parameter.name
    with click.Context(command, info_name=name) as context:
        shown = command.get_help(context)
    example = re.search(r"Example:\n +cnnvis (.+)\n", shown)
    assert example and "\f" not in shown
    (folder / "here" / "units").mkdir()
    words = shlex.split(example[1])
    assert words[0] == name
    with command.make_context(name, words[1:]):
        pass


def test_the_help_lists_every_command_by_subject(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for title, commands in cli.GROUPS.items():
        section = shown.split(f"{title}:\n")[1].split("\n\n")[0]
        assert re.findall(r"^  (\w+)", section, re.M) == [c.name for c in commands]
    assert {c.name for group in cli.GROUPS.values() for c in group} == {*_commands()}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("render --preset smok", "--preset"),
        ("render 02 --weights none.pt", "--weights"),
        ("dissect alexnet_mini --layers CL9", "--layers"),
        ("dissect alexnet_mini --layers CL1 --data taken", "--data"),
        ("dissect alexnet_mini --layers CL1 --convention old", "--convention"),
        ("unit alexnet_mini CL5:300", "LAYER:UNIT"),
        ("unit alexnet_mini CL5:3 --record nowhere", "--record"),
    ],
)
def test_an_error_names_its_option(command, option, capsys):
    assert cli.main(command.split()) == 2
    assert capsys.readouterr().err.startswith(f"cnnvis: {option}: ")


def test_the_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cnnvis, version {cnnvis_lab.__version__}\n"


def test_a_full_disk_is_reported_in_one_line(capsys, monkeypatch):
    from cnnvis_lab.lab import course

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/a.png")

    monkeypatch.setattr(course, "write", full)
    assert cli.main(["student", "out"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("cnnvis: out/a.png: No space left") and printed.count("\n") == 1


def test_exhausted_memory_is_reported_in_one_line(capsys, monkeypatch):
    def exhaust() -> None:
        torch.empty(10**15)

    monkeypatch.setattr(models, "names", exhaust)
    assert cli.main(["models"]) == 2
    assert capsys.readouterr().err.startswith("cnnvis: out of memory; choose fewer images")


@pytest.mark.parametrize("arguments", ["--layers CL1 CL9", "--layers CL1 --convention old"])
def test_mistakes_in_a_dissection_are_reported_before_images_are_generated(
    arguments, capsys, monkeypatch
):
    monkeypatch.setattr(data, "open_labelled", lambda *_: pytest.fail("images were generated"))
    assert cli.main(["dissect", "alexnet_mini", *arguments.split()]) == 2
    assert "did you mean" in (printed := capsys.readouterr().err) or "known: " in printed


def test_a_broken_notebook_is_reported_in_one_line(folder, capsys):
    (folder / "notebooks" / "03_odd.ipynb").write_text("{")
    assert cli.main(["claims"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_model_and_weights_set_the_notebooks_parameters(folder, capsys, monkeypatch):
    planned = []
    monkeypatch.setattr(render, "render", lambda jobs, *_, **options: planned.extend(jobs) or 0)
    torch.save(models.load("zfnet_mini").net.state_dict(), folder / "here" / "w.pt")
    command = "render 02 --model zfnet_mini --weights w.pt -p LEVEL 1 -p BRIGHT true --preset smoke"
    assert cli.main(command.split()) == 0
    parameters = planned[0].parameters
    assert (parameters["MODEL"], parameters["LEVEL"]) == ("zfnet_mini", 1)
    # The path is absolute, so that it is valid in any folder.
    assert parameters["WEIGHTS"] == str(folder / "here" / "w.pt")
    assert parameters["BRIGHT"] is True and parameters["SIDES"] == [1, 2]
    assert planned[0].out == folder / "here" / "reports"
    assert cli.main(["render", "02", "--weights", "random"]) == 0
    assert planned[1].parameters["WEIGHTS"] == "random"


def test_parameters_are_listed_with_types_ranges_defaults_and_presets(folder, capsys):
    line = "COUNT: int = 8  # how many (at least 1, below images)\n"
    tiny_notebooks.write(
        folder / "notebooks",
        "03_third",
        parameters=tiny_notebooks.PARAMETERS + line,
        sizes={"default": {"images": 12}},
    )
    assert cli.main(["params", "03"]) == 0
    listed = capsys.readouterr().out
    assert "LEVEL: float = 0.25\n    gray of the image, which is its mean\n" in listed
    assert "SIDES: list = [4, 5]\n    height and width\n    smoke: [1, 2]\n" in listed
    bounds = "at least 1, below images; images is 12"
    assert f"COUNT: int = 8  ({bounds})\n    how many\n" in listed
    assert cli.main(["params", "03", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["COUNT"] == {
        "name": "COUNT", "type": "int", "default": 8, "range": bounds, "comment": "how many",
        "presets": {},
    }  # fmt: skip


def test_a_dry_run_says_what_would_be_drawn_and_writes_nothing(folder, capsys):
    assert cli.main(["render", "01", "--dry-run", "--out", "new"]) == 0
    assert capsys.readouterr().out == "01_first: would be drawn: it was not drawn yet\n"
    assert not (folder / "here" / "new").exists()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("cnnvis ren", ["plain,render"]),
        ("cnnvis render 02", ["plain,02_second"]),
        ("cnnvis render --preset s", ["plain,smoke"]),
        ("cnnvis render --dry", ["plain,--dry-run"]),
        ("cnnvis layers squeezenet1_", ["plain,squeezenet1_0", "plain,squeezenet1_1"]),
        ("cnnvis verify --out he", ["file,he"]),
    ],
)
def test_a_shell_can_complete_commands_options_names_and_paths(typed, offered, monkeypatch, capsys):
    monkeypatch.setenv(cli.COMPLETION, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert cli.main() == 0
    assert capsys.readouterr().out.split() == offered


def test_claims_are_listed_before_and_after_they_are_measured(folder, capsys):
    assert cli.main(["claims"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["F1.1", "F1.2", "F2.1", "F2.2"]
    assert all("not measured yet" in line for line in lines)
    tiny_notebooks.render_without_kernel(folder / "here" / "reports", "01_first")
    assert cli.main(["claims"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "DOES NOT HOLD" in lines[1] and ">= 0.99" in lines[1] and "are white" in lines[1]
    assert "not measured yet" in lines[2]
    assert cli.main(["claims", "--json", "--out", "reports"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == ["F1.1", "F1.2", "F2.1", "F2.2"]
    assert f"{rows[1]['measured']:.4g}" in lines[1] and rows[1]["holds"] is False


def test_a_claim_that_cannot_be_measured_is_listed_as_such(folder, capsys):
    tiny_notebooks.render_without_kernel(folder / "here" / "reports", "01_first")
    path = folder / "here" / "reports" / "records" / "01_first.json"
    record = json.loads(path.read_text())
    record["claims"]["F1.2"] = {"measured": None, "holds": None, "note": "nothing is white"}
    path.write_text(json.dumps(record))
    assert cli.main(["claims"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not measurable" in lines[1] and "not measurable" not in lines[0]


def test_verify_says_whether_any_file_changed(folder, capsys):
    from cnnvis_lab.lab import gallery, notebooks

    tiny_notebooks.render_without_kernel(folder / "here" / "reports", "01_first")
    gallery.build(folder / "here" / "reports", notebooks.read_all())
    assert cli.main(["verify"]) == 0
    assert "every file in reports is as it was" in capsys.readouterr().out
    (folder / "here" / "reports" / "figures" / "F1.png").unlink()
    assert cli.main(["verify"]) == 1
    assert capsys.readouterr().out == "01_first: figures/F1.png is missing or changed\n"


def test_models_lists_every_name_that_can_be_loaded(capsys):
    assert cli.main(["models"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == models.names()
    for name, description in rows.items():
        assert description.startswith("shipped, ") == (name in models.shipped())


def test_layers_shows_every_layer_with_its_receptive_field(capsys):
    assert cli.main(["layers", "alexnet_mini"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    columns = ["layer", "survey", "kind", "shape", "field", "stride", "offset", "weights"]
    assert head.split() == columns
    model = models.load("alexnet_mini")
    leaves = [name for name, m in model.net.named_modules() if name and not list(m.children())]
    rows = {line.split()[0]: line for line in lines}
    assert list(rows) == leaves
    aliases = {dotted: alias for alias, dotted in model.survey_layers.items()}
    for name, row in rows.items():
        kind = type(model.net.get_submodule(name)).__name__
        assert row[head.index("survey") :].split()[0] == aliases.get(name, kind)
    first = model.net.get_submodule("conv1")
    sizes = (first.kernel_size, first.stride, [-padding for padding in first.padding])
    weights = sum(p.numel() for p in first.parameters())
    expected = [*("x".join(map(str, pair)) for pair in sizes), str(weights)]
    assert rows["conv1"].split()[-4:] == expected
    fields = [int(rows[f"conv{i}"].split()[-4].split("x")[0]) for i in range(1, 6)]
    assert fields == sorted(set(fields))  # receptive fields grow from layer to layer


def test_an_interrupted_command_says_how_to_resume(monkeypatch, capsys):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "names", interrupted)
    assert cli.main(["models"]) == 130
    printed = capsys.readouterr()
    assert printed.err == "cnnvis: interrupted; the same command resumes from here\n"


def _cnnvis(*arguments: str, **options: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])  # output is written at the end, or line by line
def test_a_closed_output_stream_is_not_an_error(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = _cnnvis("-m", "cnnvis_lab.lab.cli", "claims", env=environment)
    command.stdout.close()  # before anything is printed
    with command:
        errors = command.stderr.read()
    assert (command.returncode, errors) == (0, b"")


STREAMS = {  # what a shell does with both streams -> status of a command and of a mistake
    "1>&-": (0, 2),
    "1>&- 2>&-": (0, 2),
    "1>/dev/full": (2, 2),
    "1>/dev/full 2>&1": (2, 2),
    "2>/dev/full": (0, 2),
    "2>&-": (0, 2),
}


@pytest.mark.parametrize("streams", STREAMS)
def test_closed_and_full_streams_end_quietly_with_the_right_status(streams):
    statuses = []
    for words in ("claims", "claims --nothing"):
        line = f'"{sys.executable}" -m cnnvis_lab.lab.cli {words} {streams}'
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
        statuses.append(done.returncode)
        assert done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr
        assert done.stderr == "" or done.stderr.startswith("cnnvis: ")
    assert tuple(statuses) == STREAMS[streams]


def test_names_of_files_are_shown_with_control_characters_escaped(folder, capsys):
    name = "a\x1b[31m\nb\udc80"
    for words in (["verify", "--out", name], ["render", "01", "--weights", name]):
        assert cli.main(words) == 2
        errors = capsys.readouterr().err
        assert r"a\x1b[31m\nb\udc80" in errors and errors.count("\n") == 1
        assert "\x1b" not in errors


HEAVY = ("torch", "numpy", "matplotlib", "papermill", "nbconvert", "IPython")
LISTED = "import sys; from cnnvis_lab.lab import cli; cli.main(sys.argv[1:]); print(*sys.modules)"


def test_commands_that_compute_nothing_import_no_heavy_packages(folder):
    out = folder / "here" / "reports"
    tiny_notebooks.render_without_kernel(out, "01_first")
    for arguments in (["render", "01"], ["verify"], ["claims"], ["train", "decoder"]):
        with _cnnvis("-c", LISTED, *arguments, env=dict(os.environ)) as command:
            printed = command.stdout.read().decode()
        assert command.returncode == 0
        assert "01_first: up to date" in printed or arguments != ["render", "01"]
        assert not set(HEAVY) & set(printed.split()), arguments


@pytest.mark.slow
def test_a_command_on_a_shipped_network_imports_torch_and_little_else():
    with _cnnvis("-c", LISTED, "layers", "alexnet_mini") as command:
        imported = set(command.stdout.read().decode().split())
    assert "torch" in imported
    assert not {"scipy", "skimage", "torchvision", "matplotlib", "pandas", "jinja2"} & imported


def test_train_all_ships_each_network_before_it_trains_the_next(folder, monkeypatch, capsys):
    done: list[str] = []

    class Trained:
        def export(self, name: str) -> dict[str, object]:
            assert done[-1] == f"trained {name} on cpu in {folder}"
            done.append(f"shipped {name}")
            return {"parameters": 5, "sha256": "00"}

    def train(name: str, out: Path, on_progress: object, *, device: str) -> Trained:
        done.append(f"trained {name} on {device} in {out}")
        return Trained()

    monkeypatch.setattr(training, "train", train)
    assert cli.main(["train", "all", "--ship", "--device", "cpu", "--out", str(folder)]) == 0
    shipped = [line.removeprefix("shipped ") for line in done if line.startswith("shipped")]
    assert shipped == training.order() and len(done) == 2 * len(shipped)
    assert capsys.readouterr().out.count("5 weights") == len(shipped)

"""`cnnvis unit` draws a unit; mistakes are reported in one line."""

from functools import partial

import pytest

from cnnvis_lab.lab import cli
from cnnvis_lab.methods import unit_profile

pytestmark = pytest.mark.usefixtures("one_thread")
MISTAKES = {
    "unit alexnet_mini CL5:80": "unit 80 of CL5: it has 80; expected 0 to 79",
    "unit alexnet_mini CL5": "expected layer:unit",
    "unit alexnet_mini CL6:1": "no layer named 'CL6'; did you mean fc6 or CL5",
    "unit alexnet_mni CL5:1": "no network named 'alexnet_mni'",
    "unit alexnet_mini CL5:1 --weights none.pt": "no weights file at none.pt",
    "unit alexnet_mini CL5:1 --record nowhere": "no recording of a training in nowhere",
    "unit alexnet_mini CL5:1 --data nowhere": "nowhere",
    "unit alexnet_mini CL5:1 --images 0": "'--images': 0 is not in the range 1<=x<=",
    "unit alexnet_mini CL5:1 --threads 0": "'--threads': 0 is not in the range 1<=x<=256",
    "unit alexnet_mini": "Missing argument 'LAYER:UNIT'",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_every_mistake_is_reported_in_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and MISTAKES[command] in printed.err
    assert list(tmp_path.iterdir()) == []


def test_the_command_draws_a_unit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(unit_profile, "profile", partial(unit_profile.profile, steps=2))
    command = ["unit", "alexnet_mini", "CL1:3", "--images", "12", "--threads", "1", "--out"]
    assert cli.main([*command, str(tmp_path)]) == 0
    printed, progress = capsys.readouterr()
    assert "4/4" in progress.splitlines()[-1]
    file = tmp_path / "alexnet_mini_CL1_3.png"
    assert printed.startswith("alexnet_mini CL1:3 detects ") and printed.count("\n") == 1
    assert printed.endswith(f"; see {file}\n") and file.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]

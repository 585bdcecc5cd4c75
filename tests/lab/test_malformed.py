"""Malformed input of every kind is answered by one line, before anything is run or lost."""

import pytest
from support import malformed

from cnnvis_lab.lab import cli

SOME = [  # of every kind, those that are quick; `tests/bench/malformed.py` runs all as commands
    "images: a huge image",
    "images: a pipe as an image",
    "images: floats",
    "weights: code",
    "weights: a huge shape",
    "weights: quantized",
    "Broden folders: a damaged map",
    "Broden folders: a link outside",
    "Broden folders: a size of 5000 digits",
    "parameters: a layer without maps",
    "parameters: a million threads",
    "parameters: code in a list",
    "parameters: a network that is not trained",
    "records: an empty step",
    "records: a figure as a path",
    "records: no JSON to list",
    "records: a checkpoint without a network",
    "command line: too small an image",
    "command line: a huge image size",
    "command line: scenes beyond memory",
    "command line: results in a null byte",
    "command line: results in no name",
]


def test_there_are_enough_of_every_kind():
    assert all(len(cases) >= 30 for cases in malformed.KINDS.values())
    assert {name.partition(":")[0] for name in SOME} == malformed.KINDS.keys()


@pytest.mark.parametrize(
    "name",
    [
        name if name in SOME else pytest.param(name, marks=pytest.mark.slow)
        for name in malformed.ALL
    ],
)
def test_each_is_one_line_on_the_error_stream_and_nothing_else(name, tmp_path, monkeypatch, capsys):
    case = malformed.ALL[name]
    monkeypatch.chdir(tmp_path)
    if case.write:
        case.write(tmp_path)
    if (tmp_path / "books").is_dir():
        monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "books"))
    before = malformed.state(tmp_path)
    status = cli.main(case.argv())
    printed = capsys.readouterr()
    wrong = malformed.answer(case, status, printed.out, printed.err)
    if (after := malformed.state(tmp_path)) != before:
        wrong.append(f"files changed: {after.keys() ^ before.keys()}")
    assert not wrong, "\n".join(wrong)

"""Commands take a network that the user's own code builds."""

import pytest

from cnnvis_lab.lab import cli

CODE = """
from torch import nn

def make():
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 2))
"""


@pytest.fixture
def source(tmp_path) -> str:
    (tmp_path / "gray.py").write_text(CODE)
    return f"{tmp_path / 'gray.py'}:make"


def _run(*arguments: str) -> int:
    return cli.main(list(arguments))


def test_layers_lists_a_network_from_a_file_for_a_rectangle(source, capsys, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    assert (
        _run("layers", source, "--input-size", "20x12", "--channels", "1", "--classes", str(names))
        == 0
    )
    shown = capsys.readouterr().out
    assert "4x18x10" in shown and "3x3" in shown


def test_wrong_options_are_named(source, capsys):
    for wrong in ("12x", "0", "axb", "1x2x3"):
        assert _run("layers", source, "--input-size", wrong) == 2
        assert f"--input-size {wrong}" in capsys.readouterr().err


def test_render_passes_the_options_of_a_network_to_notebooks(source, capsys, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    own = ["--model", source, "--input-size", "20x12", "--channels", "1", "--classes", str(names)]
    layers = ["-p", "LAYERS", '["0", "nowhere"]', "--out", str(tmp_path / "out")]
    assert _run("render", "03", *own, *layers) == 2
    assert "no layer named 'nowhere'" in capsys.readouterr().err
    assert _run("render", "03", "--model", source, *layers) == 2
    assert "input_size=PIXELS" in capsys.readouterr().err

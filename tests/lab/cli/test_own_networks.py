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


def test_a_decoder_of_an_own_network_is_trained_and_resumed(source, capsys, tmp_path):
    out, network = str(tmp_path / "out"), [f"--model={source}", "--input-size=16", "--channels=1"]
    small = ["--images=12", "--batch=2", "--width=2", "--threads=1", "--device=cpu", "--out", out]
    command = ["train", "decoder", *network, "--layer=1", *small, "--minutes=0.002"]
    assert _run(*command) == 0
    shown = capsys.readouterr().out
    assert "held out error" in shown and "notebooks take it as DECODERS" in shown
    (file,) = (tmp_path / "out").glob("*.safetensors")
    assert file.with_suffix(".json").is_file() and [*(tmp_path / "out").glob("*.sheets/*.png")]
    assert _run(*command) == 0
    assert "resumed after epoch 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["decoder", "--layer=1"], "expected --model"),
        (["generator", "--model=alexnet_mini"], "expected --layer"),
        (["alexnet_mini", "--layer=CL1"], "--layer is for `train decoder`"),
        (["decoder", "--model=alexnet_mini", "--layer=CL11"], "did you mean CL1"),
        (["decoder", "--model=alexnet_mini", "--layer=CL1", "--ship"], "leave them out"),
        (["generator", "--model=alexnet_mini", "--layer=CL1", "--data=none"], "--data"),
    ],
)
def test_a_training_that_cannot_begin_says_why_in_one_line(words, message, capsys, tmp_path):
    assert _run("train", *words, "--out", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1

"""Where files cannot become large, as on a full disk, or nobody reads, commands end quietly."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cnnvis_lab.core.files import PARTIAL

LIMIT = 8_000  # bytes of a file
DISSECT = "dissect alexnet_mini --layers CL1 --images 8 --out out"
TRAIN = "train decoder --model alexnet_mini --layer CL1 --images 8 --epochs 1 --batch 1 --width 1"
COMMANDS = [
    "unit alexnet_mini CL1:0 --images 8 --out out",
    DISSECT,
    f"{DISSECT} --jobs 2",
    "atlas alexnet_mini --layers CL1 --units 12 --steps 1 --images 8 --out out",
    f"{TRAIN} --out out",
    "render 00 --preset smoke --out out",
    "student out 00",
    "docs --out out",
]


def _run(words: str, folder: Path, reader: str = "", **options: object) -> tuple[int, str]:
    """Run a command; return its status and error stream."""
    line = f'"{sys.executable}" -m cnnvis_lab.lab.cli {words}'
    line += f' | {reader}; exit "${{PIPESTATUS[0]}}"' if reader else ""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, **options
    )
    return done.returncode, done.stderr


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_a_file_that_cannot_be_written_is_one_line_and_leaves_no_half_of_it(words, tmp_path):
    status, errors = _run(words, tmp_path, preexec_fn=_limit)
    assert status in (1, 2)
    (said,) = [line for line in re.split("[\r\n]", errors) if "cnnvis: " in line or "rror" in line]
    assert "cnnvis: " in said or "00_start_here" in said
    assert "File too large" in said
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < LIMIT for path in left)
    assert not any(PARTIAL in path.name or ".cnnvis-dissection" in str(path) for path in left)


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_whose_output_nobody_reads_ends_with_its_work_done(words, tmp_path):
    status, errors = _run(words, tmp_path, reader="head -c 0")
    assert status == 0 and "Error" not in errors and "cnnvis: " not in errors
    assert any((tmp_path / "out").iterdir())

"""What works on Linux works where processes start otherwise, and where there is no `fcntl`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnnvis_lab.data.scenes import SceneSet

# Python runs this module first, in every process of a command: workers and kernels, too.
SITE = """
import builtins, multiprocessing, os

def without_fcntl(name, space=None, *given, load=builtins.__import__, **options):
    user = str((space or {}).get("__name__"))
    if name == "fcntl" and user.partition(".")[0] in ("cnnvis_lab", "filelock"):
        raise ImportError("no fcntl on this platform")
    return load(name, space, *given, **options)

builtins.__import__ = without_fcntl
multiprocessing.set_start_method(os.environ["START_METHOD"])
"""
HOLD = """
import sys, time
from pathlib import Path
from cnnvis_lab.lab import locks

assert locks.filelock.FileLock is locks.filelock.SoftFileLock
with locks.locked_folder(Path("out")):
    print("locked", flush=True)
    sys.stdin.read()
"""
DRAW = """
import multiprocessing
from cnnvis_lab.data.scenes import SceneSet

scenes = SceneSet(2, 3)
scenes.draw_all()
print(multiprocessing.get_start_method(), int(scenes.batch(range(3)).mul(255).sum()))
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts Python on such a platform, in a folder of its own."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)

    def run(*words: str, method: str = "spawn", **variables: str) -> subprocess.Popen:
        paths = [str(tmp_path / "site"), str(Path(__file__).parents[2])]
        own = {"PYTHONPATH": os.pathsep.join(paths), "START_METHOD": method, **variables}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *words], cwd=tmp_path, env=os.environ | own, text=True,
            stdin=pipe, stdout=pipe, stderr=pipe,
        )  # fmt: skip

    return run


def test_without_fcntl_a_folder_is_locked_until_its_command_ends_or_is_killed(start):
    for end in ("by itself", "killed"):
        with start("-c", HOLD) as first:
            assert first.stdout.readline() == "locked\n"
            with start("-c", HOLD) as second:
                errors = second.communicate()[1]
            assert second.returncode and "another command is writing to out" in errors
            if end == "killed":
                first.send_signal(signal.SIGKILL)
        assert first.returncode == (0 if end == "by itself" else -signal.SIGKILL)


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_a_script_is_run_once_whatever_kind_of_workers_draw_its_scenes(method, start, tmp_path):
    (tmp_path / "script.py").write_text(DRAW)  # which does not ask whether it is the main module
    with start("script.py", method=method) as command:
        printed, errors = command.communicate()
    expected = int(SceneSet(2, 3).batch(range(3)).mul(255).sum())
    assert (printed, errors) == (f"{method} {expected}\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("names", [("00", "01", "02"), ("03", "04", "05"), ("06", "07", "08")])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_every_notebook_is_rendered_and_its_claims_are_listed(method, names, start, tmp_path):
    cli = ("-m", "cnnvis_lab.lab.cli")
    words = ("render", *names, "--preset", "smoke", "--jobs", "2", "--out", "out")
    for expected in ("drawn in", "up to date"):
        with start(*cli, *words, method=method) as command:
            printed, errors = command.communicate()
        assert (command.returncode, errors) == (0, "")
        assert len(printed.splitlines()) == 3
        assert all(expected in line for line in printed.splitlines())
    with start(*cli, "claims", "--json", "--out", "out", method=method) as command:
        rows = json.loads(command.communicate()[0])
    assert any(row["holds"] for row in rows) and command.returncode == 0

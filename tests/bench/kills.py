"""Kill `render`, `dissect` and `train` at random moments, run them again, and compare all bytes.

Run by hand: `python tests/bench/kills.py [--kills 20] [COMMAND ...]`, at the smallest sizes. Each
command is killed by SIGKILL again and again, in the folder that the last attempt has left behind;
whenever one ends by itself, and after the last kill, the folder must hold the same files with the
same bytes as one that was never touched, but for durations; and no process of it may be left.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TRAIN = """
from dataclasses import replace
from cnnvis_lab.lab import cli
from cnnvis_lab.models.training import classifier

recipes = classifier.RECIPES
recipes["alexnet_mini"] = replace(recipes["alexnet_mini"], images=128, epochs=6, batch=16)
if __name__ == "__main__":
    raise SystemExit(cli.main(["train", "alexnet_mini", "--threads", "1", "--out", "out"]))
"""
CLI = ["-m", "cnnvis_lab.lab.cli"]
COMMANDS = {
    "render": [*CLI, "render", "00", "--preset", "smoke", "-p", "THREADS", "1", "--out", "out"],
    "dissect": [*CLI, "dissect", "alexnet_mini", "--layers", "CL1", "CL5", "--images", "48",
                "--threads", "1", "--out", "out"],
    "train": ["train.py"],
}  # fmt: skip


def start(command: list[str], folder: Path) -> subprocess.Popen:
    """Start a command in a folder."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    null = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=null,
        stderr=null,
        start_new_session=True,  # so that its processes are a group
    )


def is_left(group: int) -> bool:
    """Return whether a process of a killed command lives on."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a results folder; without locks and durations."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name in (".cnnvis-lock", "timings.json"):
            continue
        found[name] = path.read_bytes()
        if name.startswith("records/"):
            record = json.loads(found[name])
            record["seconds"] = 0
            found[name] = json.dumps(record).encode()
    return found


def differences(expected: dict[str, bytes], folder: Path) -> list[str]:
    """Return the names of files that differ, are missing, or left over."""
    found = content(folder)
    names = sorted(expected.keys() | found.keys())
    return [name for name in names if expected.get(name) != found.get(name)]


def series(name: str, kills: int, folder: Path) -> bool:
    """Kill a command that many times; return whether it always ended with the same bytes."""
    (folder / "train.py").write_text(TRAIN)
    out, begun = folder / "out", time.perf_counter()
    status = start(COMMANDS[name], folder).wait()
    seconds, expected = time.perf_counter() - begun, content(out)
    if status or not expected:
        print(f"{name}: failed without any kill (status {status})")
        return False
    shutil.rmtree(out)
    done, ended, wrong = 0, 0, []
    while True:
        process = start(COMMANDS[name], folder)
        if done < kills:
            try:
                process.wait(random.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
                wrong += ["processes are left"] if is_left(process.pid) else []
                continue
        status, ended = process.wait(), ended + 1
        wrong += [f"status {status}"] if status else differences(expected, out)
        shutil.rmtree(out, ignore_errors=True)
        if done == kills:
            break
    summary = f"{done} kills within {seconds:.0f} s each, {ended} ended by themselves"
    print(f"{name}: {summary}; {'wrong: ' + ', '.join(wrong) if wrong else 'same bytes'}")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*", default=[*COMMANDS])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    results = []
    for name in args.commands:
        with tempfile.TemporaryDirectory() as folder:
            results.append(series(name, args.kills, Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Several kernels that run the same notebook at once, as in a course on one server.

Run by hand on an idle machine: `python tests/bench/kernels.py [--kernels 8] [--preset default]`.
The last line gives the seconds of all kernels at once, relative to the sum of as many single runs,
and the highest resident memory of a kernel in MB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parents[2]


def start(notebook: Path, preset: str, folder: Path) -> subprocess.Popen:
    """Run a notebook with plain papermill, in a folder of its own."""
    folder.mkdir()
    command = [sys.executable, "-m", "papermill", str(notebook), str(folder / "done.ipynb")]
    command += ["-p", "PRESET", preset, "-p", "OUT", str(folder / "out"), "--no-progress-bar"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def resident(process: subprocess.Popen) -> int:
    """Return the bytes of memory of the largest process below a papermill, which is its kernel."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return max((one.memory_info().rss for one in below), default=0)
    except psutil.Error:  # it has just ended
        return 0


def run(count: int, notebook: Path, preset: str) -> tuple[float, int]:
    """Run that many kernels at once; return the seconds, and the bytes of the largest kernel."""
    with tempfile.TemporaryDirectory() as folder:
        begun, largest = time.perf_counter(), 0
        running = [start(notebook, preset, Path(folder) / str(n)) for n in range(count)]
        while any(process.poll() is None for process in running):
            largest = max([largest, *map(resident, running)])
            time.sleep(0.2)
        if any(process.returncode for process in running):
            raise SystemExit("a notebook failed")
        return time.perf_counter() - begun, largest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernels", type=int, default=8)
    parser.add_argument("--notebook", default="00_start_here")
    parser.add_argument("--preset", default="default")
    args = parser.parse_args()
    notebook = REPOSITORY / "notebooks" / f"{args.notebook}.ipynb"
    single, _ = run(1, notebook, args.preset)
    single = min(single, run(1, notebook, args.preset)[0])
    together, largest = run(args.kernels, notebook, args.preset)
    ratio = together / (args.kernels * single)
    print(f"one {single:.1f} s, {args.kernels} at once {together:.1f} s: {ratio:.2f} times the sum")
    print(f"largest kernel {largest / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

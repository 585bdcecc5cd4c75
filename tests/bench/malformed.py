"""Every malformed input of `support.malformed`, each in a process of its own: answer and seconds.

Run by hand, with a part of the names to run a part: `python tests/bench/malformed.py [PART]`; half
of them with `--every 2`, and `--first 0` or `--first 1`. Prints a line for each input; the last one
counts the wrong answers and gives the slowest. Seconds are of the clock, and of the processor,
which other work on the machine lengthens less.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import malformed

MEMORY = 16 * 2**30  # bytes of address space; more would end other processes


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def run(case: malformed.Case, folder: Path) -> tuple[list[str], float, float]:
    """Return what is wrong with the answer, and its seconds by the clock and of the processor."""
    if case.write:
        case.write(folder)
    before = malformed.state(folder)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    if (folder / "books").is_dir():
        environment["CNNVIS_NOTEBOOKS"] = str(folder / "books")
    command = [sys.executable, "-m", "cnnvis_lab.lab.cli", *case.argv()]
    start, used = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=60, preexec_fn=_limit
        )
    except ValueError as error:  # an argument that no process can be given
        return ([] if "null byte" in str(error) else [str(error)]), 0.0, 0.0
    except subprocess.TimeoutExpired:
        return ["no answer within 60 s"], 60.0, 60.0
    seconds = time.perf_counter() - start
    processor = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - used
    texts = [stream.decode(errors="replace") for stream in (done.stdout, done.stderr)]
    wrong = malformed.answer(case, done.returncode, *texts)
    if malformed.state(folder) != before:
        wrong.append("files changed")
    return wrong, seconds, processor


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", nargs="?", default="", help="part of the names")
    parser.add_argument("--every", type=int, default=1, help="run only every so many of them")
    parser.add_argument("--first", type=int, default=0, help="from this one on")
    args = parser.parse_args()
    slowest, wrongs = (0.0, 0.0, ""), []
    for name in [name for name in malformed.ALL if args.part in name][args.first :: args.every]:
        with tempfile.TemporaryDirectory() as folder:
            wrong, seconds, processor = run(malformed.ALL[name], Path(folder))
        wrongs.append(wrong)
        slowest = max(slowest, (seconds, processor, name))
        print(f"{seconds:6.2f} {processor:6.2f}  {name}: {'; '.join(wrong) or 'ok'}", flush=True)
    seconds, processor, name = slowest
    print(
        f"{len(wrongs)} inputs, {sum(map(bool, wrongs))} wrong answers, "
        f"slowest {seconds:.2f} s ({processor:.2f}): {name}"
    )


if __name__ == "__main__":
    main()

"""How much faster an atlas is than `cnnvis unit` for every unit, and what it adds to the methods.

The atlas of five layers of `alexnet_mini` is drawn once. `cnnvis unit` runs for a sample of the
units, each time in a process of its own, as a user would call it. What the atlas adds is its time
beyond the parts that any such work needs: the activation maximization, one scan of the images, and
the projections, each timed alone on the same units and images.

Run by hand: `python tests/bench/atlas.py`; the last line is the ratio.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cnnvis_lab.core.statistics import TopK, tally
from cnnvis_lab.lab import gallery
from cnnvis_lab.methods import deconvnet, unit_profile

LAYERS = tuple(f"CL{number}" for number in range(1, 6))


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def parts(subject: gallery.atlas.Subject, chunks: list[gallery.atlas.Chunk]) -> dict[str, float]:
    """Return the seconds of the parts that an atlas cannot do without."""
    model, data = subject.model, subject.data
    tops = {layer: TopK(unit_profile.TOP_COUNT) for layer in LAYERS}
    parts = {
        "one scan": seconds(
            lambda: tally(model, data.batches(50), {layer: [top] for layer, top in tops.items()})
        )
    }
    parts["activation maximization"] = sum(
        seconds(
            lambda chunk=chunk: unit_profile.maximize_activations(
                model, chunk.layer, chunk.units, steps=subject.steps
            )
        )
        for chunk in chunks
    )
    parts["projections"] = sum(
        seconds(
            lambda chunk=chunk: deconvnet.top_projections(
                model, data, [chunk.layer], units={chunk.layer: chunk.units}, top_images=tops
            )
        )
        for chunk in chunks
    )
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1600, help="images that are scanned")
    parser.add_argument("--units", type=int, default=None, help="units of each layer")
    parser.add_argument("--sample", type=int, default=3, help="units that `cnnvis unit` draws")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    source = gallery.atlas.Source(
        "alexnet_mini",
        images=args.images,
        layers=LAYERS,
        unit_limit=args.units,
        threads=args.threads,
    )
    subject = gallery.atlas.open_subject(source)
    with tempfile.TemporaryDirectory() as folder:
        whole = seconds(lambda: gallery.atlas.write_atlas(subject, folder))
        chunks = gallery.atlas.make_plan(subject, Path(folder)).chunks
        written = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        units = sum(chunk.count for chunk in chunks)
        each = []
        for number in range(args.sample):
            target = f"{LAYERS[number % len(LAYERS)]}:{number}"
            command = [sys.executable, "-m", "cnnvis_lab.lab.cli", "unit", "alexnet_mini", target]
            command += ["--images", str(args.images), "--threads", str(args.threads)]
            command += ["--out", folder]
            each.append(seconds(lambda command=command: subprocess.run(command, check=True)))
    needed = parts(subject, chunks)
    print(f"{units} units, {len(subject.data)} images, {args.threads} threads: {whole:.1f} s, "
          f"{whole / units:.3f} s a unit, {written / 2**20:.1f} MiB")  # fmt: skip
    print(", ".join(f"{name} {value:.1f} s" for name, value in needed.items()))
    print(f"beyond these: {1 - sum(needed.values()) / whole:.0%} of the atlas's time")
    print(f"cnnvis unit: {sum(each) / len(each):.1f} s a unit, mean of {len(each)}")
    print(f"cnnvis unit, against the atlas (at least 20): ratio "
          f"{sum(each) / len(each) / (whole / units):.1f}")  # fmt: skip


if __name__ == "__main__":
    main()

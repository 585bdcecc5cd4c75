"""How fast and in how little memory a network is dissected.

Five layers of `alexnet_mini` over held-out pictures, against one bare forward pass over the same
pictures, which no dissection can beat; and against the straightforward way, which upsamples every
unit's map of every picture, thresholds it and counts the labels below, on a few pictures and
scaled; both must count the same. Peak memory is that of a process that dissects 1,000 pictures and
of one that dissects ten times as many. A few hundred drawn pictures are gone through several times.

Run by hand: `python tests/bench/dissection.py`; the last lines are the ratios.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.data.scenes.sets import HELD_OUT_SEED, PictureSet
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection_masks import as_maps, upsample

LAYERS = [f"CL{number}.relu" for number in range(1, 6)]


class Again:
    """A data set of any length that goes through a shorter one again and again."""

    def __init__(self, pictures: PictureSet, count: int) -> None:
        self.pictures, self.count, self.labels = pictures, count, pictures.labels

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        return self.pictures.batch([index % len(self.pictures) for index in indices])

    def label_maps(self, indices: Sequence[int]) -> torch.Tensor:
        return self.pictures.label_maps([index % len(self.pictures) for index in indices])


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the shortest of several runs."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        spans.append(time.perf_counter() - start)
    return min(spans)


def bare(model: models.Model, data: Again) -> None:
    """Run every picture through the network and keep nothing."""
    with torch.no_grad():
        for part in torch.arange(len(data)).split(64):
            model(data.batch(part.tolist()))


def straightforward(plan: dissection.Probe, thresholds: dict) -> dict[str, np.ndarray]:
    """Count the pixels each unit's mask shares with each concept, one unit after the other."""
    concepts, found = len(plan.data.labels) + 1, {}
    for layer in plan.layers:
        units = plan.units[layer]
        both = np.zeros((units, concepts), dtype=np.int64)
        for index in range(len(plan.data)):
            with torch.no_grad():
                maps = hooks.activations(plan.model, plan.data.batch([index]), [layer])[layer]
            labels = plan.labels([index])[0].numpy()
            for unit in range(units):
                whole = upsample(as_maps(maps)[:, unit : unit + 1], plan.grids[layer])[0, 0]
                mask = (whole > thresholds[layer][unit]).numpy()
                for layer_labels in labels:
                    both[unit] += np.bincount(layer_labels[mask], minlength=concepts)
        found[layer] = both[:, 1:]
    return found


def peak_mib(count: int, threads: int) -> float:
    """Return the peak memory of a process that dissects so many pictures."""
    command = [sys.executable, __file__, "--memory", str(count), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=512, help="different pictures")
    parser.add_argument("--pictures", type=int, default=3200, help="pictures dissected")
    parser.add_argument("--few", type=int, default=24, help="pictures done the straightforward way")
    parser.add_argument("--times", type=int, default=2, help="runs, of which the fastest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=0, help="only dissect so many pictures")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = models.load("alexnet_mini")
    if given.memory:
        world = PictureSet(HELD_OUT_SEED, 32, labelled=True)
        dissection.dissect(model, Again(world, given.memory), LAYERS)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
        return
    world = PictureSet(HELD_OUT_SEED, given.drawn, labelled=True)
    world.draw_all()
    data, few = Again(world, given.pictures), Again(world, given.few)
    bare(model, few)
    once = seconds(lambda: bare(model, data), given.times)
    kept = seconds(lambda: dissection.dissect(model, data, LAYERS), given.times)
    again = seconds(lambda: dissection.dissect(model, data, LAYERS, keep=0), given.times)
    print(f"{given.pictures} pictures, {given.threads} threads: bare forward pass {once:.1f} s")
    print(f"dissection, activations kept {kept:.1f} s, recomputed {again:.1f} s")
    plan = dissection.probe(model, few, LAYERS)
    thresholds = dissection.thresholds_of(plan, dissection.first_pass(plan)[0])
    start = time.perf_counter()
    slow = straightforward(plan, thresholds)
    per_picture = (time.perf_counter() - start) / given.few
    counts = dissection.second_pass(plan, thresholds)
    for layer in LAYERS:
        assert np.array_equal(slow[layer], counts.sums[f"{layer}.both"][:, 1:].numpy())
    print(f"straightforward: {per_picture * 1e3:.0f} ms a picture, same counts on {given.few}")
    print(f"ours, recomputed: {again / given.pictures * 1e3:.2f} ms a picture")
    small, large = peak_mib(1000, given.threads), peak_mib(10000, given.threads)
    print(f"peak memory: {small:.0f} MiB for 1,000 pictures, {large:.0f} MiB for 10,000")
    print(f"peak memory, ten times the pictures: ratio {large / small:.2f}")
    print(f"kept, against the bare pass (at most 2): ratio {kept / once:.1f}")
    print(f"recomputed, against the bare pass (at most 3): ratio {again / once:.1f}")
    print("straightforward, against ours (at least 20):")
    print(f"ratio {per_picture * given.pictures / again:.1f}")


if __name__ == "__main__":
    main()

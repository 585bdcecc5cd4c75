"""How fast and in how little memory a network is dissected.

Five layers of `alexnet_mini` over held-out pictures, against one bare forward pass over the same
pictures, which no dissection can beat. What it takes beyond that pass, thresholds and all, is set
against the straightforward way of counting alone: upsample every unit's map of every picture,
threshold it, count the labels below; on a few pictures, where both must count the same. Peak memory
is that of a process that dissects 1,000 pictures and of one that dissects ten times as many. A few
hundred drawn pictures are gone through several times.

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
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import upsample

LAYERS = [f"CL{number}.relu" for number in range(1, 6)]


class Again:
    """A data set of any length that goes through a shorter one again and again."""

    def __init__(self, pictures: SceneSet, count: int) -> None:
        self.pictures, self.count, self.labels = pictures, count, pictures.labels

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        return self.pictures.batch([index % len(self.pictures) for index in indices])

    def label_maps(self, indices: Sequence[int]) -> torch.Tensor:
        return self.pictures.label_maps([index % len(self.pictures) for index in indices])


def fastest(works: Sequence[Callable[[], object]], times: int) -> list[float]:
    """Return each work's shortest time; they take turns, so that all meet the same conditions."""
    spans = [[] for _ in works]
    for _ in range(times):
        for own, work in zip(spans, works, strict=True):
            start = time.perf_counter()
            work()
            own.append(time.perf_counter() - start)
    return [min(own) for own in spans]


def bare(model: models.Model, data: Again) -> None:
    """Run every picture through the network and keep nothing."""
    with torch.no_grad():
        for part in torch.arange(len(data)).split(64):
            model(data.batch(part.tolist()))


def straightforward(
    plan: dissection.Plan, maps: dict[str, torch.Tensor], thresholds: dict[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Count the pixels each unit's mask shares with each concept, one unit after the other."""
    concepts, found = len(plan.data.labels) + 1, {}
    for layer in plan.layers:
        both = np.zeros((plan.units[layer], concepts), dtype=np.int64)
        for index, picture in enumerate(maps[layer]):
            labels = plan.labels([index])[0].numpy()
            for unit, one in enumerate(picture):
                mask = upsample(one[None, None], plan.grids[layer])[0, 0] > thresholds[layer][unit]
                for shown in labels:
                    both[unit] += np.bincount(shown[mask.numpy()], minlength=concepts)
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
        world = SceneSet(HELD_OUT_SEED, 32, labelled=True)
        dissection.dissect(model, Again(world, given.memory), LAYERS)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
        return
    world = SceneSet(HELD_OUT_SEED, given.drawn, labelled=True)
    world.draw_all()
    data, few = Again(world, given.pictures), Again(world, given.few)
    bare(model, few)
    works = [
        lambda: bare(model, data),
        lambda: dissection.dissect(model, data, LAYERS),
        lambda: dissection.dissect(model, data, LAYERS, run=dissection.RunOptions(disk_limit=0)),
    ]
    once, kept, again = fastest(works, given.times)
    print(f"{given.pictures} pictures, {given.threads} threads: bare forward pass {once:.1f} s")
    print(f"dissection, activations kept {kept:.1f} s, recomputed {again:.1f} s")
    plan = dissection.make_plan(model, few, LAYERS)
    thresholds = dissection.estimate_thresholds(plan, dissection.threshold_pass(plan)[0])
    maps = plan.maps(list(range(given.few)), LAYERS)
    start = time.perf_counter()
    slow = straightforward(plan, maps, thresholds)
    slow_ms = (time.perf_counter() - start) / given.few * 1e3
    counts = dissection.count_pass(plan, thresholds)
    for layer in LAYERS:
        assert np.array_equal(slow[layer], counts.sums[f"{layer}.intersection"][:, 1:].numpy())
    ours_ms = (kept - once) / given.pictures * 1e3
    print(f"straightforward counting: {slow_ms:.0f} ms a picture; same counts on {given.few}")
    print(f"ours, beyond the bare pass: {ours_ms:.2f} ms a picture")
    small, large = peak_mib(1000, given.threads), peak_mib(10000, given.threads)
    print(f"peak memory: {small:.0f} MiB for 1,000 pictures, {large:.0f} MiB for 10,000")
    print(f"peak memory, ten times the pictures: ratio {large / small:.2f}")
    print(f"kept, against the bare pass (at most 2): ratio {kept / once:.1f}")
    print(f"recomputed, against the bare pass (at most 3): ratio {again / once:.1f}")
    print(f"straightforward, against ours (at least 20): ratio {slow_ms / ours_ms:.1f}")


if __name__ == "__main__":
    main()

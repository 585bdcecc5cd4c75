"""How fast a network is dissected, and with how much memory.

Five layers of `alexnet_mini` are dissected over held-out images. The time is compared with one
forward pass over the same images, which is the minimum. The time beyond that pass is compared with
straightforward counting: upsample every unit's map of every image, threshold it, and count the
labels inside. That is timed on a few images, and both must give the same counts. Peak memory is
that of a process that dissects 1,000 images and of one that dissects ten times as many. A few
hundred scenes are repeated to give these numbers.

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


class RepeatedScenes:
    """A dataset of any length that repeats a shorter one."""

    def __init__(self, images: SceneSet, count: int) -> None:
        self.images, self.count, self.labels = images, count, images.labels

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> torch.Tensor:
        return self.images.batch([index % len(self.images) for index in indices])

    def label_maps(self, indices: Sequence[int]) -> torch.Tensor:
        return self.images.label_maps([index % len(self.images) for index in indices])


def fastest(functions: Sequence[Callable[[], object]], times: int) -> list[float]:
    """Return each function's shortest time; they take turns, under the same conditions."""
    times_of = [[] for _ in functions]
    for _ in range(times):
        for own_times, function in zip(times_of, functions, strict=True):
            start = time.perf_counter()
            function()
            own_times.append(time.perf_counter() - start)
    return [min(own_times) for own_times in times_of]


def forward_only(model: models.Model, data: RepeatedScenes) -> None:
    """Run every image through the network and keep nothing."""
    with torch.no_grad():
        for part in torch.arange(len(data)).split(64):
            model(data.batch(part.tolist()))


def straightforward(
    plan: dissection.Plan, maps: dict[str, torch.Tensor], thresholds: dict[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Count the pixels that are in each unit's mask and show each concept, unit by unit."""
    concepts, counts_by_layer = len(plan.data.labels) + 1, {}
    for layer in plan.layers:
        counts = np.zeros((plan.units[layer], concepts), dtype=np.int64)
        for index, image in enumerate(maps[layer]):
            labels = plan.labels([index])[0].numpy()
            for unit, unit_map in enumerate(image):
                mask = (
                    upsample(unit_map[None, None], plan.grids[layer])[0, 0]
                    > thresholds[layer][unit]
                )
                for label_map in labels:
                    counts[unit] += np.bincount(label_map[mask.numpy()], minlength=concepts)
        counts_by_layer[layer] = counts[:, 1:]
    return counts_by_layer


def peak_mib(count: int, threads: int) -> float:
    """Return the peak memory of a process that dissects this number of images."""
    command = [sys.executable, __file__, "--memory", str(count), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drawn", type=int, default=512, help="different images")
    parser.add_argument("--images", type=int, default=3200, help="images dissected")
    parser.add_argument(
        "--few", type=int, default=24, help="images counted the straightforward way"
    )
    parser.add_argument("--times", type=int, default=2, help="runs, of which the fastest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=0, help="only dissect this number of images")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = models.load("alexnet_mini")
    if args.memory:
        scenes = SceneSet(HELD_OUT_SEED, 32, labelled=True)
        dissection.dissect(model, RepeatedScenes(scenes, args.memory), LAYERS)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
        return
    scenes = SceneSet(HELD_OUT_SEED, args.drawn, labelled=True)
    scenes.draw_all()
    data, few = RepeatedScenes(scenes, args.images), RepeatedScenes(scenes, args.few)
    forward_only(model, few)
    functions = [
        lambda: forward_only(model, data),
        lambda: dissection.dissect(model, data, LAYERS),
        lambda: dissection.dissect(model, data, LAYERS, run=dissection.RunOptions(disk_limit=0)),
    ]
    once, kept, again = fastest(functions, args.times)
    print(f"{args.images} images, {args.threads} threads: forward pass {once:.1f} s")
    print(f"dissection, activations kept {kept:.1f} s, recomputed {again:.1f} s")
    plan = dissection.make_plan(model, few, LAYERS)
    thresholds = dissection.estimate_thresholds(plan, dissection.threshold_pass(plan)[0])
    maps = plan.maps(list(range(args.few)), LAYERS)
    start = time.perf_counter()
    slow = straightforward(plan, maps, thresholds)
    slow_ms = (time.perf_counter() - start) / args.few * 1e3
    counts = dissection.count_pass(plan, thresholds)
    for layer in LAYERS:
        assert np.array_equal(slow[layer], counts.sums[f"{layer}.intersection"][:, 1:].numpy())
    ours_ms = (kept - once) / args.images * 1e3
    print(f"straightforward counting: {slow_ms:.0f} ms per image; same counts on {args.few}")
    print(f"ours, beyond the forward pass: {ours_ms:.2f} ms per image")
    small, large = peak_mib(1000, args.threads), peak_mib(10000, args.threads)
    print(f"peak memory: {small:.0f} MiB for 1,000 images, {large:.0f} MiB for 10,000")
    print(f"peak memory, ten times the images: ratio {large / small:.2f}")
    print(f"kept, against the forward pass (at most 2): ratio {kept / once:.1f}")
    print(f"recomputed, against the forward pass (at most 3): ratio {again / once:.1f}")
    print(f"straightforward, against ours (at least 20): ratio {slow_ms / ours_ms:.1f}")


if __name__ == "__main__":
    main()

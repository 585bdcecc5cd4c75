"""How fast many units are rendered together, compared with one unit at a time.

The baseline is the usual way: a 128 px Fourier canvas, transformed (pad, jitter, scale, rotate,
jitter) and enlarged to the network's input, Adam with rate 0.05, 512 steps, and the whole network
at each step. A few units are timed. This library renders all units of a layer in one batch, on
canvases of their receptive field, stops at the layer, and uses Adam at twice the rate and the same
transformations except in the last quarter of the steps. It takes as many steps as reach the same
mean activation of the same units. Each measurement runs in a process of its own. Classes of a
shipped network are also rendered both ways and classified by an independent classifier.

Run by hand: `python tests/bench/activation_maximization.py`; the last line is the ratio of the
times for each unit over all layers.
"""

import argparse
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch
from torch import Tensor
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.core.optimization import Phase, image_space, optimizers, transforms
from cnnvis_lab.methods import activation_maximization, evaluation

LAYERS = ["CL1", "CL2", "CL3", "CL4", "CL5"]
UNIT_COUNT = 64  # of each layer
BASELINE_RATE, RATE = 0.05, 0.1  # of Adam
OURS = replace(
    activation_maximization.RECIPES["default"],
    phases=(
        Phase(24, optimizers.adam(RATE), transforms.LUCID),
        Phase(8, optimizers.adam(RATE)),
    ),
    source="the default's space and ReLU rule, with the baseline's optimizer",
)


def baseline(model: models.Model, layer: str, unit: int, steps: int) -> tuple[float, Tensor]:
    """Render one unit; return the activation at the center of its map, and the image."""
    space = image_space.fourier([0], 128)
    state, size = space.parameters[0], model.card.input_size
    optimizer = torch.optim.Adam([state], BASELINE_RATE)
    generator = torch.Generator().manual_seed(0)

    def central_activation(images: Tensor) -> Tensor:
        resized = functional.interpolate(images, size=(size, size), mode="bilinear")
        with hooks.record(model, [layer]) as acts:
            model(resized)
        maps = acts[layer][0, unit]
        return maps[maps.shape[0] // 2, maps.shape[1] // 2] if maps.ndim else maps

    for _ in range(steps):
        optimizer.zero_grad()
        (-central_activation(transforms.LUCID(space.images(), generator))).backward()
        optimizer.step()
    with torch.no_grad():
        images = space.images()
        return float(central_activation(images)), images


def one_by_one(layer: str, units: list[int], steps: int) -> tuple[float, float]:
    """Return the seconds per unit, and the mean activation that was reached."""
    model, start = models.load("alexnet", weights="random"), time.perf_counter()
    reached = [baseline(model, layer, unit, steps)[0] for unit in units]
    return (time.perf_counter() - start) / len(units), sum(reached) / len(units)


def together(layer: str, units: list[int], goal: float) -> tuple[float, float, int]:
    """Return the seconds per unit, the mean activation, and the number of steps."""
    model = models.load("alexnet", weights="random")
    targets = [f"{layer}:{unit}" for unit in range(UNIT_COUNT)]
    for steps in (32, 64, 128, 256, 512):
        start = time.perf_counter()
        rendering = activation_maximization.render(model, targets, recipe=OURS, steps=steps)
        seconds, reached = time.perf_counter() - start, float(rendering.activations[units].mean())
        if reached >= goal:
            break
    return seconds / UNIT_COUNT, reached, steps


def in_fresh_process(threads: int, function: Callable, *arguments: object) -> tuple[tuple, float]:
    """Call a function in a fresh process; return its result and peak memory in GiB."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, threads, function, *arguments).result()


def _measured(threads: int, function: Callable, *arguments: object) -> tuple[tuple, float]:
    torch.set_num_threads(threads)
    found = function(*arguments)
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fraction_recognized(steps: int, count: int = 16) -> tuple[float, float]:
    """Return the fractions of class images recognized: rendered one at a time, and together."""
    model, classifier = models.load("alexnet_mini"), models.load("judge_mini")
    names = model.card.classes[:count]
    one_at_a_time = torch.cat([baseline(model, "logits", n, steps)[1] for n in range(count)])
    targets = [f"logits:{n}" for n in range(count)]
    rendering = activation_maximization.render(model, targets, recipe=OURS, scope="channel")
    both = (one_at_a_time.clamp(0, 1), rendering.images)
    return tuple(evaluation.fraction_recognized(classifier, images, names) for images in both)


def main() -> None:
    """Measure all layers, then the classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--single", type=int, default=2, help="units per layer rendered one at a time"
    )
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    units, totals, peaks = list(range(args.single)), [0.0, 0.0], [0.0, 0.0]
    for layer in LAYERS:
        (old, goal), before = in_fresh_process(args.threads, one_by_one, layer, units, args.steps)
        (new, reached, steps), now = in_fresh_process(args.threads, together, layer, units, goal)
        print(
            f"{layer}: {old:.2f} s per unit one at a time, to {goal:.3g}, peak {before:.2f} GiB; "
            f"{new:.3f} s together, to {reached:.3g} in {steps} steps, peak {now:.2f} GiB: "
            f"{old / new:.1f} times",
            flush=True,
        )
        totals = [totals[0] + old, totals[1] + new]
        peaks = [max(peaks[0], before), max(peaks[1], now)]
    one_at_a_time, all_at_once = in_fresh_process(args.threads, fraction_recognized, args.steps)[0]
    print(f"classes recognized: {one_at_a_time:.0%} one at a time, {all_at_once:.0%} together")
    print(f"peak memory: {peaks[1] / peaks[0]:.2f} of one at a time")
    print(f"ratio {totals[0] / totals[1]:.1f}")


if __name__ == "__main__":
    main()

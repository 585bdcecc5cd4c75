"""How fast many units are rendered, against the habit of one unit at a time on the whole network.

The habit: a 128 px Fourier canvas, transformed (pad, jitter, scale, rotate, jitter) and enlarged to
the network's input, Adam 0.05, 512 steps, the whole network run at each. A few units are timed and
scaled. Ours: all units of a layer in one batch, on canvases of their receptive field, stopped at
the layer, with the same optimiser at twice the rate and the same transformations but for the last
quarter of the steps; for as many steps as reach the same mean activation of the same units.
Each is measured in a process of its own. Classes of a shipped network are drawn both ways, too, for
the judge.

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
TOGETHER = 64  # units of each layer
HABITS_RATE, RATE = 0.05, 0.1  # of Adam
OURS = replace(
    activation_maximization.RECIPES["default"],
    phases=(
        Phase(24, optimizers.adam(RATE), transforms.LUCID),
        Phase(8, optimizers.adam(RATE)),
    ),
    source="the default's space and rule of ReLUs, with the habit's optimiser",
)


def habit(model: models.Model, layer: str, unit: int, steps: int) -> tuple[float, Tensor]:
    """Render one unit; return the activation of the middle of its map, and the picture."""
    space = image_space.fourier([0], 128)
    state, size = space.parameters[0], model.card.input_size
    optimizer, drawn = torch.optim.Adam([state], HABITS_RATE), torch.Generator().manual_seed(0)

    def middle(images: Tensor) -> Tensor:
        seen = functional.interpolate(images, size=(size, size), mode="bilinear")
        with hooks.record(model, [layer]) as acts:
            model(seen)
        maps = acts[layer][0, unit]
        return maps[maps.shape[0] // 2, maps.shape[1] // 2] if maps.ndim else maps

    for _ in range(steps):
        optimizer.zero_grad()
        (-middle(transforms.LUCID(space.images(), drawn))).backward()
        optimizer.step()
    with torch.no_grad():
        images = space.images()
        return float(middle(images)), images


def one_by_one(layer: str, units: list[int], steps: int) -> tuple[float, float]:
    """Return the seconds a unit takes, and the mean activation reached."""
    model, start = models.load("alexnet", weights="random"), time.perf_counter()
    reached = [habit(model, layer, unit, steps)[0] for unit in units]
    return (time.perf_counter() - start) / len(units), sum(reached) / len(units)


def together(layer: str, units: list[int], goal: float) -> tuple[float, float, int]:
    """Return the seconds a unit takes, the mean activation reached, and the steps that needs."""
    model = models.load("alexnet", weights="random")
    targets = [f"{layer}:{unit}" for unit in range(TOGETHER)]
    for steps in (32, 64, 128, 256, 512):
        start = time.perf_counter()
        drawn = activation_maximization.render(model, targets, recipe=OURS, steps=steps)
        seconds, reached = time.perf_counter() - start, float(drawn.activations[units].mean())
        if reached >= goal:
            break
    return seconds / TOGETHER, reached, steps


def alone(threads: int, function: Callable, *arguments: object) -> tuple[tuple, float]:
    """Call a function in a fresh process; return its result and the process's peak in GiB."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, threads, function, *arguments).result()


def _measured(threads: int, function: Callable, *arguments: object) -> tuple[tuple, float]:
    torch.set_num_threads(threads)
    found = function(*arguments)
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def recognised(steps: int, count: int = 16) -> tuple[float, float]:
    """Return the share of class pictures that the judge names: one at a time, and together."""
    model, judge = models.load("alexnet_mini"), models.load("judge_mini")
    names = model.card.classes[:count]
    single = torch.cat([habit(model, "logits", n, steps)[1] for n in range(count)])
    targets = [f"logits:{n}" for n in range(count)]
    drawn = activation_maximization.render(model, targets, recipe=OURS, scope="channel")
    both = (single.clamp(0, 1), drawn.images)
    return tuple(evaluation.fraction_recognized(judge, images, names) for images in both)


def main() -> None:
    """Measure all layers, then the classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--single", type=int, default=2, help="units a layer done the old way")
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    units, totals, peaks = list(range(given.single)), [0.0, 0.0], [0.0, 0.0]
    for layer in LAYERS:
        (old, goal), before = alone(given.threads, one_by_one, layer, units, given.steps)
        (new, reached, steps), now = alone(given.threads, together, layer, units, goal)
        print(
            f"{layer}: {old:.2f} s a unit one at a time, to {goal:.3g}, peak {before:.2f} GiB; "
            f"{new:.3f} s together, to {reached:.3g} in {steps} steps, peak {now:.2f} GiB: "
            f"{old / new:.1f} times",
            flush=True,
        )
        totals = [totals[0] + old, totals[1] + new]
        peaks = [max(peaks[0], before), max(peaks[1], now)]
    single, all_at_once = alone(given.threads, recognised, given.steps)[0]
    print(f"classes the judge names: {single:.0%} one at a time, {all_at_once:.0%} together")
    print(f"peak memory: {peaks[1] / peaks[0]:.2f} of one at a time")
    print(f"ratio {totals[0] / totals[1]:.1f}")


if __name__ == "__main__":
    main()

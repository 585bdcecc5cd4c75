"""How fast many units are rendered, against the habit of one unit at a time on the whole network.

The habit: a 128 px Fourier canvas, transformed (pad, jitter, scale, rotate, jitter) and enlarged to
the network's input, Adam 0.05, 512 steps, the whole network run at each. A few units are timed and
scaled. Ours: all units of a layer in one batch, on canvases of their receptive field, stopped at
the layer, for as many steps as reach the same mean activation of the same units.

Run by hand: `python tests/bench/activation_maximization.py`; the last line is the ratio of the
times for each unit over all layers.
"""

import argparse
import resource
import time

import torch
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.core import hooks, imagespace, transforms
from cnnvis_lab.methods import activation_maximization as am

LAYERS = ["CL1", "CL2", "CL3", "CL4", "CL5"]


def habit(model: models.Model, layer: str, unit: int, steps: int) -> float:
    """Render one unit; return the activation of the middle of its map."""
    space = imagespace.fourier([0], 128)
    state, size = space.parameters[0], model.card.input_size
    optimizer, drawn = torch.optim.Adam([state], 0.05), torch.Generator().manual_seed(0)

    def seen(images: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(images, size=(size, size), mode="bilinear")

    for _ in range(steps):
        with hooks.record(model, [layer]) as acts:
            model(seen(transforms.LUCID(space.images(), drawn)))
        height, width = acts[layer].shape[-2:]
        optimizer.zero_grad()
        (-acts[layer][0, unit, height // 2, width // 2]).backward()
        optimizer.step()
    with torch.no_grad(), hooks.record(model, [layer]) as acts:
        model(seen(space.images()))
    return float(acts[layer][0, unit, height // 2, width // 2])


def ours(model: models.Model, layer: str, units: list[int], goal: float) -> tuple[float, int]:
    """Return the seconds that all units take, and the steps, to reach a mean activation."""
    for steps in (16, 32, 64, 128, 256, 512):
        start = time.perf_counter()
        drawn = am.render(model, [f"{layer}:{u}" for u in range(64)], steps=steps)
        seconds = time.perf_counter() - start
        if float(drawn.activations[units].mean()) >= goal:
            break
    return seconds, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--single", type=int, default=1, help="units of each layer done the old way"
    )
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, units = models.load("alexnet", weights="random"), list(range(given.single))
    theirs_all = ours_all = 0.0
    for layer in LAYERS:
        start = time.perf_counter()
        goal = sum(habit(model, layer, u, given.steps) for u in units) / len(units)
        theirs = (time.perf_counter() - start) / len(units)
        seconds, steps = ours(model, layer, units, goal)
        print(
            f"{layer}: {theirs:.2f} s a unit one at a time, {seconds / 64:.3f} s together "
            f"({steps} steps): {theirs * 64 / seconds:.1f} times",
            flush=True,
        )
        theirs_all, ours_all = theirs_all + theirs, ours_all + seconds / 64
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the whole run {peak:.2f} GiB")
    print(f"ratio {theirs_all / ours_all:.1f}")


if __name__ == "__main__":
    main()

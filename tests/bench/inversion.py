"""How fast eight layers of one image are inverted together, against one after the other.

One after the other: the 2015 recipe of Mahendran and Vedaldi, 400 steps, for each layer by itself,
stopped at the layer. Together: every layer in one batch with this project's recipe; an image leaves
the forward pass at its layer, and the batch once its feature error is that of the first way. Both
end with the same errors, or smaller ones, which are printed.

Run by hand: `python tests/bench/inversion.py`; the last line is the ratio of the times.
"""

import argparse
import time

import torch

from cnnvis_lab import models
from cnnvis_lab.core import features
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import inversion

LAYERS = ["CL1.relu", "CL2.relu", "CL3.relu", "CL4.relu", "CL5.relu", "FL1.relu", "FL2.relu", "FL3"]


def one_by_one(model: models.Model, codes: dict, steps: int | None) -> dict[str, float]:
    """Invert each layer by itself; return the errors."""
    errors = {}
    for layer, code in codes.items():
        found = inversion.invert(model, {layer: code}, recipe="mahendran2015", steps=steps)
        errors[layer] = float(found.errors)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=int, default=3, help="number of the held-out picture")
    parser.add_argument("--steps", type=int, default=None, help="of the 2015 recipe, for a try")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = models.load("alexnet_mini")
    picture = SceneSet(HELD_OUT_SEED, 1, start=given.picture).batch([0])
    codes = features.extract(model, picture, LAYERS)
    inversion.invert(model, codes, steps=2)  # what only the first pass costs
    start = time.perf_counter()
    goals = one_by_one(model, codes, given.steps)
    single = time.perf_counter() - start
    start = time.perf_counter()
    found = inversion.invert(model, codes, steps=240, stop_below=goals)
    together = time.perf_counter() - start
    reached = found.errors.flatten().tolist()
    for layer, error, steps in zip(LAYERS, reached, found.steps.flatten().tolist(), strict=True):
        missed = "" if error <= goals[layer] * 1.001 else "  NOT REACHED"
        print(f"{layer}: error {goals[layer]:.3f}, together {error:.3f} in {steps:.0f}{missed}")
    print(f"one after the other {single:.1f} s, together {together:.1f} s")
    print(f"ratio {single / together:.1f}")


if __name__ == "__main__":
    main()

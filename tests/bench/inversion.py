"""How fast eight layers of one image are inverted together, compared with one by one.

One after the other: the 2015 recipe of Mahendran and Vedaldi, 400 steps, for each layer by itself,
stopped at the layer. Together: every layer in one batch with this project's recipe; an image leaves
the forward pass at its layer, and the batch once its feature error is that of the 2015 recipe. Both
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
        result = inversion.invert(model, {layer: code}, recipe="mahendran2015", steps=steps)
        errors[layer] = float(result.errors)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=int, default=3, help="index of the held-out image")
    parser.add_argument(
        "--steps", type=int, default=None, help="of the 2015 recipe; fewer for a trial"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = models.load("alexnet_mini")
    image = SceneSet(HELD_OUT_SEED, 1, start=args.image).batch([0])
    codes = features.extract(model, image, LAYERS)
    inversion.invert(model, codes, steps=2)  # what only the first pass costs
    start = time.perf_counter()
    goals = one_by_one(model, codes, args.steps)
    separate_time = time.perf_counter() - start
    start = time.perf_counter()
    result = inversion.invert(model, codes, steps=240, stop_below=goals)
    joint_time = time.perf_counter() - start
    reached = result.errors.flatten().tolist()
    for layer, error, steps in zip(LAYERS, reached, result.steps.flatten().tolist(), strict=True):
        missed = "" if error <= goals[layer] * 1.001 else "  NOT REACHED"
        print(f"{layer}: error {goals[layer]:.3f}, together {error:.3f} in {steps:.0f}{missed}")
    print(f"one after the other {separate_time:.1f} s, together {joint_time:.1f} s")
    print(f"ratio {separate_time / joint_time:.1f}")


if __name__ == "__main__":
    main()

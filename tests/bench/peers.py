"""How fast DeconvNet projections are, against captum, in one run.

captum projects one unit with a forward and a backward pass of the network through hooks at each
ReLU. Compared are single units, one call each, and many units of a layer in one call, those with
the highest activations (an inactive unit costs nothing). Both project the highest activation of a
unit on one image; the largest difference is printed, too.

Run by hand, with captum installed by `pip install captum`:
`python tests/bench/peers.py WEIGHTS`, with a weights file of squeezenet1_1; without one, random.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from cnnvis_lab import data, models
from cnnvis_lab.core import hooks
from cnnvis_lab.methods import deconvnet

LAYERS = ["features.7", "features.12"]


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the shortest of some times, after a call that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def by_captum(model: models.Model, image: Tensor, layer: str, unit: int) -> Tensor:
    """Project a unit's highest activation with captum."""
    from captum.attr import Deconvolution

    class _Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, images: Tensor) -> Tensor:
            maps = hooks.activations(self.net, images, [layer])[layer][:, unit]
            highest = maps.flatten(1).amax(1)
            return (highest * highest.detach())[:, None]

    return Deconvolution(_Unit()).attribute(image, target=0)


def compare(model: models.Model, image: Tensor, layer: str, count: int, repeats: int) -> None:
    """Print times by unit, and how much the projections differ."""
    activations = hooks.activations(model, image, [layer])[layer][0].flatten(1).amax(1)
    units = activations.topk(count).indices.tolist()
    targets = [f"{layer}:{unit}" for unit in units]
    every = seconds(lambda: deconvnet.project(model, image, targets), repeats) / count
    single = seconds(lambda: deconvnet.project(model, image, targets[:1]), repeats)
    peer = seconds(lambda: by_captum(model, image, layer, units[0]), repeats)
    projections = deconvnet.project(model, image, targets[:4])
    peers = torch.cat([by_captum(model, image, layer, unit) for unit in units[:4]])
    difference = float((projections.pixels[0] - peers).abs().max() / peers.abs().max())
    print(
        f"{layer}: captum {1000 * peer:.1f} ms a unit; here {1000 * single:.1f} ms for one unit "
        f"({peer / single:.2f} times as fast), {1000 * every:.1f} ms a unit for {count} "
        f"({peer / every:.1f} times); largest relative difference {difference:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default="random")
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    try:
        import captum
    except ImportError:
        sys.exit("skipped: captum is not installed; pip install captum")
    torch.set_num_threads(args.threads)
    print(f"captum {captum.__version__}, torch {torch.__version__}, {args.threads} threads")
    model = models.load("squeezenet1_1", weights=args.weights)
    image = data.photograph("astronaut", model.card.input_size)[None]
    for layer in LAYERS:
        compare(model, image, layer, args.units, args.repeats)


if __name__ == "__main__":
    main()

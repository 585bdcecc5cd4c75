"""How fast explorers redraw: from a moved control to the image, without the browser.

Panels of alexnet_mini on synthetic scenes. "Seen" is a setting that was drawn before; "moved" is a
new setting of a slider that redraws while it moves, where the network does not run again.
A browser adds 50 to 100 ms.

Run by hand: `python tests/bench/explorers.py`; the last line is the slowest in milliseconds.
"""

import argparse
import time
from statistics import median

from cnnvis_lab import models
from cnnvis_lab.data import open_images, open_labelled
from cnnvis_lab.lab import explorers
from cnnvis_lab.lab.explorers.base import Explorer
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import conv_layers
from cnnvis_lab.models import decoders


def redraw(explorer: Explorer, **settings: object) -> float:
    """Return the milliseconds from a change of settings to their image."""
    start = time.perf_counter()
    explorer.set(**settings)
    assert explorer.wait(60)
    return 1e3 * (time.perf_counter() - start)


def median_times(explorer: Explorer, name: str, values: list) -> dict[str, float]:
    """Return the median milliseconds of new values of a setting, and of values seen before."""
    redraw(explorer)  # what only the first image needs
    new = [redraw(explorer, **{name: value}) for value in values]
    repeated = [redraw(explorer, **{name: value}) for value in values]
    return {"moved": median(new), "seen": median(repeated)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=640)
    args = parser.parse_args()
    model = models.load("alexnet_mini")
    data = open_labelled("", model.card.input_size, args.images)
    layers = [conv_layers(model)[0], conv_layers(model)[-1]]
    tables = dissection.dissect(model, data, layers)
    images = open_images("", model.card.input_size, 64)
    fractions = [0.001, 0.002, 0.01, 0.02, 0.05, 0.1, 0.2]
    times = {}
    for layer in layers:
        panel = explorers.Dissection(model, data, tables, layer=layer)
        times[f"dissection, {layer}"] = median_times(panel, "share", fractions)
    panel = explorers.DeconvNet(model, images, layers)
    times["deconvnet, unit"] = median_times(panel, "unit", list(range(1, 9)))
    trained = {decoder.spec.layer: decoder for decoder in decoders.decoders_for(model).values()}
    if trained:
        panel = explorers.Perturbation(model, images, decoders=trained)
        times["perturbation"] = median_times(panel, "fraction", [0.1, 0.25, 0.75, 0.9, 0.95])
    for name, own_times in times.items():
        print(f"{name}: moved {own_times['moved']:.0f} ms, seen {own_times['seen']:.0f} ms")
    print(f"slowest {max(max(own_times.values()) for own_times in times.values()):.0f}")


if __name__ == "__main__":
    main()

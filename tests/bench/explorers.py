"""How soon explorers answer: from a moved control to the picture, without the browser.

Panels of alexnet_mini on the embedded world's pictures. "Seen" is a setting that was drawn before;
"moved" is a new setting of a slider that follows the hand, where the network need not run again.
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


def answered(explorer: Explorer, **settings: object) -> float:
    """Return the milliseconds from a change of settings to their picture."""
    start = time.perf_counter()
    explorer.set(**settings)
    assert explorer.wait(60)
    return 1e3 * (time.perf_counter() - start)


def times(explorer: Explorer, name: str, values: list) -> dict[str, float]:
    """Return the median milliseconds of new values of a setting, and of values seen before."""
    answered(explorer)  # whatever the first picture needs
    new = [answered(explorer, **{name: value}) for value in values]
    again = [answered(explorer, **{name: value}) for value in values]
    return {"moved": median(new), "seen": median(again)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=640)
    given = parser.parse_args()
    model = models.load("alexnet_mini")
    data = open_labelled("", model.card.input_size, given.pictures)
    layers = [conv_layers(model)[0], conv_layers(model)[-1]]
    tables = dissection.dissect(model, data, layers)
    pictures = open_images("", model.card.input_size, 64)
    shares = [0.001, 0.002, 0.01, 0.02, 0.05, 0.1, 0.2]
    found = {}
    for layer in layers:
        panel = explorers.Dissection(model, data, tables, layer=layer)
        found[f"dissection, {layer}"] = times(panel, "share", shares)
    panel = explorers.DeconvNet(model, pictures, layers)
    found["deconvnet, unit"] = times(panel, "unit", list(range(1, 9)))
    trained = {own.spec.layer: own for own in decoders.decoders_for(model).values()}
    if trained:
        panel = explorers.Perturbation(model, pictures, decoders=trained)
        found["perturbation"] = times(panel, "fraction", [0.1, 0.25, 0.75, 0.9, 0.95])
    for name, own in found.items():
        print(f"{name}: moved {own['moved']:.0f} ms, seen {own['seen']:.0f} ms")
    print(f"slowest {max(max(own.values()) for own in found.values()):.0f}")


if __name__ == "__main__":
    main()

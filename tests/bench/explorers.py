"""How fast explorers redraw: from a moved control to the image, without the browser.

Panels of alexnet_mini on synthetic scenes. "Seen" is a setting that was drawn before; "moved" is a
new setting of a slider that redraws while it moves, where the network does not run again. "First
part" is what a panel shows at once, before what takes longer.
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
    """Return the milliseconds from a change of settings to their view."""
    start = time.perf_counter()
    explorer.set(**settings)
    while explorer.message.endswith("...") or explorer._shown_settings != explorer.settings:
        time.sleep(0.002)
    milliseconds = 1e3 * (time.perf_counter() - start)
    assert explorer.wait(60)  # the thumbnails follow
    return milliseconds


def median_times(explorer: Explorer, name: str, values: list) -> dict[str, float]:
    """Return the median milliseconds of new values of a setting, and of values seen before."""
    redraw(explorer)  # what only the first view needs
    new = [redraw(explorer, **{name: value}) for value in values]
    repeated = [redraw(explorer, **{name: value}) for value in values]
    return {"moved": median(new), "seen": median(repeated)}


def first_answer(explorer: Explorer) -> float:
    """Return the milliseconds until a new panel shows its first part."""
    start = time.perf_counter()
    explorer.request()
    while not explorer.image:
        time.sleep(0.002)
    milliseconds = 1e3 * (time.perf_counter() - start)
    assert explorer.wait(120)
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=640)
    args = parser.parse_args()
    model = models.load("alexnet_mini")
    size = model.card.input_size
    data, images = open_labelled("", size, args.images), open_images("", size, 64)
    layers, units = [conv_layers(model)[0], conv_layers(model)[-1]], list(range(1, 9))
    tables = dissection.dissect(model, data, layers)
    times, first = {}, {}
    for layer in layers:
        panel = explorers.Dissection(model, data, tables, layer=layer)
        fractions = [0.001, 0.002, 0.01, 0.02, 0.05, 0.1, 0.2]
        times[f"dissection, {layer}"] = median_times(panel, "fraction", fractions)
    panel = explorers.DeconvNet(model, images, layers)
    times["deconvnet, unit"] = median_times(panel, "unit", units)
    trained = decoders.decoders_for(model)
    if trained:
        panel = explorers.Perturbation(model, images, decoders=trained)
        times["perturbation"] = median_times(panel, "fraction", [0.1, 0.25, 0.75, 0.9, 0.95])
    panel = explorers.UnitProfile(model, open_labelled("", size, 160), layer="CL5", steps=16)
    first["unit profile"] = first_answer(panel)
    redrawn = [redraw(panel, unit=unit) for unit in (1, 2, 1, 2)]
    times["unit profile"] = {"seen": median(redrawn[2:])}
    panel = explorers.ActivationMaximization(model, images, steps=16)
    first["activation maximization"] = first_answer(panel)
    redrawn = [redraw(panel, unit=unit) for unit in (1, 2, 1, 2)]
    times["activation maximization"] = {"seen": median(redrawn[2:])}
    for name, milliseconds in first.items():
        print(f"{name}: first part {milliseconds:.0f} ms")
    for name, own_times in times.items():
        print(f"{name}: " + ", ".join(f"{kind} {ms:.0f} ms" for kind, ms in own_times.items()))
    print(f"slowest {max(max(own_times.values()) for own_times in times.values()):.0f}")


if __name__ == "__main__":
    main()

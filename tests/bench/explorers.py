"""How fast explorers answer: from a changed control to the image, without the browser.

Panels of alexnet_mini on synthetic scenes. "First" is the first part that a new panel shows.
"Seen" is a setting that was drawn before. "Moved" is a new setting that needs no optimization and
no pass over the dataset. A browser adds 50 to 100 ms.

Run by hand: `python tests/bench/explorers.py`; the last line is the slowest in milliseconds.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from cnnvis_lab import models
from cnnvis_lab.core import Missing, copies
from cnnvis_lab.data import ImageSet, open_images, open_labelled
from cnnvis_lab.lab import explorers
from cnnvis_lab.lab.explorers.base import Explorer
from cnnvis_lab.methods import deep_generator, training_evolution
from cnnvis_lab.methods.dissection import conv_layers
from cnnvis_lab.models import Model, decoders


class Case(NamedTuple):
    """A panel, and a setting with the values that it gets."""

    panel: Explorer
    setting: str
    values: list
    optimizes: bool = False


def until(explorer: Explorer, is_done: Callable[[], bool]) -> float:
    """Return the milliseconds until a panel shows something."""
    start = time.perf_counter()
    while not is_done():
        time.sleep(0.002)
    milliseconds = 1e3 * (time.perf_counter() - start)
    assert explorer.wait(120)  # the thumbnails follow
    return milliseconds


def redraw(case: Case, value: object) -> float:
    """Return the milliseconds from a change of the setting to its view."""
    panel, start = case.panel, time.perf_counter()
    panel.set(**{case.setting: value})
    called = 1e3 * (time.perf_counter() - start)
    return called + until(
        panel,
        lambda: not panel.message.endswith("...") and panel._shown_settings == panel.settings,
    )


def times(case: Case) -> dict[str, float]:
    """Return the milliseconds of a panel's first part, and medians of its later answers."""
    case.panel.request()
    first = until(case.panel, lambda: bool(case.panel.image))
    moved = [redraw(case, value) for value in case.values]
    seen = [redraw(case, value) for value in case.values]
    measured = {"first": first, "seen": median(seen)}
    return measured if case.optimizes else measured | {"moved": median(moved[1:])}


def recorded(model: Model, images: ImageSet, folder: Path) -> training_evolution.Evolution:
    """Record some steps of a network whose weights shrink."""
    net = copies.copy_network(model.net).requires_grad_(True)
    what = training_evolution.Observations(images, ["CL2", "CL5"], units=6)
    steps = list(range(8))
    view = copies.copy_network(model)
    with training_evolution.record(net, folder, what, at=steps, view=view) as recorder:
        for step in steps[1:]:
            for weight in net.parameters():
                weight.data.mul_(0.9)
            recorder.step(step)
    return training_evolution.load(folder)


def cases(count: int, folder: Path) -> Iterator[tuple[str, Case]]:
    """Yield all panels by name."""
    model = models.load("alexnet_mini")
    size = model.card.input_size
    data, images = open_labelled("", size, count), open_images("", size, 64)
    layers, units = [conv_layers(model)[0], conv_layers(model)[-1]], list(range(1, 9))
    yield "unit profile", Case(
        explorers.UnitProfile(model, open_labelled("", size, 160), layer="CL5", steps=16),
        "unit", [1, 2], True,
    )  # fmt: skip
    panel = explorers.ActivationMaximization(model, images, layer="CL5", steps=16)
    yield "activation maximization", Case(panel, "unit", [1, 2], True)
    generator, encoder = deep_generator.load("", [], "cpu", model)
    assert not isinstance(generator, Missing)
    codes = deep_generator.encode(encoder, generator, images.batches(32))
    panel = explorers.DeepGenerator(model, generator, codes, steps=16, images=images)
    yield "deep generator", Case(panel, "unit", [1, 2], True)
    yield "deconvnet", Case(explorers.DeconvNet(model, images, layers), "unit", units)
    yield "inversion", Case(explorers.Inversion(model, images, steps=20), "start", [1, 2], True)
    trained = decoders.decoders_for(model)
    values = [0.1, 0.25, 0.75, 0.9, 0.95]
    panel = explorers.Perturbation(model, images, decoders=trained)
    yield "perturbation", Case(panel, "fraction", values)
    panel = explorers.TrainingEvolution(recorded(model, images, folder), images, model=model)
    yield "training", Case(panel, "step", list(range(7)))
    panel = explorers.Dissection(model, data)
    yield "dissection", Case(panel, "fraction", [0.001, 0.002, 0.01, 0.02, 0.05, 0.1, 0.2])
    second = open_labelled("", size, min(count, 160))
    panel = explorers.Net2Vec.learn(model, data, second, layers[-1:])
    yield "net2vec", Case(panel, "unit", units)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=640)
    args = parser.parse_args()
    slowest = 0.0
    with TemporaryDirectory() as folder:
        for name, case in cases(args.images, Path(folder)):
            own_times = times(case)
            slowest = max(slowest, *own_times.values())
            print(f"{name}: " + ", ".join(f"{kind} {ms:.0f} ms" for kind, ms in own_times.items()))
    print(f"slowest {slowest:.0f}")


if __name__ == "__main__":
    main()

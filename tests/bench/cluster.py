"""How work speeds up with workers, and how its cost grows with images and networks.

Two workers of one thread are compared with one worker of one thread, on a Dask cluster of this
machine: a dissection, and the atlas of a layer. The overhead of the engine is the time of a command
with one worker less that of the same command without a cluster, which draws its scenes by one
process, as a worker does: on a cluster that runs, and, for the dissection, on one that the command
starts and ends itself. No engine is faster than two commands at once that share nothing: they are
measured first.

The table of costs is computed, not measured: from the seconds per image of both passes of a
dissection, and the seconds per unit of an atlas, each measured here on a sample with one thread, in
the processor's seconds.

Run by hand: `python tests/bench/cluster.py speed`, or `costs`; the last line of `speed` is the
smaller ratio.
"""

import argparse
import contextlib
import io
import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from cnnvis_lab import models
from cnnvis_lab.core.statistics import TopK, tally
from cnnvis_lab.data import LabelledSet, Subset, open_labelled
from cnnvis_lab.data.scenes import SceneSet
from cnnvis_lab.lab import cli, gallery
from cnnvis_lab.methods import deconvnet, dissection, perturbation, unit_profile
from cnnvis_lab.methods.unit_profile.atlas import ABLATION_IMAGES

DISSECT = ("dissect", "alexnet_mini", "--layers", "CL5", "--threads", "1")
ATLAS = ("atlas", "alexnet_mini", "--layers", "CL3", "--threads", "1")
BRIEF = {"dissect": ("--images", "64"), "atlas": ("--images", "64", "--units", "2", "--steps", "1")}
IMAGES = (1_000, 10_000, 60_000, 1_280_000)
NETWORKS = ("alexnet", "vgg16", "resnet50")
ATLAS_IMAGES = 10_000
FEW_IMAGES = 4


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def command(*words: str) -> float:
    """Return how long a command takes that writes to a new folder."""
    with (
        tempfile.TemporaryDirectory() as out,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return seconds(lambda: cli.main([*words, "--out", out]))


def compare(name: str, words: tuple[str, ...], rounds: int, start: bool = False) -> float:
    """Print how long a command takes without a cluster, and with one and two workers.

    Args:
        name: of the command.
        words: the command.
        rounds: how often each is measured; the shortest time counts.
        start: also measure the command with a cluster that it starts itself.
    """
    from distributed import LocalCluster

    taken: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(rounds):
        taken[0].append(command(*words))
        for workers in (1, 2):
            with LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address="localhost:0"
            ) as local:
                # As on a cluster that runs: the workers have imported what they need.
                command(*words, *BRIEF[words[0]], "--cluster", local.scheduler_address)
                taken[workers].append(command(*words, "--cluster", local.scheduler_address))
    plain, one, two = (min(values) for values in taken.values())
    print(f"{name}: {plain:.1f} s without a cluster, {one:.1f} s with one worker")
    print(
        f"  ({one - plain:+.1f} s), {two:.1f} s with two: {one / two:.2f} times faster", flush=True
    )
    if start:
        whole = min(command(*words, "--cluster", "local") for _ in range(rounds))
        print(
            f"  {whole:.1f} s with one that the command starts ({whole - plain:+.1f} s)", flush=True
        )
    return one / two


def draw_in_one_process() -> None:
    """Let a command without a cluster draw its scenes by one process."""
    draw_all = SceneSet.draw_all
    SceneSet.draw_all = lambda scenes, **_: draw_all(scenes, workers=1)  # type: ignore[method-assign]


def at_once(count: int) -> float:
    """Return how long some dissections of 1,600 images take at once, in processes of their own."""
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=draw_in_one_process) as pool:
        for images in ("64", "1600"):
            words = [(*DISSECT, "--images", images)] * count
            begun = [pool.submit(command, *each) for each in words]
            taken = max(one.result() for one in begun)
    return taken


def cpu_seconds(function: Callable[[], object]) -> float:
    """Return the processor's seconds of a call, which other processes hardly change."""
    start = time.process_time()
    function()
    return time.process_time() - start


def dissection_rate(network: str, images: int) -> float:
    """Return the seconds per image of both passes, beyond what a few images take."""
    model = models.load(network, weights="random")
    data = open_labelled("", model.card.input_size, images + FEW_IMAGES)
    layer = dissection.conv_layers(model)[-1]

    def run(count: int) -> float:
        part = Subset(data, range(count))
        return cpu_seconds(lambda: dissection.dissect(model, part, [layer]))

    return (run(images + FEW_IMAGES) - run(FEW_IMAGES)) / images


def unit_seconds(model: models.Model, layer: str, data: LabelledSet) -> float:
    """Return how long a unit of an atlas takes, from a few steps and a few images."""
    top = TopK(unit_profile.TOP_COUNT)
    indices = torch.arange(unit_profile.TOP_COUNT)
    tally(model, [(indices, data.batch(indices.tolist()))], {layer: [top]})

    def maximize(steps: int) -> float:
        return cpu_seconds(
            lambda: unit_profile.maximize_activations(model, layer, [0], steps=steps)
        )

    def project() -> float:
        parts = {"units": {layer: [0]}, "top_images": {layer: top}}
        return cpu_seconds(lambda: deconvnet.top_projections(model, data, [layer], **parts))

    def ablate(units: int) -> float:
        images, after = data.batch(range(FEW_IMAGES)), model.after_relu(layer)
        return cpu_seconds(
            lambda: perturbation.class_effects(model, after, images, list(range(units)))
        )

    maximize(1)  # the first call is slow
    step = (maximize(6) - maximize(2)) / 4
    effect = (ablate(3) - ablate(1)) / 2 / FEW_IMAGES
    return step * gallery.atlas.DEFAULT_STEPS + project() + effect * ABLATION_IMAGES


def atlas_rate(network: str) -> tuple[float, float]:
    """Return an atlas's seconds per unit, on average over all layers, and the number of units.

    They are those of a sample of layers, in proportion to the costs by which progress is estimated.
    """
    model = models.load(network, weights="random")
    layers = tuple(unit_profile.all_layers(model))
    data = open_labelled("", model.card.input_size, 2 * unit_profile.TOP_COUNT)
    subject = gallery.atlas.Subject(model, data, "", layers)
    chunks = gallery.atlas.make_plan(subject, Path("nowhere")).chunks
    each = {chunk.layer: chunk.cost / chunk.count for chunk in chunks}
    sample = layers[len(layers) // 6 :: max(len(layers) // 3, 1)]
    taken = sum(unit_seconds(model, layer, data) for layer in sample)
    total = taken / sum(each[layer] for layer in sample) * sum(chunk.cost for chunk in chunks)
    units = sum(chunk.count for chunk in chunks)
    return total / units, units


def row(what: str, amount: str, rate: str, total: float) -> None:
    """Print a row of the table of costs."""
    hours, workers = total / 3600, math.ceil(total / 3600)
    print(f"| {what} | {amount} | {rate} | {hours:,.1f} | {workers:,} |", flush=True)


def costs(images: int) -> None:
    """Print the table of costs, with workers of one thread of this machine needed for one hour."""
    torch.set_num_threads(1)
    print("| work | size | measured rate | hours of one worker | workers for one hour |")
    print("| --- | --- | --- | --- | --- |")
    rates = {name: dissection_rate(name, images) for name in NETWORKS}
    for network, rate in rates.items():
        for count in IMAGES:
            what = f"`dissect` {network}, last convolution"
            row(what, f"{count:,} images", f"{rate:.3f} s an image", count * rate)
    for network in NETWORKS:
        rate, count = atlas_rate(network)
        amount = f"{count:,.0f} units, {ATLAS_IMAGES:,} images"
        total = count * rate + ATLAS_IMAGES * rates[network] * 1.5  # three passes, not two
        row(f"`atlas` {network}", amount, f"{rate:.2f} s a unit", total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "costs"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--images", type=int, default=32, help="measured, for costs")
    args = parser.parse_args()
    if args.what == "costs":
        costs(args.images)
        return
    draw_in_one_process()
    print(f"two dissections at once, which share nothing: {2 * at_once(1) / at_once(2):.2f} times")
    first = compare("dissect 3,200 images", (*DISSECT, "--images", "3200"), args.rounds, True)
    second = compare("atlas of CL3", ATLAS, args.rounds)
    print(f"two workers against one (at least 1.7): ratio {min(first, second):.2f}")


if __name__ == "__main__":
    main()

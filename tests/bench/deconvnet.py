"""How fast top-9 projections are, against one unit and one image at a time through autograd.

Both find the nine pictures that excite each of the 432 maps of five layers most, and project each
activation back. By ones: the search runs one picture at a time, all layers at once; then each
projection is one pass of `model` and one call of `torch.autograd.grad`, on every so many-th of
them. Together: `top_projections`. The search alone is compared with bare forward passes, too.

Run by hand: `python tests/bench/deconvnet.py`; the last line is the ratio of the times.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.core.backward import relu_rules
from cnnvis_lab.core.statistics import TopK, tally
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods.deconvnet import top_projections

LAYERS = ["CL1", "CL2", "CL3", "CL4", "CL5"]


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.no_grad()
def search_one_by_one(model: models.Model, pictures: Tensor) -> None:
    for image in pictures.split(1):
        with hooks.record(model, LAYERS) as acts:
            model(image)
        for layer in LAYERS:
            acts[layer].flatten(2).max(2)


def one_by_one(model: models.Model, pictures: Tensor, found: dict[str, TopK], every: int) -> int:
    """Project each `every`-th of the activations by itself; return how many."""
    triples = [
        (layer, unit, int(number))
        for layer, top in found.items()
        for unit, numbers in enumerate(top.images)
        for number in numbers
    ][::every]
    for layer, unit, number in triples:
        image = pictures[number : number + 1].clone().requires_grad_()
        with relu_rules.relu_rule("deconvnet"), hooks.record(model, [layer]) as acts:
            model(image)
        strongest = acts[layer][0, unit].max()
        torch.autograd.grad(strongest, image, strongest.detach().clamp(min=0))
    return len(triples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=320)
    parser.add_argument("--every", type=int, default=8, help="time only each so many-th single")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, pictures = models.load("alexnet_mini"), SceneSet(HELD_OUT_SEED, given.pictures)
    pictures.draw_all()
    batches = list(pictures.batches(32))
    found = {layer: TopK(9) for layer in LAYERS}

    @torch.no_grad()
    def bare() -> None:
        for _, images in batches:
            model(images)

    def scan() -> None:
        tally(model, batches, {layer: [TopK(9)] for layer in LAYERS})

    tally(model, batches, {layer: [top] for layer, top in found.items()})
    passes = [(seconds(bare), seconds(scan)) for _ in range(5)]
    bare_time, scan_time = (min(times) for times in zip(*passes, strict=True))
    times = scan_time / bare_time
    print(f"bare passes {bare_time:.2f} s, scan {scan_time:.2f} s: {times:.2f} times")
    ours = min(seconds(lambda: top_projections(model, pictures, LAYERS)) for _ in range(3))
    whole = torch.cat([images for _, images in batches])
    search = seconds(lambda: search_one_by_one(model, whole))
    start = time.perf_counter()
    count = one_by_one(model, whole, found, given.every)
    total = sum(top.images.numel() for top in found.values())
    single = search + (time.perf_counter() - start) / count * total
    print(f"{total} projections with their search: together {ours:.2f} s, by ones {single:.2f} s")
    print(f"ratio {single / ours:.1f}")


if __name__ == "__main__":
    main()

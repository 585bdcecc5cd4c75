"""How fast top-9 projections are, against one unit and one image at a time through autograd.

Both find the nine images with the highest activation of each of the 432 maps of five layers, and
project each activation back. One at a time, the search reads one image per pass, for all layers;
then each projection is one pass of `model` and one call of `torch.autograd.grad`, timed for a part
of them. Together is `top_projections`. The search alone is also compared with forward passes.

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


def time_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.no_grad()
def search_one_by_one(model: models.Model, images: Tensor) -> None:
    for image in images.split(1):
        with hooks.record(model, LAYERS) as acts:
            model(image)
        for layer in LAYERS:
            acts[layer].flatten(2).max(2)


def one_by_one(
    model: models.Model, images: Tensor, top_activations: dict[str, TopK], every: int
) -> int:
    """Project every `every`-th of the activations separately; return their number."""
    triples = [
        (layer, unit, int(index))
        for layer, top in top_activations.items()
        for unit, indices in enumerate(top.images)
        for index in indices
    ][::every]
    for layer, unit, index in triples:
        image = images[index : index + 1].clone().requires_grad_()
        with relu_rules.relu_rule("deconvnet"), hooks.record(model, [layer]) as acts:
            model(image)
        maximum = acts[layer][0, unit].max()
        torch.autograd.grad(maximum, image, maximum.detach().clamp(min=0))
    return len(triples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument(
        "--every", type=int, default=8, help="time only every n-th separate projection"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, dataset = models.load("alexnet_mini"), SceneSet(HELD_OUT_SEED, args.images)
    dataset.draw_all()
    batches = list(dataset.batches(32))
    top_activations = {layer: TopK(9) for layer in LAYERS}

    @torch.no_grad()
    def forward_only() -> None:
        for _, images in batches:
            model(images)

    def scan() -> None:
        tally(model, batches, {layer: [TopK(9)] for layer in LAYERS})

    tally(model, batches, {layer: [top] for layer, top in top_activations.items()})
    passes = [(time_of(forward_only), time_of(scan)) for _ in range(5)]
    bare_time, scan_time = (min(times) for times in zip(*passes, strict=True))
    times = scan_time / bare_time
    print(f"forward passes {bare_time:.2f} s, scan {scan_time:.2f} s: {times:.2f} times")
    ours = min(time_of(lambda: top_projections(model, dataset, LAYERS)) for _ in range(3))
    all_images = torch.cat([images for _, images in batches])
    search = time_of(lambda: search_one_by_one(model, all_images))
    start = time.perf_counter()
    count = one_by_one(model, all_images, top_activations, args.every)
    total = sum(top.images.numel() for top in top_activations.values())
    one_at_a_time = search + (time.perf_counter() - start) / count * total
    print(
        f"{total} projections with their search: together {ours:.2f} s, "
        f"one at a time {one_at_a_time:.2f} s"
    )
    print(f"ratio {one_at_a_time / ours:.1f}")


if __name__ == "__main__":
    main()

"""How fast Net2Vec learns all concepts of a layer together, compared with one by one.

One at a time is the straightforward way: from the same stored bits, each concept is learned on its
own images in batches of 16, with every label pixel, by the released program's SGD for 30 epochs.
It is timed on some of the concepts; together is timed on all of them. The validation IoU of the
concepts that were learned both ways is also printed. The slow way uses the best of a few step
sizes, so that its IoU is not limited by the learning rate.

Run by hand: `python tests/bench/net2vec.py`; the last line is the ratio of the times per concept.
"""

import argparse
import time

import torch
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import net2vec
from cnnvis_lab.methods.net2vec import PreparedSet, Probes

RELEASED = net2vec.SGD_SETTINGS["released"]


def one_concept(train: PreparedSet, layer: str, column: int, rate: float) -> torch.Tensor:
    """Learn one concept from its own images, batch after batch."""
    images = train.present[:, column].nonzero()[:, 0].tolist()
    maps = torch.from_numpy(train[layer].maps(images)).permute(0, 3, 1, 2).contiguous()
    number = train.concepts[column].number
    truth = (train.data.label_maps(images) == number).any(1)[:, None].float()
    units, alpha = maps.shape[1], 1 - truth.mean()
    weights = torch.empty(1, units, 1, 1).uniform_(-(units**-0.5), units**-0.5).requires_grad_()
    optimizer = torch.optim.SGD([weights], rate, RELEASED.momentum)
    for _ in range(RELEASED.epochs):
        for x, t in zip(maps.split(RELEASED.batch), truth.split(RELEASED.batch), strict=True):
            summed = functional.conv2d(x, weights)
            up = functional.interpolate(
                summed, size=t.shape[-2:], mode="bilinear", align_corners=True
            )
            p = up.sigmoid()
            loss = -(alpha * t * p + (1 - alpha) * (1 - t) * (1 - p)).sum() / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return weights.detach().flatten()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=480, help="images to learn from")
    parser.add_argument("--validation", type=int, default=320, help="images to score on")
    parser.add_argument("--few", type=int, default=12, help="concepts learned one at a time")
    parser.add_argument("--layer", default="CL5.relu")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model, layer = models.load("alexnet_mini"), args.layer
    sets = [
        SceneSet(HELD_OUT_SEED, args.images, labelled=True),
        SceneSet(HELD_OUT_SEED, args.validation, start=args.images, labelled=True),
    ]
    for part in sets:
        part.draw_all()
    train, validation = net2vec.prepare(model, sets[0], sets[1:], [layer])
    columns = net2vec.usable_concepts(train, validation)
    order = train.present.sum(0)[columns].argsort()
    few = order[torch.linspace(0, len(columns) - 1, args.few).long()].tolist()
    iou_by_rate, durations = {}, []
    for rate in (RELEASED.learning_rate, 10 * RELEASED.learning_rate, 100 * RELEASED.learning_rate):
        start = time.perf_counter()
        rows = [one_concept(train, layer, columns[i], rate) for i in few]
        durations.append(time.perf_counter() - start)
        probes = Probes(
            torch.stack(rows), torch.zeros(len(few)), torch.tensor(columns)[torch.tensor(few)]
        )
        iou_by_rate[rate] = float(net2vec.set_iou(validation, layer, probes).mean())
        print(
            f"one at a time, step size {rate:g}: IoU {iou_by_rate[rate]:.3f}, {durations[-1]:.1f} s"
        )
    slow = min(durations) / len(few)
    ours = []
    for _ in range(3):
        start = time.perf_counter()
        probes = net2vec.segment(train, layer, columns)
        ours.append((time.perf_counter() - start) / len(columns))
    iou = float(net2vec.set_iou(validation, layer, probes.rows(few)).mean())
    print(f"together, {len(columns)} concepts: IoU of the same {iou:.3f}")
    print(f"{slow * 1e3:.0f} ms per concept one at a time, {min(ours) * 1e3:.1f} ms together")
    gap = iou - max(iou_by_rate.values())
    print(f"validation IoU, ours less the best of theirs (0 within 0.005): {gap:.3f}")
    print(f"one at a time, against together (at least 10): ratio {slow / min(ours):.1f}")


if __name__ == "__main__":
    main()

"""What a training recipe of a classifier is worth: the measurements by which recipes are chosen.

Trains a recipe, or resumes it from its checkpoint, and measures: the accuracy; how much of the
first kernels' energy is fine detail, which in these networks is noise; how much of its random start
each layer has kept; how many units are inactive; how many concepts are detected.

Run by hand: `python tests/bench/classifier_recipes.py alexnet_mini --changes '{"noise": 0.05}'`;
the last line is a row of JSON. With --table the row is added to a file.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.core import files, hooks
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import dissection
from cnnvis_lab.models.registry import MINI_NORMALIZATION
from cnnvis_lab.models.training.classifier import RECIPES, ClassifierTrainer

FINE = 0.25  # cycles per pixel
DISSECTED = ("relu1", "relu3", "relu5")
ACTIVE_IMAGES, DISSECTED_IMAGES = 200, 800


def fine_detail(kernels: Tensor) -> Tensor:
    """Return each kernel's fraction of energy above `FINE`."""
    # Not padded: the border of a padded kernel is an edge, which even a constant one would have.
    energy = torch.fft.fft2(kernels).abs().square().sum(1)
    down, across = (torch.fft.fftfreq(size) for size in kernels.shape[2:])
    fine = torch.hypot(down[:, None], across[None]) > FINE
    return (energy * fine).sum((1, 2)) / energy.sum((1, 2))


def weights(net: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and fully connected layers."""
    kinds = nn.Conv2d | nn.Linear
    return {n: m.weight.detach() for n, m in net.named_modules() if isinstance(m, kinds)}


def kept_of_the_start(trainer: ClassifierTrainer) -> dict[str, float]:
    """Return the cosine of each layer's weights with those before training."""
    start = weights(ClassifierTrainer(trainer.recipe, trainer.images).net)
    cosines = {
        name: functional.cosine_similarity(weight.flatten().cpu(), start[name].flatten(), dim=0)
        for name, weight in weights(trainer.net).items()
    }
    return {name: round(float(cosine), 3) for name, cosine in cosines.items()}


def inactive_units(model: models.Model) -> dict[str, int]:
    """Return the number of units of each ReLU that are 0 on all images."""
    layers = [name for name, _ in model.net.named_children() if name.startswith("relu")]
    images = SceneSet(HELD_OUT_SEED, ACTIVE_IMAGES).batch(range(ACTIVE_IMAGES))
    with torch.no_grad():
        maps = hooks.activations(model, images, layers)
    highest = {layer: m.flatten(2).amax(2) if m.ndim == 4 else m for layer, m in maps.items()}
    return {layer: int((values.amax(0) <= 0).sum()) for layer, values in highest.items()}


def detectors(model: models.Model) -> dict[str, dict[str, int]]:
    """Return layer -> number of detected concepts by category."""
    layers = [layer for layer in DISSECTED if hasattr(model.net, layer)]
    tables = dissection.dissect(model, SceneSet(HELD_OUT_SEED, DISSECTED_IMAGES), layers)
    return {layer: table.unique_concepts() for layer, table in tables.items()}


def measure(trainer: ClassifierTrainer) -> dict[str, object]:
    """Return the row of a trained recipe."""
    net = trainer.snapshot().cpu()
    accuracy = trainer.measure(net)["accuracy"]
    model = models.load(net, input_size=128, normalization=MINI_NORMALIZATION)
    first = next(iter(weights(net).values()))
    return {
        "recipe": asdict(trainer.recipe),
        "accuracy": accuracy,
        "fine_detail": round(float(fine_detail(first).median()), 4),
        "kept_of_the_start": kept_of_the_start(trainer),
        "inactive_units": inactive_units(model),
        "concepts": detectors(model),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--changes", type=json.loads, default={}, help="fields of the recipe")
    parser.add_argument("--name", help="of the checkpoint and the row; the recipe's by default")
    parser.add_argument("--out", type=Path, default=Path("reports/training"))
    parser.add_argument("--table", type=Path, help="JSON file to which the row is added")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    name = args.name or args.recipe
    trainer = ClassifierTrainer(replace(RECIPES[args.recipe], **args.changes))
    files.check_writable(args.out)
    trainer.run(name, args.out, print)
    row = measure(trainer)
    if args.table:
        rows = json.loads(args.table.read_text()) if args.table.is_file() else {}
        files.write_atomically(args.table, json.dumps(rows | {name: row}, indent=1) + "\n")
    print(json.dumps({name: row}))


if __name__ == "__main__":
    main()

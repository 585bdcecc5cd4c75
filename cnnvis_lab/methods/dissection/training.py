"""How training conditions change which concepts units detect (Bau et al. 2017, 3.5 and 3.6).

Compared are random initializations, single changes of the training, and steps of one training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import models
from ...core import InputError, copies
from ...data.scenes import SceneSet
from ...models import Model
from ...models.training import classifier
from .analysis import concordance, conv_layers, correlation, relative_range, transfer_accuracy
from .conventions import Convention
from .dissect import dissect
from .plan import LabelledData
from .table import ConceptCounts, LayerTable, count_concepts

OTHER_ARCHITECTURES = ("zfnet_mini", "judge_mini")
IOU_THRESHOLDS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1)


def training_conditions(name: str, architectures: int = 0) -> list[str]:
    """Return the shipped variants of a network, with other initializations or trainings.

    Args:
        name: the network.
        architectures: number of shipped networks of other architectures to add; none are added to
            a network that is not shipped.
    """
    table = models.shipped()
    order = list(classifier.RECIPES)
    variants = [other for other in table if other.startswith(f"{name}_")]
    variants.sort(key=lambda one: order.index(one) if one in order else len(order))
    others = OTHER_ARCHITECTURES[:architectures] if name in table else ()
    return [*variants, *(other for other in others if other in table)]


def load_conditions(
    model: Model, sources: Sequence[str], options: Mapping[str, Any] | None = None
) -> dict[str, Model]:
    """Load networks to compare a network with.

    Args:
        model: the network.
        sources: names of shipped networks; those with other classes are left out. Or NAME=WEIGHTS,
            a name as for `models.load` and a weights file.
        options: see `models.load_compared`.

    Returns:
        Name of the shipped network, or of the weights file without its suffix -> network.
    """
    loaded = {}
    for source in sources:
        name = Path(source.partition("=")[2]).stem or source
        if other := models.load_compared(model, source, options):
            loaded[name if name not in loaded else source] = other
    return loaded


class TrainingComparison(NamedTuple):
    """Comparison of trainings of one architecture; None where the required networks are missing.

    Networks with one change are compared with the mean over all initializations.

    Attributes:
        starts: the number of concepts for each initialization.
        relative_range: (maximum - minimum) / mean of these numbers.
        no_dropout: increase without dropout of the number of texture concepts, minus that of object
            concepts.
        batch_norm: number of concepts with batch normalization, relative to that without.
        half_width: number of concepts at half the width, relative to that at full width.
    """

    starts: list[int]
    relative_range: float | None
    no_dropout: float | None
    batch_norm: float | None
    half_width: float | None


def compare_trainings(name: str, counts: Mapping[str, Mapping[str, int]]) -> TrainingComparison:
    """Compare a network with variants that were trained differently.

    Args:
        name: the network.
        counts: network -> category -> number of different concepts; variants are called `name` and
            a suffix: repeat0, repeat1, ..., no_dropout, batch_norm, half_width. Without repeats,
            `name` itself is the only initialization.

    Source: Bau et al. 2017, sections 3.5 and 3.6.
    """
    repeats = [count for other, count in counts.items() if other.startswith(f"{name}_repeat")]
    baselines = repeats or [counts[name]]
    mean = {kind: sum(count[kind] for count in baselines) / len(baselines) for kind in counts[name]}
    total, starts = sum(mean.values()), [sum(count.values()) for count in baselines]
    ratio = {
        variant: sum(counts[f"{name}_{variant}"].values()) / total
        for variant in ("batch_norm", "half_width")
        if total and f"{name}_{variant}" in counts
    }
    change = None
    if without := counts.get(f"{name}_no_dropout"):
        gain = {kind: without[kind] - mean[kind] for kind in mean}
        change = gain.get("texture", 0) - gain.get("object", 0)
    return TrainingComparison(
        starts,
        relative_range(starts),
        change,
        ratio.get("batch_norm"),
        ratio.get("half_width"),
    )


@dataclass(frozen=True)
class NetworkComparison:
    """One layer of several networks, dissected on the same images.

    Attributes:
        tables: network -> its table. The first network is the one that the others are compared
            with; its variants are named as for `compare_trainings`.
        accuracies: network -> accuracy on held-out images, where it is known.
        transfer: network -> accuracy of a linear classifier of scenes on the layer's pooled
            activations; empty if fewer than two scenes are labeled.
    """

    tables: dict[str, LayerTable]
    accuracies: dict[str, float]
    transfer: dict[str, float]

    @property
    def name(self) -> str:
        """The network that the others are compared with."""
        return next(iter(self.tables))

    def short_name(self, network: str) -> str:
        """Return the name of a network, of a variant its difference from the first network."""
        variant = network.removeprefix(f"{self.name}_")
        return (
            network if variant == network else variant.replace("_", " ").replace("repeat", "seed ")
        )

    @cached_property
    def counts(self) -> ConceptCounts:
        """The unique detectors of each network."""
        return count_concepts(self.tables)

    @cached_property
    def trainings(self) -> TrainingComparison:
        """The network compared with its variants."""
        counts = {name: table.unique_concepts() for name, table in self.tables.items()}
        return compare_trainings(self.name, counts)

    def transfer_correlation(self) -> float | None:
        """Return the correlation of unique object detectors and `transfer` over the networks.

        None for fewer than four networks, without scenes, or without variation.
        """
        objects = [*self.counts.of("object").values()]
        accuracies = [*self.transfer.values()]
        return correlation(objects, accuracies) if len(accuracies) > 3 else None

    def order_agreement(self) -> float | None:
        """Return the mean fraction of pairs of networks in the same order as at an IoU of 0.04.

        The other IoU thresholds are 0.02 and 0.06. None if no pair differs.
        """
        counts = [table.unique_detectors_at([0.02, 0.04, 0.06]) for table in self.tables.values()]
        low, middle, high = zip(*counts, strict=True)
        agreements = [concordance(middle, other) for other in (low, high)]
        known = [value for value in agreements if value is not None]
        return sum(known) / len(known) if known else None

    def threshold_sweep(self, thresholds: Sequence[float] = IOU_THRESHOLDS) -> dict[str, Tensor]:
        """Return short name of a network -> number of unique detectors by IoU threshold.

        Initializations are averaged as "mean of the starts"; networks of equal numbers, such as one
        with folded batch normalization and its original, share an entry.

        Args:
            thresholds: IoU thresholds of a detector.
        """
        counts = {
            name.removeprefix(f"{self.name}_"): table.unique_detectors_at(thresholds)
            for name, table in self.tables.items()
        }
        starts = [counts.pop(name) for name in [*counts] if name.startswith("repeat")]
        sweep = {name: torch.tensor(values).float() for name, values in counts.items()}
        if starts:
            sweep["mean of the starts"] = torch.tensor(starts).float().mean(0)
        names: dict[tuple[float, ...], list[str]] = {}
        for name, values in sweep.items():
            names.setdefault(tuple(values.tolist()), []).append(name)
        return {", ".join(equal): torch.tensor(values) for values, equal in names.items()}


def compare_networks(
    networks: Mapping[str, Model],
    data: LabelledData,
    layer: str = "",
    *,
    convention: str | Convention = "original",
    min_images: int = 1,
) -> NetworkComparison:
    """Dissect one layer of several networks on the same images.

    Args:
        networks: networks by name, the one that the others are compared with first.
        data: images with label maps.
        layer: the layer; empty for the last convolution of each.
        convention: see `dissect`.
        min_images: see `dissect`.

    Source: Bau et al. 2017, sections 3.5 to 3.7.
    """
    tables, transfer = {}, {}
    for name, model in networks.items():
        deepest = layer or conv_layers(model)[-1]
        options = {"convention": convention, "min_images": min_images}
        tables[name] = dissect(model, data, [deepest], **options)[deepest]
        if sum(concept.category == "scene" for concept in tables[name].concepts) > 1:
            transfer[name] = transfer_accuracy(model, data, deepest)
    known = {name: model.card.accuracy for name, model in networks.items()}
    accuracies = {name: accuracy for name, accuracy in known.items() if accuracy}
    return NetworkComparison(tables, accuracies, transfer)


def short_recipe(
    name: str, *, images: int, epochs: int, rate: float, seed: int = 0
) -> classifier.ClassifierRecipe | None:
    """Return a network's training recipe, shortened and, as in the paper, without batch norm.

    Args:
        name: the network.
        images: number of training images.
        epochs: passes over them.
        rate: highest learning rate; longer trainings allow larger ones.
        seed: seed of the training.

    Returns:
        The recipe; None for a network that this project does not train.
    """
    recipe = classifier.RECIPES.get(name)
    options = {"images": images, "epochs": epochs, "rate": rate, "seed": seed}
    return recipe and replace(recipe, **options, batch_norm=False, folded=False)


def during_training(
    model: Model,
    recipe: classifier.ClassifierRecipe,
    data: LabelledData,
    layer: str,
    steps: Sequence[int] | None = None,
    *,
    train_data: SceneSet | None = None,
    convention: str | Convention = "original",
    min_images: int = 1,
) -> dict[int, LayerTable]:
    """Train a network from scratch and dissect one of its layers at some steps.

    Dissection does not affect the training.

    Args:
        model: a loaded network of the recipe's architecture; its weights are not changed.
        recipe: training recipe.
        data: images with label maps, to dissect with.
        layer: the layer.
        steps: training steps at which to dissect, from 1; 0 is the untrained network. None for 0
            and a sixteenth, an eighth, ... of the training, to its end.
        train_data: the training images; None for those of the recipe.
        convention: see `dissect`.
        min_images: see `dissect`.

    Returns:
        Step -> table, by increasing step.

    Raises:
        InputError: steps outside the training.

    Source: Bau et al. 2017, section 3.5, figure 9 (concepts over training iterations).
    """
    last = recipe.epochs * recipe.steps_per_epoch
    if steps is None:
        steps = sorted({0, *(max(1, round(last / 2**power)) for power in range(5))})
    if not steps or not 0 <= min(steps) <= max(steps) <= last:
        raise InputError(f"steps {list(steps)}: expected some from 0 to {last}, the last step")
    trainer, tables = classifier.ClassifierTrainer(recipe, train_data), {}
    model = copies.copy_network(model)
    if train_data is None:
        trainer.images.draw_all(torch.get_num_threads())
    losses = (loss for _ in range(recipe.epochs) for loss in trainer.epoch_losses())
    for step in range(max(steps) + 1):
        if step:
            next(losses)
        if step in steps:
            with torch.random.fork_rng():  # the global generator belongs to the training
                model.net.load_state_dict(trainer.snapshot().state_dict())
                result = dissect(model, data, [layer], convention=convention, min_images=min_images)
                tables[step] = result[layer]
    losses.close()
    return tables

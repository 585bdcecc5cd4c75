"""Prune all layers of a network, then train it a little again: the same way by each criterion."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ...core import Float, Images, Int, NamedValues, copies, features, with_gradients
from ...data import ImageSet, Subset
from ...models import Model, load, weights
from ...models.generators import Generator
from .cases import prunable_layers, reference_classes
from .pruning import PruningResult, cost, evaluate_pruned
from .pruning_analysis import Rankings, prune_to_fraction, rankings

LabeledImages = tuple[Images, Int[Tensor, " n"]]  # images in [0, 1] and their classes
Lesson = tuple[ImageSet, Float[Tensor, "m classes"]]  # images, and the scores to learn


@dataclass(frozen=True)
class TuningOptions:
    """How a pruned network is trained again.

    Attributes:
        steps: number of steps by which criteria are compared.
        final_steps: number of further steps of the network with the lowest loss.
        batch: images per step.
        rate: highest learning rate, reached after 15 % of the steps; then it decays along a cosine.
        temperature: class scores are divided by this before the softmax.
        autocast: compute in bfloat16 where PyTorch deems that safe.
        ranking_images: number of images by which maps are ranked.
    """

    steps: int = 24
    final_steps: int = 96
    batch: int = 64
    rate: float = 1e-3
    temperature: float = 4.0
    autocast: bool = False
    ranking_images: int = 64


DEFAULT_OPTIONS = TuningOptions()


@with_gradients
def fine_tune(
    network: Model,
    images: ImageSet,
    scores: Float[Tensor, "n classes"],
    options: TuningOptions = DEFAULT_OPTIONS,
    *,
    seed: int = 0,
) -> tuple[Model, list[float]]:
    """Train a network to return the class scores of another one, by AdamW without decay.

    This needs no labels. Dropout is not used; the statistics of batch normalization are updated.

    Args:
        network: the network; not changed.
        images: images of its input size.
        scores: (n, classes) what the other network, such as the one that was pruned, returns.
        options: steps, batch size and learning rate.
        seed: seed of the order of the images.

    Returns:
        The trained network, and the loss of each step.

    Source: Hinton et al. 2015, distillation.
    """
    net, device = copies.copy_network(network.net).requires_grad_(True), network.device
    layout = features.memory_format(network, images.batch([0]).to(device), ["logits"])
    net.to(memory_format=layout)
    batches = [*_batches(len(images), options, seed)]
    for module in net.modules():
        module.train(isinstance(module, _BatchNorm) and len(batches[0]) > 1)
    optimizer = torch.optim.AdamW(net.parameters(), options.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=len(batches), pct_start=0.15
    )
    losses = []
    for indices in batches:
        batch = network.normalize(images.batch(indices).to(device)).to(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.autocast):
            output = net(batch)
        target = scores[indices].to(device)
        loss = _distillation_loss(output.flatten(1).float(), target, options.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    net.to(memory_format=torch.contiguous_format)
    return Model(net, network.card, network.survey_layers, network.roles), losses


def _batches(count: int, options: TuningOptions, seed: int) -> Iterator[list[int]]:
    """Yield the indices of each step's images: each image once, then again in another order."""
    generator, order = torch.Generator().manual_seed(seed), []
    size = min(options.batch, count)
    for _ in range(options.steps):
        if len(order) < size:
            order = torch.randperm(count, generator=generator).tolist()
        batch, order = order[:size], order[size:]
        yield batch


def _distillation_loss(given: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    first, second = (functional.log_softmax(s / temperature, 1) for s in (given, wanted))
    return temperature**2 * functional.kl_div(first, second, reduction="batchmean", log_target=True)


def fraction_for_cost(
    model: Model, ranked: Mapping[str, Sequence[int]], multiply_adds: float
) -> float | None:
    """Return which fraction of each layer's maps can be kept at a limited cost.

    Args:
        model: a sequential network.
        ranked: layer -> its units in any order.
        multiply_adds: limit, as a fraction of the network's multiply-adds.

    Returns:
        The largest whole percentage, as a fraction; None if 1 % of the maps cost more than that.
    """

    def cost_of(percent: int) -> int:
        return cost(prune_to_fraction(model, ranked, percent / 100))[1]

    limit = multiply_adds * cost(model)[1]
    return bisect_right(range(1, 101), limit, key=cost_of) / 100 or None


@dataclass(frozen=True)
class Trial:
    """A network that was pruned and fine-tuned.

    Attributes:
        network: the network after fine-tuning.
        loss: mean loss of the last quarter of the steps; infinite if training diverged.
        before: accuracy and cost after pruning.
        after: accuracy and cost after fine-tuning.
    """

    network: Model
    loss: float
    before: PruningResult
    after: PruningResult


@dataclass(frozen=True)
class TunedNetworks:
    """Networks of the same cost, pruned by several criteria and fine-tuned in the same way.

    Attributes:
        model: the network before pruning.
        images: images on which accuracies are measured.
        whole: accuracy and cost of the network before pruning.
        trials: criterion -> a trial for each of its orders; only random ones are several.
        final: the best of the trials, trained for longer.
        reason: why there are no trials.
    """

    model: Model
    images: Images
    whole: PruningResult
    trials: Mapping[str, Sequence[Trial]] = field(default_factory=dict)
    final: Trial | None = None
    reason: str = ""

    @property
    def before(self) -> NamedValues:
        """Criterion -> mean accuracy after pruning."""
        means = {name: fmean(t.before.accuracy for t in own) for name, own in self.trials.items()}
        return NamedValues(means)

    @property
    def after(self) -> NamedValues:
        """Criterion -> mean accuracy after fine-tuning."""
        means = {name: fmean(t.after.accuracy for t in own) for name, own in self.trials.items()}
        return NamedValues(means)

    @property
    def best(self) -> Trial | None:
        """The trial with the lowest loss in training; test images have no part in the choice."""
        every = [trial for own in self.trials.values() for trial in own]
        return min(every, key=lambda trial: trial.loss, default=None)

    @property
    def accuracy_lost(self) -> float | None:
        """Accuracy of the whole network minus that of the final one."""
        return self.whole.accuracy - self.final.after.accuracy if self.final else None

    @property
    def multiply_adds(self) -> float | None:
        """Multiply-adds of the pruned networks, as a fraction of the whole network's."""
        return self.final.after.multiply_adds / self.whole.multiply_adds if self.final else None

    def export(self, folder: Path | None = None) -> float | None:
        """Write the final network to `arrays/pruned.safetensors`, and load it again.

        Args:
            folder: where to write; None for a temporary folder.

        Returns:
            The largest difference between the class scores of the network and of the file; None if
            there is no network.
        """
        if self.final is None:
            return None
        card = self.model.card
        with TemporaryDirectory() as temporary:
            file = Path(folder or temporary) / "arrays" / "pruned.safetensors"
            weights.write_pruned(self.final.network.net, file, card.name)
            reloaded = load(
                self.model.net,
                weights=file,
                input_size=card.input_size,
                normalization=card.normalization,
                classes=card.classes,
                device=str(self.model.device),
            )
        first, second = (features.predict(n, self.images) for n in (self.final.network, reloaded))
        return float((first - second).abs().max())


def split_for_tuning(
    model: Model, images: ImageSet, tested: int, *, synthetic: bool
) -> tuple[LabeledImages, Subset]:
    """Split images into those to measure accuracies on, with their classes, and those to train on.

    Args:
        model: the network.
        images: the images.
        tested: number of the first images, on which accuracies are measured; at most half.
        synthetic: whether the classes are known, see `reference_classes`.
    """
    tested = max(1, min(tested, len(images) // 2))
    first, rest = images.batch(range(tested)), range(tested, len(images)) or range(tested)
    return (first, reference_classes(model, first, synthetic=synthetic)), Subset(images, rest)


def compare_tuned(
    model: Model,
    images: ImageSet,
    test: LabeledImages,
    *,
    decoders: Mapping[str, Generator],
    multiply_adds: float = 0.5,
    options: TuningOptions = DEFAULT_OPTIONS,
    random_orders: int = 3,
    seed: int = 0,
) -> TunedNetworks:
    """Prune all layers of a network by each criterion, then fine-tune in the same way.

    The same fraction of each layer's maps is removed. The order of images is the same for each
    criterion. Fine-tuning is distillation from the whole network, so no labels are needed. At last
    the network with the lowest loss is trained for longer.

    Args:
        model: the network.
        images: images to rank maps by, and to train on; not those of `test`.
        test: images to measure accuracies on, and their classes.
        decoders: layer -> its decoder; see `rankings` for layers without one.
        multiply_adds: limit of the cost, as a fraction of the whole network's.
        options: of fine-tuning.
        random_orders: number of random orders.
        seed: seed of random orders, and of the order of the images.
    """
    unpruned = TunedNetworks(model, test[0], evaluate_pruned(model, *test))
    layers = prunable_layers(model)
    if not layers:
        return replace(unpruned, reason="Pruning with fine-tuning needs a sequential network.")
    examples = images.batch(range(min(options.ranking_images, len(images))))
    predicted = features.predict(model, examples).argmax(1)
    ranked = rankings(
        model,
        layers,
        examples,
        predicted,
        decoders=decoders,
        random_orders=random_orders,
        exact=False,
        seed=seed,
    )
    kept = fraction_for_cost(model, ranked.joint_orders("random")[0], multiply_adds)
    if kept is None:
        reason = f"Maps can be removed from {', '.join(layers)} only, which cost too little."
        return replace(unpruned, reason=reason)
    scores = torch.cat([features.predict(model, part) for _, part in images.batches(options.batch)])
    lesson = images, scores
    tuned = replace(unpruned, trials=_tune_each(model, ranked, kept, lesson, test, options, seed))
    if best := tuned.best:
        longer = replace(options, steps=options.final_steps)
        final = _tune(best.network, best.before, lesson, test, longer, seed)
        tuned = replace(tuned, final=final)
    return tuned


def _tune_each(
    model: Model,
    ranked: Rankings,
    kept: float,
    lesson: Lesson,
    test: LabeledImages,
    options: TuningOptions,
    seed: int,
) -> dict[str, list[Trial]]:
    def attempt(order: Mapping[str, Sequence[int]]) -> Trial:
        small = prune_to_fraction(model, order, kept)
        before = evaluate_pruned(small, *test, 1 - kept)
        return _tune(small, before, lesson, test, options, seed)

    return {
        criterion: [attempt(order) for order in ranked.joint_orders(criterion)]
        for criterion in ranked.joint_criteria(model)
    }


def _tune(
    network: Model,
    before: PruningResult,
    lesson: Lesson,
    test: LabeledImages,
    options: TuningOptions,
    seed: int,
) -> Trial:
    tuned, losses = fine_tune(network, *lesson, options, seed=seed)
    final = fmean(losses[-max(1, len(losses) // 4) :])
    after = evaluate_pruned(tuned, *test, before.fraction)
    return Trial(tuned, final if math.isfinite(final) else math.inf, before, after)

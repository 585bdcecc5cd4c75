"""Training evolution: what a network's units answer to, step by step while it learns.

At chosen steps the network is looked at as it then is: the picture of a data set that excites each
unit most, chosen anew, and its projection back to the pixels; the first kernels; where wanted,
activation maximization and detectors of labelled concepts. The weights are kept in 16 bit, so that
all else can be computed later, see `evolution_curves`. The training itself goes on as if nobody
had looked. After Zeiler and Fergus 2013, figure 4 (survey figure F7).

    with record(net, folder, pictures, layers, at=schedule(500)) as recorder:
        for step in range(1, 501):
            ...  # one step of any training loop
            recorder.step(step)
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ... import data, models
from ...core import InputError
from ...core.statistics import TopK, tally
from ...data import ImageSet
from ...models import Model, weights
from ...models.training import classifier
from ..activation_maximization import render
from ..deconvnet import TopProjections, top_projections
from ..dissection import LayerTable, dissect
from .store import BestConcepts, Snapshot, SnapshotStore, UnitMaxima, half_precision_state, header

PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)
BATCH_SIZE = 50  # pictures looked at together


def schedule(steps: int, epochs: Sequence[float] = PAPER_EPOCHS) -> list[int]:
    """Return the steps that stand for epochs of a longer training, the last one being the end.

    Args:
        steps: of the whole run.
        epochs: rising; by default those of the paper's figure. Only 0 stands for step 0.

    Source: Zeiler and Fergus 2013, figure 4.
    """
    if steps < 1 or not epochs:
        raise InputError(f"{steps} steps and {len(epochs)} epochs: expected at least one of each")
    return sorted({max(epoch > 0, round(steps * epoch / epochs[-1])) for epoch in epochs})


def record(
    net: nn.Module,
    folder: str | Path,
    pictures: ImageSet,
    layers: Sequence[str],
    *,
    at: Sequence[int],
    view: Model | None = None,
    units: int | Mapping[str, Sequence[int]] = 6,
    rule: str | None = "deconvnet",
    ascent: int = 0,
    labelled: object | None = None,
    measured: Mapping[str, Callable[[Model], float]] | None = None,
    seed: int = 0,
) -> "Recorder":
    """Begin to record a training, or go on with it.

    Args:
        net: the network in training; it is neither switched to another mode nor changed.
        folder: for one file a step. What is there already is not recorded again.
        pictures: the data set whose strongest pictures are looked for; no copy of it is kept.
        layers: dotted names or aliases of `view`.
        at: steps to record, counted from 1; 0 is the network as it is now.
        view: a loaded network of the same architecture to look through, whose weights are
            overwritten; it knows layer names, input size and normalisation. None for a copy of
            `net` as `models.load` takes it.
        units: layer -> the units that are drawn; or how many of each layer, taken at random.
        rule: of the projections, see `deconvnet.project`; None for no projections.
        ascent: steps of activation maximization for each drawn unit; 0 for none.
        labelled: a data set with label maps, to find detectors in; None for none.
        measured: name -> what else to measure of the network, such as its accuracy.
        seed: of the choice of units.

    Raises:
        NameNotFound: no such layer.
        InputError: a unit out of range, steps below 0, or a view of `net` itself.
        FileProblem: the folder holds a recording of another network, data set or choice of units.

    Source: Zeiler and Fergus 2013, figure 4; Bau et al. 2017 (detectors while training).
    """
    if not at or min(at) < 0:
        raise InputError(f"steps {list(at)}: expected at least one, counted from 0")
    if view is None:
        view = models.load(copy.deepcopy(net), input_size=pictures.batch([0]).shape[-1])
    if {*map(id, view.parameters())} & {*map(id, net.parameters())}:
        raise InputError("the view is of the network in training itself; give it a copy")
    if labelled is not None:
        labelled = data.as_labelled(labelled, view.card.input_size)
    drawn = _choose_units(view, layers, units, seed)
    known = labelled.labels if labelled is not None else {}
    store = SnapshotStore(folder, header(view, pictures, drawn, known))
    looks = _Observer(view, pictures, drawn, rule, ascent, labelled, dict(measured or {}))
    recorder = Recorder(net, store, looks, sorted(set(at)))
    if 0 in recorder.at:
        recorder.step(0)
    return recorder


def _choose_units(
    view: Model,
    layers: Sequence[str],
    units: int | Mapping[str, Sequence[int]],
    seed: int,
) -> dict[str, list[int]]:
    """Layer -> units to draw, checked."""
    shapes = view.layer_shapes(layers)
    chosen, drawn = {}, torch.Generator().manual_seed(seed)
    for layer in layers:
        has = shapes[layer][0]
        if isinstance(units, int):
            chosen[layer] = sorted(torch.randperm(has, generator=drawn)[:units].tolist())
        else:
            chosen[layer] = list(units.get(layer, ()))
        if any(not 0 <= unit < has for unit in chosen[layer]):
            raise InputError(f"units {chosen[layer]} of {layer}: it has {has}, counted from 0")
    return chosen


@dataclass(frozen=True)
class _Observer:
    """All that is looked at in a network; see `record` for what is what."""

    view: Model
    pictures: ImageSet
    units: Mapping[str, list[int]]
    rule: str | None
    ascent: int
    labelled: object | None
    measured: Mapping[str, Callable[[Model], float]]

    def at(self, step: int, parameters: dict[str, Tensor]) -> Snapshot:
        """Look at the network that has these weights."""
        weights.load_into(self.view.net, parameters, f"step {step}")
        found = self._strongest()
        return Snapshot(
            step=step,
            weights=parameters,
            kernels=self.view.kernels().cpu(),
            strongest={layer: _maxima(top) for layer, top in found.items()},
            projections=self._projections(found),
            rendered=self._rendered(),
            concepts=self._concepts(),
            numbers={name: float(number(self.view)) for name, number in self.measured.items()},
        )

    def _strongest(self) -> dict[str, TopK]:
        found, device = {layer: TopK(1) for layer in self.units}, self.view.device
        batches = (
            (numbers, images.to(device)) for numbers, images in self.pictures.batches(BATCH_SIZE)
        )
        tally(self.view, batches, {layer: [top] for layer, top in found.items()})
        return found

    def _drawn(self) -> list[str]:
        return [layer for layer, units in self.units.items() if units]

    def _projections(self, found: dict[str, TopK]) -> dict[str, TopProjections]:
        if self.rule is None or not self._drawn():
            return {}
        return top_projections(
            self.view, self.pictures, self._drawn(), units=self.units, found=found, rule=self.rule
        )

    def _rendered(self) -> dict[str, Tensor]:
        rendered = {}
        for layer in self._drawn() if self.ascent else ():
            targets = [f"{layer}:{unit}" for unit in self.units[layer]]
            rendered[layer] = render(self.view, targets, steps=self.ascent).patches.cpu()
        return rendered

    def _concepts(self) -> dict[str, BestConcepts]:
        if self.labelled is None:
            return {}
        tables = dissect(self.view, self.labelled, list(self.units), batch=BATCH_SIZE)
        return {layer: _best_concepts(table) for layer, table in tables.items()}


def _best_concepts(table: LayerTable) -> BestConcepts:
    iou, column = table.best()
    return BestConcepts(torch.tensor([concept.number for concept in table.concepts])[column], iou)


def _maxima(top: TopK) -> UnitMaxima:
    return UnitMaxima(top.values[:, 0], top.images[:, 0], top.positions[:, 0])


class Recorder:
    """Records a network under training; begun by `record`.

    Leaving its `with` block in peace also records the last step that was told, wherever training
    stopped, so that there is a final state to compare with.

    Attributes:
        at: the steps to record.
    """

    def __init__(
        self, net: nn.Module, store: SnapshotStore, looks: _Observer, at: list[int]
    ) -> None:
        self.at = at
        self._net, self._store, self._looks = net, store, looks
        self._last: int | None = None

    @property
    def remaining(self) -> list[int]:
        """The steps that are still to be recorded."""
        return [step for step in self.at if not self._store.has(step)]

    def step(self, number: int) -> bool:
        """Record the network if this is one of the steps, and not recorded yet.

        Args:
            number: how many steps it has been trained.

        Returns:
            Whether it was recorded now.

        Raises:
            InputError: weights or activations that are no numbers.
        """
        self._last = number
        if number not in self.at or self._store.has(number):
            return False
        self._write(number)
        return True

    def _write(self, number: int) -> None:
        # The global random stream belongs to the training.
        with torch.random.fork_rng():
            self._store.write(self._looks.at(number, half_precision_state(self._net, number)))

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._last is not None and not self._store.has(self._last):
            self._write(self._last)


def train(
    trainer: classifier.ClassifierTrainer, recorder: Recorder, checkpoint: str | Path | None = None
) -> list[float]:
    """Train all epochs that are left, recording on the way.

    Args:
        trainer: the training, whose `net` is being recorded.
        recorder: what records it.
        checkpoint: file that keeps the training after each epoch, to go on from; None for none.

    Returns:
        The loss of every step taken now.

    Raises:
        FileProblem: the checkpoint is of another recipe.
    """
    losses = []
    if checkpoint and Path(checkpoint).is_file():
        trainer.resume(Path(checkpoint))
    while trainer.epoch < trainer.recipe.epochs:
        first = trainer.epoch * trainer.recipe.steps_per_epoch + 1
        for step, loss in enumerate(trainer.epoch_losses(), first):
            losses.append(loss)
            recorder.step(step)
        if checkpoint:
            trainer.save(Path(checkpoint))
    return losses

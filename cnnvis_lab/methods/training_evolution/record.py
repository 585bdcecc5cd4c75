"""Record a network at chosen steps of its training.

Each snapshot contains the weights in 16 bits and, computed from these rounded weights, each unit's
top-activating image in a dataset, its projection to the pixels, the first-layer kernels and, if
requested, activation maximization, concept detectors and other metrics. Recording does not affect
the training. The method follows Zeiler and Fergus 2013, figure 4 (survey figure F7).

    recorder = record(net, folder, images, at=schedule(500))
    for step in range(1, 501):
        ...  # one step of any training loop
        recorder.step(step)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ... import data, models
from ...core import InputError
from ...core.statistics import TopK, tally
from ...data import ImageSet, LabelledSet
from ...models import Model, weights
from ...models.training import classifier, own_classifier
from .. import activation_maximization, deconvnet, dissection
from .store import (
    BestConcepts,
    Snapshot,
    SnapshotStore,
    UnitMaxima,
    half_precision_state,
    header,
)

PAPER_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)
BATCH_SIZE = 50


def schedule(steps: int, epochs: Sequence[float] = PAPER_EPOCHS) -> list[int]:
    """Return the steps that correspond to the epochs of a longer training, scaled to this run.

    Args:
        steps: number of steps of the run.
        epochs: epochs, ascending; the last one is the end of the run. Only epoch 0 gives step 0.

    Raises:
        InputError: fewer than one step, or no epochs.

    Source: Zeiler and Fergus 2013, figure 4 (the default epochs).
    """
    if steps < 1 or not epochs:
        raise InputError(f"{steps} steps and {len(epochs)} epochs: expected at least one of each")
    return sorted({max(epoch > 0, round(steps * epoch / epochs[-1])) for epoch in epochs})


@dataclass(frozen=True)
class Observations:
    """What is recorded at every chosen step.

    Attributes:
        images: the dataset in which each unit's top-activating image is found; it is not copied.
        layers: dotted names or aliases; empty for the network's default convolutions.
        units: layer -> units to project and render, or a number of random units per layer.
        rule: backward rule of the projections, see `deconvnet.project`; None for no projections.
        render_steps: steps of activation maximization for each of these units; 0 for none.
        labelled: a dataset with label maps, on which to find detectors; None for no detectors.
        metrics: name -> function that measures the network, such as its accuracy.
        seed: seed of the random choice of units.
    """

    images: ImageSet
    layers: Sequence[str] = ()
    units: int | Mapping[str, Sequence[int]] = 6
    rule: str | None = "deconvnet"
    render_steps: int = 0
    labelled: LabelledSet | data.broden.Broden | None = None
    metrics: Mapping[str, Callable[[Model], float]] = field(default_factory=dict)
    seed: int = 0


def record(
    net: nn.Module,
    folder: str | Path,
    what: Observations | ImageSet,
    *,
    at: Sequence[int],
    view: Model | None = None,
    folded: Callable[[], nn.Module] | None = None,
) -> "Recorder":
    """Start recording a training, or resume an interrupted recording.

    Args:
        net: the network in training; neither its mode nor its weights are changed.
        folder: folder for one file per step. Existing steps are not recorded again.
        what: what to record; or just the images in which each unit's top-activating one is found.
        at: steps to record, counted from 1; 0 is the network before training.
        view: a loaded network of the same architecture, used for all observations; its weights are
            overwritten. It defines layer names, input size and normalization. None for a copy of
            `net`, loaded by `models.load`.
        folded: function that returns the network recorded instead of `net`, with the layers of
            `view`; for example one whose batch normalization is folded into its other layers.

    Raises:
        NameNotFound: no such layer.
        InputError: a unit out of range, no step or a negative one, or a view that shares weights
            with `net`.
        FileError: the folder holds a recording of another network, dataset or choice of units.

    Source: Zeiler and Fergus 2013, figure 4; Bau et al. 2017 (detectors during training).
    """
    if not at or min(at) < 0:
        raise InputError(f"steps {list(at)}: expected at least one, counted from 0")
    if not isinstance(what, Observations):
        what = Observations(what)
    if view is None:
        height, width = what.images.batch([0]).shape[-2:]
        view = models.load(net, input_size=(height, width))
    if {*map(id, view.parameters())} & {*map(id, net.parameters())}:
        raise InputError("the view is the network in training itself; give it a copy")
    labels = {}
    if not what.layers:
        what = replace(what, layers=view.conv_layers())
    if what.labelled is not None:
        labelled = data.as_labelled(what.labelled, view.card.input_size)
        what, labels = replace(what, labelled=labelled), labelled.labels
    units = _choose_units(view, what)
    store = SnapshotStore(folder, header(view, what.images, units, labels))
    recorder = Recorder(folded or (lambda: net), view, what, units, store, sorted(set(at)))
    if 0 in recorder.at:
        recorder.step(0)
    return recorder


def _choose_units(view: Model, what: Observations) -> dict[str, list[int]]:
    """Return layer -> units to project and render, after checking that they exist."""
    shapes = view.layer_shapes(what.layers)
    chosen, generator = {}, torch.Generator().manual_seed(what.seed)
    for layer in what.layers:
        count = shapes[layer][0]
        if isinstance(what.units, int):
            order = torch.randperm(count, generator=generator).tolist()
            chosen[layer] = sorted(order[: what.units])
        else:
            chosen[layer] = list(what.units.get(layer, ()))
        if any(not 0 <= unit < count for unit in chosen[layer]):
            raise InputError(f"units {chosen[layer]} of {layer}: it has {count}, counted from 0")
    return chosen


class Recorder:
    """Records a network in training; started by `record`.

    At the end of its `with` block, unless an exception ends it, the last reported step is recorded
    too, so that there is a final snapshot.

    Attributes:
        at: the steps to record.
    """

    def __init__(
        self,
        net: Callable[[], nn.Module],
        view: Model,
        what: Observations,
        units: dict[str, list[int]],
        store: SnapshotStore,
        at: list[int],
    ) -> None:
        self.at = at
        self._net, self._view, self._what, self._units = net, view, what, units
        self._drawn_layers = [layer for layer in units if units[layer]]
        self._store = store
        self._last_step: int | None = None

    def step(self, step: int) -> bool:
        """Record the network if this step is to be recorded and has not been recorded yet.

        Args:
            step: the number of training steps done so far.

        Returns:
            Whether a snapshot was recorded.

        Raises:
            InputError: weights or activations that are not finite.
        """
        self._last_step = step
        is_due = step in self.at and not self._store.has(step)
        if is_due:
            self._write(step)
        return is_due

    def _write(self, step: int) -> None:
        # The global random generator belongs to the training.
        with torch.random.fork_rng():
            self._store.write(self._observe(step, half_precision_state(self._net(), step)))

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        step = self._last_step
        if kind is None and step is not None and not self._store.has(step):
            self._write(step)

    def _observe(self, step: int, parameters: dict[str, Tensor]) -> Snapshot:
        weights.load_into(self._view.net, parameters, f"step {step}")
        tops = self._top_activations()
        return Snapshot(
            step=step,
            weights=parameters,
            kernels=self._view.kernels().cpu(),
            maxima={
                layer: UnitMaxima(top.values[:, 0], top.images[:, 0], top.positions[:, 0])
                for layer, top in tops.items()
            },
            projections=self._projections(tops),
            rendered=self._rendered(),
            concepts=self._concepts(),
            metrics={
                name: float(metric(self._view)) for name, metric in self._what.metrics.items()
            },
        )

    def _top_activations(self) -> dict[str, TopK]:
        tops, device = {layer: TopK(1) for layer in self._units}, self._view.device
        batches = (
            (indices, images.to(device))
            for indices, images in self._what.images.batches(BATCH_SIZE)
        )
        tally(self._view, batches, {layer: [top] for layer, top in tops.items()})
        return tops

    def _projections(self, tops: dict[str, TopK]) -> dict[str, deconvnet.TopProjections]:
        if self._what.rule is None or not self._drawn_layers:
            return {}
        return deconvnet.top_projections(
            self._view,
            self._what.images,
            self._drawn_layers,
            units=self._units,
            top_images=tops,
            rule=self._what.rule,
        )

    def _rendered(self) -> dict[str, Tensor]:
        rendered, steps = {}, self._what.render_steps
        for layer in self._drawn_layers if steps else ():
            targets = [f"{layer}:{unit}" for unit in self._units[layer]]
            rendering = activation_maximization.render(self._view, targets, steps=steps)
            rendered[layer] = rendering.patches.cpu()
        return rendered

    def _concepts(self) -> dict[str, BestConcepts]:
        if self._what.labelled is None:
            return {}
        layers, concepts = list(self._units), {}
        run = dissection.RunOptions(batch=BATCH_SIZE)
        tables = dissection.dissect(self._view, self._what.labelled, layers, run=run)
        for layer, table in tables.items():
            iou, columns = table.best()
            labels = torch.tensor([concept.number for concept in table.concepts])
            concepts[layer] = BestConcepts(labels[columns], iou)
        return concepts


def train(
    trainer: classifier.ClassifierTrainer | own_classifier.OwnClassifierTrainer,
    recorder: Recorder,
    checkpoint: str | Path | None = None,
) -> list[float]:
    """Train all remaining epochs, and record the scheduled steps.

    Args:
        trainer: the training, whose `net` is being recorded.
        recorder: the recorder of the network.
        checkpoint: checkpoint file, written after each epoch, from which an interrupted training
            resumes; None for no checkpoint.

    Returns:
        The loss of every step taken by this call.

    Raises:
        FileError: the checkpoint belongs to another recipe.
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

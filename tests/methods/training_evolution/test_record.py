"""Recording does not change a training, resumes after interruption, and is accurate."""

import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from support import recorded_training
from support.recorded_training import (
    AT,
    LAYERS,
    labelled_images,
    record,
    train_by_hand,
    untrained,
    view,
)
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound, hooks
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.methods import activation_maximization, deconvnet, dissection, training_evolution
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_recording_does_not_change_a_training_loop(tmp_path):
    net = untrained()
    with record(net, tmp_path, labelled=labelled_images(), render_steps=1) as recorder:
        train_by_hand(net, recorder)
    assert _same_weights(net, train_by_hand(untrained()))
    assert all(module.training for module in net.modules())
    assert all(weight.requires_grad for weight in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@cache
def _scenes() -> SceneSet:
    return SceneSet(TRAIN_SEED, 16)


def _trainer() -> ClassifierTrainer:
    recipe = ClassifierRecipe("alexnet_mini", images=16, epochs=2, batch=8)
    return ClassifierTrainer(recipe, _scenes())


def _train_recorded(
    folder: Path, trainer: ClassifierTrainer, checkpoint: Path | None = None
) -> list[float]:
    model = models.load("alexnet_mini", weights="random")
    observations = training_evolution.Observations(_scenes(), ["CL5", "CL1"], {"CL5": [3]})
    with training_evolution.record(
        trainer.net, folder, observations, at=[1, 3, 4], view=model
    ) as recorder:
        return training_evolution.train(trainer, recorder, checkpoint)


def test_the_recorded_trainer_gives_the_same_losses_and_weights(tmp_path):
    plain, observed = _trainer(), _trainer()
    expected = [loss for _ in range(2) for loss in plain.epoch_losses()]
    assert _train_recorded(tmp_path, observed) == expected
    assert _same_weights(plain.net, observed.net)
    evolution = training_evolution.load(tmp_path)
    assert evolution.steps == [1, 3, 4] and evolution.layers == ("CL5", "CL1")
    first, last = evolution.snapshots[0], evolution.snapshots[-1]
    assert [*first.projections] == ["CL5"]  # no unit of the other layer was chosen
    assert first.maxima["CL1"].values.shape == (48,)
    expected = observed.net.conv1.weight.detach().half()
    assert torch.equal(last.weights["conv1.weight"], expected)


def test_an_interrupted_trainer_resumes_from_its_checkpoint_and_records_the_same_bytes(tmp_path):
    _train_recorded(tmp_path / "whole", _trainer())

    class Interrupted(ClassifierTrainer):
        def save(self, path: Path) -> None:
            super().save(path)
            raise KeyboardInterrupt

    first, checkpoint = _trainer(), tmp_path / "training.pt"
    first.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        _train_recorded(tmp_path / "cut", first, checkpoint)
    assert training_evolution.load(tmp_path / "cut").steps == [1]
    assert len(_train_recorded(tmp_path / "cut", _trainer(), checkpoint)) == 2
    assert _bytes(tmp_path / "cut") == _bytes(tmp_path / "whole")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_recorded_weights_are_those_of_the_step_in_16_bit(recorded):
    for snapshot in recorded.snapshots:
        net = train_by_hand(untrained(), steps=snapshot.step)
        for name, value in net.state_dict().items():
            weight = snapshot.weights[name]
            expected = value.half() if value.is_floating_point() else value
            assert torch.equal(weight, expected) and weight.dtype == expected.dtype


def test_top_images_are_chosen_anew_at_every_step(recorded):
    images, chosen = labelled_images().images, []
    for snapshot in recorded.snapshots:
        model = training_evolution.restore(view(), snapshot)
        activations = hooks.activations(model, images, LAYERS)
        for layer in LAYERS:
            maxima, maps = snapshot.maxima[layer], activations[layer]
            assert torch.allclose(maxima.values, maps.flatten(2).amax((0, 2)), atol=1e-6)
            y, x = maxima.positions.unbind(1)
            at_positions = maps[maxima.images, torch.arange(len(y)), y, x]
            assert torch.allclose(at_positions, maxima.values, atol=1e-6)
        chosen.append(snapshot.maxima["second"].images)
    assert not torch.equal(chosen[0], chosen[-1])


def test_projections_are_those_of_the_recorded_network_and_its_top_images(recorded):
    images = labelled_images().images
    for snapshot in recorded.snapshots:
        model = training_evolution.restore(view(), snapshot)
        for layer, top in snapshot.projections.items():
            assert top.units.tolist() == recorded.units[layer]
            assert torch.equal(top.images[:, 0], snapshot.maxima[layer].images[top.units])
            for row, unit in enumerate(recorded.units[layer]):
                image = images[top.images[row]]
                whole = deconvnet.project(model, image, f"{layer}:{unit}").pixels[0, 0]
                y0, x0, y1, x1 = top.boxes[row, 0].tolist()
                expected, projection = whole[:, y0:y1, x0:x1], top.projections[row, 0]
                assert torch.allclose(projection, expected, rtol=2**-8, atol=1e-12)
    assert any(p.projections.any() for p in recorded.snapshots[-1].projections.values())


def test_renderings_concepts_and_metrics_are_those_of_the_recorded_network(recorded):
    snapshot = recorded.snapshots[-1]
    model = training_evolution.restore(view(), snapshot)
    for layer in LAYERS:
        targets = [f"{layer}:{unit}" for unit in recorded.units[layer]]
        patches = activation_maximization.render(model, targets, steps=2).patches
        assert torch.allclose(snapshot.rendered[layer], patches, atol=2**-10)
    for layer, table in dissection.dissect(model, labelled_images(), LAYERS).items():
        detectors = table.detectors()
        marked = training_evolution.detected_concepts(recorded, layer, table.min_iou)[-1].tolist()
        assert marked == [detectors[u].number if u in detectors else 0 for u in range(len(table))]
        assert torch.equal(snapshot.concepts[layer].iou, table.best()[0])
    assert snapshot.metrics == {"norm": float(model.net.last.weight.norm())}


def test_only_what_is_requested_is_recorded(tmp_path):
    snapshot = recorded_training.recorded(tmp_path, rule=None).snapshots[0]
    assert not snapshot.projections and not snapshot.rendered and not snapshot.concepts
    assert set(snapshot.maxima) == set(LAYERS)


def test_an_interrupted_recording_resumes_and_ends_as_an_uninterrupted_one(tmp_path):
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    code = (
        "import sys; from support import recorded_training as r; r.record_until_killed(sys.argv[1])"
    )
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(cut)]
    killed = subprocess.run(command, env={"PYTHONPATH": f"{tests}:{tests.parent}"})
    assert killed.returncode == -signal.SIGKILL
    assert [*cut.glob(".cnnvis-partial-*")]
    assert training_evolution.load(cut).steps == AT[:2]  # half-written snapshots do not count
    times = {p: p.stat().st_mtime_ns for p in cut.glob("step-*")}
    recorded_training.recorded(cut)
    recorded_training.recorded(whole)
    assert {p: p.stat().st_mtime_ns for p in times} == times  # not recorded again
    assert _bytes(cut) == _bytes(whole)


def test_only_a_block_without_an_exception_ends_with_a_final_snapshot(tmp_path):
    for broken in (False, True):
        net, folder = untrained(), tmp_path / str(broken)
        try:
            with record(net, folder) as recorder:
                train_by_hand(net, recorder, steps=4)
                if broken:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert training_evolution.load(folder).steps == ([0, 1, 3] if broken else [0, 1, 3, 4])
    assert recorder.step(2) is False and recorder.step(3) is False and recorder.step(6) is True


def test_a_folder_of_another_network_dataset_or_choice_of_units_is_refused(tmp_path):
    recorded_training.recorded(tmp_path)
    others = {
        "weights": {"net": untrained(width=6)},
        "images": {"images": labelled_images(seed=1)},
        "units": {"units": {"first": [0]}},
        "labels": {"labelled": labelled_images()},
    }
    for different, given in others.items():
        options = {"net": untrained(), **given}
        with pytest.raises(FileError, match=rf"another recording \(its {different} differ\)"):
            record(folder=tmp_path, **options)
    recorder = record(untrained(), tmp_path, at=[0, 2, 3])  # other steps are the same recording
    assert recorder.step(2) is True and recorder.step(3) is False


def test_wrong_layers_units_and_steps_are_reported_at_once(tmp_path):
    with pytest.raises(NameNotFound, match="did you mean first"):
        record(untrained(), tmp_path, layers=["frist"])
    with pytest.raises(InputError, match=r"units \[5\] of first: it has 5, counted from 0"):
        record(untrained(), tmp_path, units={"first": [5]})
    for at in ([], [-1]):
        with pytest.raises(InputError, match="counted from 0"):
            record(untrained(), tmp_path, at=at)
    with pytest.raises(InputError, match="belongs to another network"):
        record(untrained(), tmp_path, view=models.load(untrained(width=6), input_size=32))
    net = untrained()
    with pytest.raises(InputError, match="network in training itself; give it a copy"):
        card = models.load(net, input_size=32).card
        record(net, tmp_path / "own", view=models.Model(net, card))


def test_a_diverging_training_is_reported_and_its_snapshots_stay(tmp_path):
    net = untrained()
    recorder = record(net, tmp_path)
    with torch.no_grad():
        net.second.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(InputError, match=r"step 3: second\.weight holds .* take smaller steps"):
        recorder.step(3)
    assert training_evolution.load(tmp_path).steps == [0]


def test_the_schedule_is_the_papers_scaled_to_the_run():
    epochs = training_evolution.PAPER_EPOCHS
    assert training_evolution.schedule(64) == list(epochs)
    assert training_evolution.schedule(6400) == [100 * epoch for epoch in epochs]
    assert training_evolution.schedule(8) == [1, 2, 4, 5, 8]
    assert training_evolution.schedule(10, [0, 0.1, 2, 4]) == [0, 1, 5, 10]
    for steps in (1, 3, 77, 500):
        at = training_evolution.schedule(steps)
        assert at == sorted(set(at)) and at[0] >= 1 and at[-1] == steps
    with pytest.raises(InputError, match="0 steps"):
        training_evolution.schedule(0)

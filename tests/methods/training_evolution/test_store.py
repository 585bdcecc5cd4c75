"""Snapshots are read back as they were written; what does not fit is reported."""

from dataclasses import replace

import pytest
import torch
from support import recorded_training
from support.recorded_training import AT, labelled_images, record, train_by_hand, untrained, view

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError
from cnnvis_lab.methods import training_evolution


def test_a_restored_network_computes_what_the_rounded_network_does(recorded):
    model, images = view(), labelled_images().images
    net = train_by_hand(untrained(), steps=3).eval()
    for weight in [*net.parameters(), *net.buffers()]:
        weight.data = weight.data.half().float() if weight.is_floating_point() else weight.data
    snapshot = recorded.snapshots[AT.index(3)]
    assert training_evolution.restore(model, snapshot) is model
    assert torch.equal(model(images), net((images - model.mean) / model.std).detach())
    assert torch.equal(snapshot.kernels, net.first.weight.detach() / model.std)


def test_a_metric_is_read_over_all_steps(recorded):
    values = [snapshot.metrics["norm"] for snapshot in recorded.snapshots]
    assert recorded.metric("norm").tolist() == pytest.approx(values)
    with pytest.raises(InputError, match="'accuracy' was not recorded at every step"):
        recorded.metric("accuracy")


def test_projections_are_stacked_by_step_and_values_named_by_layer(recorded):
    stacked = recorded.top_projections("second")
    assert stacked.shape[:3] == (len(AT), 2, 3)
    for projections, snapshot in zip(stacked, recorded.snapshots, strict=True):
        assert torch.equal(projections, snapshot.projections["second"].projections[:, 0])
    assert recorded.by_layer(torch.tensor([0.5, 2])) == {"first": 0.5, "second": 2}


def test_files_do_not_grow_with_the_dataset_and_weights_take_two_bytes(tmp_path):
    sizes = []
    for count in (8, 40):
        folder, images = tmp_path / str(count), labelled_images(count)
        recorded_training.recorded(folder, images=images, rule=None)
        sizes.append({p.stat().st_size for p in folder.glob("step-*")})
    assert sizes[0] == sizes[1] and len(sizes[0]) == 1
    wide = untrained(width=400)
    with record(wide, tmp_path / "wide", rule=None) as recorder:
        recorder.step(1)
    weights = sum(value.numel() for value in wide.state_dict().values())
    kernels = 4 * wide.first.weight.numel()
    size = max(p.stat().st_size for p in (tmp_path / "wide").glob("step-*"))
    assert size - kernels < 2 * weights + 50 * 400


def test_missing_and_damaged_recordings_are_reported(folder, tmp_path):
    with pytest.raises(FileError, match="no recording of a training in"):
        training_evolution.load(tmp_path)
    record(untrained(), tmp_path, at=[1])
    with pytest.raises(FileError, match=r"no step is recorded in .* yet"):
        training_evolution.load(tmp_path)
    damaged = tmp_path / "step-000000001.safetensors"
    damaged.write_bytes(next(folder.glob("step-*")).read_bytes()[:-100])
    with pytest.raises(FileError, match=r"step-000000001\.safetensors is damaged"):
        training_evolution.load(tmp_path)


def test_a_network_of_another_architecture_is_refused(recorded):
    with pytest.raises(InputError, match="step 6 does not fit"):
        other = models.load(untrained(width=6), input_size=32)
        training_evolution.restore(other, recorded.snapshots[-1])
    without_weights = replace(recorded.snapshots[0], weights={})
    with pytest.raises(InputError, match="step 0 does not fit"):
        training_evolution.restore(view(), without_weights)


@pytest.mark.parametrize(
    "header",
    ["[]", "3", "{}", '{"labels": [], "units": {}}', '{"labels": {"x": ["a", "b"]}, "units": {}}',
     '{"labels": {"1": "abc"}, "units": {}}', '{"labels": {}, "units": {"CL1": ["x"]}}',
     '{"labels": {}, "units": {"CL1": 3}}', '{"labels": {}, "units": null}'],
)  # fmt: skip
def test_a_header_of_odd_types_is_refused_in_one_line(header, folder, tmp_path):
    (step, *_) = folder.glob("step-*")
    (tmp_path / step.name).write_bytes(step.read_bytes())
    (tmp_path / "evolution.json").write_text(header)
    with pytest.raises(FileError, match=r"evolution\.json is not of a recording") as caught:
        training_evolution.load(tmp_path)
    assert "\n" not in str(caught.value)

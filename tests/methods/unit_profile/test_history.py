"""A unit is tracked over a recorded training, or from the first to the last step."""

import pytest
import torch
from support.planted_units import COUNT, SIZE, dataset, network
from support.reference_dissection import small_net

from cnnvis_lab import models
from cnnvis_lab.core import FileError
from cnnvis_lab.data import Subset
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import training_evolution, unit_profile
from cnnvis_lab.methods.unit_profile import Unavailable, history

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_users_network_has_no_training_history():
    assert "no training of these weights" in unit_profile.shipped_history(network()).reason
    with pytest.raises(FileError, match="no recording"):
        unit_profile.recorded_history("nowhere")


def test_a_recorded_unit_is_tracked_from_step_to_step(tmp_path):
    data, net = Subset(dataset(), range(COUNT)), small_net()
    view = models.load(small_net(9), input_size=SIZE)
    observations = training_evolution.Observations(data, ["0"], units=0)
    with training_evolution.record(
        net, tmp_path, observations, at=[0, 1, 2], view=view
    ) as recorder:
        for step in (1, 2):
            with torch.no_grad():
                net[0].weight.mul_(2.0)
            recorder.step(step)
    model = models.load(net, input_size=SIZE)
    analysis = unit_profile.analyze_layer(model, "0", data, learn_vectors=False)
    tracked = unit_profile.track(model, unit_profile.recorded_history(tmp_path), analysis)
    snapshots = unit_profile.unit_history(tracked, 3, "dog")
    assert [snapshot.step for snapshot in snapshots] == [0, 1, 2]
    expected = unit_profile.top_images(
        model, analysis, 3, history.IMAGES_PER_STEP, rules=[history.BACKWARD_RULE]
    )
    tolerance, last = {"rtol": 2e-3, "atol": 2e-3}, snapshots[-1]  # recorded weights have 16 bits
    torch.testing.assert_close(last.patches, expected.patches)
    torch.testing.assert_close(last.projections, expected.projections["guided"], **tolerance)
    torch.testing.assert_close(last.activation, float(expected.activations[0]), **tolerance)
    assert snapshots[0].activation < snapshots[1].activation < snapshots[2].activation
    assert last.best.concept == analysis.best_concepts(3, 1)[0].concept


def test_the_history_of_a_shipped_network_begins_with_its_initial_weights():
    model = models.load("alexnet_mini")
    training = unit_profile.shipped_history(model)
    assert list(training.weights) == [0] and training.last_step == 16 * 500
    random = models.load("alexnet_mini", weights="random")
    assert isinstance(unit_profile.shipped_history(random), Unavailable)
    scenes = SceneSet(HELD_OUT_SEED, 4)
    analysis = unit_profile.analyze_layer(model, "CL1", scenes, learn_vectors=False)
    before, after = unit_profile.track(model, training, analysis)
    assert after.analysis is analysis and after.model is model
    assert not torch.equal(before.model.kernels(), model.kernels())

"""Recommendations follow from the curves; a summary has the numbers of the last snapshot."""

from dataclasses import replace

import pytest
import torch
from support.recorded_training import AT, labelled_images, view

from cnnvis_lab import models
from cnnvis_lab.core import image_metrics
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.methods.training_evolution import Observations, recommend
from cnnvis_lab.models.training import classifier


@pytest.mark.parametrize(
    ("accuracy", "last_similarity", "dead", "action"),
    [
        ([0.1, 0.5, 0.6, 0.6, 0.6], 0.99, 0.1, "stop"),
        ([0.1, 0.5, 0.6, 0.6, 0.65], 0.99, 0.1, "continue"),
        ([0.1, 0.5, 0.6, 0.6, 0.6], 0.90, 0.1, "continue"),
        ([0.1, 0.5], 0.99, 0.1, "continue"),
        ([0.1, 0.5, 0.7, 0.4, 0.3], 0.99, 0.1, "stop"),
        ([0.1, 0.5, 0.6, 0.6, 0.65], 0.99, 0.5, "restart"),
    ],
)
def test_stopping_is_recommended_if_nothing_changes_and_a_restart_if_maps_die(
    accuracy, last_similarity, dead, action
):
    count = len(accuracy)
    similarity, dying = torch.full((count - 1, 2), 0.995), torch.zeros(count, 2)
    similarity[-1, 1], dying[-1, 0] = last_similarity, dead
    recommendation = recommend(torch.tensor(accuracy), similarity, dying)
    assert recommendation.action == action and recommendation.reason


def test_only_the_last_steps_decide_whether_layers_have_settled():
    similarity = torch.tensor([[0.2], [0.3], [0.99], [0.99]])
    flat, alive = torch.full((5,), 0.6), torch.zeros(5, 1)
    assert recommend(flat, similarity, alive).action == "stop"
    assert recommend(flat, similarity.flip(0), alive).action == "continue"
    assert recommend(flat, similarity, alive, patience=3).action == "continue"


def test_recommendations_along_a_recording_depend_only_on_earlier_steps(recorded):
    accuracies, images = (0.1, 0.5, 0.5, 0.5), labelled_images().images[:4]
    pairs = zip(recorded.snapshots, accuracies, strict=True)
    snapshots = tuple(replace(one, metrics={"accuracy": value}) for one, value in pairs)
    evolution = replace(recorded, snapshots=snapshots)
    by_step = training_evolution.recommendations(view(), evolution, images)
    cka = training_evolution.similarity(view(), evolution, images, reference="previous").cka
    accuracy, dead = evolution.metric("accuracy"), training_evolution.dead_fraction(evolution)
    assert [*by_step] == AT
    for i, step in enumerate(AT):
        assert by_step[step] == recommend(accuracy[: i + 1], cka[:i], dead[: i + 1])
    early = replace(evolution, snapshots=snapshots[:2])
    expected = [by_step[step] for step in AT[:2]]
    assert [*training_evolution.recommendations(view(), early, images).values()] == expected


def test_a_recorded_training_is_summarized_by_its_end(tmp_path):
    recipe = classifier.ClassifierRecipe("alexnet_mini", images=16, epochs=2, batch=8)
    scenes, other = SceneSet(TRAIN_SEED, 16), SceneSet(TRAIN_SEED, 6, 16)
    what = Observations(other, ["CL1", "CL5"], units=0)
    start = models.load("alexnet_mini", weights="random")
    sets = training_evolution.TrainingSets(scenes, other, other, None, start)
    evolution = sets.record(recipe, tmp_path / "run", what)
    assert evolution.steps == [0, 1, 2, 4] and (tmp_path / "run.checkpoint.pt").is_file()
    trainer = classifier.ClassifierTrainer(recipe, scenes)
    losses = [*trainer.epoch_losses(), *trainer.epoch_losses()]
    final = evolution.snapshots[-1]
    assert len(losses) == 4
    assert torch.equal(final.weights["conv1.weight"], trainer.net.conv1.weight.detach().half())
    model = models.load("alexnet_mini", weights="random")
    probes = other.batch(range(4))
    summary = training_evolution.summarize(model, evolution, probes, scenes)
    net = training_evolution.restore(model, final).net
    assert summary.accuracy == pytest.approx(classifier.accuracy(net, other))
    assert summary.training_accuracy == classifier.accuracy(net, scenes)
    assert summary.overfitting == summary.training_accuracy - summary.accuracy
    assert torch.equal(summary.kernels, final.kernels)
    noise = image_metrics.high_frequency_fraction(model.kernels()).mean()
    assert summary.kernel_noise == pytest.approx(float(noise))
    dead = [(one.values <= 0).double().mean() for one in final.maxima.values()]
    assert summary.dead_fraction == pytest.approx(float(max(dead)))
    again = training_evolution.recommendations(model, evolution, probes)
    assert summary.recommendations == again and not summary.restart_recommended
    dying = {4: training_evolution.Recommendation("restart", "")}
    assert replace(summary, recommendations=again | dying).restart_recommended
    assert sets.record(recipe, tmp_path / "run", what).steps == evolution.steps

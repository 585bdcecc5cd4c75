"""Class folders train any network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.data import images
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.models.training import own_classifier

SIZE = 12


def _network() -> nn.Module:
    torch.manual_seed(0)
    pool = nn.AdaptiveAvgPool2d(2)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), pool, nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(24, 3))


def _images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes that differ in color."""
    folder = tmp_path_factory.mktemp("classes")
    for number, name in enumerate(("blue", "green", "red")):
        (folder / name).mkdir()
        for n, noise in enumerate(_images(12)):
            noise[2 - number] = 0.5 + noise[2 - number] / 2
            images.to_pil(noise * (0.5 + n / 24)).save(folder / name / f"{n}.png")
    return folder


def test_class_folders_train_any_network_from_the_given_start(folder, tmp_path):
    view = models.load(_network(), input_size=SIZE)
    sets = training_evolution.open_sets(view, folder, "", 28, 6)
    assert sets.count == 28 and len(sets.held_out) == 7 and len(sets.images) == 6
    assert {*sets.training.order}.isdisjoint(sets.held_out.order)
    recipe = training_evolution.recipe_for("anything", own=True)
    recipe = replace(recipe, images=28, batch=7, epochs=8, rate=0.01, bfloat16=False)
    what = training_evolution.Observations(sets.images, ["0"], units=1)
    evolution = sets.record(recipe, tmp_path / "run", what, epochs=[0, 4, 8])
    assert evolution.steps == [0, 16, 32]
    start = view.net.state_dict()["0.weight"]
    assert torch.equal(evolution.snapshots[0].weights["0.weight"], start.half())
    accuracy = evolution.metrics["accuracy"]
    assert accuracy[-1] == 1.0 > accuracy[0]
    final = training_evolution.restore(view, evolution.snapshots[-1])
    assert own_classifier.accuracy(final, sets.held_out) == 1.0
    again = sets.record(recipe, tmp_path / "run", what, epochs=[0, 4, 8])  # is not trained again
    assert again.steps == evolution.steps
    summary = training_evolution.summarize(
        view, evolution, sets.images.batch([0, 1]), sets.first(4)
    )
    assert summary.accuracy == 1.0
    assert training_evolution.RunComparison({"good": summary}).excess("accuracy", "none") is None


def test_a_network_with_too_few_outputs_is_refused(folder):
    two = models.load(nn.Sequential(_network(), nn.Linear(3, 2)), input_size=SIZE)
    recipe = training_evolution.recipe_for("two", own=True)
    with pytest.raises(InputError, match="2 outputs; expected at least one for each of the 3"):
        sets = training_evolution.open_sets(two, folder, "", 28, 6)
        own_classifier.OwnClassifierTrainer(recipe, sets.training, two)
    with pytest.raises(InputError, match="give TRAIN_DATA"):
        training_evolution.recipe_for("squeezenet1_1", own=False)

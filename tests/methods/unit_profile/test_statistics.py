"""Statistics of layers do not depend on who collects them, and in which order."""

import pytest
import torch
from support.reference_dissection import LabelledTensors, random_data
from support.shuffled_tasks import ShuffledExecutor
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.data import Subset
from cnnvis_lab.methods import unit_profile
from cnnvis_lab.methods.dissection import RunOptions, Spread
from cnnvis_lab.methods.unit_profile import statistics

LAYERS = ["0", "3"]


def _subject() -> tuple[models.Model, LabelledTensors]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(1125, 4))
    return models.load(net, input_size=32), random_data(31)


def _collect(spread: Spread | None) -> dict[str, bytes]:
    model, data = _subject()
    images, seen = Subset(data, range(len(data))), []
    found = statistics.collect(model, LAYERS, images, 3, spread, seen.append)
    assert seen == sorted(seen) and seen[-1] == 31
    values = {
        f"{layer} {name}": value
        for layer, (top, rate, _) in found.items()
        for name, value in (top.state() | {"rate": rate.fractions()}).items()
    }
    values |= {f"{layer} cosines": found[layer].pairs.cosines(0, 9) for layer in LAYERS}
    return {name: value.numpy().tobytes() for name, value in values.items()}


@pytest.mark.usefixtures("one_thread")
def test_parts_in_any_order_give_the_same_bytes(monkeypatch):
    monkeypatch.setattr(statistics, "BATCH_SIZE", 4)
    tasks = ShuffledExecutor(1)
    assert _collect(Spread(tasks, _subject)) == _collect(None)
    assert len(tasks.ended) == 8
    progress: list[tuple[int, int]] = []
    run = RunOptions(
        on_progress=lambda *done: progress.append(done), spread=Spread(tasks, _subject)
    )
    options = {"learn_vectors": False, "min_images": 1}
    shared = unit_profile.analyze_layers(*_subject()[:1], LAYERS, _subject()[1], run=run, **options)
    plain = unit_profile.analyze_layers(*_subject()[:1], LAYERS, _subject()[1], **options)
    assert {name: unit_profile.summarize(one).to_json() for name, one in shared.items()} == {
        name: unit_profile.summarize(one).to_json() for name, one in plain.items()
    }
    assert progress == sorted(progress) and progress[-1] == (93, 93)

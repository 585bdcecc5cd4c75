"""Datasets whose batches other processes share are prepared with the bytes of one process."""

from dataclasses import fields

import pytest
import torch
from support.reference_dissection import LabelledTensors, random_data, small_net
from support.shuffled_tasks import ShuffledExecutor
from torch import nn

from cnnvis_lab.methods import dissection, net2vec
from cnnvis_lab.methods.dissection import Spread


def _train() -> tuple[nn.Module, LabelledTensors]:
    return small_net(), random_data(30)


def _validation() -> tuple[nn.Module, LabelledTensors]:
    return small_net(), random_data(11, seed=1)


def _prepare(**options: object) -> list[dict[str, object]]:
    """Return all that the prepared sets hold, tensors as bytes."""
    (model, train), (_, other) = _train(), _validation()
    sets = net2vec.prepare(
        model, train, [other], ["0", "2"], batch=4, block=3, quantile=0.05, **options
    )
    held = []
    for one in sets:
        parts = {"masks": one.masks, **one.layers}
        found = {
            f"{name}.{field.name}": getattr(part, field.name)
            for name, part in parts.items()
            for field in fields(part)
        }
        held.append({k: v.numpy().tobytes() if torch.is_tensor(v) else v for k, v in found.items()})
    return held


@pytest.mark.usefixtures("one_thread")
def test_parts_in_any_order_give_the_same_bytes(monkeypatch):
    monkeypatch.setattr(dissection.thresholds, "SAMPLE_IMAGES", 8)
    tasks = ShuffledExecutor(1)
    shared = [Spread(tasks, _train), Spread(tasks, _validation)]
    assert _prepare(spreads=shared) == _prepare()
    names = [arguments[1].__name__ for _, arguments in tasks.ended]
    assert names.count("_read_elsewhere") == 8 + 3 and "_find_quantiles" in names

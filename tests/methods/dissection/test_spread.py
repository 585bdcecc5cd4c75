"""A dissection whose batches other processes share gives the bytes of one that is not shared."""

from dataclasses import fields
from functools import partial

import pytest
import torch
from support.reference_dissection import LabelledTensors, random_data, small_net
from support.shuffled_tasks import ShuffledExecutor
from torch import nn

from cnnvis_lab.core import InputError
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import (
    Convention,
    LayerTable,
    Plan,
    RunOptions,
    Spread,
    spread,
    thresholds,
)
from cnnvis_lab.methods.dissection.workspace import Workspace

LAYERS = ["0", "2"]


def _subject() -> tuple[nn.Module, LabelledTensors]:
    """Return a network and images of which the first ones are not like the others."""
    net, data = small_net(), random_data(40)
    first = dissection.make_plan(net, data, LAYERS, batch=4).batches[0]
    data.images[first] *= 30
    return net, data


def _nan_subject() -> tuple[nn.Module, LabelledTensors]:
    net, data = _subject()
    data.images[7] = torch.nan
    return net, data


def _dissect(subject=_subject, **run: object) -> dict[str, LayerTable]:
    convention = Convention(quantile=0.05)
    options = RunOptions(batch=2, **run)
    return dissection.dissect(*subject(), LAYERS, convention=convention, top=3, run=options)


@pytest.fixture(scope="module", autouse=True)
def early():
    """Use sampling and checkpoints also on small datasets."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(thresholds, "SAMPLE_IMAGES", 8)
        patched.setattr(Workspace, "EVERY", 2)
        yield


def _values(tables: dict[str, LayerTable]) -> dict[str, object]:
    """Return all that tables hold, tensors as bytes."""
    return {
        f"{layer}.{field.name}": value.numpy().tobytes() if torch.is_tensor(value) else value
        for layer, table in tables.items()
        for field in fields(table)
        for value in [getattr(table, field.name)]
    }


@pytest.fixture(scope="module")
def plain() -> dict[str, object]:
    return _values(_dissect())


@pytest.mark.parametrize("seed", [1, 2])
def test_parts_in_any_order_give_the_same_bytes(seed, plain):
    tasks, progress = ShuffledExecutor(seed), []
    shared = _dissect(
        spread=Spread(tasks, _subject), on_progress=lambda *done: progress.append(done)
    )
    assert _values(shared) == plain
    names = [arguments[1].__name__ for _, arguments in tasks.ended]
    # the sample's four, the other 16, all again since floors are too high; at first two together
    assert names == ["_find_quantiles"] * (4 + 15 + 17) + ["_count"] * 17
    assert progress == sorted(progress) and progress[-1] == (80, 80)


@pytest.mark.parametrize("count", [0, 1, 7, 33, 100])
def test_parts_become_smaller_until_each_is_a_batch(count):
    parts = spread._divide(range(count))
    sizes = [len(part) for part in parts]
    assert [number for part in parts for number in part] == list(range(count))
    assert sizes == sorted(sizes, reverse=True) and sizes[-8:] == [1] * min(count, 8)
    assert max(sizes, default=1) == max(1, min(spread.PART, count // 8))


def _even_subject() -> tuple[nn.Module, LabelledTensors]:
    return small_net(), random_data(40)


@pytest.mark.parametrize("disk_limit", [0, 2**31])
def test_the_second_pass_reads_what_the_first_has_cached(disk_limit, tmp_path, monkeypatch):
    run: list[int] = []  # batches through the network
    forward = Plan._forward
    monkeypatch.setattr(Plan, "_forward", lambda *given: (run.append(1), forward(*given)))
    plain = _dissect(_even_subject, disk_limit=disk_limit)
    once = len(run)
    spread._open_plan.cache_clear()
    tasks = Spread(ShuffledExecutor(1), _even_subject, partial(str, tmp_path))
    shared = _dissect(_even_subject, spread=tasks, disk_limit=disk_limit)
    assert _values(shared) == _values(plain)
    assert len(run) - once == once + 1  # as without sharing, and one for the plan of the tasks
    assert bool(list(tmp_path.glob("cells-*/cells-*"))) == (disk_limit > 0)


@pytest.mark.parametrize("lost_at", [2, 9, 25, 45])
def test_a_lost_dissection_goes_on_from_what_was_done(lost_at, plain, tmp_path):
    before, tasks = ShuffledExecutor(1, lost_at), ShuffledExecutor(2)
    with pytest.raises(ConnectionError) as lost:
        _dissect(spread=Spread(before, _subject), folder=tmp_path)
    assert lost.value.__notes__[0].startswith(("0 2, batches ", "2, batches ", "0, batches "))
    resumed = _dissect(spread=Spread(tasks, _subject), folder=tmp_path)
    assert _values(resumed) == plain
    parts = [arguments[3] for _, arguments in before.ended + tasks.ended]
    assert sum(map(len, parts)) == 4 + 16 + 20 + 20  # no batch again


def test_an_odd_batch_is_named():
    with pytest.raises(InputError, match=r"layer '0' returned NaN on images \["):
        _dissect(_nan_subject, spread=Spread(ShuffledExecutor(1), _nan_subject))

"""Streaming statistics equal those of sorted values, and shards merge in any order."""

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cnnvis_lab.core import InputError, statistics
from cnnvis_lab.core.statistics import co_activation


def _data(seed: int = 0, images: int = 23) -> torch.Tensor:
    values = torch.randn(images, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    return (values * 2).round() / 2  # many ties


def _bytes(accumulator: statistics.TopK | statistics.Quantiles) -> list[bytes]:
    return [value.numpy().tobytes() for value in accumulator.state().values()]


def test_top_k_equals_the_result_of_sorting():
    data, top = _data(), statistics.TopK(5)
    for part in torch.arange(23).split(4):
        top.update(data[part], part)
    best = data.flatten(2).max(2).values
    for unit in range(3):
        rows = sorted(range(23), key=lambda i, u=unit: (-best[i, u].item(), i))[:5]
        assert top.images[unit].tolist() == rows
        assert torch.equal(top.values[unit], best[rows, unit])
        for rank, image in enumerate(rows):
            y, x = top.positions[unit, rank].tolist()
            assert data[image, unit, y, x] == top.values[unit, rank]


@pytest.mark.parametrize("make", [lambda: statistics.TopK(4), statistics.Quantiles])
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)))
def test_shards_merge_to_the_same_bytes_in_any_order(make, order):
    data = _data(1)
    whole = make()
    shards = []
    for part in torch.arange(23).split(4):
        whole.update(data[part], part)
        shards.append(make())
        shards[-1].update(data[part], part)
    merged = make()
    for index in order:
        merged.merge(shards[index])
    assert _bytes(merged) == _bytes(whole)


@pytest.mark.parametrize(
    "values",
    [
        torch.zeros(500),
        torch.full((500,), -3.7),
        torch.logspace(-30, 30, 500),
        -torch.logspace(-30, 30, 500),
        torch.randn(500, generator=torch.Generator().manual_seed(2)),
        torch.cat([torch.zeros(400), torch.rand(100, generator=torch.Generator().manual_seed(3))]),
        torch.tensor([-1.0, 1.0]).repeat(250),
    ],
    ids=["zeros", "constant", "huge range", "negative range", "normal", "sparse", "two values"],
)
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9, 0.995])
def test_quantiles_are_exact_in_rank_and_within_the_stated_relative_error(values, fraction):
    quantiles = statistics.Quantiles()
    quantiles.update(values.view(5, 1, 10, 10), torch.arange(5))
    estimate = float(quantiles.at(fraction)[0])
    exact = float(values.sort().values[int(np.ceil(fraction * 500)) - 1])
    assert exact <= estimate <= exact + abs(exact) * 2**-7 + 1e-38
    assert (values > estimate).double().mean() <= 1 - fraction + 1e-9


def test_few_values_of_many_units_take_little_memory():
    activations, process = torch.rand(4, 4000), psutil.Process()
    before, quantiles = process.memory_info().rss, statistics.Quantiles()
    quantiles.update(activations, torch.empty(0))
    assert (quantiles.at(0.5) >= activations.sort(0).values[1]).all()
    grown = process.memory_info().rss - before
    assert grown < quantiles.counts.nbytes / 10


def test_a_raised_floor_changes_no_exact_quantile_and_reports_which_are_exact():
    generator = torch.Generator().manual_seed(5)
    values = torch.randn(60, 4, 5, 5, generator=generator)
    values[:, 1] = values[:, 1].clamp(min=0)
    values[20:, 2] -= 8  # the sample is far too high for this unit
    values[:, 3] = 0
    plain, floored = statistics.Quantiles(), statistics.Quantiles()
    for part in torch.arange(60).split(10):
        plain.update(values[part], part)
        floored.update(values[part], part)
        if part[0] == 10:
            floored.raise_floor(floored.at(0.5))
    assert torch.equal(floored.counts.sum(1), plain.counts.sum(1))
    for fraction in (0.6, 0.9, 0.99):
        exact_units = floored.is_exact(fraction)
        assert exact_units.tolist() == [True, True, fraction > 0.8, True]
        assert torch.equal(floored.at(fraction)[exact_units], plain.at(fraction)[exact_units])
    assert plain.is_exact(0.6).all() and not floored.is_exact(0.2)[0]


def test_floors_of_shards_merge_in_any_order():
    values, shards = _data(6), []
    for part in torch.arange(23).split(12):
        shard = statistics.Quantiles()
        shard.update(values[part[:6]], part[:6])
        shard.raise_floor(shard.at(0.5))
        shard.update(values[part[6:]], part[6:])
        shards.append(shard)
    one, other, plain = statistics.Quantiles(), statistics.Quantiles(), statistics.Quantiles()
    plain.update(values, torch.arange(23))
    for merged, order in ((one, (0, 1)), (other, (1, 0))):
        for index in order:
            merged.merge(shards[index])
    assert _bytes(one) == _bytes(other)
    assert one.is_exact(0.9).all() and torch.equal(one.at(0.9), plain.at(0.9))


def test_fully_connected_layers_are_tallied_like_maps_of_one_position():
    top = statistics.TopK(1)
    top.update(torch.tensor([[1.0, 5.0], [3.0, 4.0]]), torch.tensor([7, 9]))
    assert top.values.tolist() == [[3.0], [5.0]] and top.images.tolist() == [[9], [7]]
    assert top.positions.tolist() == [[[0, 0]], [[0, 0]]]


def test_one_pass_updates_every_layer_and_stops_after_the_last():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()).eval()
    images = torch.rand(10, 3, 8, 8)
    wanted = {"0": [statistics.TopK(2), statistics.FiringRate()], "2": [statistics.Quantiles()]}
    progress: list[int] = []
    batches = ((part, images[part]) for part in torch.arange(10).split(4))
    statistics.tally(net, batches, wanted, progress.append)
    with torch.no_grad():
        direct = net[0](images)
    assert torch.allclose(wanted["0"][0].values[:, 0], direct.amax((0, 2, 3)))
    assert progress == [4, 8, 10] and wanted["2"][0].counts.sum() == 10 * 2 * 16


def test_cosines_are_those_of_the_maximum_activations_over_images(monkeypatch):
    monkeypatch.setattr(co_activation, "ROWS", 5)
    monkeypatch.setattr(co_activation, "BLOCK", 2)  # so many units of three at a time
    data, pairs = _data(), statistics.CoActivation()
    data[:, 2] = -1  # never active
    for part in torch.arange(23).split(4):
        pairs.update(data[part], part)
    peaks = data.flatten(2).amax(2).clamp(min=0).double()
    expected = [
        [torch.nn.functional.cosine_similarity(one, other, dim=0) for other in peaks.T]
        for one in peaks.T
    ]
    expected = torch.tensor(expected).double()
    torch.testing.assert_close(pairs.cosines(0, 3), expected)
    torch.testing.assert_close(pairs.cosines(1, 2), expected[1:2])
    assert not pairs.cosines(2, 3).any()
    similar = pytest.approx(float(expected[0, 1]))
    assert pairs.nearest(5) == [[(1, similar)], [(0, similar)], []]


def test_nan_is_refused_with_the_layers_name():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    nn.init.constant_(net[0].bias, float("nan"))
    with pytest.raises(InputError, match="layer '0' returned NaN"):
        statistics.tally(
            net, [(torch.tensor([0]), torch.rand(1, 3, 4, 4))], {"0": [statistics.TopK(1)]}
        )

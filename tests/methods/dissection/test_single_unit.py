"""One unit and one concept at any threshold; at the default one, the result of the dissection."""

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import layer_maps, single_unit

LAYER = "2"
pytestmark = pytest.mark.usefixtures("one_thread")


def _maps(convention: str = "original", count: int = 20):
    data = random_data(count)
    table = dissection.dissect(small_net(), data, [LAYER], convention=convention, min_images=1)
    return layer_maps(small_net(), data, table[LAYER], convention)


@pytest.mark.parametrize("convention", dissection.CONVENTIONS)
def test_at_the_units_threshold_the_iou_is_that_of_the_dissection(convention):
    maps = _maps(convention)
    table = maps.table
    masks = [maps.masks(unit, float(table.thresholds[unit])) for unit in range(len(table))]
    for column in range(len(table.concepts)):
        comparison = maps.compare(column)
        ious = torch.tensor([comparison.iou(mask) for mask in masks], dtype=torch.float64)
        torch.testing.assert_close(ious, table.iou[:, column], rtol=1e-6, atol=1e-9)
    assert (table.iou > 0).any()


@pytest.mark.parametrize("convention", ["original", "2020"])
@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.2])
def test_the_given_fraction_of_the_activations_exceeds_the_threshold(convention, fraction):
    maps = _maps(convention)
    for unit in range(len(maps.table)):
        level = maps.threshold_at(unit, fraction)
        values = maps.maps[:, unit]
        if convention == "2020":
            values = dissection.upsample(maps.maps, maps.plan.grids[LAYER])[:, unit]
        assert int((values > level).sum()) == max(1, round(fraction * values.numel()))


def test_the_default_fraction_gives_about_the_threshold_of_the_dissection():
    maps = _maps(count=60)
    for unit in range(len(maps.table)):
        level = maps.threshold_at(unit, maps.plan.convention.quantile)
        torch.testing.assert_close(level, float(maps.table.thresholds[unit]), rtol=0.03, atol=0)


def test_the_iou_of_one_image_is_intersection_over_union():
    maps = _maps()
    comparison, masks = maps.compare(2), maps.masks(0, maps.threshold_at(0, 0.2))
    for mask, truth, iou in zip(
        masks, comparison.concept, comparison.iou_per_image(masks), strict=True
    ):
        both, either = int((mask & truth).sum()), int((mask | truth).sum())
        assert float(iou) == pytest.approx(both / either if either else 0)


def test_the_top_images_have_the_highest_maxima():
    maps = _maps()
    peaks = [float(image_map.max()) for image_map in maps.maps[:, 1]]
    assert maps.top_images(1, 4) == sorted(range(len(peaks)), key=lambda n: -peaks[n])[:4]


def test_only_the_maps_of_the_first_images_are_kept_if_memory_is_limited(monkeypatch):
    whole = _maps()
    monkeypatch.setattr(single_unit, "MEMORY_LIMIT", 6 * whole.maps[0].numel() * 4)
    limited = _maps()
    assert len(limited.maps) == 6 and torch.equal(limited.maps, whole.maps[:6])
    assert len(limited.compare(0).concept) == len(limited.masks(0, 0.0)) == 6

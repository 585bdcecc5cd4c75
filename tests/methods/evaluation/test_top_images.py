"""Units are sampled among the active ones."""

import torch

from cnnvis_lab.core.statistics import TopK
from cnnvis_lab.methods import evaluation


def _top(values: list[list[float]]) -> TopK:
    top = TopK(len(values[0]))
    top.values = torch.tensor(values)
    return top


def test_units_are_sampled_among_those_that_enough_images_activate():
    top = _top([[3.0, 2, 1], [2, 0, -1], [0, -1, -2], [4, 1, 0], [5, 5, 5]])
    assert evaluation.active_units(top, 9) == [0, 1, 3, 4]
    assert evaluation.active_units(top, 9, min_images=2) == [0, 3, 4]
    assert evaluation.active_units(top, 9, min_images=9) == [0, 4]  # there are three images
    assert len(evaluation.active_units(top, 1, min_images=2)) == 1


def test_one_image_suffices_where_no_unit_has_more_and_inactive_units_are_the_last_resort():
    assert evaluation.active_units(_top([[1.0, 0, 0], [0, 0, 0]]), 9, min_images=3) == [0]
    assert evaluation.active_units(_top([[0.0, 0, 0], [0, 0, 0]]), 9, min_images=3) == [0, 1]

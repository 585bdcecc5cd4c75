"""Statistics of numbers by name."""

import pytest
import torch

from cnnvis_lab.core import NamedValues, ratio


def test_numbers_are_compared_from_the_first_to_the_last():
    values = NamedValues({"a": 5.0, "b": 9.0, "c": torch.tensor(7.0)})
    assert (values.mean, values.min, values.max) == (7, 5, 9)
    assert values.min_increase == -2 and values.fraction_positive == 1
    assert values.decrease == -2 and values.increase == 2


def test_numbers_are_compared_by_name():
    values = NamedValues(a=0.5, b=-1.0)
    assert values.fraction_positive == 0.5
    assert values.difference("a", "b") == 1.5 and values.difference("a", "c") is None
    assert values.relative_to("a") == {"a": 0, "b": -3} and NamedValues().relative_to("a") == {}
    assert ratio(torch.tensor(3.0), 2) == 1.5 and ratio(1, torch.tensor(0.0)) != ratio(1, 0)  # NaN


@pytest.mark.parametrize("few", [{}, {"a": 1.0}])
def test_statistics_of_too_few_numbers_are_none(few):
    values = NamedValues(few)
    assert values.min_increase is values.decrease is values.increase is None
    assert values.mean == values.min == values.max == few.get("a")
    assert values.fraction_positive == few.get("a")

"""What is computed from a missing result is missing for the same reason."""

from cnnvis_lab.core import Missing, passes_missing

WHY = Missing("no generator; train one")


def test_attributes_items_calls_and_differences_give_the_same_reason():
    for derived in (WHY.images, WHY.draw(1, size=2), WHY[:8], WHY["a"] - WHY["b"], WHY - 1):
        assert derived is WHY
    assert [*WHY] == [] and dict(WHY.items()) == {}
    assert str(WHY) == "no generator; train one" and isinstance(WHY, str)


def test_a_function_returns_a_missing_argument_or_computes():
    double = passes_missing(lambda values, factor=2: [factor * value for value in values])
    assert double([1, 2]) == [2, 4] and double([1], factor=3) == [3]
    assert double(WHY) is WHY and double([1], factor=WHY) is WHY
    total = passes_missing(lambda named: sum(named.values()))
    assert total({"a": 1, "b": 2}) == 3 and total({"a": 1, "b": WHY}) is WHY

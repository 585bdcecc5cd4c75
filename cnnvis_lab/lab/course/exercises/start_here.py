"""Checks of notebook 00: reading feature maps, counting active values, occluding an image."""

import torch
from torch import Tensor

from ....core import hooks
from ....models import Model
from ..marking import NotSolved, as_index, as_number, as_numbers

GRAY = 0.5
TOLERANCE = 0.005


@torch.no_grad()
def _feature_maps(model: Model, image: Tensor, layer: str) -> Tensor:
    return hooks.activations(model, image, [layer])[layer][0].cpu()


def most_active_map(answer: object, model: Model, image: Tensor, layer: str) -> str:
    """Check the index of a map that contains the layer's maximum activation.

    Args:
        answer: an index, from 0.
        model: the network.
        image: (1, 3, h, w) in [0, 1].
        layer: dotted name or alias of a layer with feature maps.
    """
    maps = _feature_maps(model, image, layer).flatten(1)
    maxima, means = maps.amax(1), maps.mean(1)
    unit, largest = as_index(answer, len(maxima), "map"), float(maxima.max())
    maximum = float(maxima[unit])
    if maximum >= largest - 1e-4 * abs(largest):
        return f"the maximum of map {unit} of {layer} is {maximum:.2f}"
    if unit == int(means.argmax()):
        raise NotSolved(f"map {unit} has the largest mean; find the largest single value")
    raise NotSolved(f"the maximum of map {unit} is {maximum:.2f}, that of another {largest:.2f}")


def active_fraction(answer: object, model: Model, image: Tensor, layer: str) -> str:
    """Check the fraction of a layer's values that are above zero, to half a percent.

    Args:
        answer: a fraction.
        model: the network.
        image: (1, 3, h, w) in [0, 1].
        layer: dotted name or alias of a layer with feature maps.
    """
    active = _feature_maps(model, image, layer) > 0
    fraction = float(active.double().mean())
    given = as_number(answer, "the fraction")
    if abs(given - fraction) <= TOLERANCE:
        return f"{fraction:.1%} of {layer}'s values pass a ReLU"
    if given == int(active.sum()):
        raise NotSolved("this is a count; divide by the number of all values")
    if abs(given / 100 - fraction) <= TOLERANCE:
        raise NotSolved("this is in percent; a fraction lies between 0 and 1")
    if abs(given - (1 - fraction)) <= TOLERANCE:
        raise NotSolved("this is the fraction of values that are not active")
    if abs(given - float(active.flatten(1).any(1).double().mean())) <= TOLERANCE:
        raise NotSolved("this is the fraction of maps with an active value; count single values")
    raise NotSolved(
        f"the fraction is not {given:.3g}; compare every value with 0 and take the mean"
    )


@torch.no_grad()
def occluding_square(answer: object, model: Model, image: Tensor) -> str:
    """Check a gray square, at most a third of the image wide, that changes the predicted class.

    Args:
        answer: (y, x, size) in pixels.
        model: the network.
        image: (1, 3, h, w) in [0, 1].
    """
    size, classes = image.shape[-1], model.card.classes
    limit = size // 3
    y, x, side = (round(value) for value in as_numbers(answer, 3, "(y, x, size)"))
    if min(y, x) < 0 or side < 1 or max(y, x) + side > size:
        raise NotSolved(f"the square extends beyond the image of {size}x{size} pixels")
    if side > limit:
        raise NotSolved(f"a size of {side} is too large; at most {limit} pixels")
    occluded = image.clone()
    occluded[..., y : y + side, x : x + side] = GRAY
    before, after = (model(one).flatten().softmax(0).cpu() for one in (image, occluded))
    label, new_label = int(before.argmax()), int(after.argmax())
    if new_label != label:
        return f"without this part the prediction is {classes[new_label]}, not {classes[label]}"
    change = f"{float(before[label]):.2f} to {float(after[label]):.2f}"
    raise NotSolved(
        f"the prediction is still {classes[label]}, its probability went from {change}; cover "
        "another part"
    )


CHECKS = {"START-1": most_active_map, "START-2": active_fraction, "START-3": occluding_square}

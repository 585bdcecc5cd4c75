"""Checks of notebook 00: reading maps, counting what fires, covering a picture."""

import torch
from torch import Tensor

from ....core import hooks
from ....models import Model
from ..marking import NotSolved, as_index, as_number, as_numbers

GRAY, MAX_SIDE_DIVISOR = 0.5, 3  # a cover is gray, and at most a third of the picture wide


@torch.no_grad()
def _feature_maps(model: Model, picture: Tensor, layer: str) -> Tensor:
    return hooks.activations(model, picture, [layer])[layer][0].cpu()


def most_active_map(answer: object, model: Model, picture: Tensor, layer: str) -> str:
    """Take any map whose largest value is the layer's largest."""
    maps = _feature_maps(model, picture, layer).flatten(1)
    peaks, means = maps.amax(1), maps.mean(1)
    unit = as_index(answer, len(peaks), "map")
    peak = float(peaks[unit])
    if peak >= float(peaks.max()) - 1e-4 * abs(float(peaks.max())):
        return f"map {unit} of {layer} reaches {peak:.2f}"
    if unit == int(means.argmax()):
        raise NotSolved(f"map {unit} has the largest mean; asked for is the largest single value")
    raise NotSolved(f"map {unit} reaches {peak:.2f}, another one {float(peaks.max()):.2f}")


def active_fraction(answer: object, model: Model, picture: Tensor, layer: str) -> str:
    """Take the share of values above zero, right to half a percent."""
    positive = _feature_maps(model, picture, layer) > 0
    share, found = float(positive.double().mean()), as_number(answer, "the share")
    if abs(found - share) <= 0.005:
        return f"{share:.1%} of {layer}'s values pass a ReLU"
    if found == int(positive.sum()):
        raise NotSolved("that is how many; divide by the number of all values")
    if abs(found / 100 - share) <= 0.005:
        raise NotSolved("that is in percent; a share lies between 0 and 1")
    if abs(found - (1 - share)) <= 0.005:
        raise NotSolved("that is the share that does not fire")
    if abs(found - float(positive.flatten(1).any(1).double().mean())) <= 0.005:
        raise NotSolved("that is the share of maps that fire anywhere; count single values")
    raise NotSolved(f"the share is not {found:.3g}; compare every value with 0 and take the mean")


@torch.no_grad()
def occluding_square(answer: object, model: Model, picture: Tensor) -> str:
    """Take any gray square, at most a third of the picture wide, that changes the named class."""
    size = picture.shape[-1]
    y, x, side = (round(value) for value in as_numbers(answer, 3, "(y, x, side)"))
    if min(y, x) < 0 or side < 1 or max(y, x) + side > size:
        raise NotSolved(f"that square leaves the picture of {size}x{size} pixels")
    if side > size // MAX_SIDE_DIVISOR:
        raise NotSolved(f"a side of {side} is too large; at most {size // MAX_SIDE_DIVISOR} pixels")
    covered = picture.clone()
    covered[..., y : y + side, x : x + side] = GRAY
    before, after = (model(one).flatten().softmax(0).cpu() for one in (picture, covered))
    own, words = int(before.argmax()), model.card.classes
    if int(after.argmax()) != own:
        return f"without that part the {words[own]} is a {words[int(after.argmax())]}"
    left = f"{float(after[own]):.2f} of {float(before[own]):.2f}"
    raise NotSolved(f"it is still a {words[own]}, its probability {left}; cover another part")


CHECKS = {"START-1": most_active_map, "START-2": active_fraction, "START-3": occluding_square}

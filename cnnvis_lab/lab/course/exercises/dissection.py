"""Checks of notebook 07: IoU, thresholds, sums over a data set, a detector."""

import torch

from ....data import LabelledSet
from ....methods import dissection
from ....models import Model
from ..marking import NotSolved, as_index, as_tensor, call, name_index, noise, require_equal

FRACTION = 0.005  # of a unit's activations lie above its threshold


def iou(answer: object) -> str:
    """Take a function of two masks -> their intersection over their union."""
    one, other = noise(9, 11) > 0.3, noise(9, 11, seed=1) > 0.8
    both, either = (one & other).sum(), (one | other).sum()
    wrong = {
        "that divides by both areas' sum, where the overlap counts twice": both
        / (one.sum() + other.sum()),
        "that is twice the overlap over both areas' sum, another measure": 2
        * both
        / (one.sum() + other.sum()),
        "that divides by the first mask's area": both / one.sum(),
        "that divides by the second mask's area": both / other.sum(),
        "that divides by the whole picture": both / one.numel(),
        "that is the share of pixels on which they agree": (one == other).double().mean(),
        "that is union over intersection": either / both,
    }
    require_equal(call(answer, one, other), both / either, wrong=wrong)
    require_equal(call(answer, one, one), torch.ones(()), "the IoU of a mask with itself")
    require_equal(
        call(answer, one, ~one), torch.zeros(()), "the IoU of a mask with what it leaves out"
    )
    return "1 for the same mask, 0 for masks that do not touch"


def unit_thresholds(answer: object) -> str:
    """Take a function (pictures, units, h, w) -> (units,): thresholds of the top half percent.

    Any threshold will do that as many values exceed as should, give or take one.
    """
    maps = noise(40, 6, 10, 10) * torch.arange(1, 7).view(1, 6, 1, 1)
    found = as_tensor(call(answer, maps), "what it returns")
    units = maps.transpose(0, 1).flatten(1).double()
    if found.numel() != len(units):
        shape = tuple(found.shape)
        raise NotSolved(
            f"what it returns has shape {shape}; give one threshold for each unit, (6,)"
        )
    above = (units > found.view(-1, 1)).sum(1)
    wanted = round(FRACTION * units.shape[1])
    if ((above - wanted).abs() <= 1).all():
        return f"{wanted} of {units.shape[1]} values of each unit lie above"
    if ((above - (units.shape[1] - wanted)).abs() <= 1).all():
        raise NotSolved("that is the lowest half percent; take the highest")
    if len(found.unique()) == 1:
        raise NotSolved("that is one threshold for all units; each has its own")
    counts = f"{int(above.min())} to {int(above.max())}"
    raise NotSolved(f"{counts} of a unit's {units.shape[1]} values lie above; {wanted} should")


def dataset_iou(answer: object) -> str:
    """Take a function (masks, labels) of (pictures, h, w) -> one IoU, summed over pictures."""
    masks, labels = noise(6, 8, 8) > 0.4, noise(6, 8, 8, seed=1) > 0.7
    labels[1:3, 2:] = False
    masks[4], labels[4] = False, False
    both = (masks & labels).flatten(1).sum(1)
    either = (masks | labels).flatten(1).sum(1)
    mean = (both / either.clamp(min=1)).mean()
    wrong = {
        "that is the mean of the pictures' IoUs; sum over the pictures before dividing": mean,
        "that leaves one number for each picture; sum over the pictures first": both
        / either.clamp(min=1),
        "that divides by both areas' sum": both.sum() / (masks.sum() + labels.sum()),
    }
    require_equal(call(answer, masks, labels), both.sum() / either.sum(), wrong=wrong)
    return "pixels of all pictures count alike"


def detector(
    answer: object, model: Model, data: LabelledSet, layer: str, category: str = "part"
) -> str:
    """Take any (unit, concept) of a category whose IoU over the data set makes a detector."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise NotSolved("hand in a unit and a concept's name, such as (3, 'wheel')")
    table = dissection.dissect(model, data, [layer])[layer]
    unit = as_index(answer[0], len(table), "unit")
    column = name_index([concept.name for concept in table.concepts], answer[1], "concept")
    kind, found = table.concepts[column].category, float(table.iou[unit, column])
    if kind != category:
        raise NotSolved(f"{answer[1]} is a {kind}; look for a {category}")
    if not table.detected(table.iou[unit, column]):
        best = float(table.best(category)[0].max())
        raise NotSolved(
            f"unit {unit} fits {answer[1]} with an IoU of {found:.3f}; there is {best:.3f}"
        )
    return f"unit {unit} of {layer} detects {answer[1]}, IoU {found:.3f}"


CHECKS = {"ND-1": iou, "ND-2": unit_thresholds, "ND-3": dataset_iou, "ND-4": detector}

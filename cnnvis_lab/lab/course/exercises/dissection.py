"""Checks of notebook 07: IoU, thresholds, sums over a dataset, a detector."""

import torch

from ....data import LabelledSet
from ....methods import dissection
from ....models import Model
from ..marking import NotSolved, as_index, as_tensor, call, name_index, noise, require_equal

FRACTION = 0.005  # fraction of a unit's activations above its threshold


def check_iou(answer: object) -> str:
    """Check a function of two masks -> their intersection over union."""
    one, other = noise(9, 11) > 0.3, noise(9, 11, seed=1) > 0.8
    intersection, union = (one & other).sum(), (one | other).sum()
    both_areas = one.sum() + other.sum()
    wrong = {
        "that divides by the sum of both areas, which counts the overlap twice": (
            intersection / both_areas
        ),
        "that is twice the overlap over the sum of both areas, the Dice coefficient": (
            2 * intersection / both_areas
        ),
        "that divides by the first mask's area": intersection / one.sum(),
        "that divides by the second mask's area": intersection / other.sum(),
        "that divides by the whole image": intersection / one.numel(),
        "that is the fraction of pixels on which they agree": (one == other).double().mean(),
        "that is union over intersection": union / intersection,
    }
    require_equal(call(answer, one, other), intersection / union, wrong=wrong)
    require_equal(call(answer, one, one), torch.ones(()), "the IoU of a mask with itself")
    require_equal(call(answer, one, ~one), torch.zeros(()), "the IoU of a mask with its complement")
    return "1 for the same mask, 0 for disjoint masks"


def check_thresholds(answer: object) -> str:
    """Check a function (images, units, h, w) -> (units,): thresholds of the top half percent.

    A threshold is accepted if the number of values above it is right, plus or minus one.
    """
    maps = noise(40, 6, 10, 10) * torch.arange(1, 7).view(1, 6, 1, 1)
    thresholds = as_tensor(call(answer, maps), "the result")
    units = maps.transpose(0, 1).flatten(1).double()
    if thresholds.numel() != len(units):
        shape = tuple(thresholds.shape)
        raise NotSolved(f"the result has shape {shape}; return one threshold per unit, (6,)")
    above = (units > thresholds.view(-1, 1)).sum(1)
    expected = round(FRACTION * units.shape[1])
    if ((above - expected).abs() <= 1).all():
        return f"{expected} of {units.shape[1]} values of each unit lie above"
    if ((above - (units.shape[1] - expected)).abs() <= 1).all():
        raise NotSolved("that is the lowest half percent; take the highest")
    if len(thresholds.unique()) == 1:
        raise NotSolved("that is one threshold for all units; each has its own")
    counts = f"{int(above.min())} to {int(above.max())}"
    raise NotSolved(f"{counts} of a unit's {units.shape[1]} values lie above; {expected} should")


def check_dataset_iou(answer: object) -> str:
    """Check a function (masks, labels) of (images, h, w) -> one IoU, summed over images."""
    masks, labels = noise(6, 8, 8) > 0.4, noise(6, 8, 8, seed=1) > 0.7
    labels[1:3, 2:] = False
    masks[4], labels[4] = False, False
    intersection = (masks & labels).flatten(1).sum(1)
    union = (masks | labels).flatten(1).sum(1)
    per_image = intersection / union.clamp(min=1)
    wrong = {
        "that is the mean of the images' IoUs; sum over the images before dividing": (
            per_image.mean()
        ),
        "that leaves one number for each image; sum over the images first": per_image,
        "that divides by the sum of both areas": intersection.sum() / (masks.sum() + labels.sum()),
    }
    require_equal(call(answer, masks, labels), intersection.sum() / union.sum(), wrong=wrong)
    return "pixels of all images have the same weight"


def check_detector(answer: object, model: Model, data: LabelledSet, layer: str) -> str:
    """Check a (unit, concept) whose IoU over the dataset makes it a detector of a part.

    Args:
        answer: index of the unit, and name of the concept.
        model: the network.
        data: images with label maps.
        layer: of the unit.
    """
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise NotSolved("give a unit and a concept's name, such as (3, 'wheel')")
    table = dissection.dissect(model, data, [layer])[layer]
    unit = as_index(answer[0], len(table), "unit")
    column = name_index([concept.name for concept in table.concepts], answer[1], "concept")
    actual, iou = table.concepts[column].category, float(table.iou[unit, column])
    if actual != "part":
        raise NotSolved(f"{answer[1]} is a {actual}; look for a part")
    if not table.detected(table.iou[unit, column]):
        best = float(table.best("part")[0].max())
        raise NotSolved(f"unit {unit} fits {answer[1]} with an IoU of {iou:.3f}; best: {best:.3f}")
    return f"unit {unit} of {layer} detects {answer[1]}, IoU {iou:.3f}"


CHECKS = {
    "ND-1": check_iou,
    "ND-2": check_thresholds,
    "ND-3": check_dataset_iou,
    "ND-4": check_detector,
}

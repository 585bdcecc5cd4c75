"""Checks of notebook 04: top image changes, dead maps, settling step, linear CKA."""

import torch
from torch import Tensor

from ....methods.training_evolution import linear_cka, step_reaching
from ..marking import NotSolved, as_number, call, noise, require_equal


def top_image_changes(answer: object) -> str:
    """Check a function (before, after) -> fraction of units whose top image differs."""
    before = torch.arange(40) % 7
    after = before.clone()
    after[[3, 8, 20]] += 1
    after[[11, 30]] = 0
    fraction = (before != after).double().mean()
    images, later_images = {*before.tolist()}, {*after.tolist()}
    wrong = {
        "this is the fraction that stays the same; return the fraction that changes": 1 - fraction,
        "this is a count; divide by the number of units": fraction * len(before),
        "this compares the sets of images; compare unit by unit": 1.0
        - len(images & later_images) / len(images),
    }
    require_equal(call(answer, before, after), fraction, wrong=wrong)
    unchanged = call(answer, before, before)
    require_equal(unchanged, torch.zeros(()), "what it returns if nothing changes")
    return "the fraction of top images that change between two snapshots"


def dead_fraction(answer: object) -> str:
    """Check a function of maps (images, maps, h, w) -> fraction of maps that are never active."""
    maps = noise(5, 12, 4, 4) + 1
    maps[:, [0, 4, 9]] = -maps[:, [0, 4, 9]].abs()
    maps[0, 5], maps[1:, 5] = 0.0, -1.0
    maps[:4, 7], maps[4, 7, 2, 1] = -1.0, 0.5
    inactive = maps <= 0
    per_image = inactive.flatten(2).all(2).double().mean()
    wrong = {
        "this is the fraction of inactive values; in a dead map all values are inactive": inactive
        .double().mean(),
        "this counts a map once per image; a dead map is inactive on all of them": per_image,
        "a map whose maximum is 0 is not active either": 3 / 12,
        "this is a count; divide by the number of maps": 4.0,
        "this is the fraction of active maps": 8 / 12,
        "a map with one value above 0 on one image is active": 5 / 12,
    }  # fmt: skip
    require_equal(call(answer, maps), torch.tensor(4 / 12), wrong=wrong)
    return "the fraction of dead maps"


def settling_step(answer: object) -> str:
    """Check a function (steps, curve, level) -> step at which the curve first reaches the level."""
    steps = [0, 1, 4, 10, 20, 60]
    curves = {
        "an increasing curve": [0.1, 0.5, 0.7, 0.95, 0.99, 1.0],
        "a curve that starts above the level": [0.92, 0.93, 0.95, 0.96, 0.99, 1.0],
        "a curve that falls again": [0.2, 0.94, 0.6, 0.7, 0.95, 1.0],
    }
    expected = step_reaching(steps, torch.tensor(list(curves.values())).T, 0.9)
    for (name, values), step in zip(curves.items(), expected, strict=True):
        curve, wrong = torch.tensor(values), {}
        if values[0] < 0.9:
            first_above = next(at for at, value in zip(steps, values, strict=True) if value >= 0.9)
            wrong[f"{name}: interpolate linearly between the recorded steps"] = first_above
        if name.endswith("again"):
            second_time = step_reaching(steps[2:], curve[2:, None], 0.9)
            wrong[f"{name}: return the first time that it reaches the level"] = second_time
        returned = as_number(call(answer, steps, curve, 0.9), "what it returns")
        require_equal(returned, step, f"the step for {name}", wrong=wrong)
    return f"{', '.join(f'{step:.4g}' for step in expected.tolist())} on the three test curves"


def cka(answer: object) -> str:
    """Check a function (x, y) of activations (examples, units) -> linear CKA."""
    x, other = noise(80, 6) + 2, noise(80, 4, seed=1) + 1
    y = torch.cat([x[:, :2] @ noise(2, 3, seed=2), other], 1)
    a, b = x - x.mean(0), y - y.mean(0)
    numerator, denominator = (b.mT @ a).norm(), (a.mT @ a).norm() * (b.mT @ b).norm()
    wrong = {
        "center the activations first: subtract each unit's mean": _uncentered_cka(x, y),
        "subtract the mean of each unit, over the examples (axis 0)": _uncentered_cka(
            x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        ),
        "the norm in the numerator is squared": numerator / denominator,
        "the norms in the denominator are not squared": numerator**2 / denominator**2,
    }
    require_equal(call(answer, x, y), torch.tensor(linear_cka(x, y)), wrong=wrong)
    rotation = torch.linalg.qr(noise(6, 6, seed=3))[0]
    rotated = as_number(call(answer, x, 3 * x @ rotation + 1), "what it returns")
    if abs(rotated - 1) > 1e-3:
        raise NotSolved(f"a layer and its rotated and scaled copy give {rotated:.3f} instead of 1")
    return "invariant to rotation, scaling and shifts, as it should be"


def _uncentered_cka(a: Tensor, b: Tensor) -> Tensor:
    return (b.mT @ a).norm() ** 2 / ((a.mT @ a).norm() * (b.mT @ b).norm())


CHECKS = {"EV-1": top_image_changes, "EV-2": dead_fraction, "EV-3": settling_step, "EV-4": cka}

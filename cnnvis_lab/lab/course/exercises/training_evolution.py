"""Checks of notebook 04: jumps, dead maps, when a layer settles, how alike two layers are."""

import torch
from torch import Tensor

from ....methods.training_evolution import linear_cka, step_reaching
from ..marking import NotSolved, as_number, call, noise, require_equal


def top_image_changes(answer: object) -> str:
    """Take a function (before, after) -> share of units whose strongest picture is another one."""
    before = torch.arange(40) % 7
    after = before.clone()
    after[[3, 8, 20]] += 1
    after[[11, 30]] = 0
    truth = (before != after).double().mean()
    wrong = {
        "that is the share that stays; asked for is the share that changes": 1 - truth,
        "that is how many; divide by the number of units": truth * len(before),
        "that compares the sets of pictures; compare unit by unit": 1.0
        - len({*before.tolist()} & {*after.tolist()}) / len({*before.tolist()}),
    }
    require_equal(call(answer, before, after), truth, wrong=wrong)
    require_equal(
        call(answer, before, before), torch.zeros(()), "what it returns where nothing changes"
    )
    return "the share of jumps between two records"


def dead_fraction(answer: object) -> str:
    """Take a function (pictures, maps, h, w) -> share of maps that fire nowhere on any picture."""
    maps = noise(5, 12, 4, 4) + 1
    maps[:, [0, 4, 9]] = -maps[:, [0, 4, 9]].abs()
    maps[0, 5], maps[1:, 5] = 0.0, -1.0
    maps[:4, 7], maps[4, 7, 2, 1] = -1.0, 0.5
    silent = maps <= 0
    wrong = {
        "that is the share of silent values; a map is dead if all its values are": silent.double()
        .mean(),
        "that counts a map on every picture; it is dead if it is silent on all of them": silent
        .flatten(2)
        .all(2)
        .double()
        .mean(),
        "a map that never exceeds 0 does not fire, even if it reaches 0": 3 / 12,
        "that is how many; divide by the number of maps": 4.0,
        "that is the share of maps that live": 8 / 12,
        "one value above 0 on one picture is enough for a map to live": 5 / 12,
    }  # fmt: skip
    require_equal(call(answer, maps), torch.tensor(4 / 12), wrong=wrong)
    return "the share of dead maps"


def _example_curves() -> tuple[list[int], Tensor]:
    """Steps, and curves (steps, layers): plain, beginning high, and one that falls once more."""
    rising = [0.1, 0.5, 0.7, 0.95, 0.99, 1.0]
    early = [0.92, 0.93, 0.95, 0.96, 0.99, 1.0]
    twice = [0.2, 0.94, 0.6, 0.7, 0.95, 1.0]
    return [0, 1, 4, 10, 20, 60], torch.tensor([rising, early, twice]).T


def settling_step(answer: object) -> str:
    """Take a function (steps, curve, level) -> step at which the curve first reaches the level."""
    steps, curves = _example_curves()
    truth = step_reaching(steps, curves, 0.9)
    names = ("a rising curve", "a curve that begins above the level", "a curve that falls again")
    for name, curve, at in zip(names, curves.T, truth, strict=True):
        found = as_number(call(answer, steps, curve, 0.9), "what it returns")
        above = [step for step, value in zip(steps, curve.tolist(), strict=True) if value >= 0.9]
        wrong = {f"{name}: draw a straight line between the records": above[0]}
        if name.endswith("again"):
            last = step_reaching(steps[2:], curve[2:, None], 0.9)
            wrong |= dict.fromkeys(["a curve that falls again: its first time counts"], last)
        if name.endswith("level"):
            wrong = {}
        require_equal(found, at, f"the step for {name}", wrong=wrong)
    return f"{', '.join(f'{step:.4g}' for step in truth.tolist())} on the three curves it was tried"


def cka(answer: object) -> str:
    """Take a function (x, y) of (examples, units) -> linear CKA."""
    x, other = noise(80, 6) + 2, noise(80, 4, seed=1) + 1
    y = torch.cat([x[:, :2] @ noise(2, 3, seed=2), other], 1)
    turn = torch.linalg.qr(noise(6, 6, seed=3))[0]
    truth = torch.tensor(linear_cka(x, y))
    a, b = x - x.mean(0), y - y.mean(0)
    wrong = {
        "the activations must be centred first: take each unit's mean away": _uncentered_cka(x, y),
        "take the mean of each unit away, over the examples (axis 0)": _uncentered_cka(
            x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        ),
        "the norm above is squared": (b.mT @ a).norm() / ((a.mT @ a).norm() * (b.mT @ b).norm()),
        "the norms below are not squared": (b.mT @ a).norm() ** 2
        / ((a.mT @ a).norm() * (b.mT @ b).norm()) ** 2,
    }
    require_equal(call(answer, x, y), truth, wrong=wrong)
    turned = as_number(call(answer, x, 3 * x @ turn + 1), "what it returns")
    if abs(turned - 1) > 1e-3:
        raise NotSolved(f"a layer and the same one turned and scaled are {turned:.3f} alike; not 1")
    return "blind to rotations, scales and shifts, as it should be"


def _uncentered_cka(a: Tensor, b: Tensor) -> Tensor:
    return (b.mT @ a).norm() ** 2 / ((a.mT @ a).norm() * (b.mT @ b).norm())


CHECKS = {"EV-1": top_image_changes, "EV-2": dead_fraction, "EV-3": settling_step, "EV-4": cka}

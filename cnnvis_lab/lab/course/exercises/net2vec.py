"""Checks of notebook 08: combined masks, the loss, sums of vectors, a better combination."""

import torch
from torch import Tensor
from torch.nn import functional

from ....methods import net2vec
from ..marking import NotSolved, as_number, as_numbers, as_tensor, call, noise, require_equal

IMAGE_SIZE = 12


def combined_mask(answer: object) -> str:
    """Take a function (bits, weights, bias) -> mask: where the sigmoid of the sum exceeds 1/2."""
    bits = (noise(4, 5, 6, 6) > 0).float()
    weights, bias = torch.tensor([0.7, -0.5, 0.2, 1.1, -0.9]), -0.6
    odds = torch.einsum("nkyx,k->nyx", bits, weights)
    wrong = {
        "the bias is missing": odds > 0,
        "that is the sum; the mask is where its sigmoid exceeds 1/2": odds + bias,
        "that is the sigmoid; the mask is where it exceeds 1/2": (odds + bias).sigmoid(),
        "the sum itself is compared with 1/2; compare its sigmoid": odds + bias > 0.5,
        "the bias is taken away; add it": odds - bias > 0,
    }
    require_equal(call(answer, bits, weights, bias), odds + bias > 0, "the mask", wrong=wrong)
    return "sigmoid > 1/2 is sum > 0"


def linear_loss(answer: object) -> str:
    """Take a function (mask, label, alpha) -> the loss without logarithms."""
    mask, label, alpha = noise(3, 5, 5).sigmoid(), (noise(3, 5, 5, seed=1) > 0.5).float(), 0.8
    on, off = mask * label, (1 - mask) * (1 - label)
    truth = -(alpha * on + (1 - alpha) * off).mean()
    logs = alpha * label * mask.log() + (1 - alpha) * (1 - label) * (1 - mask).log()
    wrong = {
        "that is the loss with logarithms, the other one": -logs.mean(),
        "the weights are exchanged; alpha belongs to the concept": -(
            (1 - alpha) * on + alpha * off
        ).mean(),
        "both parts weigh the same there; alpha is missing": -(on + off).mean(),
        "that is a sum; take the mean": -(alpha * on + (1 - alpha) * off).sum(),
    }
    require_equal(call(answer, mask, label, alpha), truth, "the loss", wrong=wrong)
    return "the more of the concept the mask covers, the lower"


def nearest_to_sum(answer: object) -> str:
    """Take a function (vectors, plus, minus) -> row nearest to the sum, by cosine."""
    rows = noise(14, 8)
    unit = functional.normalize(rows, dim=1)
    rows[9] = unit[1] + unit[2] - unit[5]
    rows[12] = 40 * (rows[9] / rows[9].norm() + 0.8 * noise(8, seed=1) / 8**0.5)
    found = as_number(call(answer, rows, [1, 2], [5]), "the row")
    if found == int(net2vec.combine(rows, [1, 2], [5]).argmax()):
        return _check_more_sums(answer)
    if found in (1, 2, 5):
        raise NotSolved("that row went into the sum itself; leave those out")
    if found == 12:
        raise NotSolved("that row is long, not near; compare cosines, that is vectors of length 1")
    raise NotSolved(f"row {found:g} is not nearest to rows 1 + 2 - 5; is row 5 taken away?")


def _check_more_sums(answer: object) -> str:
    rows = noise(14, 8, seed=3) * torch.linspace(0.1, 9, 14).view(-1, 1)
    for plus, minus in (([0, 13], []), ([3], [12]), ([4, 5, 6], [7])):
        found = as_number(call(answer, rows, plus, minus), "the row")
        if found != int(net2vec.combine(rows, plus, minus).argmax()):
            raise NotSolved(
                f"with plus {plus} and minus {minus}: bring the vectors to length 1 first"
            )
    return "sums of vectors of length 1, compared by cosine"


def planted_concept() -> tuple[Tensor, Tensor]:
    """Give bits (pictures, 6 units, 12, 12) and where a concept is (pictures, 12, 12).

    No unit fits it well: two see a part of it each and a distractor, which a third sees alone.
    """
    drawn = torch.Generator().manual_seed(0)
    row, column = torch.arange(IMAGE_SIZE).view(-1, 1), torch.arange(IMAGE_SIZE).view(1, -1)

    def block() -> Tensor:
        y, x = (torch.randint(0, IMAGE_SIZE - 4, (20, 1, 1), generator=drawn) for _ in "yx")
        return (row >= y) & (row < y + 5) & (column >= x) & (column < x + 5)

    first, second, other = block(), block(), block()
    noisy = torch.rand(3, 20, IMAGE_SIZE, IMAGE_SIZE, generator=drawn) < 0.2
    units = [first | other, second | other, other, *noisy]
    return torch.stack(units, 1).float(), (first | second) & ~other


def combination_iou(answer: object, least: float = 0.95) -> str:
    """Take any (weights, bias) whose mask fits the planted concept with an IoU of 0.95."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise NotSolved("hand in (weights, bias)")
    bits, label = planted_concept()
    weights = as_tensor(as_numbers(answer[0], bits.shape[1], "the weights")).float()
    bias = as_number(answer[1], "the bias")
    on = torch.einsum("nkyx,k->nyx", bits, weights) + bias > 0
    alone = max(_iou(bits[:, unit] > 0, label) for unit in range(bits.shape[1]))
    found = _iou(on, label)
    if found < least:
        raise NotSolved(f"its IoU is {found:.2f}, the best unit's {alone:.2f}; get to {least}")
    return f"IoU {found:.2f}, where the best single unit has {alone:.2f}"


def _iou(mask: Tensor, label: Tensor) -> float:
    return float((mask & label).sum() / (mask | label).sum().clamp(min=1))


CHECKS = {
    "NV-1": combined_mask,
    "NV-2": linear_loss,
    "NV-3": nearest_to_sum,
    "NV-4": combination_iou,
}
GIVEN = {"NV-4": planted_concept}

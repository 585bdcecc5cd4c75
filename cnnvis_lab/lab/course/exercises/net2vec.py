"""Checks of notebook 08: combined masks, the loss, sums of vectors, a better combination."""

import torch
from torch import Tensor
from torch.nn import functional

from ....methods import net2vec
from ..marking import NotSolved, as_number, as_numbers, as_tensor, call, noise, require_equal

IMAGE_SIZE, MIN_IOU = 12, 0.95


def check_combined_mask(answer: object) -> str:
    """Check a function (bits, weights, bias) -> mask: where the sigmoid of the sum exceeds 1/2."""
    bits = (noise(4, 5, 6, 6) > 0).float()
    weights, bias = torch.tensor([0.7, -0.5, 0.2, 1.1, -0.9]), -0.6
    logits = torch.einsum("nkyx,k->nyx", bits, weights)
    wrong = {
        "the bias is missing": logits > 0,
        "that is the sum; the mask is where its sigmoid exceeds 1/2": logits + bias,
        "that is the sigmoid; the mask is where it exceeds 1/2": (logits + bias).sigmoid(),
        "the sum itself is compared with 1/2; compare its sigmoid": logits + bias > 0.5,
        "the bias is subtracted; add it": logits - bias > 0,
    }
    require_equal(call(answer, bits, weights, bias), logits + bias > 0, "the mask", wrong=wrong)
    return "sigmoid > 1/2 is equivalent to sum > 0"


def check_linear_loss(answer: object) -> str:
    """Check a function (mask, label, alpha) -> the loss without logarithms."""
    mask, label, alpha = noise(3, 5, 5).sigmoid(), (noise(3, 5, 5, seed=1) > 0.5).float(), 0.8
    on, off = mask * label, (1 - mask) * (1 - label)
    truth = -(alpha * on + (1 - alpha) * off).mean()
    logs = alpha * label * mask.log() + (1 - alpha) * (1 - label) * (1 - mask).log()
    wrong = {
        "that is the loss with logarithms, the other one": -logs.mean(),
        "the weights are swapped; alpha belongs to the concept": -(
            (1 - alpha) * on + alpha * off
        ).mean(),
        "both terms have the same weight; alpha is missing": -(on + off).mean(),
        "that is a sum; take the mean": -(alpha * on + (1 - alpha) * off).sum(),
    }
    require_equal(call(answer, mask, label, alpha), truth, "the loss", wrong=wrong)
    return "the loss decreases as the mask covers more of the concept"


def check_nearest_to_sum(answer: object) -> str:
    """Check a function (vectors, plus, minus) -> row nearest to the sum, by cosine."""
    rows = noise(14, 8)
    unit = functional.normalize(rows, dim=1)
    rows[9] = unit[1] + unit[2] - unit[5]
    rows[12] = 40 * (rows[9] / rows[9].norm() + 0.8 * noise(8, seed=1) / 8**0.5)
    nearest = as_number(call(answer, rows, [1, 2], [5]), "the row")
    if nearest == int(net2vec.combine(rows, [1, 2], [5]).argmax()):
        return _check_further_sums(answer)
    if nearest in (1, 2, 5):
        raise NotSolved("that row is one of the summands; exclude these")
    if nearest == 12:
        raise NotSolved("that row is long, not near; compare cosines, that is, vectors of length 1")
    raise NotSolved(f"row {nearest:g} is not nearest to rows 1 + 2 - 5; is row 5 subtracted?")


def _check_further_sums(answer: object) -> str:
    rows = noise(14, 8, seed=3) * torch.linspace(0.1, 9, 14).view(-1, 1)
    for plus, minus in (([0, 13], []), ([3], [12]), ([4, 5, 6], [7])):
        nearest = as_number(call(answer, rows, plus, minus), "the row")
        if nearest != int(net2vec.combine(rows, plus, minus).argmax()):
            raise NotSolved(
                f"with plus {plus} and minus {minus}: normalize the vectors to length 1 first"
            )
    return "sums of vectors of length 1, compared by cosine"


def planted_concept() -> tuple[Tensor, Tensor]:
    """Return bits (images, 6 units, 12, 12) and the mask of a concept (images, 12, 12).

    No single unit fits it well: two units detect one half of it each, and a distractor that a third
    unit detects alone.
    """
    generator = torch.Generator().manual_seed(0)
    row, column = torch.arange(IMAGE_SIZE).view(-1, 1), torch.arange(IMAGE_SIZE).view(1, -1)

    def block() -> Tensor:
        y, x = (torch.randint(0, IMAGE_SIZE - 4, (20, 1, 1), generator=generator) for _ in "yx")
        return (row >= y) & (row < y + 5) & (column >= x) & (column < x + 5)

    first, second, other = block(), block(), block()
    noisy = torch.rand(3, 20, IMAGE_SIZE, IMAGE_SIZE, generator=generator) < 0.2
    units = [first | other, second | other, other, *noisy]
    return torch.stack(units, 1).float(), (first | second) & ~other


def check_combination(answer: object) -> str:
    """Check (weights, bias) of a mask whose IoU with the planted concept is at least `MIN_IOU`."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise NotSolved("give (weights, bias)")
    bits, label = planted_concept()
    weights = as_tensor(as_numbers(answer[0], bits.shape[1], "the weights")).float()
    bias = as_number(answer[1], "the bias")
    on = torch.einsum("nkyx,k->nyx", bits, weights) + bias > 0
    single = max(_iou(bits[:, unit] > 0, label) for unit in range(bits.shape[1]))
    iou = _iou(on, label)
    if iou < MIN_IOU:
        raise NotSolved(f"its IoU is {iou:.2f}, the best unit's {single:.2f}; reach {MIN_IOU}")
    return f"IoU {iou:.2f}; the best single unit has {single:.2f}"


def _iou(mask: Tensor, label: Tensor) -> float:
    return float((mask & label).sum() / (mask | label).sum().clamp(min=1))


CHECKS = {
    "NV-1": check_combined_mask,
    "NV-2": check_linear_loss,
    "NV-3": check_nearest_to_sum,
    "NV-4": check_combination,
}
GIVEN = {"NV-4": planted_concept}

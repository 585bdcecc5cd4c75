"""Checks of notebook 06: features made coarser or poorer at the same norm, and a map taken away."""

import torch
from torch import Tensor

from ...core import codes as changes
from ...methods import perturbation
from ...methods.inversion import encode
from ...models import Model
from .marking import NotYet, call, each, noise, same, whole


def _codes() -> Tensor:
    """Three rectified codes of very different sizes."""
    return noise(3, 4, 3, 5).relu() * torch.tensor([1.0, 6, 0.2]).view(3, 1, 1, 1)


def binarised(answer: object) -> str:
    """Take a function codes -> signs of the same norm, each code's own."""
    codes = _codes() * noise(3, 4, 3, 5, seed=1).sign()
    truth = changes.binarised(codes)
    signs = codes.sign()
    wrong = {
        "those are the signs; bring each code back to its norm": signs,
        "that is one magnitude for the whole batch; each code has its own": signs
        * codes.norm()
        / signs.norm(),
        "zeros stay zeros: sign(0) is 0": changes.as_loud((codes >= 0) * 2.0 - 1, codes),
        "negative entries must stay negative": truth.abs(),
        "that keeps the mean size; the norm must stay": signs
        * each(codes.abs().flatten(1).sum(1) / signs.abs().flatten(1).sum(1), codes),
    }
    same(call(answer, codes), truth, wrong=wrong)
    return "signs and zeros stay, and so does every code's norm"


def least_half(answer: object) -> str:
    """Take a function codes -> codes without the half of smallest size, at the same norm."""
    codes = noise(3, 4, 3, 5) * torch.tensor([1.0, 6, 0.2]).view(3, 1, 1, 1)
    truth = changes.dropped(codes, codes.abs())
    kept = truth != 0
    wrong = {
        "the entries are right; bring each code back to its norm": codes * kept,
        "that drops the largest half; drop the smallest": changes.dropped(codes, -codes.abs()),
        "that drops the most negative half; what counts is the size": changes.dropped(codes, codes),
        "that drops half of the whole batch; drop half of each code": changes.as_loud(
            codes * (codes.abs() > codes.abs().median()), codes
        ),
    }
    same(call(answer, codes), truth, wrong=wrong)
    return "half of the entries, nearly all of the code"


def quantised(answer: object) -> str:
    """Take a function (codes, bits) -> codes rounded to 2^bits levels from 0 to the largest."""
    codes = _codes()
    for bits in (1, 3):
        high = each(codes.flatten(1).amax(1), codes)
        last = 2**bits - 1

        def rounded(top: Tensor, parts: int) -> Tensor:
            return changes.as_loud((codes / top * parts).round() / parts * top, codes)

        plain = (codes / high * last).round() / last * high
        wrong = {
            "the levels are right; bring each code back to its norm": plain,
            f"that is {last + 2} levels; 2^{bits} levels have {last} steps between them": rounded(
                high, last + 1
            ),
            "that is one scale for the whole batch; each code has its own": rounded(
                codes.max(), last
            ),
            "that rounds down; round to the nearest level": changes.as_loud(
                (codes / high * last).floor() / last * high, codes
            ),
        }
        what = f"with {bits} {'bit' if bits == 1 else 'bits'}, what it returns"
        same(call(answer, codes, bits), changes.quantised(codes, bits), what, wrong=wrong)
    return "2^b levels at the same norm"


@torch.no_grad()
def costly_map(answer: object, model: Model, picture: Tensor, layer: str) -> str:
    """Take the map without which the class that is named loses most of its score."""
    code = encode(model, [layer], picture)[layer]
    units = code.shape[1]
    unit = whole(answer, units, "map")
    without = code.expand(units, *code.shape[1:]).clone()
    without[range(units), range(units)] = 0
    scores = perturbation.rest(model, layer, picture.expand(units, *picture.shape[1:]), without)
    before = model(picture).flatten().cpu()
    lost = before.max() - scores[:, int(before.argmax())]
    own, most = float(lost[unit]), float(lost.max())
    if own >= most - 1e-3 * abs(most):
        return f"without map {unit} of {layer} the score falls by {own:.2f}"
    strongest = int(code[0].reshape(units, -1).amax(1).argmax())
    hint = "that is the map that fires most; " if unit == strongest else ""
    falls = f"without map {unit} the score falls by {own:.2f}, without another by {most:.2f}"
    raise NotYet(hint + falls)


CHECKS = {"PE-1": binarised, "PE-2": least_half, "PE-3": quantised, "PE-4": costly_map}

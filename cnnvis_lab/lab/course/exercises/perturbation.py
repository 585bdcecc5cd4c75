"""Checks of notebook 06: features made coarser or poorer at the same norm, and a map taken away."""

import torch
from torch import Tensor

from ....core import features, perturbations
from ....methods import perturbation
from ....models import Model
from ..marking import NotSolved, as_index, call, expand_like, noise, require_equal


def _example_codes() -> Tensor:
    """Three rectified codes of very different sizes."""
    return noise(3, 4, 3, 5).relu() * torch.tensor([1.0, 6, 0.2]).view(3, 1, 1, 1)


def check_binarize(answer: object) -> str:
    """Take a function codes -> signs of the same norm, each code's own."""
    codes = _example_codes() * noise(3, 4, 3, 5, seed=1).sign()
    truth = perturbations.binarize(codes)
    signs = codes.sign()
    wrong = {
        "those are the signs; bring each code back to its norm": signs,
        "that is one magnitude for the whole batch; each code has its own": signs
        * codes.norm()
        / signs.norm(),
        "zeros stay zeros: sign(0) is 0": perturbations.match_norm((codes >= 0) * 2.0 - 1, codes),
        "negative entries must stay negative": truth.abs(),
        "that keeps the mean size; the norm must stay": signs
        * expand_like(codes.abs().flatten(1).sum(1) / signs.abs().flatten(1).sum(1), codes),
    }
    require_equal(call(answer, codes), truth, wrong=wrong)
    return "signs and zeros stay, and so does every code's norm"


def check_drop_least_half(answer: object) -> str:
    """Take a function codes -> codes without the half of smallest size, at the same norm."""
    codes = noise(3, 4, 3, 5) * torch.tensor([1.0, 6, 0.2]).view(3, 1, 1, 1)
    truth = perturbations.drop(codes, codes.abs())
    kept = truth != 0
    wrong = {
        "the entries are right; bring each code back to its norm": codes * kept,
        "that drops the largest half; drop the smallest": perturbations.drop(codes, -codes.abs()),
        "that drops the most negative half; what counts is the size": perturbations.drop(
            codes, codes
        ),
        "that drops half of the whole batch; drop half of each code": perturbations.match_norm(
            codes * (codes.abs() > codes.abs().median()), codes
        ),
    }
    require_equal(call(answer, codes), truth, wrong=wrong)
    return "half of the entries, nearly all of the code"


def check_quantize(answer: object) -> str:
    """Take a function (codes, bits) -> codes rounded to 2^bits levels from 0 to the largest."""
    codes = _example_codes()
    for bits in (1, 3):
        high = expand_like(codes.flatten(1).amax(1), codes)
        last = 2**bits - 1

        def rounded(top: Tensor, parts: int) -> Tensor:
            return perturbations.match_norm((codes / top * parts).round() / parts * top, codes)

        plain = (codes / high * last).round() / last * high
        wrong = {
            "the levels are right; bring each code back to its norm": plain,
            f"that is {last + 2} levels; 2^{bits} levels have {last} steps between them": rounded(
                high, last + 1
            ),
            "that is one scale for the whole batch; each code has its own": rounded(
                codes.max(), last
            ),
            "that rounds down; round to the nearest level": perturbations.match_norm(
                (codes / high * last).floor() / last * high, codes
            ),
        }
        what = f"with {bits} {'bit' if bits == 1 else 'bits'}, what it returns"
        require_equal(
            call(answer, codes, bits), perturbations.quantize(codes, bits), what, wrong=wrong
        )
    return "2^b levels at the same norm"


@torch.no_grad()
def check_most_important_map(answer: object, model: Model, picture: Tensor, layer: str) -> str:
    """Take the map without which the class that is named loses most of its score."""
    code = features.extract(model, picture, [layer])[layer]
    units = code.shape[1]
    unit = as_index(answer, units, "map")
    without = code.expand(units, *code.shape[1:]).clone()
    without[range(units), range(units)] = 0
    scores = perturbation.forward_from(
        model, layer, picture.expand(units, *picture.shape[1:]), without
    )
    before = model(picture).flatten().cpu()
    lost = before.max() - scores[:, int(before.argmax())]
    own, most = float(lost[unit]), float(lost.max())
    if own >= most - 1e-3 * abs(most):
        return f"without map {unit} of {layer} the score falls by {own:.2f}"
    strongest = int(code[0].reshape(units, -1).amax(1).argmax())
    hint = "that is the map that fires most; " if unit == strongest else ""
    falls = f"without map {unit} the score falls by {own:.2f}, without another by {most:.2f}"
    raise NotSolved(hint + falls)


CHECKS = {
    "PE-1": check_binarize,
    "PE-2": check_drop_least_half,
    "PE-3": check_quantize,
    "PE-4": check_most_important_map,
}

"""Checks of notebook 06: perturb features at constant norm, and ablate a feature map."""

import torch
from torch import Tensor

from ....core import features, perturbations
from ....methods import perturbation
from ....models import Model
from ..marking import NotSolved, as_index, call, expand_like, noise, require_equal


def _example_codes() -> Tensor:
    """Three codes after a ReLU, of very different norms."""
    return noise(3, 4, 3, 5).relu() * torch.tensor([1.0, 6, 0.2]).view(3, 1, 1, 1)


def check_binarize(answer: object) -> str:
    """Check a function codes -> signs, with the norm of each code."""
    codes = _example_codes() * noise(3, 4, 3, 5, seed=1).sign()
    truth, signs = perturbations.binarize(codes), codes.sign()
    mean_sizes = codes.abs().flatten(1).sum(1) / signs.abs().flatten(1).sum(1)
    wrong = {
        "those are the signs; scale each code back to its norm": signs,
        "that is one magnitude for the whole batch; each code has its own": (
            signs * codes.norm() / signs.norm()
        ),
        "zeros stay zeros: sign(0) is 0": perturbations.match_norm((codes >= 0) * 2.0 - 1, codes),
        "negative entries must stay negative": truth.abs(),
        "that keeps the mean magnitude; keep the norm": signs * expand_like(mean_sizes, codes),
    }
    require_equal(call(answer, codes), truth, wrong=wrong)
    return "signs, zeros and the norm of every code are kept"


def check_drop_least_half(answer: object) -> str:
    """Check a function codes -> codes without the half of smallest magnitude, at the same norm."""
    codes = noise(3, 4, 3, 5) * torch.tensor([1.0, 6, 0.2]).view(3, 1, 1, 1)
    truth, sizes = perturbations.drop(codes, codes.abs()), codes.abs()
    wrong = {
        "the entries are right; scale each code back to its norm": codes * (truth != 0),
        "that drops the largest half; drop the smallest": perturbations.drop(codes, -sizes),
        "that drops the most negative half; compare magnitudes": perturbations.drop(codes, codes),
        "that drops half of the whole batch; drop half of each code": perturbations.match_norm(
            codes * (sizes > sizes.median()), codes
        ),
    }
    require_equal(call(answer, codes), truth, wrong=wrong)
    return "half of the entries, nearly all of the code"


def check_quantize(answer: object) -> str:
    """Check a function (codes, bits) -> codes rounded to 2^bits levels from 0 to the largest."""
    codes = _example_codes()
    largest = expand_like(codes.flatten(1).amax(1), codes)

    def rescaled(changed: Tensor) -> Tensor:
        return perturbations.match_norm(changed, codes)

    for bits in (1, 3):
        last = 2**bits - 1
        levels = codes / largest * last
        wrong = {
            "the levels are right; scale each code back to its norm": (
                levels.round() / last * largest
            ),
            f"that is {last + 2} levels; 2^{bits} levels have {last} steps between them": rescaled(
                (codes / largest * (last + 1)).round() * largest
            ),
            "that is one scale for the whole batch; each code has its own": rescaled(
                (codes / codes.max() * last).round()
            ),
            "that rounds down; round to the nearest level": rescaled(levels.floor() * largest),
        }
        what = f"with {bits} {'bit' if bits == 1 else 'bits'}, what it returns"
        truth = perturbations.quantize(codes, bits)
        require_equal(call(answer, codes, bits), truth, what, wrong=wrong)
    return "2^b levels at the same norm"


@torch.no_grad()
def check_most_important_map(answer: object, model: Model, image: Tensor, layer: str) -> str:
    """Check the feature map without which the predicted class loses most of its score.

    Args:
        answer: index of the map.
        model: the network.
        image: (1, 3, size, size) in [0, 1].
        layer: dotted name or alias.
    """
    code = features.extract(model, image, [layer])[layer]
    units = code.shape[1]
    unit = as_index(answer, units, "map")
    ablated = code.repeat(units, *[1] * (code.ndim - 1))
    ablated[range(units), range(units)] = 0
    scores = perturbation.forward_from(model, layer, image.expand(units, -1, -1, -1), ablated)
    before = model(image).flatten().cpu()
    decrease = before.max() - scores[:, int(before.argmax())]
    own, most = float(decrease[unit]), float(decrease.max())
    if own >= most - 1e-3 * abs(most):
        return f"without map {unit} of {layer} the score decreases by {own:.2f}"
    top_activated = int(code[0].reshape(units, -1).amax(1).argmax())
    hint = "that is the map with the highest activation; " if unit == top_activated else ""
    raise NotSolved(
        f"{hint}without map {unit} the score decreases by {own:.2f}, without another by {most:.2f}"
    )


CHECKS = {
    "PE-1": check_binarize,
    "PE-2": check_drop_least_half,
    "PE-3": check_quantize,
    "PE-4": check_most_important_map,
}

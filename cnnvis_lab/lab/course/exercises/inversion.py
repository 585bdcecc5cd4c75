"""Checks of notebook 05: the error of features, total variation's gradient, codes of a matrix."""

import torch
from torch import Tensor

from ....core import features
from ....methods.inversion import feature_error
from ....models import Model
from ..marking import NotSolved, as_image, as_tensor, call, noise, norms, require_equal


def check_feature_error(answer: object) -> str:
    """Take a function (found, wanted) of (n, ...) -> (n,): ||f - f0|| / ||f0||."""
    wanted = noise(3, 4, 5, 5) * torch.tensor([1.0, 4, 0.2]).view(3, 1, 1, 1)
    found = wanted + noise(3, 4, 5, 5, seed=1)
    truth, size = feature_error(found, wanted), norms(wanted)
    wrong = {
        "that is its square; take the root": truth**2,
        "that divides by the norm of what was found; divide by the wanted one's": norms(
            found - wanted
        )
        / norms(found),
        "that is one number for all pictures; give one for each": (found - wanted).norm()
        / wanted.norm(),
        "that is the distance; divide it by the wanted features' norm": truth * size,
        "that divides the squared distance by the norm, not by its square": truth**2 * size,
    }
    require_equal(call(answer, found, wanted), truth, wrong=wrong)
    return "0 for the same features, 1 for none at all"


def total_variation(images: Tensor) -> Tensor:
    """Return the sum of squared differences between neighbours, down and across."""
    return images.diff(dim=-1).square().sum() + images.diff(dim=-2).square().sum()


def check_variation_gradient(answer: object) -> str:
    """Take a function x (n, c, h, w) -> the gradient of `variation`, of the same shape."""
    x = noise(2, 2, 5, 6)
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        (truth,) = torch.autograd.grad(total_variation(leaf), leaf)
    one_sided = torch.zeros_like(x)
    one_sided[..., :-1] -= 2 * x.diff(dim=-1)
    one_sided[..., :-1, :] -= 2 * x.diff(dim=-2)
    rolled = sum(2 * x - x.roll(1, axis) - x.roll(-1, axis) for axis in (-1, -2)) * 2
    wrong = {
        "a pixel also stands in the differences of its left and upper neighbours": one_sided,
        "pixels at the border have no neighbour beyond it; do not wrap around": rolled,
    }
    require_equal(call(answer, x), truth, wrong=wrong)
    return "two times the sum of a pixel's differences from its neighbours"


def linear_layer() -> tuple[Tensor, Tensor]:
    """Give a layer without a bias that makes 8 numbers of 24, and a code of it."""
    weight = noise(8, 24) / 24**0.5
    return weight, weight @ noise(24, seed=1)


def check_minimum_norm(answer: object) -> str:
    """Take the shortest x of the code: among all with the same features, that of least norm."""
    weight, code = (part.double() for part in linear_layer())
    found = as_tensor(answer, "x").flatten()
    if len(found) != weight.shape[1]:
        raise NotSolved(f"x has {len(found)} numbers; the layer reads {weight.shape[1]}")
    truth = weight.mT @ torch.linalg.solve(weight @ weight.mT, code)
    error = float((weight @ found - code).norm() / code.norm())
    if error > 1e-3:
        require_equal(found, truth, "x", wrong={"the transpose is no inverse": weight.mT @ code})
        raise NotSolved(f"its features are off by {error:.2g} times the code's size")
    if float(found.norm()) > 1.001 * float(truth.norm()):
        own, least = float(found.norm()), float(truth.norm())
        raise NotSolved(f"its features are right, its norm is {own:.3f}; {least:.3f} is possible")
    return "the same features, and nothing in x that they do not ask for"


@torch.no_grad()
def check_inverted_image(
    answer: object, model: Model, layer: str, original: Tensor, most: float = 0.2
) -> str:
    """Take any picture in [0, 1], but the original, whose features are off by 0.2 at most."""
    found = as_image(answer, model.card.input_size).to(original)
    if float((found - original).abs().mean()) < 1e-3:
        raise NotSolved("that is the picture itself; find one from its features alone")
    codes = features.extract(model, torch.cat([found, original[:1]]), [layer])[layer]
    error = float(feature_error(codes[:1], codes[1:]))
    if error > most:
        raise NotSolved(f"its features are off by {error:.2f}; get to {most} (more steps?)")
    apart = float((found - original).abs().mean())
    return f"its features are off by {error:.2f}, its pixels by {apart:.3f} in the mean"


CHECKS = {
    "INV-1": check_feature_error,
    "INV-2": check_variation_gradient,
    "INV-3": check_minimum_norm,
    "INV-4": check_inverted_image,
}
GIVEN = {"INV-3": linear_layer}

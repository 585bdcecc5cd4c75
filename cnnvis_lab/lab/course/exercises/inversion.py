"""Checks of notebook 05: feature error, total variation, minimum-norm inversion."""

import torch
from torch import Tensor

from ....core import features
from ....methods.inversion import feature_error
from ....models import Model
from ..marking import NotSolved, as_image, as_tensor, call, noise, norms, require_equal

ERROR_LIMIT = 0.2  # of the features of an inverted image, relative to their norm


def check_feature_error(answer: object) -> str:
    """Check a function (found, wanted) of (n, ...) -> (n,): ||f - f0|| / ||f0||."""
    wanted = noise(3, 4, 5, 5) * torch.tensor([1.0, 4, 0.2]).view(3, 1, 1, 1)
    found = wanted + noise(3, 4, 5, 5, seed=1)
    truth, size, distance = feature_error(found, wanted), norms(wanted), norms(found - wanted)
    wrong = {
        "that is its square; take the root": truth**2,
        "that divides by the norm of the features found; divide by that of the wanted ones": (
            distance / norms(found)
        ),
        "that is one number for all images; return one for each": (found - wanted).norm()
        / wanted.norm(),
        "that is the distance; divide it by the norm of the wanted features": truth * size,
        "that divides the squared distance by the norm, not by its square": truth**2 * size,
    }
    require_equal(call(answer, found, wanted), truth, wrong=wrong)
    return "0 for the same features, 1 if all features found are 0"


def total_variation(images: Tensor) -> Tensor:
    """Return the sum of squared differences between neighbors, vertically and horizontally."""
    return images.diff(dim=-1).square().sum() + images.diff(dim=-2).square().sum()


def check_variation_gradient(answer: object) -> str:
    """Check a function x (n, c, h, w) -> the gradient of `total_variation`, of the same shape."""
    x = noise(2, 2, 5, 6)
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        (truth,) = torch.autograd.grad(total_variation(leaf), leaf)
    one_sided = torch.zeros_like(x)
    one_sided[..., :-1] -= 2 * x.diff(dim=-1)
    one_sided[..., :-1, :] -= 2 * x.diff(dim=-2)
    wrapped = sum(2 * x - x.roll(1, axis) - x.roll(-1, axis) for axis in (-1, -2)) * 2
    wrong = {
        "a pixel is also part of the differences of its left and upper neighbors": one_sided,
        "pixels at the border have no neighbor beyond it; do not wrap around": wrapped,
    }
    require_equal(call(answer, x), truth, wrong=wrong)
    return "twice the sum of a pixel's differences from its neighbors"


def linear_layer() -> tuple[Tensor, Tensor]:
    """Return the weight (8, 24) of a layer without bias, and a code of it (8,)."""
    weight = noise(8, 24) / 24**0.5
    return weight, weight @ noise(24, seed=1)


def check_minimum_norm(answer: object) -> str:
    """Check the x of least norm among all with the same features."""
    weight, code = (part.double() for part in linear_layer())
    found = as_tensor(answer, "x").flatten()
    if len(found) != weight.shape[1]:
        raise NotSolved(f"x has {len(found)} numbers; the layer takes {weight.shape[1]}")
    truth = weight.mT @ torch.linalg.solve(weight @ weight.mT, code)
    error = float((weight @ found - code).norm() / code.norm())
    if error > 1e-3:
        require_equal(found, truth, "x", wrong={"the transpose is no inverse": weight.mT @ code})
        raise NotSolved(f"its features are off by {error:.2g} times the norm of the code")
    size, least = float(found.norm()), float(truth.norm())
    if size > 1.001 * least:
        raise NotSolved(f"its features are right, its norm is {size:.3f}; {least:.3f} is possible")
    return "the same features, at the smallest norm that they allow"


@torch.no_grad()
def check_inverted_image(answer: object, model: Model, layer: str, original: Tensor) -> str:
    """Check an image in [0, 1] other than the original, with nearly the same features.

    Args:
        answer: the image.
        model: the network.
        layer: dotted name or alias.
        original: (1, 3, size, size) in [0, 1].
    """
    found = as_image(answer, model.card.input_size).to(original)
    distance = float((found - original).abs().mean())
    if distance < 1e-3:
        raise NotSolved("that is the image itself; find one from its features alone")
    codes = features.extract(model, torch.cat([found, original[:1]]), [layer])[layer]
    error = float(feature_error(codes[:1], codes[1:]))
    if error > ERROR_LIMIT:
        raise NotSolved(f"its features are off by {error:.2f}; get to {ERROR_LIMIT} (more steps?)")
    return f"its features are off by {error:.2f}, its pixels by {distance:.3f} on average"


CHECKS = {
    "INV-1": check_feature_error,
    "INV-2": check_variation_gradient,
    "INV-3": check_minimum_norm,
    "INV-4": check_inverted_image,
}
GIVEN = {"INV-3": linear_layer}

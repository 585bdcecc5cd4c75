"""Ridge regression."""

import torch
from torch import Tensor
from torch.nn import functional

from .types import Float, Int

RIDGE_PENALTY = 1.0  # of the transfer's regression, on features of deviation 1


def ridge_accuracy(features: Tensor, wanted: Tensor) -> float:
    """Fit on even rows, score on odd ones."""
    mean, deviation = features[::2].mean(0), features[::2].std(0).clamp(min=1e-6)
    features = functional.pad((features - mean) / deviation, (0, 1), value=1)
    x, y = features[::2], wanted[::2]
    inner = x.T @ x + RIDGE_PENALTY * torch.eye(x.shape[1], dtype=x.dtype)
    fitted = features[1::2] @ torch.linalg.solve(inner, x.T @ y)
    return float((fitted.argmax(1) == wanted[1::2].argmax(1)).double().mean())


def dual_ridge_predictions(
    products: Float[Tensor, "n n"],
    targets: Float[Tensor, "n k"],
    learn: Int[Tensor, " a"],
    test: Int[Tensor, " b"],
    strength: float,
) -> Float[Tensor, "b k"]:
    """Predict by ridge regression on features less their mean, in its dual form."""
    own, other = products[learn][:, learn], products[test][:, learn]
    own = own - own.mean(0)  # the mean feature taken off on one side, then on the other
    other = other - products[learn][:, learn].mean(0)
    gram, across = (part - part.mean(1, keepdim=True) for part in (own, other))
    offset = targets[learn].mean(0)
    ridge = strength * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram)).to(gram)
    return across @ torch.linalg.solve(gram + ridge, targets[learn] - offset) + offset

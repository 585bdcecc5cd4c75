"""Ridge regression in its dual form: few examples, any number of features."""

import torch
from torch import Tensor
from torch.nn import functional

from .types import Float, Int

RIDGE_PENALTY = 1.0  # for features with a standard deviation of 1


def ridge_predictions(
    gram: Float[Tensor, "a a"],
    across: Float[Tensor, "b a"],
    targets: Float[Tensor, "a k"],
    penalty: float | Float[Tensor, ""],
) -> Float[Tensor, "b k"]:
    """Predict the targets of new examples from their inner products with known examples.

    Args:
        gram: inner products of the features of known examples.
        across: inner products of the new examples with the known ones.
        targets: of the known examples.
        penalty: weight of the squared norm of the coefficients.
    """
    return across @ torch.linalg.solve(gram + penalty * torch.eye(len(gram)).to(gram), targets)


def ridge_accuracy(features: Float[Tensor, "n p"], classes: Float[Tensor, "n k"]) -> float:
    """Return the accuracy of a linear classifier fitted to even rows and evaluated on odd ones.

    Args:
        features: one row per example; standardized before the fit.
        classes: one-hot.
    """
    mean, std = features[::2].mean(0), features[::2].std(0).clamp(min=1e-6)
    features = functional.pad((features - mean) / std, (0, 1), value=1)
    known, other = features[::2], features[1::2]
    predicted = ridge_predictions(known @ known.T, other @ known.T, classes[::2], RIDGE_PENALTY)
    return float((predicted.argmax(1) == classes[1::2].argmax(1)).double().mean())


def dual_ridge_predictions(
    products: Float[Tensor, "n n"],
    targets: Float[Tensor, "n k"],
    learn: Int[Tensor, " a"],
    test: Int[Tensor, " b"],
    strength: float,
) -> Float[Tensor, "b k"]:
    """Predict targets by ridge regression on centered features, with an intercept.

    Args:
        products: inner products of all examples' features.
        targets: of all examples; only those in `learn` are read.
        learn: indices of the examples to fit.
        test: indices of the examples to predict.
        strength: the penalty, as a multiple of the mean squared norm of the centered features.
    """
    gram, across = products[learn][:, learn], products[test][:, learn]
    # Subtract the mean feature from one factor of the products, then from the other.
    gram, across = gram - gram.mean(0), across - gram.mean(0)
    gram, across = (part - part.mean(1, keepdim=True) for part in (gram, across))
    offset = targets[learn].mean(0)
    penalty = strength * gram.diagonal().mean().clamp(min=1e-12)
    return ridge_predictions(gram, across, targets[learn] - offset, penalty) + offset

"""Ridge regression agrees with the textbook formula."""

import torch

from cnnvis_lab.core import regression


def test_ridge_agrees_with_the_textbook_formula():
    features, targets = torch.randn(60, 12).double(), torch.randn(60, 3).double()
    learn, test = torch.arange(40), torch.arange(40, 60)
    predictions = regression.dual_ridge_predictions(
        features @ features.T, targets, learn, test, 0.1
    )
    mean, offset = features[learn].mean(0), targets[learn].mean(0)
    centered = features[learn] - mean
    strength = 0.1 * (centered * centered).sum(1).mean()
    weights = torch.linalg.inv(centered.T @ centered + strength * torch.eye(12)) @ centered.T
    expected = (features[test] - mean) @ weights @ (targets[learn] - offset) + offset
    assert torch.allclose(predictions, expected, atol=1e-9)

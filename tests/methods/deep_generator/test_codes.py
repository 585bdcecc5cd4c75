"""Codes have the generator's shape; their bounds are means and standard deviations."""

from dataclasses import replace

import pytest
import torch
from support import generated
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound
from cnnvis_lab.methods import deep_generator
from cnnvis_lab.models import generators


def test_codes_are_the_encoders_activations_in_order():
    of_five = deep_generator.encode(
        generated.network(), generated.generator(), generated.SCENES.batches(5)
    )
    torch.testing.assert_close(of_five, generated.codes())


def test_bounds_are_the_mean_and_three_standard_deviations():
    codes = generated.codes()
    bounds = deep_generator.fit_bounds(codes)
    torch.testing.assert_close(bounds.high, codes.mean(0) + 3 * codes.std(0))
    assert not bounds.low.any()  # rectified codes
    assert bounds.scale == pytest.approx(float(bounds.high.mean()) / 11.85)
    assert (deep_generator.fit_bounds(torch.randn(500, 4)).low < -2).all()


def test_an_encoder_that_does_not_fit_the_generator_is_refused():
    other = models.load("judge_mini")
    with pytest.raises((InputError, NameNotFound)):
        deep_generator.encode(other, generated.generator(), generated.SCENES.batches(16))
    spec = replace(generated.generator().spec, code=(7,))
    narrow = generators.Generator("narrow", nn.Identity(), "no weights", spec)
    with pytest.raises(InputError, match=r"narrow reads \(7,\) of alexnet_mini"):
        deep_generator.encode(generated.network(), narrow, generated.SCENES.batches(16))

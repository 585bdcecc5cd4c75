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


def test_a_generator_is_loaded_with_the_network_whose_codes_it_reads():
    generator, encoder = deep_generator.load("generator_CL5")
    assert (generator.name, encoder.card.name) == ("generator_CL5", "alexnet_mini")
    generator, encoder = deep_generator.load("deepsim_fc8", ["random", "random"])
    assert encoder.card.name == "caffenet" and generator.spec.layer == "FL3"
    with pytest.raises(InputError, match="3 weights files"):
        deep_generator.load("generator_CL5", ["a", "b", "c"])


def test_other_priors_read_codes_of_the_same_encoder():
    encoder, generator = generated.network(), generated.generator()
    priors = deep_generator.other_priors(generator, encoder, generated.SCENES, 2)
    assert len(priors) == 2 and generator.name not in priors
    for name, prior in priors.items():
        assert prior.generator.name == name and prior.generator.spec.encoder == encoder.card.name
        assert prior.codes.shape == (len(generated.SCENES), *prior.generator.spec.code)
        assert torch.equal(prior.bounds.high, deep_generator.fit_bounds(prior.codes).high)
    assert deep_generator.other_priors(generator, encoder, generated.SCENES, 0) == {}

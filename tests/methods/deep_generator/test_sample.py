"""The terms of a PPGN walk: the class, the prior and noise."""

import torch
from support import generated

from cnnvis_lab.core.optimization import Options
from cnnvis_lab.methods import activation_maximization, deep_generator


def _walk(seed: int = 0, **settings: float) -> activation_maximization.Rendering:
    return deep_generator.render(
        generated.network(),
        generated.generator(),
        ["FL3:2"] * 2,
        generated.bounds(),
        deep_generator.CodeWalk(lambda code: 0.5 * code, **settings),
        options=Options(seed, seeds=[0, 1]),
    )


def test_a_walk_with_only_the_class_term_increases_the_activation():
    rendering = _walk(steps=10, prior=0.0, noise=0.0)
    assert (rendering.history[-1] > rendering.history[0]).all()


def test_a_walk_with_only_the_prior_follows_the_denoiser():
    rendering = _walk(steps=12, prior=1.0, condition=0.0, noise=0.0)
    assert rendering.codes.abs().mean() < 0.5 * generated.bounds().scale  # towards the origin


def test_noise_changes_walks_and_is_determined_by_the_seed():
    still = _walk(steps=6, noise=0.0)
    noisy, again = (_walk(seed=7, steps=6, noise=1.0) for _ in range(2))
    assert torch.equal(noisy.codes, again.codes)
    assert (noisy.codes - still.codes).abs().mean() > 0.1 * generated.bounds().scale


def test_the_denoiser_removes_noise():
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(3, 48, generator=generator)
    clean = torch.randn(600, 3, generator=generator) @ basis  # codes in a space of three dimensions
    denoise = deep_generator.fit_denoiser(clean, noise=0.3)
    noisy = clean + 0.3 * clean.std(0) * torch.randn(clean.shape, generator=generator)
    assert (denoise(noisy) - clean).norm() < 0.7 * (noisy - clean).norm()
    assert torch.equal(denoise(noisy), deep_generator.fit_denoiser(clean, noise=0.3)(noisy))


def test_the_denoiser_of_wide_codes_has_a_limited_number_of_weights(monkeypatch):
    shapes, linear = [], torch.nn.Linear
    monkeypatch.setattr(torch.nn, "Linear", lambda *pair: shapes.append(pair) or linear(*pair))
    for width, expected in ((40, [40, 20, 10, 20, 40]), (20_000, [20_000, 419, 209, 419, 20_000])):
        shapes.clear()
        denoise = deep_generator.fit_denoiser(torch.rand(4, width), steps=1)
        assert [*shapes[0], *(after for _, after in shapes[1:])] == expected
        assert denoise(torch.rand(2, width)).shape == (2, width)

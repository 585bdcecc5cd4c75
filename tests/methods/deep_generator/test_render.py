"""DGN-AM: the authors' loop step by step, its bounds, and the walks of PPGN."""

from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import deep_generator
from cnnvis_lab.models import generators

MODEL = "alexnet_mini"
PICTURES = SceneSet(HELD_OUT_SEED, 32)
CHANGES = {"same": {}, "without bounds": {"bounded": False}, "without decay": {"decay": 1.0}}


@cache
def model() -> models.Model:
    return models.load(MODEL)


@cache
def generator(name: str = "generator_FL1") -> generators.Generator:
    return generators.load(name, weights="random")


@cache
def codes() -> torch.Tensor:
    return deep_generator.encode(model(), generator(), PICTURES.batches(16))


def limits() -> deep_generator.CodeBounds:
    return deep_generator.fit_bounds(codes())


def _authors_loop(network, draw, unit, code, high, rate, steps, decay):
    """Nguyen et al. 2016, act_max.py, one code, written out: two normalised steps an iteration."""
    for step in range(steps):
        now = rate + (1e-10 - rate) * step / steps
        code = code.detach().requires_grad_()
        before = draw(code[None])
        seen = before.detach().requires_grad_()
        activation = network(seen)[0, unit]
        (g,) = torch.autograd.grad(activation, seen)
        moved = seen + now * g / g.abs().mean()
        (h,) = torch.autograd.grad(before, code, grad_outputs=moved - seen)
        kept, picture = code.detach(), before.detach()[0]
        code = code + now * h / h.abs().mean()
        if high is not None:
            code = torch.minimum(torch.clamp(code, min=0), high)
        code = decay * code
    return kept, picture, activation.detach()


@pytest.mark.parametrize("change", CHANGES)
def test_every_target_follows_the_authors_loop(change):
    knobs, steps, unit = CHANGES[change], 5, limits().scale
    network, draw = models.load(MODEL).double(), generators.load("generator_FL1", weights="random")
    high = limits().high.double()
    starts = torch.randn(2, 384, generator=torch.Generator().manual_seed(4)).double() * unit
    held = deep_generator.CodeBounds(torch.zeros_like(high), high)
    drawn = deep_generator.render(
        network, draw.double(), ["FL3:3", "FL3:11"], held, steps=steps, starts=starts, **knobs
    )
    for row, target in enumerate((3, 11)):
        code, picture, activation = _authors_loop(
            network,
            draw,
            target,
            starts[row],
            high if knobs.get("bounded", True) else None,
            8 * held.scale,
            steps,
            knobs.get("decay", 0.99),
        )
        torch.testing.assert_close(drawn.codes[row], code)
        torch.testing.assert_close(drawn.images[row], picture.clamp(0, 1))
        torch.testing.assert_close(drawn.activations[row], activation.float())


def test_the_picture_kept_is_what_the_code_kept_draws():
    drawn = deep_generator.render(
        model(), generator(), ["FL3:1"], limits(), steps=5, snapshots=[0, 2]
    )
    torch.testing.assert_close(drawn.images, generator().draw(drawn.codes))
    assert drawn.history.shape == (5, 1) and drawn.history[-1] == drawn.activations
    assert sorted(drawn.snapshots) == [0, 2]
    assert drawn.activations > drawn.history[0]


def test_codes_stay_within_bounds_and_without_them_leave():
    free = deep_generator.render(model(), generator(), ["FL3:1"], limits(), steps=8, bounded=False)
    held = deep_generator.render(model(), generator(), ["FL3:1"], limits(), steps=8)
    assert (held.codes >= 0).all() and (held.codes <= limits().high).all()
    assert (free.codes < 0).any() and (free.codes > limits().high).any()


def test_bounds_are_the_mean_and_three_deviations():
    found = deep_generator.fit_bounds(codes())
    torch.testing.assert_close(found.high, codes().mean(0) + 3 * codes().std(0))
    assert not found.low.any()  # rectified codes
    signed = torch.randn(500, 4)
    assert (deep_generator.fit_bounds(signed).low < -2).all()
    assert found.scale == pytest.approx(float(found.high.mean()) / 11.85)


def test_hidden_units_of_any_network_can_be_targets():
    judge = models.load("judge_mini")
    before = deep_generator.render(judge, generator(), ["stem:3"], limits(), steps=2)
    after = deep_generator.render(judge, generator(), ["stem:3"], limits(), steps=12)
    assert after.images.shape == (1, 3, 128, 128)
    assert after.activations > before.activations


def test_a_generator_of_maps_can_draw():
    of_maps = generator("generator_CL5")
    found = deep_generator.encode(model(), of_maps, PICTURES.batches(16))
    drawn = deep_generator.render(
        model(), of_maps, ["FL3:2", "CL5:1"][:1], deep_generator.fit_bounds(found), steps=4
    )
    assert drawn.codes.shape == (1, 80, 3, 3)


def test_pictures_are_cut_to_what_the_network_takes_or_enlarged():
    large = torch.rand(1, 3, 256, 256)
    network = models.load("caffenet", weights="random")
    seen = deep_generator.fit_to_input(network, large)
    assert torch.equal(seen, large[..., 14:241, 14:241])  # the authors' offset, (256 - 227) // 2
    assert deep_generator.fit_to_input(network, torch.rand(1, 3, 128, 128)).shape[-1] == 227


def test_the_denoiser_takes_noise_off():
    drawn = torch.Generator().manual_seed(0)
    basis = torch.randn(3, 48, generator=drawn)
    clean = torch.randn(600, 3, generator=drawn) @ basis  # codes in a space of three dimensions
    denoise = deep_generator.fit_denoiser(clean, noise=0.3)
    noisy = clean + 0.3 * clean.std(0) * torch.randn(clean.shape, generator=drawn)
    assert (denoise(noisy) - clean).norm() < 0.7 * (noisy - clean).norm()
    assert torch.equal(denoise(noisy), deep_generator.fit_denoiser(clean, noise=0.3)(noisy))


def _walk(**knobs):
    return deep_generator.sample(
        model(),
        generator(),
        ["FL3:2"] * 2,
        limits(),
        lambda code: 0.5 * code,
        seeds=[0, 1],
        **knobs,
    )


def test_a_walk_with_nothing_but_the_class_climbs_its_probability():
    walk = _walk(prior=0.0, noise=0.0, steps=10)
    assert (walk.history[-1] > walk.history[0]).all()


def test_a_walk_with_nothing_but_the_prior_goes_where_the_denoiser_points():
    walk = _walk(prior=1.0, condition=0.0, noise=0.0, steps=12)
    assert walk.codes.abs().mean() < 0.5 * limits().scale  # 0.5 c is towards the origin


def test_noise_drives_walks_apart_and_repeats_with_its_seed():
    still = _walk(condition=1.0, noise=0.0, steps=6)
    moved, again = (_walk(condition=1.0, noise=1.0, steps=6, seed=7) for _ in range(2))
    assert torch.equal(moved.codes, again.codes)
    assert (moved.codes - still.codes).abs().mean() > 0.1 * limits().scale


WRONG = {
    "FL3:16": (InputError, "unit 16 of FL3: it has 16 units"),
    "FL9:0": (NameNotFound, "did you mean"),
    "FL3": (InputError, "expected layer:unit"),
}


@pytest.mark.parametrize("target", WRONG)
def test_a_wrong_target_is_refused_in_one_line(target):
    kind, words = WRONG[target]
    with pytest.raises(kind, match=words) as caught:
        deep_generator.render(model(), generator(), [target], limits(), steps=3)
    assert "\n" not in str(caught.value)


def test_a_generator_and_a_network_that_do_not_fit_are_refused():
    other = models.load("judge_mini")
    with pytest.raises((InputError, NameNotFound)):
        deep_generator.encode(other, generator(), PICTURES.batches(16))
    with pytest.raises(InputError, match=r"codes of shape \(7,\) for generator_FL1, which reads"):
        deep_generator.render(model(), generator(), ["FL3:0"], limits(), starts=torch.zeros(1, 7))


def test_codes_that_are_no_numbers_are_refused():
    starts = torch.full((1, 384), torch.nan)
    with pytest.raises(InputError, match="became nan"):
        deep_generator.render(
            model(), generator(), ["FL3:0"], limits(), starts=starts, bounded=False
        )

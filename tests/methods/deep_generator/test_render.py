"""DGN-AM follows the authors' loop step by step, within its bounds; input is checked."""

import pytest
import torch
from support import generated

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound
from cnnvis_lab.core.optimization import Options
from cnnvis_lab.methods import activation_maximization, deep_generator
from cnnvis_lab.models import generators

CHANGES = {"same": {}, "without bounds": {"bounded": False}, "without decay": {"decay": 1.0}}


def _render(
    targets: list[str],
    steps: int = 3,
    bounded: bool = True,
    first_step: float = 8.0,
    **settings: object,
) -> activation_maximization.Rendering:
    ascent = deep_generator.CodeAscent(steps, first_step, bounded=bounded)
    return deep_generator.render(
        generated.network(), generated.generator(), targets, generated.bounds(), ascent, **settings
    )


def _authors_loop(network, generator, unit, code, high, rate, steps, decay):
    """Nguyen et al. 2016, act_max.py, for one code: two normalized steps per iteration."""
    for step in range(steps):
        size = rate + (1e-10 - rate) * step / steps
        code = code.detach().requires_grad_()
        generated_image = generator(code[None])
        leaf = generated_image.detach().requires_grad_()
        activation = network(leaf)[0, unit]
        (g,) = torch.autograd.grad(activation, leaf)
        target = leaf + size * g / g.abs().mean()
        (h,) = torch.autograd.grad(generated_image, code, grad_outputs=target - leaf)
        last_code, image = code.detach(), generated_image.detach()[0]
        code = code + size * h / h.abs().mean()
        if high is not None:
            code = torch.minimum(torch.clamp(code, min=0), high)
        code = decay * code
    return last_code, image, activation.detach()


@pytest.mark.parametrize("change", CHANGES)
def test_every_target_follows_the_authors_loop(change):
    ascent = deep_generator.CodeAscent(5, **CHANGES[change])
    network = models.load(generated.MODEL).double()
    generator = generators.load("generator_FL1", weights="random").double()
    high = generated.bounds().high.double()
    noise = torch.randn(2, 384, generator=torch.Generator().manual_seed(4)).double()
    starts = noise * generated.bounds().scale
    bounds = deep_generator.CodeBounds(torch.zeros_like(high), high)
    rendering = deep_generator.render(
        network, generator, ["FL3:3", "FL3:11"], bounds, ascent, starts=starts
    )
    for row, target in enumerate((3, 11)):
        code, image, activation = _authors_loop(
            network,
            generator,
            target,
            starts[row],
            high if ascent.bounded else None,
            8 * bounds.scale,
            ascent.steps,
            ascent.decay,
        )
        torch.testing.assert_close(rendering.codes[row], code)
        torch.testing.assert_close(rendering.images[row], image.clamp(0, 1))
        torch.testing.assert_close(rendering.activations[row], activation.float())


def test_the_image_returned_is_generated_from_the_code_returned():
    rendering = _render(["FL3:1"], 5, first_step=1.0, options=Options(snapshots=[0, 2]))
    torch.testing.assert_close(rendering.images, generated.generator().draw(rendering.codes))
    assert torch.equal(rendering.patches, rendering.images)
    assert rendering.history.shape == (5, 1) and rendering.history[-1] == rendering.activations
    assert sorted(rendering.snapshots) == [0, 2]
    assert rendering.activations > rendering.history[0]


def test_codes_stay_within_the_bounds_only_if_bounded():
    bounded, free = _render(["FL3:1"], 8), _render(["FL3:1"], 8, bounded=False)
    high = generated.bounds().high
    assert (bounded.codes >= 0).all() and (bounded.codes <= high).all()
    assert (free.codes < 0).any() and (free.codes > high).any()


def test_hidden_units_of_any_network_can_be_targets():
    network, generator = models.load("judge_mini"), generated.generator()
    before, after = (
        deep_generator.render(
            network, generator, ["stem:3"], generated.bounds(), deep_generator.CodeAscent(steps)
        )
        for steps in (2, 12)
    )
    assert after.images.shape == (1, 3, 128, 128)
    assert after.activations > before.activations


def test_a_generator_can_take_codes_that_are_maps():
    generator = generated.generator("generator_CL5")
    codes = deep_generator.encode(generated.network(), generator, generated.SCENES.batches(16))
    rendering = deep_generator.render(
        generated.network(),
        generator,
        ["FL3:2"],
        deep_generator.fit_bounds(codes),
        deep_generator.CodeAscent(4),
    )
    assert rendering.codes.shape == (1, 80, 3, 3)


def test_images_are_cropped_to_the_networks_input_or_enlarged():
    large = torch.rand(1, 3, 256, 256)
    network = models.load("caffenet", weights="random")
    cropped = deep_generator.fit_to_input(network, large)
    assert torch.equal(cropped, large[..., 14:241, 14:241])  # the authors' offset, (256 - 227) // 2
    assert deep_generator.fit_to_input(network, torch.rand(1, 3, 128, 128)).shape[-1] == 227


WRONG = {
    "FL3:16": (InputError, "unit 16 of FL3: it has 16 units"),
    "FL9:0": (NameNotFound, "did you mean"),
    "FL3": (InputError, "expected layer:unit"),
}


@pytest.mark.parametrize("target", WRONG)
def test_a_wrong_target_is_refused_in_one_line(target):
    kind, message = WRONG[target]
    with pytest.raises(kind, match=message) as caught:
        _render([target])
    assert "\n" not in str(caught.value)


def test_codes_of_another_shape_or_with_nan_are_refused():
    with pytest.raises(InputError, match=r"codes of shape \(7,\) for generator_FL1, which reads"):
        _render(["FL3:0"], starts=torch.zeros(1, 7))
    with pytest.raises(InputError, match="became nan"):
        _render(["FL3:0"], bounded=False, starts=torch.full((1, 384), torch.nan))


def test_an_ascent_of_one_step_is_refused():
    with pytest.raises(InputError, match="at least 2"):
        _render(["FL3:0"], 1)


@pytest.mark.parametrize(("steps", "shown"), [(6, [0, 1, 2, 4]), (32, [0, 1, 2, 5, 10, 20, 30])])
def test_snapshots_show_early_steps_and_the_last(steps, shown):
    assert deep_generator.CodeAscent(steps).snapshot_steps == shown

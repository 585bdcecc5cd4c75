"""Generators train reproducibly, each loss does what it should, and the discriminator learns."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from cnnvis_lab.core import InputError
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.models import generators
from cnnvis_lab.models.training import discriminator, generator

SMALL = replace(
    generator.RECIPES["generator_FL3"],
    starts_from="",
    images=8,
    batch=2,
    epochs=2,
    steps_per_epoch=1,
)


def _trainer() -> generator.GeneratorTrainer:
    trainer = generator.GeneratorTrainer(SMALL, SceneSet(TRAIN_SEED, SMALL.images))
    trainer.held_out.count = 4
    return trainer


def test_training_resumes_from_a_checkpoint_as_if_never_cut(tmp_path):
    whole, cut = _trainer(), _trainer()
    first = [list(whole.epoch_losses()), list(whole.epoch_losses())]
    assert list(cut.epoch_losses()) == first[0]
    cut.save(tmp_path / "c.pt")
    fresh = _trainer()
    fresh.resume(tmp_path / "c.pt")
    assert list(fresh.epoch_losses()) == pytest.approx(first[1], rel=1e-5)


def test_a_training_begins_with_the_up_convolutions_of_another_generator(monkeypatch):
    recipe, other = (
        replace(SMALL, starts_from="generator_FL1"),
        generators.load("generator_FL1", weights="random", seed=5),
    )
    monkeypatch.setattr(generators, "shipped", dict)
    with pytest.raises(InputError, match="first cnnvis train generator_FL1 --ship"):
        generator.GeneratorTrainer(recipe)
    monkeypatch.setattr(generators, "shipped", lambda: {"generator_FL1": {}})
    monkeypatch.setattr(generators, "load", lambda name: other)
    begun = generator.GeneratorTrainer(recipe).net
    assert torch.equal(begun.conv3_1.weight, other.net.conv3_1.weight)
    assert torch.equal(begun.deconv0.bias, other.net.deconv0.bias)
    assert begun.defc7.weight.shape != other.net.defc7.weight.shape  # another code


@pytest.mark.parametrize("name", [n for n, r in generator.RECIPES.items() if r.starts_from])
def test_a_recipe_begins_with_layers_that_fit(name, monkeypatch):
    other = generator.RECIPES[name].starts_from
    begun, given = generators.build(name), generators.load(other, weights="random", seed=5)
    monkeypatch.setattr(generators, "shipped", lambda: {other: {}})
    monkeypatch.setattr(generators, "load", lambda name: given)
    generator._copy_upconvolutions(begun, other)
    ups = [key for key in given.net.state_dict() if key.startswith(("deconv", "conv"))]
    assert all(torch.equal(begun.state_dict()[key], given.net.state_dict()[key]) for key in ups)


def test_every_loss_is_least_for_the_image_itself():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    seen, other = (trainer._features(part) for part in (images, images.flip(0)))
    assert trainer.image_loss(images, images) == 0
    assert trainer.feature_loss(seen, seen).item() == pytest.approx(0, abs=1e-6)
    assert trainer.feature_loss(other, seen) > 0.2


def test_coarse_colors_leave_fine_detail_free():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    grain = trainer.recipe.grain
    fields = functional.avg_pool2d(images, grain).repeat_interleave(grain, 2)
    assert trainer.image_loss(fields.repeat_interleave(grain, 3), images) < 1e-9
    assert trainer.image_loss(images.roll(grain, 3), images) > 0.01


def test_the_discriminator_learns_and_the_generator_does_not_teach_it():
    trainer = _trainer()
    before = [p.clone() for p in trainer.discriminator.parameters()]
    images = trainer.images.batch(range(4))
    codes, made = trainer.encode(images), images.flip(3).requires_grad_()
    drawn = torch.Generator().manual_seed(0)
    trainer._perceptual_loss(made, images, codes, 0.0, drawn).backward()
    assert made.grad.abs().sum() > 0
    assert all(map(torch.equal, before, trainer.discriminator.parameters()))  # taught at rate 0
    first, mistakes = None, None
    for _ in range(12):
        taught = trainer.discriminator(images[..., :64, :64], trainer._features(images), codes)
        wrong = trainer.discriminator(
            made[..., :64, :64].detach() * 0, trainer._features(images), codes
        )
        mistakes = discriminator.discriminator_loss(taught[:1], wrong[:1])
        first = first or mistakes.item()
        trainer.discriminator_optimizer.zero_grad()
        mistakes.backward()
        generator._optimizer_step(trainer.discriminator_optimizer, 2e-3)
    assert mistakes.item() < first - 0.1


def test_a_head_hears_whether_the_code_fits():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    codes, seen = trainer.encode(images), trainer._features(images)
    trainer.discriminator.eval()  # else its spectral norms move with every look
    fitting, other = (
        trainer.discriminator(images[..., :64, :64], seen, part) for part in (codes, codes.flip(0))
    )
    assert torch.allclose(fitting[0], other[0])  # pixels alone know of no code
    assert not any(torch.allclose(a, b) for a, b in zip(fitting[1:], other[1:], strict=True))

"""Generators train reproducibly, each loss has its minimum, and the discriminator learns."""

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


def test_training_resumed_from_a_checkpoint_equals_uninterrupted_training(tmp_path):
    whole, interrupted = _trainer(), _trainer()
    losses = [list(whole.epoch_losses()), list(whole.epoch_losses())]
    assert list(interrupted.epoch_losses()) == losses[0]
    interrupted.save(tmp_path / "c.pt")
    fresh = _trainer()
    fresh.resume(tmp_path / "c.pt")
    assert list(fresh.epoch_losses()) == pytest.approx(losses[1], rel=1e-5)


def test_training_starts_from_the_up_convolutions_of_another_generator(monkeypatch):
    recipe, other = (
        replace(SMALL, starts_from="generator_FL1"),
        generators.load("generator_FL1", weights="random", seed=5),
    )
    monkeypatch.setattr(generators, "shipped", dict)
    with pytest.raises(InputError, match="first run cnnvis train generator_FL1 --ship"):
        generator.GeneratorTrainer(recipe)
    monkeypatch.setattr(generators, "shipped", lambda: {"generator_FL1": {}})
    monkeypatch.setattr(generators, "load", lambda name: other)
    net = generator.GeneratorTrainer(recipe).net
    assert torch.equal(net.conv3_1.weight, other.net.conv3_1.weight)
    assert torch.equal(net.conv0_0.bias, other.net.conv0_0.bias)
    assert net.defc7.weight.shape != other.net.defc7.weight.shape  # another code


@pytest.mark.parametrize("name", [n for n, r in generator.RECIPES.items() if r.starts_from])
def test_the_starting_generator_of_a_recipe_has_the_same_up_convolutions(name, monkeypatch):
    other = generator.RECIPES[name].starts_from
    net, source = (
        generators.assemble(generators.SPECS[name]),
        generators.load(other, weights="random", seed=5),
    )
    monkeypatch.setattr(generators, "shipped", lambda: {other: {}})
    monkeypatch.setattr(generators, "load", lambda name: source)
    generator._copy_upconvolutions(net, other)
    ups = [key for key in source.net.state_dict() if key.startswith(("deconv", "conv"))]
    assert all(torch.equal(net.state_dict()[key], source.net.state_dict()[key]) for key in ups)


def test_image_and_feature_loss_are_zero_for_the_image_itself():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    image_features, other = (trainer._features(part) for part in (images, images.flip(0)))
    assert trainer.image_loss(images, images) == 0
    assert trainer.feature_loss(image_features, image_features).item() == pytest.approx(0, abs=1e-6)
    assert trainer.feature_loss(other, image_features) > 0.2


def test_the_image_loss_ignores_fine_detail():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    grain = trainer.recipe.grain
    fields = functional.avg_pool2d(images, grain).repeat_interleave(grain, 2)
    assert trainer.image_loss(fields.repeat_interleave(grain, 3), images) < 1e-9
    assert trainer.image_loss(images.roll(grain, 3), images) > 0.01


def test_the_discriminator_learns_but_not_from_the_generators_loss():
    trainer = _trainer()
    before = [p.clone() for p in trainer.discriminator.parameters()]
    images = trainer.images.batch(range(4))
    codes, output = trainer.encode(images), images.flip(3).requires_grad_()
    random = torch.Generator().manual_seed(0)
    trainer._perceptual_loss(output, images, codes, 0.0, random).backward()
    assert output.grad.abs().sum() > 0
    # the learning rate is 0
    assert all(map(torch.equal, before, trainer.discriminator.parameters()))
    first_loss, loss = None, None
    for _ in range(12):
        real_scores = trainer.discriminator(images, trainer._features(images), codes)
        fake_scores = trainer.discriminator(output.detach() * 0, trainer._features(images), codes)
        loss = discriminator.discriminator_loss(real_scores[:1], fake_scores[:1])
        first_loss = first_loss or loss.item()
        trainer.discriminator_optimizer.zero_grad()
        loss.backward()
        generator._optimizer_step(trainer.discriminator_optimizer, 2e-3)
    assert loss.item() < first_loss - 0.1


def test_the_discriminators_feature_heads_depend_on_the_code():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    codes, image_features = trainer.encode(images), trainer._features(images)
    trainer.discriminator.eval()  # in training mode its spectral norms change with every call
    fitting, other = (
        trainer.discriminator(images, image_features, part) for part in (codes, codes.flip(0))
    )
    assert torch.allclose(fitting[0], other[0])  # the head on pixels does not read the code
    assert not any(torch.allclose(a, b) for a, b in zip(fitting[1:], other[1:], strict=True))

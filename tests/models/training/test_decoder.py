"""Decoders train reproducibly, toward the mean of the images with the same code."""

from dataclasses import replace

import pytest
import torch

from cnnvis_lab.core.files import digest
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.models import decoders
from cnnvis_lab.models.training import decoder


def _trainer(name: str, **changes: object) -> decoder.DecoderTrainer:
    small = {"images": 8, "batch": 4, "epochs": 2, "steps_per_epoch": 2} | changes
    recipe = replace(decoder.RECIPES[name], **small)
    trainer = decoder.DecoderTrainer(recipe, SceneSet(TRAIN_SEED, recipe.images))
    trainer.held_out.count = 4
    return trainer


@pytest.mark.parametrize("name", ["decoder_FL3", "decoder_FL3_perturbed", "autoencoder_FL3"])
def test_training_resumed_from_a_checkpoint_equals_uninterrupted_training(tmp_path, name):
    whole, interrupted = _trainer(name), _trainer(name)
    losses = [list(whole.epoch_losses()), list(whole.epoch_losses())]
    assert list(interrupted.epoch_losses()) == losses[0]
    interrupted.save(tmp_path / "c.pt")
    fresh = _trainer(name)
    fresh.resume(tmp_path / "c.pt")
    assert list(fresh.epoch_losses()) == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", ["decoder_FL3", "autoencoder_FL3"])
def test_an_exported_decoder_draws_what_the_trained_one_draws(tmp_path, monkeypatch, name):
    trainer = _trainer(name)
    list(trainer.epoch_losses())
    row = trainer.export(name, tmp_path)
    assert row["sha256"] == digest(tmp_path / f"{name}.safetensors")
    load = decoders.load_autoencoder if name.startswith("auto") else decoders.load
    loaded = load(name, weights=tmp_path / f"{name}.safetensors")
    images = trainer.held_out.batch(range(4))
    with torch.no_grad():
        trained = trainer.decode(trainer.encode(images)).clamp(0, 1)
    drawn = loaded.draw(images if name.startswith("auto") else trainer.encode(images))
    assert (drawn - trained).abs().max() < 0.02  # of 16-bit weights


def test_the_optimal_image_of_a_code_is_the_mean_of_the_images_with_that_code():
    """Two images with one code: the gradient of the loss is zero at their mean."""
    trainer = _trainer("decoder_FL3")
    pair = trainer.images.batch([0, 1])
    output = pair.mean(0, keepdim=True).repeat(2, 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(trainer.loss(output, pair), output)
    assert gradient.sum(0).abs().max() < 1e-8


def test_training_lowers_the_loss_on_repeated_images():
    trainer = _trainer("decoder_FL3", steps_per_epoch=12, epochs=1, rate=1e-2)
    losses = list(trainer.epoch_losses())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])

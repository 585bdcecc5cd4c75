"""Networks are trained on any device, each after those that its training reads."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.models import decoders, generators
from cnnvis_lab.models.training import classifier, decoder, generator, order, rounds, train
from cnnvis_lab.models.training.classifier import ClassifierTrainer
from cnnvis_lab.models.training.decoder import DecoderTrainer
from cnnvis_lab.models.training.generator import GeneratorTrainer
from cnnvis_lab.models.weights import write_half

TINY = {"images": 8, "batch": 4, "epochs": 2}
CLASSIFIER = replace(classifier.RECIPES["alexnet_mini"], **TINY)
DECODER = replace(decoder.RECIPES["decoder_FL3"], steps_per_epoch=2, **TINY)
AUTOENCODER = replace(decoder.RECIPES["autoencoder_CL5"], steps_per_epoch=2, **TINY)
GENERATOR = replace(generator.RECIPES["generator_FL3"], starts_from="", steps_per_epoch=2, **TINY)
TRAINERS = {
    "classifier": (ClassifierTrainer, CLASSIFIER),
    "decoder": (DecoderTrainer, DECODER),
    "autoencoder": (DecoderTrainer, AUTOENCODER),
    "generator": (GeneratorTrainer, GENERATOR),
}


def test_every_network_comes_once_and_after_those_that_its_training_reads():
    names = order()
    assert len(names) == len({*names})
    assert {*names} == {*models.shipped(), *generators.shipped(), *decoders.shipped()}
    for name, recipe in generator.RECIPES.items():
        for needed in filter(None, (generators.SPECS[name].encoder, recipe.starts_from)):
            assert names.index(needed) < names.index(name)
    for name in decoders.shipped():
        assert names.index(decoders.SPECS[name].encoder) < names.index(name)


def test_trainings_of_one_round_read_nothing_of_one_another():
    parts = rounds([*reversed(order())])
    assert sorted(name for part in parts for name in part) == sorted(order())
    number = {name: n for n, part in enumerate(parts) for name in part}
    for name, recipe in generator.RECIPES.items():
        for needed in filter(None, (generators.SPECS[name].encoder, recipe.starts_from)):
            assert number[needed] < number[name]
    for name in decoders.shipped():
        assert number[decoders.SPECS[name].encoder] < number[name]
    assert rounds(["decoder_CL1", "generator_FL3"]) == [["decoder_CL1"], ["generator_FL3"]]


@pytest.mark.parametrize("kind", TRAINERS)
def test_all_tensors_of_a_training_step_are_on_the_given_device(kind, monkeypatch):
    """On the device "meta" tensors have no values, and operations with other devices' fail."""
    losses, item = [], Tensor.item

    def read(number: Tensor) -> float:
        if number.device.type != "meta":
            return item(number)
        losses.append(number)
        return 0.0

    monkeypatch.setattr(Tensor, "item", read)
    monkeypatch.setattr(Tensor, "__float__", lambda number: 1.0)
    build, recipe = TRAINERS[kind]
    trainer = build(recipe, SceneSet(TRAIN_SEED, recipe.images), "meta")
    list(trainer.epoch_losses())
    assert len(losses) == 2  # of the two steps


def test_a_device_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"device 'gpu' cannot be used here .*; try 'cpu'"):
        train("alexnet_mini", tmp_path, device="gpu")


class Idle(ClassifierTrainer):
    """Trains nothing; knows its images and its device."""

    def __init__(self, recipe: classifier.ClassifierRecipe, images: SceneSet, device: str) -> None:
        self.images, self.device = images, device

    def run(self, *_: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize("available, device", [(True, "cuda"), (False, "cpu")])
def test_without_a_device_the_gpu_is_used_where_there_is_one(
    tmp_path, monkeypatch, available, device
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(classifier, "ClassifierTrainer", Idle)
    assert train("alexnet_mini", tmp_path).device == device


CONDITION = "alexnet_mini_repeat"


def test_networks_with_the_same_training_set_share_its_drawn_images(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "ClassifierTrainer", Idle)
    one, same = train(f"{CONDITION}0", tmp_path), train(f"{CONDITION}1", tmp_path)
    assert (
        one.images is same.images and len(one.images) == classifier.RECIPES[f"{CONDITION}0"].images
    )
    fewer = replace(classifier.RECIPES["zfnet_mini"], images=40)
    monkeypatch.setitem(classifier.RECIPES, "zfnet_mini", fewer)
    assert len(train("zfnet_mini", tmp_path).images) == 40


@pytest.mark.parametrize("kind", ["decoder", "generator"])
def test_a_checkpoint_of_a_training_on_other_weights_is_refused(kind, tmp_path, monkeypatch):
    """Otherwise a decoder would go on with the codes of a network that was trained anew."""
    build, recipe = TRAINERS[kind]
    images = SceneSet(TRAIN_SEED, recipe.images)
    build(recipe, images).save(tmp_path / "c.pt")
    build(recipe, images).resume(tmp_path / "c.pt")
    anew = tmp_path / "alexnet_mini.safetensors"
    write_half(models.load("alexnet_mini", weights="random", seed=1).net, anew)
    monkeypatch.setattr("cnnvis_lab.models.training.trainer.WEIGHTS", tmp_path)
    with pytest.raises(FileError, match=r"c\.pt was trained on other weights of alexnet_mini"):
        build(recipe, images).resume(tmp_path / "c.pt")

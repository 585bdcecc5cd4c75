"""A network gets images of its size and channels, and of its own world."""

import torch
from support import own_networks
from torch import nn

from cnnvis_lab import data, models
from cnnvis_lab.data import images


def _model(channels: int, classes: tuple[str, ...] | None = None) -> models.Model:
    layers = [nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    return models.load(nn.Sequential(*layers), input_size=(12, 16), classes=classes)


def test_only_networks_with_classes_of_the_scenes_get_scenes_unless_they_are_asked_for():
    of_scenes, foreign = _model(3, data.scenes.CLASS_NAMES[:2]), _model(3, ("cat", "tench"))
    assert models.knows_scenes(of_scenes) and not models.knows_scenes(foreign)
    assert models.open_images(of_scenes, "", 2).source == ""
    assert models.open_images(foreign, "scenes", 2).source == ""
    opened = models.open_images(foreign, "", 23)
    assert opened.source == data.PHOTOGRAPHS and not data.has_labels(opened.source)
    assert len(opened) == 23 and opened.batch([22]).shape == (1, 3, 12, 16)
    assert opened.batch([0])[0].equal(data.photograph(images.PHOTOGRAPHS[0], (12, 16)))


def test_a_network_of_one_channel_gets_the_gray_values(tmp_path):
    gray, color = (models.open_images(_model(n), "scenes", 3) for n in (1, 3))
    weights = torch.tensor([0.299, 0.587, 0.114])
    expected = torch.einsum("nchw,c->nhw", color.batch([0, 2]), weights)
    torch.testing.assert_close(gray.batch([0, 2])[:, 0], expected)
    assert gray.at_size(20).batch([1]).shape == (1, 1, 20, 20)


def test_shipped_networks_are_compared_if_they_have_the_classes_and_files_always(tmp_path):
    mine = own_networks.lenet()
    foreign = models.load(mine, input_size=28)
    assert models.load_compared(foreign, "alexnet_mini") is None
    assert models.load_compared(models.load("zfnet_mini"), "alexnet_mini").card.accuracy
    weights = own_networks.weights_of(mine, tmp_path / "w.pth")
    source = f"{own_networks.__file__}:lenet={weights}"
    other = models.load_compared(models.load("zfnet_mini"), source, {"input_size": 28})
    assert other.channels == 1 and other.net[0].weight.equal(mine[0].weight)


def test_random_weights_of_a_network_of_ones_own_are_new_ones():
    mine = own_networks.lenet()
    one, same, other = (
        models.load(mine, input_size=28, weights="random", seed=seed) for seed in (1, 1, 2)
    )
    weights = [model.net[0].weight for model in (one, same, other)]
    assert weights[0].equal(weights[1]) and not weights[0].equal(weights[2])
    assert not weights[0].equal(mine[0].weight)

"""A network gets images of its size and channels, and of its own world."""

import torch
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

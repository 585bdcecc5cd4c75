"""Decoders: the published layouts, the minis' sizes, and the shipped weights."""

import pytest
import torch
from support import small_chain
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, features, hooks
from cnnvis_lab.core.files import digest
from cnnvis_lab.models import decoders, generators, weights
from cnnvis_lab.models.registry import WEIGHTS
from cnnvis_lab.models.training import train

MINIS = [name for name in decoders.SPECS if name.startswith("decoder")]


def _rows(name: str) -> list[tuple]:
    with torch.device("meta"):
        net = generators.assemble(decoders.SPECS[name])
    assert all(m.negative_slope == 0.2 for m in net if isinstance(m, nn.LeakyReLU))
    return [
        (m.in_features, m.out_features)
        if isinstance(m, nn.Linear)
        else (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for m in net
        if hasattr(m, "weight")
    ]


def test_fully_connected_codes_are_decoded_by_the_published_layout():
    linear = [(4096, 4096)] * 3
    ups = [(a, b, 5, 2) for a, b in ((256, 256), (256, 128), (128, 64), (64, 32), (32, 3))]
    assert _rows("upconv_FL1") == linear + ups


def test_maps_are_decoded_by_three_convolutions_and_up_convolutions():
    rows = _rows("upconv_CL5")
    assert [row[2:] for row in rows] == [(3, 1)] * 3 + [(5, 2)] * 5
    assert rows[0][0] == 256 and rows[-1][1] == 3


@pytest.mark.parametrize("name", decoders.SPECS)
def test_a_decoder_draws_images_of_its_size(name):
    spec = decoders.SPECS[name]
    with torch.device("meta"):
        image = generators.assemble(decoders.SPECS[name])(torch.zeros(2, *spec.code))
    assert image.shape == (2, 3, spec.size, spec.size)
    # The authors' sizes, where they are published.
    known = {"upconv_CL1": 216, "upconv_CL5": 192, "upconv_FL1": 128}
    assert spec.size == known.get(name, spec.size if name.startswith("upconv") else 128)


@pytest.mark.parametrize("name", MINIS)
def test_a_mini_decodes_its_layer_with_few_weights(name):
    spec = decoders.SPECS[name]
    model = models.load(spec.encoder, weights="random")
    code = hooks.activations(model, torch.rand(1, 3, 128, 128), [spec.layer])[spec.layer]
    assert tuple(code.shape[1:]) == spec.code
    assert sum(p.numel() for p in generators.assemble(decoders.SPECS[name]).parameters()) <= 900_000
    image = decoders.load(name, weights="random").draw(code)
    assert image.shape == (1, 3, 128, 128) and image.min() >= 0 and image.max() <= 1


def test_wrong_names_are_refused_in_one_line(tmp_path):
    for error, message, call in (
        (NameNotFound, "did you mean decoder_FL", lambda: decoders.load("decoder_FL")),
        (InputError, "load_autoencoder", lambda: decoders.load("autoencoder_FL1")),
        (NameNotFound, "no autoencoder", lambda: decoders.load_autoencoder("decoder_FL1")),
        (InputError, "give weights=FILE", lambda: decoders.load("upconv_CL1")),
        (NameNotFound, "recipe", lambda: train("decoder_FL9", tmp_path)),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_shipped_decoders_match_their_table():
    for name, row in decoders.shipped().items():
        assert digest(WEIGHTS / f"{name}.safetensors") == row["sha256"]
        load = decoders.load_autoencoder if name.startswith("auto") else decoders.load
        assert load(name).origin == "trained by this project"


def test_shipped_decoders_are_listed_by_layer_and_only_for_the_shipped_network(
    tmp_path, monkeypatch
):
    for name in ("decoder_CL5", "decoder_FL3_perturbed"):
        file = tmp_path / f"{name}.safetensors"
        weights.write_half(generators.assemble(decoders.SPECS[name]), file)
        weights.register(tmp_path / "decoders.json", name, {}, file)
    monkeypatch.setattr(decoders, "TABLE", tmp_path / "decoders.json")
    monkeypatch.setattr(generators, "WEIGHTS", tmp_path)
    model = models.load("alexnet_mini")
    image = torch.rand(1, 3, 128, 128)
    assert list(decoders.decoders_for(model)) == ["CL5.relu"]
    assert list(decoders.decoders_for(model, "_perturbed")) == ["FL3"]
    loaded = decoders.decoders_for(model)["CL5.relu"]
    codes = features.extract(model, image, [loaded.spec.layer])[loaded.spec.layer]
    assert loaded.draw(codes).shape == image.shape
    others = (
        models.load("alexnet_mini", weights="random"),
        models.load("zfnet_mini"),
        small_chain.model(),
    )
    assert not any(decoders.decoders_for(other) for other in others)

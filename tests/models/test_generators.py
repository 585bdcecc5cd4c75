"""Generators: the published layouts, the names of their weights, and their channel order."""

import pytest
import torch
from torch import nn

from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.models import generators
from cnnvis_lab.models.training import train


def _kinds(name: str) -> list[tuple]:
    """(layer, inputs, outputs, kernel, stride) of a generator on the meta device."""
    with torch.device("meta"):
        net = generators.assemble(generators.SPECS[name])
    rows = []
    for key, layer in net.named_children():
        if isinstance(layer, nn.Linear):
            rows.append((key, layer.in_features, layer.out_features))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kernel, stride = layer.kernel_size[0], layer.stride[0]
            rows.append((key, layer.in_channels, layer.out_channels, kernel, stride))
    return rows


# nets/upconv/fc6/generator.prototxt of the authors' release.
UP = [
    ("deconv5", 256, 256, 4, 2),
    ("conv5_1", 256, 512, 3, 1),
    ("deconv4", 512, 256, 4, 2),
    ("conv4_1", 256, 256, 3, 1),
    ("deconv3", 256, 128, 4, 2),
    ("conv3_1", 128, 128, 3, 1),
    ("deconv2", 128, 64, 4, 2),
    ("deconv1", 64, 32, 4, 2),
    ("deconv0", 32, 3, 4, 2),
]


@pytest.mark.parametrize(("name", "code"), [("fc6", 4096), ("fc7", 4096), ("fc8", 1000)])
def test_fully_connected_generators_have_the_published_layout(name, code):
    linear = [("defc7", code, 4096), ("defc6", 4096, 4096), ("defc5", 4096, 4096)]
    assert _kinds(f"deepsim_{name}") == linear + UP


def test_the_pool5_generator_has_the_published_layout():
    first = [("Rconv6", 256, 512, 3, 1), ("Rconv7", 512, 512, 3, 1), ("Rconv8", 512, 512, 3, 1)]
    assert _kinds("deepsim_pool5") == [*first, ("deconv5", 512, 256, 4, 2), *UP[1:]]


@pytest.mark.parametrize("name", generators.SPECS)
def test_a_generator_draws_images_of_its_size(name):
    spec = generators.SPECS[name]
    with torch.device("meta"):
        net, code = generators.assemble(generators.SPECS[name]), torch.zeros(2, *spec.code)
    assert net(code).shape == (2, 3, spec.size, spec.size)
    assert spec.size == (256 if name.startswith("deepsim") else 128)


def test_bgr_output_without_its_mean_is_converted_to_rgb():
    spec = generators.SPECS["deepsim_fc6"]
    output = torch.zeros(1, 3, 2, 2)
    output[0, 0] = 255 - 104  # the maximum of blue
    output[0, 1], output[0, 2] = -117, -123
    image = generators.to_rgb(output, spec)[0, :, 0, 0]
    assert image.tolist() == pytest.approx([0, 0, 1], abs=1e-6)


def test_converted_weights_load_under_prefixed_and_numbered_names(tmp_path):
    plain = generators.assemble(generators.SPECS["generator_CL5"]).state_dict()
    odd = {f"G.{k}".replace("deconv4.", "deconv4.1."): v for k, v in plain.items()}
    torch.save(odd, tmp_path / "odd.pt")
    loaded = generators.load("generator_CL5", weights=tmp_path / "odd.pt")
    assert all(torch.equal(v, plain[k]) for k, v in loaded.net.state_dict().items())
    assert not any(p.requires_grad for p in loaded.parameters())


def test_wrong_codes_names_and_files_are_refused_in_one_line(tmp_path):
    loaded = generators.load("generator_FL3", weights="random")
    for error, message, call in (
        (InputError, "encode with that network", lambda: loaded(torch.zeros(1, 17))),
        (NameNotFound, "did you mean generator_FL", lambda: generators.load("generator_FL")),
        (FileError, "check the path", lambda: generators.load("deepsim_fc6", weights="none.pt")),
        (InputError, "give weights=FILE", lambda: generators.load("deepsim_fc6")),
        (NameNotFound, "recipe", lambda: train("generator_FL9", tmp_path)),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_shipped_generators_match_their_table():
    from cnnvis_lab.core.files import digest
    from cnnvis_lab.models.registry import WEIGHTS

    for name, row in generators.shipped().items():
        assert digest(WEIGHTS / f"{name}.safetensors") == row["sha256"]
        assert generators.load(name).origin == "trained by this project"

"""Files of the published full-size layouts reach the figures that the survey made with them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import features
from cnnvis_lab.core.statistics import TopK
from cnnvis_lab.data import ResizedImages
from cnnvis_lab.lab import figures
from cnnvis_lab.methods import deep_generator, inversion
from cnnvis_lab.models import decoders, generators

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def caffenet() -> models.Model:
    return models.load("caffenet", weights="random")


def _images(model: models.Model, count: int = 2) -> Tensor:
    size = model.card.input_size
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _write(spec: generators.GeneratorSpec, file: Path) -> None:
    """Write random weights of a layout, of whose last layer the images get contrast."""
    torch.manual_seed(3)
    net = generators.assemble(spec)
    last = [layer for layer in net if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1]
    with torch.no_grad():
        drawn = generators.to_rgb(net(torch.rand(2, *spec.code)), spec)
        last.weight *= 0.2 / drawn.std((2, 3)).mean()
    torch.save(net.state_dict(), file)


def _shows(drawing: figures.Drawing, image: Tensor) -> bool:
    """Return whether a cell of a figure is this image, at most resampled to the cell's size."""
    pixels = [torch.tensor(axes.images[0].get_array()).float() for axes in drawing.figure.axes]
    cells = [cell.permute(2, 0, 1) / (255 if cell.max() > 1 else 1) for cell in pixels]
    return any(
        cell.shape == image.shape and bool((cell - image).abs().max() < 0.005) for cell in cells
    )


def test_a_published_decoder_fills_its_cell_of_f9(caffenet, tmp_path):
    _write(decoders.SPECS["upconv_CL5"], tmp_path / "upconv_CL5.pt")
    layers, found = inversion.layers_and_decoders(caffenet, (), tmp_path)
    assert {*found} == {"pool5"} and "pool5" in layers
    images = _images(caffenet) * torch.tensor([0.1, 1.0]).view(2, 1, 1, 1)
    decoded = inversion.decode(found, features.extract(caffenet, images, [*found]))
    methods = {"regularizer": dict.fromkeys(layers, images), "decoder": decoded}
    drawing = figures.inversion.by_layer(images, methods, [1])
    assert decoded["pool5"].shape == images.shape and decoded["pool5"][1].std() > 0
    assert _shows(drawing, decoded["pool5"][1]) and not _shows(drawing, decoded["pool5"][0])


def test_a_published_generator_draws_a_row_of_f3(caffenet, tmp_path):
    file = tmp_path / "converted.pt"
    _write(generators.SPECS["deepsim_pool5"], file)
    torch.save(caffenet.net.state_dict(), tmp_path / "encoder.pt")
    given = [str(file), str(tmp_path / "encoder.pt")]
    generator, encoder = deep_generator.load("deepsim_pool5", given)
    images = _images(encoder)
    codes = deep_generator.encode(encoder, generator, [(torch.arange(2), images)])
    bounds, targets = deep_generator.fit_bounds(codes), ["FL3:0", "FL3:7"]
    method = deep_generator.CodeAscent(2)
    generated = deep_generator.render(caffenet, generator, targets, bounds, method)
    in_pixels = deep_generator.render(caffenet, generator, targets, bounds, method, starts=codes)
    top = TopK(2)
    top.update(torch.rand(2, 8), torch.arange(2))
    real = ResizedImages("", images.shape[-1], 2, lambda indices: images[indices])
    drawing = figures.deep_generator.class_images(in_pixels, generated, top, real, ["a", "b"])
    assert generator.spec.layer == "pool5"
    assert (generated.images[1] - in_pixels.images[1]).abs().max() > 0.05
    assert _shows(drawing, generated.images[1])

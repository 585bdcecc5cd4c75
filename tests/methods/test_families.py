"""Every family of torchvision's classifiers goes through every method, as README's table says."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from support.reference_dissection import LabelledTensors, random_data

from cnnvis_lab import models
from cnnvis_lab.core import InputError, features
from cnnvis_lab.methods import (
    activation_maximization,
    deconvnet,
    dissection,
    inversion,
    net2vec,
    perturbation,
)

README = (Path(__file__).parents[2] / "README.md").read_text()
# A layer inside the network where its default layers are only at its beginning.
DEEP = {
    "vit_b_16": "encoder.layers.encoder_layer_3",
    "swin_t": "features.3",
    "swin_v2_t": "features.3",
    "maxvit_t": "blocks.1",
}
FIXED_SIZE = {"vit_b_16": 224, "maxvit_t": 224, "inception_v3": 96}


def _rows() -> dict[str, dict[str, bool]]:
    """Return member -> method -> whether README says that it works."""
    lines = [line for line in README.splitlines() if re.match(r"\| `\w+` ", line)]
    heads = next(line for line in README.splitlines() if line.startswith("| network | AM"))
    methods = [cell.strip() for cell in heads.strip("|").split("|")][1:]
    table = {}
    for line in lines:
        name, *cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if len(cells) == len(methods) and set(cells) <= {"yes", "no"}:
            table[name] = dict(zip(methods, [cell == "yes" for cell in cells], strict=True))
    return table


def _labelled(model: models.Model) -> LabelledTensors:
    random, size = random_data(), model.card.input_size
    images = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(0))
    return LabelledTensors(images, random.maps[:6], random.labels)


def _methods(model: models.Model, layer: str) -> dict[str, Callable[[], torch.Tensor]]:
    data = _labelled(model)
    images = data.batch([0, 1])

    def dissect() -> torch.Tensor:
        return dissection.dissect(model, data, [layer])[layer].iou

    def probe() -> torch.Tensor:
        prepared, _ = net2vec.prepare(model, data, [data], [layer])
        return prepared[layer].thresholds

    return {
        "AM": lambda: activation_maximization.render(model, [f"{layer}:0"], steps=2).images,
        "DeconvNet": lambda: deconvnet.project(model, images, [f"{layer}:0"]).pixels,
        "gradient": lambda: (
            deconvnet.project(model, images, [f"{layer}:0"], rule="gradient").pixels
        ),
        "inversion": lambda: (
            inversion.invert(model, features.extract(model, images, [layer]), steps=2).images
        ),
        "importance": lambda: perturbation.importance(model, layer, images, by="gradient"),
        "dissection": dissect,
        "Net2Vec": probe,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", _rows())
def test_a_family_does_what_readme_says_and_refuses_the_rest_in_one_line(name):
    size = FIXED_SIZE.get(name, 64)
    model = models.load(name, weights="random", input_size=size)
    layer = DEEP.get(name) or model.conv_layers()[-1]
    works = {}
    for method, run in _methods(model, layer).items():
        try:
            works[method] = bool(run().isfinite().all())
        except InputError as error:
            assert "\n" not in str(error)
            works[method] = False
    assert works == _rows()[name]


def test_every_family_of_torchvision_is_in_the_table():
    family = re.compile(r"(?:wide_)?[a-z]+")
    names = torchvision.models.list_models(torchvision.models)
    assert {family.match(name)[0] for name in names} == {family.match(name)[0] for name in _rows()}

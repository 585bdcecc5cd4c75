"""Every family of torchvision's classifiers goes through every method, as README's table says.

`PYTHONPATH=.:tests python tests/methods/test_families.py` writes the table.
"""

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

README = Path(__file__).parents[2] / "README.md"
TABLE = re.compile(r"\| network \| AM .*?\n\n", re.DOTALL)
# The last convolution of these is at the beginning, before the blocks.
DEEP = {
    "vit_b_16": "encoder.layers.encoder_layer_3",
    "swin_t": "features.3",
    "maxvit_t": "blocks.1",
}
FIXED_SIZE = {"vit_b_16": 224, "maxvit_t": 224, "inception_v3": 96}


def _cells(line: str) -> list[str]:
    return [cell.strip(" `") for cell in line.strip("|").split("|")]


def _rows() -> dict[str, dict[str, bool]]:
    """Return member -> method -> whether README says that it works."""
    (table,) = TABLE.findall(README.read_text())
    head, _, *lines = table.split("\n")[:-2]
    methods = _cells(head)[1:]
    return {
        name: dict(zip(methods, [cell == "yes" for cell in cells], strict=True))
        for name, *cells in map(_cells, lines)
    }


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


def _what_works(name: str) -> dict[str, bool]:
    """Return method -> whether it works; what does not must be refused in one line."""
    model = models.load(name, weights="random", input_size=FIXED_SIZE.get(name, 64))
    works = {}
    for method, run in _methods(model, DEEP.get(name) or model.conv_layers()[-1]).items():
        try:
            works[method] = bool(run().isfinite().all())
        except InputError as error:
            assert "\n" not in str(error)
            works[method] = False
    return works


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the receptive field of .* is unknown")
@pytest.mark.parametrize("name", _rows())
def test_a_family_does_what_readme_says_and_refuses_the_rest_in_one_line(name):
    assert _what_works(name) == _rows()[name]


def test_every_family_of_torchvision_is_in_the_table():
    family = re.compile(r"(?:wide_)?[a-z]+")
    names = torchvision.models.list_models(torchvision.models)
    assert {family.match(name)[0] for name in names} == {family.match(name)[0] for name in _rows()}


def _write() -> None:
    """Write what works into README's table, row by row."""
    for name in _rows():
        works = _what_works(name)
        cells = ["yes" if works[method] else "no" for method in works]
        row = f"| `{name}` | {' | '.join(cells)} |"
        text = re.sub(rf"\| `{name}` \| (?:(?:yes|no) \| )*(?:yes|no) \|", row, README.read_text())
        README.write_text(text)
        print(row, flush=True)


if __name__ == "__main__":
    _write()

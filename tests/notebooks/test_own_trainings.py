"""Notebooks draw what was trained or recorded for a network of the user's own."""

import copy

import pytest
import torch
from support import lessons
from torch import nn

from cnnvis_lab import data, models
from cnnvis_lab.data import images
from cnnvis_lab.lab import notebooks
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.models.training import own

pytestmark = pytest.mark.slow
KNOWN = notebooks.read_all()
SIZE, CLASSES = 32, ["a red one", "a green one", "a blue one"]
BUILD = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    convs = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 3)]
    return nn.Sequential(*convs, *head)
"""
OPTIONS = {"input_size": SIZE, "classes": CLASSES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network with its weights, a decoder, a generator, images of classes, and a recording."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(BUILD)
    loaded = models.load(f"{folder}/mine.py:build", weights="random", **OPTIONS)
    torch.save(loaded.net.state_dict(), folder / "mine.pt")
    model = models.load(f"{folder}/mine.py:build", weights=f"{folder}/mine.pt", **OPTIONS)
    noise = torch.rand(30, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    for index, image in enumerate(noise):
        image[index % 3] = 0.5 + image[index % 3] / 2
        path = folder / "classes" / CLASSES[index % 3] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.to_pil(image).save(path)
    sets = own.training_sets(folder / "classes", SIZE, None)
    small = {"epochs": 1, "steps_per_epoch": 2, "batch": 4, "width": 2}
    for kind, layer in (("decoder", "4"), ("decoder", "9"), ("generator", "4")):
        trainer = own.build(kind, model, layer, *sets, run=own.RunOptions(device="cpu"), **small)
        trainer.run(f"{kind}_{layer}", folder / "trained", print)
    _record(copy.deepcopy(model.net).requires_grad_(), noise, folder / "recorded")
    return folder


def _record(net: nn.Module, batch: torch.Tensor, folder) -> None:
    """Train in a plain loop, with the two lines of the notebook's text."""
    shown, optimizer = data.open_images(batch, SIZE, 6), torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = training_evolution.record(net, folder, shown, at=training_evolution.schedule(8))
    for step in range(1, 9):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch), torch.arange(len(batch)) % 3).backward()
        optimizer.step()
        recorder.step(step)


def _draw(folder, book: str, weights: bool = True, **given: object) -> dict:
    """Run a lesson for the network; return its record."""
    own = {"MODEL": f"{folder}/mine.py:build", "MODEL_OPTIONS": OPTIONS}
    own |= {"WEIGHTS": f"{folder}/mine.pt"} if weights else {}
    notebook = notebooks.find(book, KNOWN)
    own |= {} if "TRAIN_DATA" in given else {"DATA": f"{folder}/classes"}
    out = folder / "_".join([book, *given])
    record = lessons.draw(notebook, out, **own, **given)
    assert set(record["figures"]) == set(notebook.figures)
    return record


def _left_out(record: dict) -> set[str]:
    figures = record["figures"].items()
    return {id for id, figure in figures if figure["caption"].startswith("Left out: ")}


def _measured(record: dict) -> set[str]:
    return {id for id, claim in record["claims"].items() if claim["measured"] is not None}


@pytest.mark.parametrize("book, needs", [("05", {"INV4", "INV4b"}), ("06", {"PE4"})])
def test_own_decoders_are_drawn_and_measured(book, needs, folder):
    without = _draw(folder, book)
    with_them = _draw(folder, book, DECODERS=f"{folder}/trained")
    assert needs <= _measured(with_them) - _measured(without)
    assert _left_out(with_them) == _left_out(without)


def test_an_own_generator_draws_the_lower_row_of_f3_and_all_that_follows(folder):
    without = _draw(folder, "02")
    with_it = _draw(folder, "02", GENERATOR=f"{folder}/trained/generator_4.safetensors")
    assert _left_out(without) == {*without["figures"]} - {"F3"} and not _left_out(with_it)
    assert {"DG1", "DG3", "DG4"} <= _measured(with_it) - _measured(without)
    assert "cnnvis train generator" in without["figures"]["DG-codes"]["caption"]


def test_a_recorded_training_is_drawn_without_being_trained(folder):
    record = _draw(folder, "04", weights=False, RECORD=f"{folder}/recorded")
    assert _left_out(record) == {"EV-detectors", "EV-bad-runs"}
    assert _measured(record) == {"EV1", "EV2", "EV2b", "EV3", "EV3b"}


def test_class_folders_train_the_network_and_its_failing_runs(folder):
    record = _draw(folder, "04", weights=False, TRAIN_DATA=f"{folder}/classes", EPOCHS=2)
    assert _left_out(record) == {"EV-detectors"}
    assert {"EV1", "EV2", "EV3", "EV5", "EV5c", "EV6"} <= _measured(record)
    assert record["metrics"]["accuracy"] >= 0

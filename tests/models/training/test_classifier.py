"""Trainings repeat, go on where they were cut off, and ship what their table says."""

import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice, product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import FileError, NameNotFound, files
from cnnvis_lab.data.scenes import HELD_OUT_SEED, TRAIN_SEED, SceneSet
from cnnvis_lab.models import architectures, registry
from cnnvis_lab.models.training import classifier, train
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer, normalize

SMALL = {
    "dropout": ClassifierRecipe("alexnet_mini", images=32, epochs=2, batch=16, held_out=32),
    "batch norm": ClassifierRecipe("judge_mini", batch_norm=True, images=32, epochs=2, batch=16),
}


@cache
def _training_pictures(count: int) -> SceneSet:
    return SceneSet(TRAIN_SEED, count)


@pytest.fixture
def pictures() -> SceneSet:
    return _training_pictures(48)


@pytest.fixture(scope="module")
def held_out() -> SceneSet:
    return SceneSet(HELD_OUT_SEED, 32)


@pytest.fixture(params=SMALL)
def recipe(request) -> ClassifierRecipe:
    return SMALL[request.param]


def _weights(trainer: ClassifierTrainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.net.state_dict().values()])


@pytest.mark.parametrize("name", models.shipped())
def test_the_recipe_of_a_shipped_network_starts_as_it_did(name, one_thread):
    """On one thread, as recorded: batch norm's small variances magnify the order of sums."""
    row = models.shipped()[name]
    recipe = classifier.RECIPES[name]
    assert ClassifierRecipe(**row["recipe"]) == recipe and row["seed"] == recipe.seed
    losses = ClassifierTrainer(recipe, _training_pictures(recipe.images)).epoch_losses()
    assert list(islice(losses, 3)) == pytest.approx(row["first_losses"], rel=1e-4)


def test_a_training_resumes_from_its_checkpoint_as_if_never_cut_off(recipe, pictures, tmp_path):
    through = ClassifierTrainer(recipe, pictures)
    wanted = [list(through.epoch_losses()) for _ in range(2)]
    first = ClassifierTrainer(recipe, pictures)
    assert list(first.epoch_losses()) == wanted[0]
    first.save(tmp_path / "half.pt")
    torch.manual_seed(99)  # another process has another global stream
    second = ClassifierTrainer(recipe, pictures)
    second.resume(tmp_path / "half.pt")
    assert second.epoch == 1
    assert list(second.epoch_losses()) == wanted[1]
    assert torch.equal(_weights(second), _weights(through))
    assert wanted[0] != wanted[1] and second.epoch == 2


def test_training_neither_reads_nor_moves_the_global_stream(recipe, pictures):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    trainer = ClassifierTrainer(recipe, pictures)
    losses = list(trainer.epoch_losses())
    cut_off = trainer.epoch_losses()
    next(cut_off)
    cut_off.close()
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer.epoch == 1  # an epoch counts when it is over
    torch.manual_seed(2)
    assert list(ClassifierTrainer(recipe, pictures).epoch_losses()) == losses
    other = replace(recipe, seed=recipe.seed + 1)
    assert list(ClassifierTrainer(other, pictures).epoch_losses()) != losses


def test_every_epoch_sees_every_image_once_in_an_order_of_its_own(monkeypatch):
    seen: list[int] = []
    monkeypatch.setattr(
        SceneSet, "batch", lambda _, indices: seen.extend(indices) or torch.rand(16, 3, 128, 128)
    )
    trainer = ClassifierTrainer(SMALL["dropout"])
    for _ in range(2):
        list(trainer.epoch_losses())
    first, second = seen[:32], seen[32:]
    assert sorted(first) == sorted(second) == list(range(32)) != first
    assert first != second


def test_a_checkpoint_of_another_recipe_is_refused_and_changes_nothing(pictures, tmp_path):
    mine = SMALL["dropout"]
    ClassifierTrainer(replace(mine, rate=1e-3), pictures).save(tmp_path / "other.pt")
    trainer = ClassifierTrainer(mine, pictures)
    before = _weights(trainer)
    with pytest.raises(FileError, match=r"other\.pt was written by another recipe; remove it"):
        trainer.resume(tmp_path / "other.pt")
    assert torch.equal(_weights(trainer), before) and trainer.epoch == 0


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_damaged_checkpoint_is_refused(pictures, tmp_path, share):
    trainer, path = ClassifierTrainer(SMALL["dropout"], pictures), tmp_path / "cut.pt"
    trainer.save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(FileError, match=r"cut\.pt is no readable checkpoint; remove it"):
        trainer.resume(path)


KILLED = """
import os, signal, sys, torch
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer

def save(state, partial):
    partial.write_bytes(b"half a checkpoint")
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = save
trainer = ClassifierTrainer(ClassifierRecipe("judge_mini", images=32))
trainer.save(__import__("pathlib").Path(sys.argv[1]))
"""


def test_a_save_that_is_killed_leaves_the_old_checkpoint(pictures, tmp_path):
    path = tmp_path / "kept.pt"
    trainer = ClassifierTrainer(SMALL["dropout"], pictures)
    trainer.epoch = 1
    trainer.save(path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[3]
    )
    assert killed.returncode == -signal.SIGKILL
    fresh = ClassifierTrainer(SMALL["dropout"], pictures)
    fresh.resume(path)
    assert fresh.epoch == 1 and torch.equal(_weights(fresh), _weights(trainer))


def test_a_snapshot_folds_normalization_and_leaves_the_training_alone(pictures):
    recipe = ClassifierRecipe(
        "alexnet_mini", batch_norm=True, folded=True, images=32, epochs=2, batch=8
    )
    looked_at, plain = ClassifierTrainer(recipe, pictures), ClassifierTrainer(recipe, pictures)
    losses = []
    for loss in looked_at.epoch_losses():
        snapshot = looked_at.snapshot()
        losses.append(loss)
    assert losses == list(plain.epoch_losses())
    images = normalize(pictures.batch(range(6)))
    assert {type(layer) for layer in snapshot} <= {
        nn.Conv2d, nn.Linear, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Dropout
    }  # fmt: skip
    assert [n for n, _ in snapshot.named_children()] == [
        n for n, _ in architectures.build("alexnet_mini", 16).named_children()
    ]
    with torch.no_grad():
        given, wanted = snapshot(images), looked_at.net.eval()(images)
    assert torch.allclose(given, wanted, atol=1e-4 * float(wanted.abs().max()))
    unfolded = ClassifierTrainer(replace(recipe, folded=False), pictures).snapshot()
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in unfolded)


def _copies(image: Tensor) -> Iterator[tuple[bool, Tensor]]:
    """Every mirrored and shifted copy of a picture, its border pixels repeated outwards."""
    size, shifts = image.shape[-1], range(-classifier.MAX_SHIFT, classifier.MAX_SHIFT + 1)
    for mirrored, dy, dx in product((False, True), shifts, shifts):
        rows, columns = ((torch.arange(size) + d).clamp(0, size - 1) for d in (dy, dx))
        turned = image.flip(2) if mirrored else image
        yield mirrored, turned[:, rows][:, :, columns]


def test_every_augmented_image_is_a_mirrored_shifted_and_dimmed_copy():
    drawn = torch.Generator().manual_seed(0)
    images = torch.rand(20, 3, 6, 6, generator=drawn)
    sides, lights = set(), []
    for image, result in zip(images, classifier.augment(images, drawn), strict=True):
        ratios = ((mirrored, result / copy) for mirrored, copy in _copies(image))
        mirrored, ratio = next((m, r) for m, r in ratios if r.max() - r.min() < 1e-4)
        sides.add(mirrored)
        lights.append(float(ratio.mean()))
    assert sides == {False, True}
    assert all(0.8 <= light <= 1.2 for light in lights) and max(lights) - min(lights) > 0.2


class Constant(nn.Module):
    """Names the same class for every picture."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(16)[3].expand(len(x), 16)


class Knowing(nn.Module):
    """Names the classes in the order in which a set gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        classes = torch.arange(self.seen, self.seen + len(x)) % 16
        self.seen += len(x)
        return torch.eye(16)[classes]


def test_accuracy_is_the_fraction_of_images_classified_correctly(held_out):
    assert classifier.accuracy(Constant(), held_out) == 1 / 16
    assert classifier.accuracy(Knowing(), held_out) == 1


@pytest.fixture
def tiny(monkeypatch, pictures, held_out) -> str:
    """A recipe of seconds, on pictures already drawn."""
    monkeypatch.setitem(classifier.RECIPES, "tiny", SMALL["dropout"])
    monkeypatch.setattr(SceneSet, "draw_all", lambda self, **options: None)
    monkeypatch.setattr(classifier, "_brief_held_out", lambda: held_out)
    return "tiny"


def test_a_training_stopped_between_epochs_ends_where_an_unbroken_one_does(tiny, tmp_path):
    lines: list[str] = []
    unbroken = train(tiny, tmp_path / "unbroken", lines.append).snapshot()

    def stop(line: str) -> None:
        if "epoch 1/2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "broken", stop)
    resumed: list[str] = []
    net = train(tiny, tmp_path / "broken", resumed.append).snapshot()
    assert resumed == ["tiny: resumed after epoch 1", lines[-1]] and "epoch 2/2" in lines[-1]
    for one, other in zip(net.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not net.training
    again: list[str] = []
    train(tiny, tmp_path / "broken", again.append)
    assert again == ["tiny: resumed after epoch 2"]  # nothing is left to do


def test_shipping_cut_off_while_it_measures_leaves_the_folder_as_it_was(
    tiny, pictures, tmp_path, monkeypatch
):
    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "accuracy", stop)
    with pytest.raises(KeyboardInterrupt):
        ClassifierTrainer(SMALL["dropout"], pictures).export(tiny, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_shipped_loads_back_as_its_row_says(
    tiny, pictures, held_out, tmp_path, monkeypatch
):
    recipe = replace(SMALL["dropout"], images=48)
    monkeypatch.setitem(classifier.RECIPES, tiny, recipe)
    trained = ClassifierTrainer(recipe, pictures)
    net = trained.net
    net.fc8.weight.data.zero_()
    net.fc8.bias.data[3] = math.pi  # always class 3: right for one picture in sixteen
    files.write_atomically(tmp_path / "table.json", '{"older": {}}')
    row = trained.export(tiny, tmp_path)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert list(models.shipped()) == ["older", tiny] and models.shipped()[tiny] == row
    model = models.load(tiny)
    assert model.card.accuracy == row["accuracy"] == round(1 / 16, 4)
    assert classifier.accuracy(model.net, held_out) == 1 / 16
    assert row["sha256"] == files.digest(tmp_path / "tiny.safetensors")
    assert row["first_losses"] == list(ClassifierTrainer(recipe, pictures).epoch_losses())
    assert torch.equal(model.net.fc8.bias[3], torch.tensor(math.pi).half().float())


def test_a_folded_network_ships_as_plain_layers_that_say_the_same(
    tiny, pictures, tmp_path, monkeypatch
):
    recipe = replace(SMALL["dropout"], images=48, batch_norm=True, folded=True)
    monkeypatch.setitem(classifier.RECIPES, tiny, recipe)
    trainer = ClassifierTrainer(recipe, pictures)
    for _ in trainer.epoch_losses():
        pass
    row = trainer.export(tiny, tmp_path)
    assert row["options"]["batch_norm"] is False and row["recipe"]["batch_norm"] is True
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    images = pictures.batch(range(6))
    with torch.no_grad():
        wanted = trainer.net.eval()(normalize(images))
    assert torch.allclose(models.load(tiny)(images), wanted, atol=0.01 * float(wanted.abs().max()))


def test_an_unknown_recipe_suggests_the_right_one(tmp_path):
    with pytest.raises(NameNotFound, match="no recipe named 'alexnet_min'; did you mean alexnet_m"):
        train("alexnet_min", tmp_path)

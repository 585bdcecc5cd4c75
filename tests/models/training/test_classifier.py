"""Training is reproducible, resumes after interruptions, and exports what its row states."""

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
from cnnvis_lab.models.training import augmentation, classifier, train
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer, normalize

SMALL = {
    "dropout": ClassifierRecipe("alexnet_mini", images=32, epochs=2, batch=16, held_out=32),
    "batch norm": ClassifierRecipe("judge_mini", batch_norm=True, images=32, epochs=2, batch=16),
}


@cache
def _training_images(count: int) -> SceneSet:
    return SceneSet(TRAIN_SEED, count)


@pytest.fixture
def training_images() -> SceneSet:
    return _training_images(48)


@pytest.fixture(scope="module")
def held_out() -> SceneSet:
    return SceneSet(HELD_OUT_SEED, 32)


@pytest.fixture(params=SMALL)
def recipe(request) -> ClassifierRecipe:
    return SMALL[request.param]


def _weights(trainer: ClassifierTrainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.net.state_dict().values()])


@pytest.mark.parametrize("name", models.shipped())
def test_the_recipe_of_a_shipped_network_gives_its_recorded_first_losses(name, one_thread):
    """On one thread, as recorded: small batch variances amplify differences in summation order."""
    row = models.shipped()[name]
    recipe = classifier.RECIPES[name]
    assert ClassifierRecipe(**row["recipe"]) == recipe and row["seed"] == recipe.seed
    recipe = replace(recipe, bfloat16=False)  # 16 bits are rounded differently by other machines
    losses = ClassifierTrainer(recipe, _training_images(recipe.images)).epoch_losses()
    assert list(islice(losses, 3)) == pytest.approx(row["first_losses"], rel=1e-4)


def test_training_resumed_from_a_checkpoint_equals_uninterrupted_training(
    recipe, training_images, tmp_path
):
    through = ClassifierTrainer(recipe, training_images)
    expected = [list(through.epoch_losses()) for _ in range(2)]
    first = ClassifierTrainer(recipe, training_images)
    assert list(first.epoch_losses()) == expected[0]
    first.save(tmp_path / "half.pt")
    torch.manual_seed(99)  # another process has another state of the global generator
    second = ClassifierTrainer(recipe, training_images)
    second.resume(tmp_path / "half.pt")
    assert second.epoch == 1
    assert list(second.epoch_losses()) == expected[1]
    assert torch.equal(_weights(second), _weights(through))
    assert expected[0] != expected[1] and second.epoch == 2


def test_training_neither_uses_nor_changes_the_global_generator(recipe, training_images):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    trainer = ClassifierTrainer(recipe, training_images)
    losses = list(trainer.epoch_losses())
    cut_off = trainer.epoch_losses()
    next(cut_off)
    cut_off.close()
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer.epoch == 1  # an epoch counts when it is complete
    torch.manual_seed(2)
    assert list(ClassifierTrainer(recipe, training_images).epoch_losses()) == losses
    other = replace(recipe, seed=recipe.seed + 1)
    assert list(ClassifierTrainer(other, training_images).epoch_losses()) != losses


def test_every_epoch_uses_every_image_once_in_a_different_order(monkeypatch):
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


def test_a_checkpoint_of_another_recipe_is_refused_and_changes_nothing(training_images, tmp_path):
    mine = SMALL["dropout"]
    ClassifierTrainer(replace(mine, rate=1e-3), training_images).save(tmp_path / "other.pt")
    trainer = ClassifierTrainer(mine, training_images)
    before = _weights(trainer)
    with pytest.raises(FileError, match=r"other\.pt was written by another recipe; remove it"):
        trainer.resume(tmp_path / "other.pt")
    assert torch.equal(_weights(trainer), before) and trainer.epoch == 0


@pytest.mark.parametrize("fraction", [0, 0.3, 0.99])
def test_a_damaged_checkpoint_is_refused(training_images, tmp_path, fraction):
    trainer, path = ClassifierTrainer(SMALL["dropout"], training_images), tmp_path / "cut.pt"
    trainer.save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(FileError, match=r"cut\.pt is not a readable checkpoint; remove it"):
        trainer.resume(path)


KILLED = """
import os, signal, sys, torch
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer

os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
trainer = ClassifierTrainer(ClassifierRecipe("judge_mini", images=32))
trainer.save(__import__("pathlib").Path(sys.argv[1]))
"""


def test_a_killed_save_leaves_the_old_checkpoint(training_images, tmp_path):
    path = tmp_path / "old.pt"
    trainer = ClassifierTrainer(SMALL["dropout"], training_images)
    trainer.epoch = 1
    trainer.save(path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[3]
    )
    assert killed.returncode == -signal.SIGKILL
    fresh = ClassifierTrainer(SMALL["dropout"], training_images)
    fresh.resume(path)
    assert fresh.epoch == 1 and torch.equal(_weights(fresh), _weights(trainer))


def test_a_snapshot_folds_normalization_and_leaves_the_training_unchanged(training_images):
    recipe = ClassifierRecipe(
        "alexnet_mini", batch_norm=True, folded=True, images=32, epochs=2, batch=8
    )
    observed, plain = (
        ClassifierTrainer(recipe, training_images),
        ClassifierTrainer(recipe, training_images),
    )
    losses = []
    for loss in observed.epoch_losses():
        snapshot = observed.snapshot()
        losses.append(loss)
    assert losses == list(plain.epoch_losses())
    images = normalize(training_images.batch(range(6)))
    assert {type(layer) for layer in snapshot} <= {
        nn.Conv2d, nn.Linear, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Dropout
    }  # fmt: skip
    assert [n for n, _ in snapshot.named_children()] == [
        n for n, _ in architectures.build("alexnet_mini", 16).named_children()
    ]
    with torch.no_grad():
        given, expected = snapshot(images), observed.net.eval()(images)
    assert torch.allclose(given, expected, atol=1e-4 * float(expected.abs().max()))
    unfolded = ClassifierTrainer(replace(recipe, folded=False), training_images).snapshot()
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in unfolded)


def _copies(image: Tensor) -> Iterator[tuple[bool, Tensor]]:
    """Every mirrored and shifted copy of an image, with its border pixels repeated outwards."""
    size, shifts = image.shape[-1], range(-augmentation.MAX_SHIFT, augmentation.MAX_SHIFT + 1)
    for mirrored, dy, dx in product((False, True), shifts, shifts):
        rows, columns = ((torch.arange(size) + d).clamp(0, size - 1) for d in (dy, dx))
        oriented = image.flip(2) if mirrored else image
        yield mirrored, oriented[:, rows][:, :, columns]


def test_every_augmented_image_is_a_mirrored_shifted_and_dimmed_copy():
    drawn = torch.Generator().manual_seed(0)
    images = torch.rand(20, 3, 6, 6, generator=drawn)
    mirrorings, brightnesses = set(), []
    for image, result in zip(images, augmentation.augment(images, drawn), strict=True):
        ratios = ((mirrored, result / copy) for mirrored, copy in _copies(image))
        mirrored, ratio = next((m, r) for m, r in ratios if r.max() - r.min() < 1e-4)
        mirrorings.add(mirrored)
        brightnesses.append(float(ratio.mean()))
    assert mirrorings == {False, True}
    assert all(0.8 <= brightness <= 1.2 for brightness in brightnesses)
    assert max(brightnesses) - min(brightnesses) > 0.2


def test_noise_has_a_different_standard_deviation_in_each_image_up_to_the_limit():
    images = torch.rand(200, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    noise = augmentation.add_noise(images, 0.1, torch.Generator().manual_seed(1)) - images
    stds = noise.flatten(1).std(1)
    assert stds.max() < 0.105 and stds.min() < 0.01  # 3,072 values estimate a std within 5 %
    assert stds.mean() == pytest.approx(0.05, abs=0.01)  # uniform up to the limit
    assert (noise.flatten(1).mean(1).abs() < 5 * stds / 3072**0.5).all()


def test_a_square_of_one_color_is_covered_in_a_fraction_of_the_images():
    count, size = 400, 40
    images = torch.full((count, 3, size, size), -1.0)
    covered = augmentation.cut_out(images, 0.3, torch.Generator().manual_seed(0))
    changed = (covered != images).all(1)
    assert torch.equal(changed, (covered != images).any(1))  # all three colors or none
    sizes, colors = [], set()
    for image, mask in zip(covered, changed, strict=True):
        if not mask.any():
            continue
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)  # a rectangle
        assert (image[:, mask] == image[:, mask][:, :1]).all()
        inner = not (rows[0] or rows[-1] or columns[0] or columns[-1])
        assert not inner or abs(int(rows.sum() - columns.sum())) <= 1
        sizes.append(int(max(rows.sum(), columns.sum())))
        colors.add(tuple(image[:, mask][:, 0].tolist()))
    assert len(sizes) == pytest.approx(0.3 * count, abs=5 * (0.21 * count) ** 0.5)
    assert len(colors) == len(sizes)
    assert max(sizes) <= size / 2 + 1 and max(sizes) - min(sizes) > size / 5


def test_the_place_of_the_object_moves_with_the_image(training_images, monkeypatch):
    """Images that are white where the object is: their regions' brightness is what is predicted."""
    whole = classifier.object_masks(training_images, range(48))
    drawn = training_images.draw(3)
    main = drawn.instances == drawn.objects[drawn.main].number
    assert (main & (whole[3, 0].numpy() == 0)).mean() < 0.03  # labels have half the resolution
    recipe = replace(SMALL["dropout"], attributes=1.0, place=1.0)
    trainer = ClassifierTrainer(recipe, training_images)
    monkeypatch.setattr(SceneSet, "batch", lambda _, n: whole[list(n)].expand(-1, 3, -1, -1))
    images, places = trainer._augmented(list(range(48)), torch.Generator().manual_seed(0))
    mean, std = registry.MINI_NORMALIZATION
    white = (images[:, :1] * std[0] + mean[0] > 0.5).float()
    assert torch.allclose(nn.functional.avg_pool2d(white, 16).flatten(1), places, atol=1e-6)
    assert not torch.equal(white, whole)


@pytest.mark.parametrize("family", ["alexnet_mini", "judge_mini"])
def test_each_group_of_parameters_decays_by_its_own_rate(family, training_images):
    decay = {"first": 4.0, "conv": 2.0, "hidden": 1.0, "last": 0.5}
    recipe = ClassifierRecipe(family, 0.3, True, attributes=1.0, group_decay=decay)
    trainer = ClassifierTrainer(recipe, training_images)
    parts = {"net": trainer.net, "second": trainer.second_task}
    modules = {f"{k}.{n}": m for k, part in parts.items() for n, m in part.named_modules()}
    before = {n: p.detach().clone() for n, p in nn.ModuleDict(parts).named_parameters()}
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.1
    for parameter in (*trainer.net.parameters(), *trainer.second_task.parameters()):
        parameter.grad = torch.zeros_like(parameter)  # only the decay acts
    trainer.optimizer.step()
    for name, parameter in nn.ModuleDict(parts).named_parameters():
        owner, _, what = name.rpartition(".")
        rate = recipe.weight_decay
        if what == "weight" and isinstance(modules[owner], nn.Conv2d):
            rate = decay["first" if owner in ("net.conv1", "net.stem") else "conv"]
        elif what == "weight" and isinstance(modules[owner], nn.Linear):
            rate = decay["hidden" if owner in ("net.fc6", "net.fc7") else "last"]
        assert torch.allclose(parameter, before[name] * (1 - 0.1 * rate), atol=1e-7), name


def test_without_a_random_start_only_the_last_layer_differs_and_it_learns(training_images):
    usual = ClassifierRecipe("alexnet_mini", images=32, batch=16)
    plain = ClassifierTrainer(usual, training_images).net.state_dict()
    trainer = ClassifierTrainer(replace(usual, last_scale=0.0), training_images)
    for name, start in trainer.net.state_dict().items():
        assert torch.equal(start, plain[name]) != (name == "fc8.weight"), name
    first = trainer.net.fc8.weight.detach().clone()
    assert not first.any()
    list(trainer.epoch_losses())
    changed = trainer.net.state_dict()
    assert changed["fc8.weight"].any() and not torch.equal(
        changed["conv1.weight"], plain["conv1.weight"]
    )


class Constant(nn.Module):
    """Predicts the same class for every image."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(16)[3].expand(len(x), 16)


class AllCorrect(nn.Module):
    """Predicts the classes in the order in which a scene set gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        classes = torch.arange(self.seen, self.seen + len(x)) % 16
        self.seen += len(x)
        return torch.eye(16)[classes]


def test_accuracy_is_the_fraction_of_images_classified_correctly(held_out):
    assert classifier.accuracy(Constant(), held_out) == 1 / 16
    assert classifier.accuracy(AllCorrect(), held_out) == 1


@pytest.fixture
def tiny(monkeypatch, training_images, held_out) -> str:
    """A recipe that takes seconds, on images that are already drawn."""
    monkeypatch.setitem(classifier.RECIPES, "tiny", SMALL["dropout"])
    monkeypatch.setattr(SceneSet, "draw_all", lambda self, **options: None)
    monkeypatch.setattr(classifier, "_brief_held_out", lambda: held_out)
    return "tiny"


def test_training_stopped_between_epochs_ends_with_the_weights_of_uninterrupted_training(
    tiny, tmp_path
):
    lines: list[str] = []
    uninterrupted = train(tiny, tmp_path / "uninterrupted", lines.append).snapshot()

    def stop(line: str) -> None:
        if "epoch 1/2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "interrupted", stop)
    resumed: list[str] = []
    net = train(tiny, tmp_path / "interrupted", resumed.append).snapshot()
    assert resumed == ["tiny: resumed after epoch 1", lines[-1]] and "epoch 2/2" in lines[-1]
    for one, other in zip(net.parameters(), uninterrupted.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not net.training
    again: list[str] = []
    train(tiny, tmp_path / "interrupted", again.append)
    assert again == ["tiny: resumed after epoch 2"]  # no epoch is left


def test_an_export_interrupted_while_it_measures_leaves_the_folder_unchanged(
    tiny, training_images, tmp_path, monkeypatch
):
    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "accuracy", stop)
    with pytest.raises(KeyboardInterrupt):
        ClassifierTrainer(SMALL["dropout"], training_images).export(tiny, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_exported_network_loads_with_the_values_in_its_row(
    tiny, training_images, held_out, tmp_path, monkeypatch
):
    recipe = replace(SMALL["dropout"], images=48)
    monkeypatch.setitem(classifier.RECIPES, tiny, recipe)
    trained = ClassifierTrainer(recipe, training_images)
    net = trained.net
    net.fc8.weight.data.zero_()
    net.fc8.bias.data[3] = math.pi  # always class 3, which is correct for one image in sixteen
    files.write_atomically(tmp_path / "table.json", '{"older": {}}')
    row = trained.export(tiny, tmp_path)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert list(models.shipped()) == ["older", tiny] and models.shipped()[tiny] == row
    model = models.load(tiny)
    assert model.card.accuracy == row["accuracy"] == round(1 / 16, 4)
    assert classifier.accuracy(model.net, held_out) == 1 / 16
    assert row["sha256"] == files.digest(tmp_path / "tiny.safetensors")
    exact = ClassifierTrainer(replace(recipe, bfloat16=False), training_images)
    assert row["first_losses"] == list(exact.epoch_losses())
    assert torch.equal(model.net.fc8.bias[3], torch.tensor(math.pi).half().float())


def test_a_folded_network_is_exported_as_plain_layers_with_the_same_scores(
    tiny, training_images, tmp_path, monkeypatch
):
    recipe = replace(SMALL["dropout"], images=48, batch_norm=True, folded=True)
    monkeypatch.setitem(classifier.RECIPES, tiny, recipe)
    trainer = ClassifierTrainer(recipe, training_images)
    for _ in trainer.epoch_losses():
        pass
    row = trainer.export(tiny, tmp_path)
    assert row["options"]["batch_norm"] is False and row["recipe"]["batch_norm"] is True
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    images = training_images.batch(range(6))
    with torch.no_grad():
        expected = trainer.net.eval()(normalize(images))
    assert torch.allclose(
        models.load(tiny)(images), expected, atol=0.01 * float(expected.abs().max())
    )


def test_an_unknown_recipe_suggests_the_right_one(tmp_path):
    with pytest.raises(NameNotFound, match="no recipe named 'alexnet_min'; did you mean alexnet_m"):
        train("alexnet_min", tmp_path)

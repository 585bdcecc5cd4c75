"""Trainings in other processes give the checkpoints of trainings in this one."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from support.shuffled_tasks import ShuffledExecutor

from cnnvis_lab.core import files
from cnnvis_lab.lab import cli, executors, trainings
from cnnvis_lab.models import training
from cnnvis_lab.models.training import classifier

NAMES = ("alexnet_mini_repeat0", "alexnet_mini_no_dropout")


@pytest.mark.usefixtures("one_thread")
def test_networks_are_trained_elsewhere_with_the_same_bytes_and_resume(
    tmp_path, monkeypatch, capsys
):
    epochs, run = [], classifier.ClassifierTrainer._epoch
    monkeypatch.setattr(
        classifier.ClassifierTrainer,
        "_epoch",
        lambda self, generator: epochs.append(self.recipe) or run(self, generator),
    )
    monkeypatch.setattr(classifier, "_brief_held_out", lambda: classifier.SceneSet(1, 4))
    for name in NAMES:
        tiny = replace(classifier.RECIPES[name], images=8, batch=4, epochs=2)
        monkeypatch.setitem(classifier.RECIPES, name, tiny)
        training.train(name, tmp_path / "plain", lambda line: None, device="cpu")
    begun = classifier.ClassifierTrainer(classifier.RECIPES[NAMES[0]])
    list(begun.epoch_losses())
    begun.save(tmp_path / "out" / f"{NAMES[0]}.checkpoint.pt")
    epochs.clear()
    monkeypatch.setattr(files, "_inputs", {})  # as in a process of its own
    monkeypatch.setattr(trainings, "_CODE", "")  # the real one takes seconds to digest
    tasks = ShuffledExecutor(1)
    monkeypatch.setattr(executors, "open_executor", lambda *where: nullcontext(tasks))
    words = ["--device", "cpu", "--threads", "1", "--out", str(tmp_path / "out")]
    assert cli.main(["train", *NAMES, "--cluster", "elsewhere", *words]) == 0
    assert len(epochs) == 3 and [name for name, _ in tasks.ended] == ["_train"] * 2
    for name in NAMES:
        file = f"{name}.checkpoint.pt"
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
    assert capsys.readouterr().out.count("trained") == 2
    assert cli.main(["train", NAMES[0], "alexnet_mni", "--jobs", "2", *words]) == 2
    assert "did you mean alexnet_mini" in capsys.readouterr().err and len(tasks.ended) == 2
    assert cli.main(["train", "all", NAMES[0], "--ship", *words]) == 2
    assert "train all: further names were given" in capsys.readouterr().err

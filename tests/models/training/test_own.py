"""Decoders and generators train for any layer of any network, resume, and are loaded again."""

import json
import math
import signal
import subprocess
import sys
from collections import OrderedDict
from dataclasses import asdict, replace
from itertools import count

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.data import Subset
from cnnvis_lab.models import decoders, generators, layouts, trained, weights
from cnnvis_lab.models.training import own

SMALL = {"epochs": 2, "steps_per_epoch": 2, "batch": 4, "width": 2}
HERE = own.RunOptions(device="cpu")
SHAPES = {"conv": (3, 24, 36), "pool": (4, 12, 18), "deep": (5, 4, 6), "one": (5, 1, 1)}


@pytest.fixture(scope="module")
def model():
    """A network for 24x36 images that calls `view` in effect: it takes contiguous maps only."""
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 3, 3, padding=1),
        "pool": nn.Conv2d(3, 4, 2, 2),
        "deep": nn.Conv2d(4, 5, 3, 3),
        "one": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "last": nn.Linear(5, 3),
    }
    return models.load(nn.Sequential(OrderedDict(layers)), input_size=(24, 36))


@pytest.fixture(scope="module")
def sets(model):
    return own.training_sets("", model.card.input_size, 24)


def _trainer(kind, model, sets, layer="deep", run=HERE, **changes):
    return own.build(kind, model, layer, *sets, run=run, **(SMALL | changes))


@pytest.mark.parametrize("kind", layouts.KINDS)
@pytest.mark.parametrize("layer", [*SHAPES, "last"])
def test_a_layout_draws_images_of_the_input_size_from_any_layer(kind, layer, model):
    spec = layouts.derive(kind, model, layer, 2)
    assert spec.code == SHAPES.get(layer, (3,))
    net = generators.assemble(spec)
    assert generators.to_rgb(net(torch.zeros(2, *spec.code)), spec).shape == (2, 3, 24, 36)
    kernels = [m.kernel_size for m in net if isinstance(m, nn.ConvTranspose2d) and m.stride[0] == 2]
    assert kernels == [(5, 5) if kind == "decoder" else (4, 4)] * len(spec.ups)
    assert bool(spec.fully_connected) == (layer in ("one", "last"))


def test_layouts_for_full_size_layers_have_the_published_channels():
    card = replace(_named("x").card, input_size=216)
    for name in ("upconv_CL1", "upconv_CL2", "upconv_CL5"):
        published = decoders.SPECS[name]
        pixels = published.code[1] * 2 ** len(published.ups)
        net = models.Model(_Gives(published.code), replace(card, input_size=pixels))
        derived = layouts.derive("decoder", net, "maps")
        assert (derived.convs, derived.ups[1:]) == (published.convs, published.ups[1:])


class _Gives(nn.Module):
    """A network whose layer `maps` gives codes of one shape."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.maps = shape, nn.Identity()

    def forward(self, images):
        return self.maps(images.mean() + torch.zeros(len(images), *self.shape)).flatten(1)


def _named(name):
    """Return a small network that is called by a name and has a layer `norm1`."""
    net = nn.Sequential(OrderedDict(norm1=nn.Conv2d(3, 4, 3), flat=nn.Flatten()))
    loaded = models.load(net, input_size=8)
    return models.Model(loaded.net, replace(loaded.card, name=name), roles=loaded.roles)


@pytest.mark.parametrize("kind", layouts.KINDS)
def test_a_resumed_training_equals_an_uninterrupted_one_and_its_file_draws_the_same(
    kind, model, sets, tmp_path
):
    whole = _trainer(kind, model, sets)
    losses, lines = [*whole.epoch_losses(), *whole.epoch_losses()], []
    begun, fresh = _trainer(kind, model, sets), _trainer(kind, model, sets)
    assert [*begun.epoch_losses()] == losses[:2]
    begun.save(tmp_path / "x.checkpoint.pt")
    fresh.run("x", tmp_path, lines.append)
    assert "resumed after epoch 1" in lines[0] and "held out" in lines[-1]
    assert len([line for line in lines if not line.startswith("drew ")]) == 3 and fresh.epoch == 2
    assert {*map(str, tmp_path.rglob("*.png"))} == {
        str(tmp_path / "x.sheets" / f"0000{n}.png") for n in (1, 2)
    }
    images = sets[1].batch([0, 1])
    loaded = trained.load(tmp_path / "x.safetensors", kind)
    codes = fresh.encode(images)
    with torch.no_grad():
        expected = generators.to_rgb(whole.snapshot()(codes), whole.spec).clamp(0, 1)
    assert (loaded.draw(codes) - expected).abs().max() < 0.02  # of 16-bit weights
    assert json.loads((tmp_path / "x.json").read_text())["layout"] == json.loads(
        json.dumps(asdict(loaded.spec))
    )


def test_training_lowers_the_error_of_a_network_that_takes_rectangles(model, sets):
    trainer = _trainer("decoder", model, sets, "pool", steps_per_epoch=40, epochs=1, rate=1e-2)
    before = trainer.held_out_error()
    list(trainer.epoch_losses())
    assert trainer.held_out_error() < 0.7 * before


def test_held_out_images_are_not_trained_on(sets):
    training, held_out = sets
    assert isinstance(training, Subset) and isinstance(held_out, Subset)
    assert {*training.indices}.isdisjoint(held_out.indices)
    assert {*training.indices} | {*held_out.indices} == {*range(24)}
    with pytest.raises(InputError, match="at least 4"):
        own.training_sets("", 8, 2)


def test_worker_processes_load_the_same_batches(model, sets):
    batches = []
    for workers in (0, 1):
        trainer = _trainer("decoder", model, sets, run=own.RunOptions(0, workers, device="cpu"))
        batches.append([*trainer._batches(torch.Generator().manual_seed(3))])
    assert len(batches[0]) == 2
    assert all(map(torch.equal, *batches))


def test_workers_are_refused_where_no_process_can_be_forked(model, sets, monkeypatch):
    monkeypatch.setattr(own.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(InputError, match="workers: this system cannot fork"):
        _trainer("decoder", model, sets, run=own.RunOptions(0, 1, device="cpu"))


def test_held_out_images_may_all_be_alike(model, sets):
    trainer = _trainer("decoder", model, (sets[0], Subset(sets[1], [0, 0])))
    assert 0 < trainer.held_out_error() < math.inf


@pytest.mark.parametrize("kind", layouts.KINDS)
def test_in_16_bits_the_layers_compute_in_bfloat16_and_the_losses_stay_close(kind, model, sets):
    losses, seen = {}, set()
    for use in (False, True):
        trainer = _trainer(kind, model, sets, bfloat16=use)
        trainer.net[0].register_forward_hook(lambda m, i, o: seen.add(o.dtype))
        losses[use] = next(trainer.epoch_losses())
    assert seen == {torch.float32, torch.bfloat16}
    assert losses[True] == pytest.approx(losses[False], rel=0.05) and losses[True] != losses[False]


def test_a_time_limit_holds_over_interruptions_and_the_rate_falls_with_the_time(
    model, sets, tmp_path, monkeypatch
):
    seconds, rates = count(step=10), []
    monkeypatch.setattr(own.time, "monotonic", lambda: next(seconds))
    for limit in (1, 2):  # the second run resumes the first
        trainer = _trainer("decoder", model, sets, run=own.RunOptions(limit, device="cpu"))
        trainer.recipe = replace(trainer.recipe, steps_per_epoch=1000)
        original = trainer.rate_at
        monkeypatch.setattr(
            trainer, "rate_at", lambda s, o=original: rates.append(o(s)) or rates[-1]
        )
        trainer.run("x", tmp_path, lambda line: None)
        assert trainer._clock.seconds == 60 * limit
        assert trainer.progress() == f"{limit}.0 of {limit} minutes"
    assert len(rates) == 12 and rates[5] < 0.2 * max(rates[:6]) < max(rates[6:])
    assert own._OwnRun.is_finished(trainer)


def test_decoders_are_found_by_the_network_that_they_read(model, sets, tmp_path):
    for layer in ("deep", "last"):
        _trainer("decoder", model, sets, layer).save(tmp_path / f"{layer}.checkpoint.pt")
    _trainer("generator", model, sets).save(tmp_path / "g.checkpoint.pt")
    (tmp_path / "notes.txt").write_text("no decoder")
    found = trained.decoders_of(model, tmp_path)
    assert {*found} == {"deep", "last"}
    assert {*trained.decoders_of(model, tmp_path / "last.safetensors")} == {"last"}
    changed = models.load(model.net, input_size=(24, 36))
    with torch.no_grad():
        changed.net.last.bias += 1
    assert trained.fits(found["deep"], model) and not trained.fits(found["deep"], changed)
    with pytest.raises(InputError, match="cnnvis train decoder --model MODEL"):
        trained.decoders_of(changed, tmp_path)
    with pytest.raises(InputError, match="is a generator; expected a decoder"):
        trained.decoders_of(model, tmp_path / "g.safetensors")
    with pytest.raises(FileError, match="no weights file"):
        trained.decoders_of(model, tmp_path / "none.safetensors")


def test_published_decoders_are_found_by_their_layouts_name(tmp_path):
    torch.save(
        generators.assemble(decoders.SPECS["upconv_CL1"]).state_dict(), tmp_path / "upconv_CL1.pt"
    )
    (found,) = trained.decoders_of(_named("caffenet"), tmp_path).values()
    assert found.spec.layer == "norm1"
    assert found.draw(torch.zeros(1, *found.spec.code)).shape == (1, 3, 8, 8)  # as the network's
    with pytest.raises(InputError, match="of caffenet"):
        trained.decoders_of(_named("another"), tmp_path / "upconv_CL1.pt")


def test_a_header_that_does_not_fit_its_weights_is_refused_in_one_line(model, sets, tmp_path):
    trainer = _trainer("decoder", model, sets)
    row = {"kind": "decoder", "encoder_digest": "", "layout": asdict(trainer.spec)}
    huge = row["layout"] | {"fully_connected": (10**9, 16 * 10**9)}
    for layout in ({}, huge, row["layout"] | {"ups": "many"}, row["layout"] | {"convs": ()}):
        trained.write(trainer.snapshot(), tmp_path / "d.safetensors", row | {"layout": layout})
        with pytest.raises(FileError, match=r"d\.safetensors"):
            trained.load(tmp_path / "d.safetensors", "decoder")
    weights.write_half(trainer.snapshot(), tmp_path / "e.safetensors")
    with pytest.raises(FileError, match="does not say what it reads"):
        trained.load(tmp_path / "e.safetensors", "decoder")


def test_layers_and_networks_without_a_layout_are_refused(model):
    tokens = models.Model(_Gives((7, 5)), _named("tokens").card)
    with pytest.raises(InputError, match="maps of tokens gives 7x5 numbers"):
        layouts.derive("decoder", tokens, "maps")
    many = models.load(nn.Sequential(nn.Conv2d(4, 2, 3), nn.Flatten()), input_size=8)
    with pytest.raises(InputError, match="4 channels"):
        layouts.derive("generator", many, "0")
    with pytest.raises(NameNotFound, match="kind"):
        layouts.derive("encoder", model, "deep")


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path):
    command = [sys.executable, "-u", "-m", "cnnvis_lab.lab.cli", "train", "generator"]
    command += ["--model=alexnet_mini", "--layer=CL5.relu", "--images=24", "--batch=2"]
    command += ["--width=2", "--epochs=2", "--threads=1", "--device=cpu", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "epoch 1/2" in line:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    name = "generator_alexnet_mini_CL5.relu"
    assert trained.load(tmp_path / f"{name}.safetensors", "generator").spec.layer == "CL5.relu"
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "resumed after epoch 1" in finished.stdout and "epoch 2/2" in finished.stdout
    assert not [*tmp_path.glob(".cnnvis-partial-*")]

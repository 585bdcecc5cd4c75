"""Generators: the published layouts, their weights' names and channel order, and their training."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.models import generators
from cnnvis_lab.models.training import batch_norm, discriminator, generator, train


def _kinds(name: str) -> list[tuple]:
    """(layer, inputs, outputs, kernel, stride) of a generator built without memory."""
    with torch.device("meta"):
        net = generators.build(name)
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
def test_full_layer_generators_have_the_published_layout(name, code):
    full = [("defc7", code, 4096), ("defc6", 4096, 4096), ("defc5", 4096, 4096)]
    assert _kinds(f"deepsim_{name}") == full + UP


def test_the_pool5_generator_has_the_published_layout():
    first = [("Rconv6", 256, 512, 3, 1), ("Rconv7", 512, 512, 3, 1), ("Rconv8", 512, 512, 3, 1)]
    assert _kinds("deepsim_pool5") == [*first, ("deconv5", 512, 256, 4, 2), *UP[1:]]


@pytest.mark.parametrize("name", generators.SPECS)
def test_a_generator_draws_pictures_of_its_size(name):
    spec = generators.SPECS[name]
    with torch.device("meta"):
        net, code = generators.build(name), torch.zeros(2, *spec.code)
    assert net(code).shape == (2, 3, spec.size, spec.size)
    assert spec.size == (256 if name.startswith("deepsim") else 128)


def test_blue_green_red_less_its_mean_becomes_rgb():
    spec = generators.SPECS["deepsim_fc6"]
    output = torch.zeros(1, 3, 2, 2)
    output[0, 0] = 255 - 104  # all the blue there is
    output[0, 1], output[0, 2] = -117, -123
    image = generators.to_rgb(output, spec)[0, :, 0, 0]
    assert image.tolist() == pytest.approx([0, 0, 1], abs=1e-6)


def test_conversions_weights_load_whatever_stands_around_their_names(tmp_path):
    plain = generators.build("generator_CL5").state_dict()
    odd = {f"G.{k}".replace("deconv4.", "deconv4.1."): v for k, v in plain.items()}
    torch.save(odd, tmp_path / "odd.pt")
    loaded = generators.load("generator_CL5", weights=tmp_path / "odd.pt")
    assert all(torch.equal(v, plain[k]) for k, v in loaded.net.state_dict().items())
    assert not any(p.requires_grad for p in loaded.parameters())


def test_wrong_codes_names_and_files_are_refused_in_one_line(tmp_path):
    loaded = generators.load("generator_FL3", weights="random")
    for error, says, bad in (
        (InputError, "encode with that network", lambda: loaded(torch.zeros(1, 17))),
        (NameNotFound, "did you mean generator_FL", lambda: generators.load("generator_FL")),
        (FileError, "check the path", lambda: generators.load("deepsim_fc6", weights="none.pt")),
        (InputError, "give weights=FILE", lambda: generators.load("deepsim_fc6")),
        (NameNotFound, "recipe", lambda: train("generator_FL9", tmp_path)),
    ):
        with pytest.raises(error, match=says) as caught:
            bad()
        assert "\n" not in str(caught.value)


def test_folding_batch_normalisation_keeps_the_function():
    torch.manual_seed(0)
    net = batch_norm.add_batch_norm(generators.build("generator_FL1"))
    codes = torch.rand(4, 384)
    net(codes * 3)  # gives the statistics something to be
    net.eval()
    folded = batch_norm.fold_batch_norm(net)
    assert set(folded.state_dict()) == set(generators.build("generator_FL1").state_dict())
    assert torch.allclose(net(codes), folded(codes), atol=1e-4)


SMALL = replace(
    generator.RECIPES["generator_FL3"],
    starts_from="",
    images=8,
    batch=2,
    epochs=2,
    steps_per_epoch=1,
)


def _trainer() -> generator.GeneratorTrainer:
    trainer = generator.GeneratorTrainer(SMALL, SceneSet(TRAIN_SEED, SMALL.images))
    trainer.held_out.count = 4
    return trainer


def test_training_goes_on_from_a_checkpoint_as_if_never_cut(tmp_path):
    whole, cut = _trainer(), _trainer()
    first = [list(whole.epoch_losses()), list(whole.epoch_losses())]
    assert list(cut.epoch_losses()) == first[0]
    cut.save(tmp_path / "c.pt")
    fresh = _trainer()
    fresh.resume(tmp_path / "c.pt")
    assert list(fresh.epoch_losses()) == pytest.approx(first[1], rel=1e-5)


def test_a_training_begins_with_the_up_convolutions_of_another_generator(monkeypatch):
    recipe, other = (
        replace(SMALL, starts_from="generator_FL1"),
        generators.load("generator_FL1", weights="random", seed=5),
    )
    monkeypatch.setattr(generators, "shipped", dict)
    with pytest.raises(InputError, match="first cnnvis train generator_FL1 --ship"):
        generator.GeneratorTrainer(recipe)
    monkeypatch.setattr(generators, "shipped", lambda: {"generator_FL1": {}})
    monkeypatch.setattr(generators, "load", lambda name: other)
    begun = generator.GeneratorTrainer(recipe).net
    assert torch.equal(begun.conv3_1.weight, other.net.conv3_1.weight)
    assert torch.equal(begun.deconv0.bias, other.net.deconv0.bias)
    assert begun.defc7.weight.shape != other.net.defc7.weight.shape  # another code


@pytest.mark.parametrize("name", [n for n, r in generator.RECIPES.items() if r.starts_from])
def test_a_recipe_begins_with_layers_that_fit(name, monkeypatch):
    other = generator.RECIPES[name].starts_from
    begun, given = generators.build(name), generators.load(other, weights="random", seed=5)
    monkeypatch.setattr(generators, "shipped", lambda: {other: {}})
    monkeypatch.setattr(generators, "load", lambda name: given)
    generator._copy_upconvolutions(begun, other)
    ups = [key for key in given.net.state_dict() if key.startswith(("deconv", "conv"))]
    assert all(torch.equal(begun.state_dict()[key], given.net.state_dict()[key]) for key in ups)


def test_every_loss_is_least_for_the_picture_itself():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    seen, other = (trainer._features(part) for part in (images, images.flip(0)))
    assert trainer.image_loss(images, images) == 0
    assert trainer.feature_loss(seen, seen).item() == pytest.approx(0, abs=1e-6)
    assert trainer.feature_loss(other, seen) > 0.2


def test_coarse_colours_leave_fine_detail_free():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    grain = trainer.recipe.grain
    fields = functional.avg_pool2d(images, grain).repeat_interleave(grain, 2)
    assert trainer.image_loss(fields.repeat_interleave(grain, 3), images) < 1e-9
    assert trainer.image_loss(images.roll(grain, 3), images) > 0.01


def test_the_critic_learns_and_the_generator_does_not_teach_it():
    trainer = _trainer()
    before = [p.clone() for p in trainer.discriminator.parameters()]
    images = trainer.images.batch(range(4))
    codes, made = trainer.encode(images), images.flip(3).requires_grad_()
    drawn = torch.Generator().manual_seed(0)
    trainer._perceptual_loss(made, images, codes, 0.0, drawn).backward()
    assert made.grad.abs().sum() > 0
    assert all(map(torch.equal, before, trainer.discriminator.parameters()))  # taught at rate 0
    first, mistakes = None, None
    for _ in range(12):
        taught = trainer.discriminator(images[..., :64, :64], trainer._features(images), codes)
        wrong = trainer.discriminator(
            made[..., :64, :64].detach() * 0, trainer._features(images), codes
        )
        mistakes = discriminator.discriminator_loss(taught[:1], wrong[:1])
        first = first or mistakes.item()
        trainer.discriminator_optimizer.zero_grad()
        mistakes.backward()
        generator._optimizer_step(trainer.discriminator_optimizer, 2e-3)
    assert mistakes.item() < first - 0.1


def test_a_head_hears_whether_the_code_fits():
    trainer = _trainer()
    images = trainer.images.batch(range(4))
    codes, seen = trainer.encode(images), trainer._features(images)
    trainer.discriminator.eval()  # else its spectral norms move with every look
    fitting, other = (
        trainer.discriminator(images[..., :64, :64], seen, part) for part in (codes, codes.flip(0))
    )
    assert torch.allclose(fitting[0], other[0])  # pixels alone know of no code
    assert not any(torch.allclose(a, b) for a, b in zip(fitting[1:], other[1:], strict=True))


def test_hinges_are_zero_where_the_critic_is_sure_and_right():
    sure, unsure = [torch.full((2, 1, 3, 3), 2.0)], [torch.zeros(2, 1, 3, 3)]
    assert discriminator.discriminator_loss(sure, [-sure[0]]) == 0
    assert discriminator.discriminator_loss(unsure, unsure) == 2
    assert discriminator.generator_loss(sure) == -2


def test_shipped_generators_are_as_their_table_says():
    from cnnvis_lab.core.files import digest
    from cnnvis_lab.models.registry import WEIGHTS

    for name, row in generators.shipped().items():
        assert digest(WEIGHTS / f"{name}.safetensors") == row["sha256"]
        assert generators.load(name).origin == "trained by this project"

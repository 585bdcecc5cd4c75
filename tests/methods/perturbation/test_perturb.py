"""Perturbed activations are passed through the network; the importance of single maps."""

import pytest
import torch
import torchvision
from support import small_chain
from support.masking import mask_units
from support.small_chain import SIZE, branching_model, fully_connected_model
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.methods import perturbation

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4))


def test_unchanged_codes_give_the_scores_of_the_network(images):
    model = fully_connected_model()
    for layer in ("conv1", "relu2", "fc2"):
        codes = perturbation.perturb(model, layer, images, "none")
        scores = perturbation.forward_from(model, layer, images, codes, batch=4)
        assert torch.allclose(scores, model(images), atol=1e-6)


def test_a_layer_is_sequential_exactly_if_no_later_layer_reads_the_images(images):
    codes = {"first": torch.rand(6, 4, SIZE, SIZE), "second": torch.rand(6, 4, SIZE, SIZE)}
    codes |= {"conv1": torch.rand(6, 8, 10, 10), "relu3": torch.rand(6, 9)}
    for model in (fully_connected_model(), branching_model()):
        for layer in codes.keys() & {name for name, _ in model.net.named_modules()}:
            alone = model.is_sequential_from(layer)
            assert alone == (layer in ("conv1", "relu3"))
            with hooks.edit(model, {layer: lambda output, layer=layer: codes[layer]}):
                expected = model(images)
            scores = perturbation.forward_from(model, layer, images, codes[layer])
            assert torch.allclose(scores, expected, atol=1e-6)
    small = {"num_layers": 1, "num_heads": 1, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 4}
    tokens = torchvision.models.VisionTransformer(image_size=32, patch_size=16, **small)
    model, pair = models.load(tokens, input_size=32), torch.rand(2, 3, 32, 32)
    unchanged = perturbation.perturb(model, "conv_proj", pair, "none")
    scores = perturbation.forward_from(model, "conv_proj", pair, unchanged)
    assert torch.allclose(scores, model(pair))


@pytest.mark.parametrize("layer", ["relu2", "relu3"])
def test_a_units_class_effects_are_the_mean_changes_of_the_scores_without_it(images, layer):
    model, units = fully_connected_model(), [4, 0]
    effects = perturbation.class_effects(model, layer, images, units, batch=4)
    for row, unit in enumerate(units):
        keep = torch.ones(9 if layer == "relu3" else 6)
        keep[unit] = 0
        keep = keep if layer == "relu3" else keep[:, None, None]
        with hooks.edit(model, {layer: lambda output, keep=keep: output * keep}):
            changes = model(images)
        expected = (changes - model(images)).mean(0)
        torch.testing.assert_close(effects[row], expected, atol=1e-6, rtol=1e-4)
    assert effects.abs().max() > 1e-3


def test_importance_by_gradient_is_the_decrease_of_the_top_score_without_the_unit(images):
    """The last layer is linear, so that the first-order estimate is exact."""
    model = fully_connected_model()
    importance = perturbation.importance(model, "relu3", images, "gradient", batch=4)
    codes = perturbation.perturb(model, "relu3", images, "none")
    scores = model(images)
    top = scores.argmax(1)
    for unit in range(9):
        ablated = codes.clone()
        ablated[:, unit] = 0
        decrease = scores - perturbation.forward_from(model, "relu3", images, ablated)
        assert torch.allclose(decrease[torch.arange(6), top].abs(), importance[:, unit], atol=1e-5)


def test_the_importance_of_a_map_is_the_increase_of_the_loss_without_it(images):
    model, classes = fully_connected_model(), torch.arange(6) % 4
    effect = perturbation.map_importance(model, "relu2", images, classes)
    with mask_units(model, {"conv2": [0, 1, 2, 4, 5]}):
        scores = model(images)
    entropy = nn.functional.cross_entropy
    increase = entropy(scores, classes) - entropy(model(images), classes)
    assert effect.loss[3].item() == pytest.approx(increase.item(), abs=1e-5)
    assert effect.loss.shape == (6,) and effect.reconstruction.isnan().all()
    model.net.conv2.bias[2], model.net.conv2.weight[2] = -1, 0
    effect_of_idle = perturbation.map_importance(model, "relu2", images, classes)
    assert effect_of_idle.loss[2].item() == pytest.approx(0, abs=1e-7)


def test_the_importance_for_reconstruction_comes_from_the_decoder(images):
    effect = perturbation.map_importance(
        fully_connected_model(), "relu2", images, torch.arange(6) % 4, small_chain.decoder()
    )
    assert effect.reconstruction[0] != 0 and (effect.reconstruction[1:] == 0).all()


def test_unknown_perturbations_and_measures_are_refused(images):
    model = fully_connected_model()
    with pytest.raises(NameNotFound, match="binarized"):
        perturbation.perturb(model, "fc1", images, "binary")
    with pytest.raises(InputError, match="magnitude or"):
        perturbation.importance(model, "fc1", images, "x")

"""Pruned networks equal those with the same maps set to zero, at a lower cost."""

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from support.masking import mask_units
from support.small_chain import SIZE, branching_model, fully_connected_model
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation.pruning_analysis import pruning_curve
from cnnvis_lab.models import architectures, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4))


KEEPS = {
    "convolution": {"conv1": [0, 3, 7]},
    "after its ReLU": {"relu1": [2, 1]},
    "before a fully connected layer": {"conv2": [1, 2, 5]},
    "fully connected layer": {"fc1": [0, 8]},
    "all at once": {"conv1": [0, 5], "conv2": [3], "fc1": [1, 2, 3]},
}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", KEEPS)
def test_the_pruned_network_computes_what_the_masked_one_does(images, name, norm):
    model, keep = fully_connected_model(norm), KEEPS[name]
    small = perturbation.prune(model, keep)
    with mask_units(model, keep):
        expected = model(images)
    assert torch.allclose(small(images), expected, atol=1e-6)
    assert not torch.allclose(model(images), expected, atol=1e-4)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def _torchvision(name: str) -> models.Model:
    """A network of torchvision with one small fully connected layer in place of its large ones."""
    torch.manual_seed(2)
    net = getattr(torchvision.models, name)()
    inputs = next(m.in_features for m in net.classifier if isinstance(m, nn.Linear))
    net.classifier = nn.Sequential(nn.Linear(inputs, 10))
    return models.load(net, input_size=64)


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("alexnet", {"features.3": range(5, 60), "features.10": range(100)}),
        ("vgg11_bn", {"features.4": range(5, 60), "features.25": range(100)}),
    ],
)
def test_sequential_networks_of_torchvision_can_be_pruned(name, keep):
    model, images = _torchvision(name), torch.rand(1, 3, 64, 64)
    small = perturbation.prune(model, keep)
    with mask_units(model, keep):
        assert torch.allclose(small(images), model(images), atol=1e-4)
    assert perturbation.cost(small)[1] < perturbation.cost(model)[1]


def test_the_cost_counts_the_multiplications_of_the_layers():
    model = fully_connected_model()
    parameters, multiply_adds = perturbation.cost(model)
    convs = 10 * 10 * 8 * 27 + 5 * 5 * 6 * 72
    assert multiply_adds == convs + 150 * 9 + 9 * 4
    assert parameters == 8 * 28 + 6 * 73 + 151 * 9 + 10 * 4
    small = perturbation.prune(model, {"conv1": [0, 1, 2, 3]})
    assert perturbation.cost(small)[1] == 10 * 10 * 4 * 27 + 5 * 5 * 6 * 36 + 150 * 9 + 9 * 4


def test_a_pruned_network_can_be_written_and_loaded(tmp_path):
    model = models.load("alexnet_mini")
    keep = {"CL2": range(0, 80, 2), "CL5": range(30), "FL1": range(100)}
    small = perturbation.prune(model, keep)
    weights.write_pruned(small.net, tmp_path / "small.safetensors", "alexnet_mini")
    loaded = models.load("alexnet_mini", weights=tmp_path / "small.safetensors")
    image = torch.rand(2, 3, 128, 128)
    assert torch.equal(loaded(image), small(image))
    assert perturbation.cost(loaded) == perturbation.cost(small)
    assert hooks.activations(loaded, image, ["CL5"])["CL5"].shape[1] == 30
    pruned_again = perturbation.prune(loaded, {"CL3": range(40)})
    assert pruned_again(image).shape == (2, 16)


def test_files_that_are_not_marked_as_pruned_must_have_the_original_widths(tmp_path):
    small = perturbation.prune(models.load("alexnet_mini"), {"CL2": range(40)})
    weights.write_half(small.net, tmp_path / "odd.safetensors")
    assert not weights.is_pruned(tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        models.load("alexnet_mini", weights=tmp_path / "odd.safetensors")


def test_a_narrowed_network_whose_layers_do_not_fit_each_other_is_refused_in_one_line(tmp_path):
    small = perturbation.prune(models.load("alexnet_mini"), {"CL3": range(40)})
    file = tmp_path / "odd.safetensors"
    weights.write_pruned(small.net, file, "alexnet_mini")
    state = load_file(file)
    (name,) = (key for key in state if key.startswith("conv4") and key.endswith("weight"))
    state[name] = state[name][:, 1:].contiguous()  # one map less than the layer below has
    save_file(state, file, {weights.PRUNED_FROM: "alexnet_mini"})
    with pytest.raises(InputError, match=r"odd\.safetensors: its layers do not fit") as caught:
        models.load("alexnet_mini", weights=file)
    assert "\n" not in str(caught.value)


def test_the_curve_begins_with_the_whole_network_and_never_empties_a_layer(images):
    model, classes = fully_connected_model(), torch.arange(6) % 4
    points = pruning_curve(model, "conv1", [range(8)], [0, 0.5, 1], images, classes)
    accuracy = float((model(images).argmax(1) == classes).float().mean())
    assert points[0] == perturbation.PruningResult(0, accuracy, *perturbation.cost(model))
    assert [point.fraction for point in points] == [0, 0.5, 7 / 8]
    costs = [point.multiply_adds for point in points]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == 3


def test_maps_that_cannot_be_removed_are_refused_in_one_line(images):
    plain, branching = fully_connected_model(), branching_model()
    caffe = models.load(architectures.build("caffenet_mini", 4), input_size=128)
    for error, message, call in (
        (InputError, "not sequential", lambda: perturbation.prune(branching, {"first": [0]})),
        (InputError, "the image or the classes", lambda: perturbation.prune(plain, {"fc2": [0]})),
        (InputError, "expected some of 0 to 7", lambda: perturbation.prune(plain, {"conv1": [8]})),
        (InputError, "expected some of 0 to 7", lambda: perturbation.prune(plain, {"conv1": []})),
        (InputError, "with their neighbors", lambda: perturbation.prune(caffe, {"conv1": [0]})),
        (NameNotFound, "did you mean", lambda: perturbation.prune(plain, {"conv3": [0]})),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)

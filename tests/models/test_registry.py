"""Every network loads frozen and complete, takes images in [0, 1], and names its layers."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import functional as functional_transforms

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound, files, hooks
from cnnvis_lab.data.images import Normalization, load
from cnnvis_lab.data.scenes import CLASS_NAMES, HELD_OUT_SEED, SceneSet
from cnnvis_lab.models import architectures, registry
from cnnvis_lab.models.training.classifier import normalize

HELD_OUT = 320


@pytest.fixture(scope="module")
def held_out() -> SceneSet:
    return SceneSet(HELD_OUT_SEED, HELD_OUT)


@pytest.fixture(scope="module", params=models.shipped())
def model(request) -> models.Model:
    return models.load(request.param)


def _frozen(model: models.Model) -> bool:
    in_place = any(getattr(module, "inplace", False) for module in model.modules())
    learning = any(p.requires_grad for p in model.parameters())
    return not (in_place or learning or any(module.training for module in model.net.modules()))


# The shipped networks


def _wanted_accuracy(name: str, row: dict) -> float:
    """Return the accuracy that a shipped network has at least, by the way it was trained."""
    if name.endswith("_half_width"):
        return 0.94
    return 0.99 if row["recipe"]["images"] == 32000 else 0.97


def test_a_shipped_network_is_the_file_its_row_describes(model):
    row = models.shipped()[model.card.name]
    assert files.digest(registry.WEIGHTS / f"{model.card.name}.safetensors") == row["sha256"]
    assert sum(p.numel() for p in model.parameters()) == row["parameters"]
    assert model.card.accuracy == row["accuracy"] > _wanted_accuracy(model.card.name, row)
    assert model.card.classes == tuple(row["classes"]) == CLASS_NAMES
    assert _frozen(model)


def test_a_shipped_network_has_the_accuracy_in_its_row(model, held_out):
    correct = sum(
        int((model(images).argmax(1) == held_out.classes(indices.tolist())).sum())
        for indices, images in held_out.batches(80)
    )
    accuracy = model.card.accuracy
    error = (accuracy * (1 - accuracy) / HELD_OUT) ** 0.5
    assert abs(correct / HELD_OUT - accuracy) < 4 * error


def test_a_model_takes_images_in_zero_to_one_and_gives_gradients_only_to_them(model, held_out):
    images = held_out.batch([0, 1]).requires_grad_()
    scores = model(images)
    assert torch.allclose(scores, model.net(normalize(images)), atol=1e-4)
    scores.sum().backward()
    assert images.grad.any() and all(p.grad is None for p in model.parameters())


def test_kernels_are_those_of_the_first_convolution_for_images_in_zero_to_one(model, held_out):
    one, other = held_out.batch([2]), held_out.batch([3])
    name = model.first_conv()
    conv = model.net.get_submodule(name)
    outputs = [hooks.activations(model, x, [name])[name] for x in (one, other)]
    direct = functional.conv2d(one - other, model.kernels(), None, conv.stride, conv.padding)
    assert torch.allclose(outputs[0] - outputs[1], direct, atol=1e-4)


@pytest.mark.parametrize("name", ["alexnet_mini", "alexnet"])
def test_the_surveys_names_and_torchs_names_denote_the_same_layers(name):
    model = models.load(name, weights="random")
    names = [word for word in model.survey_layers if word != "FL3"]
    assert len(model.survey_layers) == 5 * 2 + 3 + 2
    dotted = [model.survey_layers[word] for word in names]
    with hooks.record(model, [*names, *dotted, "FL3", "logits"]) as acts:
        scores = model(torch.rand(2, 3, 128, 128))
    assert all(torch.equal(acts[a], acts[b]) for a, b in zip(names, dotted, strict=True))
    for word in names:
        if f"{word}.relu" in names:
            assert (acts[word] < 0).any()
            assert torch.equal(acts[f"{word}.relu"], acts[word].relu())
    assert torch.equal(acts["FL3"], scores) and torch.equal(acts["logits"], scores)


def _order_of_running(model: models.Model, layers: dict[str, str], size: int) -> list[str]:
    """Labels in the order in which their layers first give an output."""
    ran: list[str] = []
    handles = [
        model.get_submodule(model.layer_aliases[layer]).register_forward_hook(
            lambda *_, label=label: ran.append(label)
        )
        for label, layer in layers.items()
    ]
    hooks.activations(model, torch.rand(1, 3, size, size), list(layers.values()))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(ran))


def _begins_with(layer: nn.Module, conv: nn.Conv2d) -> bool:
    """Whether a layer contains the first convolution, or normalizes its output."""
    is_norm = isinstance(layer, nn.BatchNorm2d) and layer.num_features == conv.out_channels
    return is_norm or conv in layer.modules()


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, 128) for name in models.shipped()]
    + [("alexnet", 64), ("squeezenet1_1", 64), ("resnet18", 32)]
    + [("googlenet", 32), ("inception_v3", 80)],
)
def test_default_layers_run_in_order_from_the_first_convolution_to_the_classes(name, size):
    model = models.load(name, weights="random")
    layers_by_label = model.default_layers()
    assert _order_of_running(model, layers_by_label, size) == list(layers_by_label)
    layers = [model.get_submodule(model.layer_aliases[layer]) for layer in layers_by_label.values()]
    assert _begins_with(layers[0], model.net.get_submodule(model.first_conv()))
    assert layers[-1] is model.get_submodule(model.layer_aliases["logits"])
    assert len(set(layers)) == len(layers) > 4
    convolutions = [name for name in layers_by_label if name[:2] != "FL" and name != "logits"]
    assert model.conv_layers() == convolutions


# torchvision's networks


STORES: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    ".pt": torch.save,
    ".safetensors": save_file,
}


def _torchvision(name: str, **options: object) -> nn.Module:
    torch.manual_seed(3)
    net = getattr(torchvision.models, name)(weights=None, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
    return net.eval()


GOOGLENET = {"init_weights": False, "transform_input": True}


@pytest.mark.parametrize(
    ("name", "ending", "options"),
    [
        ("squeezenet1_1", ".pt", {}),
        ("resnet18", ".safetensors", {}),
        ("googlenet", ".pt", GOOGLENET | {"aux_logits": True}),
        ("googlenet", ".safetensors", GOOGLENET | {"aux_logits": False}),
    ],
    ids=["squeezenet", "resnet", "googlenet with heads", "googlenet without"],
)
def test_a_torchvision_network_from_a_file_has_the_scores_of_torchvisions_own(
    name, ending, options, tmp_path
):
    original, path = _torchvision(name, **options), tmp_path / f"weights{ending}"
    STORES[ending](original.state_dict(), path)
    model = models.load(name, weights=path)
    images = torch.rand(2, 3, 48, 48)
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    normalized = functional_transforms.normalize(images, preset.mean, preset.std)
    assert torch.allclose(model(images), original(normalized), atol=1e-5)
    assert _frozen(model) and model.card.origin == f"weights file weights{ending}"
    assert len(model.card.classes) == 1000 and model.card.input_size == 224


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_inception_family_loads_without_warnings_or_output(name, recwarn, capfd):
    assert _frozen(models.load(name, weights="random"))
    assert not recwarn.list and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["vit_b_16", "vit_h_14", "swin_v2_t", "maxvit_t", "efficientnet_v2_s", "caffenet"]
)
def test_networks_take_images_of_the_size_on_their_card(name):
    with torch.device("meta"):
        model = models.load(name, weights="random", device="meta")
        size = model.card.input_size
        assert model(torch.empty(1, 3, size, size)).shape == (1, 1000)


def test_a_convolution_that_scores_the_classes_is_the_logits():
    model = models.load("squeezenet1_1", weights="random")
    with hooks.record(model, ["logits", "classifier.1"]) as acts:
        scores = model(torch.rand(1, 3, 64, 64))
    assert torch.equal(acts["logits"], acts["classifier.1"]) and acts["logits"].ndim == 4
    assert torch.allclose(acts["logits"].relu().mean((2, 3)), scores, atol=1e-5)


def test_real_weights_classify_most_real_images_correctly(shared_data):
    model = models.load(
        "squeezenet1_1", weights=shared_data / "weights" / "squeezenet1_1.safetensors"
    )
    folder = shared_data / "imagenet_sample"
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
    images = torch.stack([load(folder / row["file"], 227) for row in rows])
    predicted = torch.cat([model(part) for part in images.split(10)]).argmax(1).tolist()
    correct = sum(
        guess == int(row["class_index"]) for guess, row in zip(predicted, rows, strict=True)
    )
    assert len(rows) == 40 and correct >= 20
    words = model.card.classes
    matches = [words[guess] in row["words"] for guess, row in zip(predicted, rows, strict=True)]
    assert sum(matches) >= 20  # the names are in the order of the outputs


# Custom modules


class Tiny(nn.Module):
    """A user's own network, with an in-place ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, padding=2)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.first(x)).mean((2, 3)))


def test_a_custom_module_keeps_its_weights_and_the_callers_card(tmp_path):
    net, other = Tiny(), Tiny()
    images = torch.rand(2, 3, 16, 16)
    half = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    expected = net(
        (images - torch.tensor(half.mean).view(3, 1, 1)) / torch.tensor(half.std).view(3, 1, 1)
    )
    words = ("cat", "dog", "fish")
    model = models.load(net, input_size=16, normalization=half, classes=words)
    assert torch.allclose(model(images), expected, atol=1e-5) and _frozen(model)
    assert model.card.classes == words and model.layer_aliases["logits"] == "net.head"
    assert list(model.default_layers()) == ["first", "logits"]
    torch.save(net.state_dict(), tmp_path / "tiny.pt")
    loaded = models.load(
        other, weights=tmp_path / "tiny.pt", input_size=16, normalization=half, classes=words
    )
    assert torch.equal(loaded(images), model(images))
    assert model.card.origin != loaded.card.origin == "weights file tiny.pt"


def test_the_error_says_what_a_custom_module_lacks():
    with pytest.raises(InputError, match="input_size=PIXELS"):
        models.load(Tiny())
    with pytest.raises(InputError, match="2 class names for the 3 outputs of Tiny"):
        models.load(Tiny(), input_size=16, classes=("cat", "dog"))
    with pytest.raises(InputError, match="one tensor of class scores"):
        models.load(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(0)), input_size=8)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    with pytest.raises(InputError, match="Sequential takes no 9x9 image"):
        models.load(flat, input_size=9)
    without_conv = models.load(flat, input_size=8)
    assert list(without_conv.default_layers()) == ["logits"]
    with pytest.raises(InputError, match="no convolution over RGB"):
        without_conv.first_conv()


# Names, weights, seeds, devices


def test_every_family_and_every_torchvision_classifier_has_one_name():
    names = models.names()
    assert max(Counter(names).values()) == 1
    published = torchvision.models.list_models(torchvision.models)
    assert {*models.shipped(), *architectures.SPECS, *published} == set(names)


@pytest.mark.parametrize(
    ("given_name", "meant"),
    [("alexnet_mni", "alexnet_mini"), ("ResNet-18", "resnet18"), ("cafenet", "caffenet")],
)
def test_a_wrong_name_suggests_the_right_one(given_name, meant):
    with pytest.raises(
        NameNotFound, match=f"no network named '{given_name}'; did you mean .*{meant}"
    ):
        models.load(given_name)


@pytest.mark.parametrize("name", ["caffenet_mini", "resnet18"])
def test_the_error_for_missing_weights_says_how_to_give_them(name):
    with pytest.raises(
        InputError, match=f"no weights are shipped for {name}.*weights=FILE.*'random'"
    ):
        models.load(name)


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(Tiny().state_dict(), tmp_path / "tiny.safetensors")
    with pytest.raises(InputError, match=r"tiny.safetensors does not fit.*another network"):
        models.load("resnet18", weights=tmp_path / "tiny.safetensors")
    with pytest.raises(FileError, match="no weights file"):
        models.load("alexnet_mini", weights=tmp_path / "none.pt")


def test_random_weights_depend_on_their_seed_and_leave_the_global_generator_unchanged():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (
        models.load("alexnet_mini", weights="random", seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.kernels(), same.kernels())
    assert not torch.equal(one.kernels(), other.kernels())
    assert one.card.accuracy is None and one.card.origin == "random weights"


def test_the_given_classes_of_a_full_size_family_set_its_number_of_outputs():
    with torch.device("meta"):
        model = models.load("zfnet", weights="random", classes=("a", "b"), device="meta")
    assert model.net.fc8.out_features == 2 and model.card.classes == ("a", "b")


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_an_unavailable_device_is_refused(device):
    with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
        models.load(Tiny(), input_size=8, device=device)


def test_after_relu_names_the_relu_behind_a_layer_if_there_is_one():
    model = models.load("alexnet_mini")
    assert model.after_relu("CL5") == "CL5.relu"
    for layer in ("CL5.relu", "FL3", "conv1"):
        assert model.after_relu(layer) == layer
    assert models.load(nn.Sequential(nn.Conv2d(3, 2, 1)), input_size=8).after_relu("0") == "0"


def test_a_fine_tuned_network_keeps_the_classes_of_its_file(tmp_path):
    tuned = torchvision.models.resnet18(num_classes=7)
    torch.save({"state_dict": tuned.state_dict()}, tmp_path / "tuned.pt")
    model = models.load("resnet18", weights=tmp_path / "tuned.pt")
    assert model.card.classes == tuple(f"class {n}" for n in range(7))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(image), tuned.eval()(model.normalize(image)))
    named = models.load("resnet18", weights=tmp_path / "tuned.pt", classes=tuple("abcdefg"))
    assert named.card.classes == tuple("abcdefg")
    assert named.layer_aliases["logits"] == "net.fc"
    with pytest.raises(InputError, match="2 class names for the 7 outputs"):
        models.load("resnet18", weights=tmp_path / "tuned.pt", classes=("a", "b"))


def test_a_convolution_that_scores_the_classes_is_resized_too(tmp_path):
    tuned = torchvision.models.squeezenet1_1(num_classes=3)
    torch.save(tuned.state_dict(), tmp_path / "tuned.pt")
    model = models.load("squeezenet1_1", weights=tmp_path / "tuned.pt")
    assert len(model.card.classes) == 3 and model(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), tmp_path / "mine.pt")
    assert models.load("resnet18", weights="~/mine.pt").card.origin == "weights file mine.pt"

"""Every network loads frozen and whole, takes images in [0, 1], and knows its layers."""

import csv
import urllib.error
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


def _is_plain(row: dict) -> bool:
    """One of the training conditions without batch normalisation: these learn more slowly."""
    return not row["recipe"]["batch_norm"]


def test_a_shipped_network_is_the_file_its_row_describes(model):
    row = models.shipped()[model.card.name]
    assert files.digest(registry.WEIGHTS / f"{model.card.name}.safetensors") == row["sha256"]
    assert sum(p.numel() for p in model.parameters()) == row["parameters"]
    assert model.card.accuracy == row["accuracy"] > (0.8 if _is_plain(row) else 0.9)
    assert model.card.classes == tuple(row["classes"]) == CLASS_NAMES
    assert _frozen(model)


def test_a_shipped_network_is_as_good_as_its_row_says(model, held_out):
    right = sum(
        int((model(images).argmax(1) == held_out.classes(indices.tolist())).sum())
        for indices, images in held_out.batches(80)
    )
    share = model.card.accuracy
    error = (share * (1 - share) / HELD_OUT) ** 0.5
    assert abs(right / HELD_OUT - share) < 4 * error


def test_a_model_takes_images_in_zero_to_one_and_passes_gradients_to_them_alone(model, held_out):
    images = held_out.batch([0, 1]).requires_grad_()
    scores = model(images)
    assert torch.allclose(scores, model.net(normalize(images)), atol=1e-4)
    scores.sum().backward()
    assert images.grad.any() and all(p.grad is None for p in model.parameters())


def test_kernels_are_the_first_convolution_on_images_in_zero_to_one(model, held_out):
    one, other = held_out.batch([2]), held_out.batch([3])
    name = model.first_conv()
    conv = model.net.get_submodule(name)
    seen = [hooks.activations(model, x, [name])[name] for x in (one, other)]
    direct = functional.conv2d(one - other, model.kernels(), None, conv.stride, conv.padding)
    assert torch.allclose(seen[0] - seen[1], direct, atol=1e-4)


@pytest.mark.parametrize("name", ["alexnet_mini", "alexnet"])
def test_the_surveys_names_and_torchs_names_are_the_same_layers(name):
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


def _order_of_running(model: models.Model, layers: dict[str, str], side: int) -> list[str]:
    """Labels in the order in which their layers first give an output."""
    ran: list[str] = []
    handles = [
        model.get_submodule(model.layer_aliases[layer]).register_forward_hook(
            lambda *_, label=label: ran.append(label)
        )
        for label, layer in layers.items()
    ]
    hooks.activations(model, torch.rand(1, 3, side, side), list(layers.values()))
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys(ran))


def _begins_with(layer: nn.Module, conv: nn.Conv2d) -> bool:
    """A layer that holds the first convolution, or normalises what comes out of it."""
    normalises = isinstance(layer, nn.BatchNorm2d) and layer.num_features == conv.out_channels
    return normalises or conv in layer.modules()


@pytest.mark.parametrize(
    ("name", "side"),
    [(name, 128) for name in models.shipped()]
    + [("alexnet", 64), ("squeezenet1_1", 64), ("resnet18", 32)]
    + [("googlenet", 32), ("inception_v3", 80)],
)
def test_a_tour_walks_layers_that_run_from_the_first_convolution_to_the_classes(name, side):
    model = models.load(name, weights="random")
    tour = model.default_layers()
    assert _order_of_running(model, tour, side) == list(tour)
    layers = [model.get_submodule(model.layer_aliases[layer]) for layer in tour.values()]
    assert _begins_with(layers[0], model.net.get_submodule(model.first_conv()))
    assert layers[-1] is model.get_submodule(model.layer_aliases["logits"])
    assert len(set(layers)) == len(layers) > 4


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
def test_a_torchvision_network_from_a_file_scores_as_torchvisions_own(
    name, ending, options, tmp_path
):
    own, path = _torchvision(name, **options), tmp_path / f"weights{ending}"
    STORES[ending](own.state_dict(), path)
    model = models.load(name, weights=path)
    images = torch.rand(2, 3, 48, 48)
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    given = functional_transforms.normalize(images, preset.mean, preset.std)
    assert torch.allclose(model(images), own(given), atol=1e-5)
    assert _frozen(model) and model.card.origin == f"weights file weights{ending}"
    assert len(model.card.classes) == 1000 and model.card.input_size == 224


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_inception_family_loads_without_a_word(name, recwarn, capfd):
    assert _frozen(models.load(name, weights="random"))
    assert not recwarn.list and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["vit_b_16", "vit_h_14", "swin_v2_t", "maxvit_t", "efficientnet_v2_s", "caffenet"]
)
def test_networks_take_images_of_the_size_their_card_says(name):
    with torch.device("meta"):
        model = models.load(name, weights="random", device="meta")
        side = model.card.input_size
        assert model(torch.empty(1, 3, side, side)).shape == (1, 1000)


def test_where_a_convolution_scores_the_classes_it_is_the_logits():
    model = models.load("squeezenet1_1", weights="random")
    with hooks.record(model, ["logits", "classifier.1"]) as acts:
        scores = model(torch.rand(1, 3, 64, 64))
    assert torch.equal(acts["logits"], acts["classifier.1"]) and acts["logits"].ndim == 4
    assert torch.allclose(acts["logits"].relu().mean((2, 3)), scores, atol=1e-5)


def test_real_weights_name_most_real_images(shared_data):
    model = models.load(
        "squeezenet1_1", weights=shared_data / "weights" / "squeezenet1_1.safetensors"
    )
    folder = shared_data / "imagenet_sample"
    rows = list(csv.DictReader((folder / "labels.csv").read_text().splitlines()))
    images = torch.stack([load(folder / row["file"], 227) for row in rows])
    named = torch.cat([model(part) for part in images.split(10)]).argmax(1).tolist()
    right = sum(guess == int(row["class_index"]) for guess, row in zip(named, rows, strict=True))
    assert len(rows) == 40 and right >= 20
    words = model.card.classes
    hits = [words[guess] in row["words"] for guess, row in zip(named, rows, strict=True)]
    assert sum(hits) >= 20  # the names stand in the order of the outputs


def _published(monkeypatch, answer: Callable[[], dict[str, Tensor]]) -> None:
    """Let torchvision's download of resnet18 answer so, without a network."""
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights, "get_state_dict", lambda self, **options: answer()
    )


def test_a_download_is_torchvisions_own_published_file(monkeypatch):
    own = _torchvision("resnet18")
    _published(monkeypatch, own.state_dict)
    model = models.load("resnet18", weights="download")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), own.parameters(), strict=True))
    assert model.card.origin == torchvision.models.ResNet18_Weights.DEFAULT.url
    assert "torchvision" in model.card.license


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        RuntimeError("invalid hash value"),
        TimeoutError("timed out"),
    ],
)
def test_a_download_that_fails_says_what_to_do_instead(monkeypatch, failure):
    def fail() -> dict[str, Tensor]:
        raise failure

    _published(monkeypatch, fail)
    with pytest.raises(FileError, match=r"resnet18 could not be downloaded.*give weights=FILE"):
        models.load("resnet18", weights="download")


# Your own


class Tiny(nn.Module):
    """A user's own network, written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, padding=2)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.first(x)).mean((2, 3)))


def test_an_own_module_keeps_its_weights_and_its_callers_facts(tmp_path):
    net, other = Tiny(), Tiny()
    images = torch.rand(2, 3, 16, 16)
    half = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    wanted = net(
        (images - torch.tensor(half.mean).view(3, 1, 1)) / torch.tensor(half.std).view(3, 1, 1)
    )
    words = ("cat", "dog", "fish")
    model = models.load(net, input_size=16, normalization=half, classes=words)
    assert torch.allclose(model(images), wanted, atol=1e-5) and _frozen(model)
    assert model.card.classes == words and model.layer_aliases["logits"] == "net.head"
    assert list(model.default_layers()) == ["first", "logits"]
    torch.save(net.state_dict(), tmp_path / "tiny.pt")
    filled = models.load(
        other, weights=tmp_path / "tiny.pt", input_size=16, normalization=half, classes=words
    )
    assert torch.equal(filled(images), model(images))
    assert model.card.origin != filled.card.origin == "weights file tiny.pt"


def test_what_an_own_module_lacks_is_stated():
    with pytest.raises(InputError, match="input_size=PIXELS"):
        models.load(Tiny())
    with pytest.raises(InputError, match="2 class names for the 3 outputs of Tiny"):
        models.load(Tiny(), input_size=16, classes=("cat", "dog"))
    with pytest.raises(InputError, match="one tensor of class scores"):
        models.load(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(0)), input_size=8)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    with pytest.raises(InputError, match="Sequential takes no 9x9 image"):
        models.load(flat, input_size=9)
    blind = models.load(flat, input_size=8)
    assert list(blind.default_layers()) == ["logits"]
    with pytest.raises(InputError, match="no convolution over RGB"):
        blind.first_conv()


# Names, weights, seeds, devices


def test_every_family_and_every_torchvision_classifier_has_one_name():
    names = models.names()
    assert max(Counter(names).values()) == 1
    published = torchvision.models.list_models(torchvision.models)
    assert {*models.shipped(), *architectures.SPECS, *published} == set(names)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("alexnet_mni", "alexnet_mini"), ("ResNet-18", "resnet18"), ("cafenet", "caffenet")],
)
def test_a_wrong_name_suggests_the_right_one(given, meant):
    with pytest.raises(NameNotFound, match=f"no network named '{given}'; did you mean .*{meant}"):
        models.load(given)


@pytest.mark.parametrize("name", ["caffenet_mini", "resnet18"])
def test_networks_that_come_without_weights_say_how_to_give_them(name):
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


def test_random_weights_follow_their_seed_and_leave_the_global_stream_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (
        models.load("alexnet_mini", weights="random", seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.kernels(), same.kernels())
    assert not torch.equal(one.kernels(), other.kernels())
    assert one.card.accuracy is None and one.card.origin == "random weights"


def test_classes_given_to_a_full_size_family_set_its_outputs():
    with torch.device("meta"):
        model = models.load("zfnet", weights="random", classes=("a", "b"), device="meta")
    assert model.net.fc8.out_features == 2 and model.card.classes == ("a", "b")


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
        models.load(Tiny(), input_size=8, device=device)


def test_the_name_behind_a_relu_is_found_where_there_is_one():
    model = models.load("alexnet_mini")
    assert model.after_relu("CL5") == "CL5.relu"
    for layer in ("CL5.relu", "FL3", "conv1"):
        assert model.after_relu(layer) == layer
    assert models.load(nn.Sequential(nn.Conv2d(3, 2, 1)), input_size=8).after_relu("0") == "0"

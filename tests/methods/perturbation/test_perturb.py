"""Perturbed codes: exact norms, signs and zeros; pruned networks that are the masked ones."""

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, hooks, perturbations
from cnnvis_lab.methods import perturbation
from cnnvis_lab.models import architectures, generators, weights

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 20


def _codes(seed: int = 0, signed: bool = True) -> Tensor:
    drawn = torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(seed))
    codes = drawn if signed else drawn.relu()
    return codes * torch.arange(1, 6).view(-1, 1, 1, 1)


EVERY = perturbations.PERTURBATIONS | {
    "five largest": perturbation.keep_top(5),
    "without them": perturbation.keep_top(5, instead=True),
    **{f"{bits} bits": perturbation.quantize(bits) for bits in range(1, 9)},
    **{f"{share} {order} active": perturbation.drop(share, order, active=True)
       for share in (0.1, 0.9) for order in ("least", "most", "random")},
}  # fmt: skip


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_every_change_keeps_the_norm(name, signed):
    codes = _codes(signed=signed)
    changed = EVERY[name](codes, codes.abs(), 3)
    expected = perturbations.norms(codes)
    if name == "most" and not signed:  # half of a code behind a ReLU may be all
        expected = expected * (changed != 0).flatten(1).any(1).view(-1, 1, 1, 1)
    assert torch.allclose(perturbations.norms(changed), expected, rtol=1e-5)


def test_binarising_keeps_signs_and_zeros_and_one_magnitude():
    codes = _codes()
    codes[0, :3] = 0
    changed = perturbations.binarize(codes)
    assert torch.equal(changed.sign(), codes.sign())
    for one in changed:
        sizes = one[one != 0].abs()
        assert torch.allclose(sizes, sizes[0].expand_as(sizes))


def test_dropout_zeroes_exactly_half_and_scales_the_rest_alike():
    codes = _codes()
    changed = perturbations.PERTURBATIONS["dropout"](codes, codes.abs(), 0)
    assert ((changed == 0).flatten(1).sum(1) == codes[0].numel() // 2).all()
    for before, after in zip(codes, changed, strict=True):
        ratio = after[after != 0] / before[after != 0]
        assert torch.allclose(ratio, ratio[0].expand_as(ratio)) and ratio[0] > 1
    other = perturbations.PERTURBATIONS["dropout"](codes, codes.abs(), 1)
    assert not torch.equal(changed == 0, other == 0)
    assert torch.equal(
        changed[:2], perturbations.PERTURBATIONS["dropout"](codes[:2], codes[:2].abs(), 0)
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_least_important_entries_go_and_the_most_important_stay(share):
    codes, importance = _codes(), _codes(1).abs()
    least = perturbations.drop(codes, importance, share) == 0
    for gone, matters in zip(least, importance, strict=True):
        assert gone.sum() == round(share * gone.numel())
        if 0 < share < 1:
            assert matters[gone].max() < matters[~gone].min()


def test_of_a_sparse_code_the_least_half_is_nothing_and_the_most_important_half_is_all():
    codes = _codes(signed=False)
    codes[:, 3:] = 0
    assert torch.allclose(
        perturbations.PERTURBATIONS["least"](codes, codes.abs(), 0), codes, rtol=1e-6
    )
    assert not perturbations.PERTURBATIONS["most"](codes, codes.abs(), 0).any()


@pytest.mark.parametrize("name", ["dropout active", "least active", "most active"])
def test_half_of_the_active_entries_go_and_the_others_stay(name):
    codes = _codes(signed=False)
    changed = perturbations.PERTURBATIONS[name](codes, codes.abs(), 0)
    for code, after in zip(codes, changed, strict=True):
        alive, left = code != 0, after != 0
        assert not (left & ~alive).any()
        assert (alive & ~left).sum() == round(0.5 * int(alive.sum()))
        gone, kept = code[alive & ~left], code[left]
        if name != "dropout active":
            assert gone.max() < kept.min() if name == "least active" else gone.min() > kept.max()


def test_the_largest_entries_and_all_but_them_share_out_the_code():
    codes = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    only, others = perturbations.keep_top(codes), perturbations.remove_top(codes)
    assert ((only != 0).sum(1) == 5).all() and ((others != 0).sum(1) == 11).all()
    assert not ((only != 0) & (others != 0)).any()
    assert (codes.topk(5).indices == only.topk(5).indices).all() or (codes < 0).any()
    for code, kept in zip(codes, only != 0, strict=True):
        assert code[kept].min() > code[~kept].max()


@pytest.mark.parametrize("bits", range(1, 9))
def test_quantised_codes_have_so_many_levels_and_are_near(bits):
    codes = _codes(signed=False)
    changed = perturbations.quantize(codes, bits)
    step = codes.flatten(1).amax(1) / (2**bits - 1)
    for code, after, width in zip(codes, changed, step, strict=True):
        assert len(after.unique()) <= 2**bits
        scale = after.max() / code.max()  # the norm is kept, so levels are stretched a little
        assert ((after / scale - code).abs() <= width / 2 * 1.001).all()
        assert (after[code == 0] == 0).all()


def test_impossible_changes_are_refused():
    codes = _codes()
    for bad in (
        lambda: perturbations.quantize(codes, 0),
        lambda: perturbations.drop(codes, codes, 1.5),
        lambda: perturbations.keep_top(codes, 72),
        lambda: perturbation.drop(0.5, "best"),
    ):
        with pytest.raises(InputError, match="expected"):
            bad()


def _plain(norm: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    parts = [("conv1", nn.Conv2d(3, 8, 3, 2, 1)), ("bn1", nn.BatchNorm2d(8)), ("relu1", nn.ReLU())]
    parts += [("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(8, 6, 3, padding=1))]
    parts += [("relu2", nn.ReLU()), ("flatten", nn.Flatten()), ("fc1", nn.Linear(150, 9))]
    parts += [("relu3", nn.ReLU()), ("drop", nn.Dropout(0.5)), ("fc2", nn.Linear(9, 4))]
    if not norm:
        parts.pop(1)
    net = nn.Sequential(OrderedDict(parts))
    if norm:
        net.bn1.running_mean.uniform_(-0.2, 0.2)
        net.bn1.weight.data.uniform_(0.5, 2)
    return net


def _model(norm: bool = False) -> models.Model:
    return models.load(_plain(norm), input_size=SIZE)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(4))


def test_codes_passed_on_unchanged_give_the_networks_own_scores(images):
    model = _model()
    for layer in ("conv1", "relu2", "fc2"):
        codes = perturbation.perturb(model, layer, images, "none")
        scores = perturbation.forward_from(model, layer, images, codes, batch=4)
        assert torch.allclose(scores, model(images), atol=1e-6)


def test_one_picture_stands_in_for_all_exactly_where_nothing_else_reads_them(images):
    codes = {"first": torch.rand(6, 4, SIZE, SIZE), "second": torch.rand(6, 4, SIZE, SIZE)}
    codes |= {"conv1": torch.rand(6, 8, 10, 10), "relu3": torch.rand(6, 9)}
    for model in (_model(), models.load(Branching(), input_size=SIZE)):
        for layer in codes.keys() & {name for name, _ in model.net.named_modules()}:
            alone = model.is_sequential_from(layer)
            assert alone == (layer in ("conv1", "relu3"))
            with hooks.edit(model, {layer: lambda output, layer=layer: codes[layer]}):
                expected = model(images)
            told = perturbation.forward_from(model, layer, images, codes[layer])
            assert torch.allclose(told, expected, atol=1e-6)
    small = {"num_layers": 1, "num_heads": 1, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 4}
    tokens = torchvision.models.VisionTransformer(image_size=32, patch_size=16, **small)
    model, two = models.load(tokens, input_size=32), torch.rand(2, 3, 32, 32)
    unchanged = perturbation.perturb(model, "conv_proj", two, "none")
    assert torch.allclose(perturbation.forward_from(model, "conv_proj", two, unchanged), model(two))


def test_importance_by_gradient_is_what_the_top_score_would_lose(images):
    """The last layer is linear, so that the first order is exact."""
    model = _model()
    matters = perturbation.importance(model, "relu3", images, "gradient", batch=4)
    codes = perturbation.perturb(model, "relu3", images, "none")
    whole = model(images)
    top = whole.argmax(1)
    for unit in range(9):
        without = codes.clone()
        without[:, unit] = 0
        lost = whole - perturbation.forward_from(model, "relu3", images, without)
        assert torch.allclose(lost[torch.arange(6), top].abs(), matters[:, unit], atol=1e-5)


def test_a_map_is_worth_what_its_absence_costs(images):
    model, classes = _model(), torch.arange(6) % 4
    worth = perturbation.map_importance(model, "relu2", images, classes)
    with perturbation.mask_units(model, {"conv2": [0, 1, 2, 4, 5]}):
        scores = model(images)
    entropy = nn.functional.cross_entropy
    rise = entropy(scores, classes) - entropy(model(images), classes)
    assert worth.loss[3].item() == pytest.approx(rise.item(), abs=1e-5)
    assert worth.loss.shape == (6,) and worth.reconstruction.isnan().all()
    model.net.conv2.bias[2], model.net.conv2.weight[2] = -1, 0
    idle = perturbation.map_importance(model, "relu2", images, classes)
    assert idle.loss[2].item() == pytest.approx(0, abs=1e-7)


def test_the_worth_of_maps_for_reconstruction_comes_from_the_decoder(images):
    class Painter(nn.Module):
        """Shows the first unit as the gray of the whole picture."""

        def draw(self, codes: Tensor) -> Tensor:
            return codes.mean((2, 3))[:, :1, None, None].expand(-1, 3, SIZE, SIZE)

    painter = generators.load("generator_FL3", weights="random")
    painter.draw = Painter().draw
    worth = perturbation.map_importance(_model(), "relu2", images, torch.arange(6) % 4, painter)
    assert worth.reconstruction[0] != 0 and (worth.reconstruction[1:] == 0).all()


KEEPS = {
    "convolution": {"conv1": [0, 3, 7]},
    "behind its ReLU": {"relu1": [2, 1]},
    "into a full layer": {"conv2": [1, 2, 5]},
    "full layer": {"fc1": [0, 8]},
    "all at once": {"conv1": [0, 5], "conv2": [3], "fc1": [1, 2, 3]},
}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", KEEPS)
def test_the_pruned_network_is_the_masked_one(images, name, norm):
    model, keep = _model(norm), KEEPS[name]
    small = perturbation.prune(model, keep)
    with perturbation.mask_units(model, keep):
        expected = model(images)
    assert torch.allclose(small(images), expected, atol=1e-6)
    assert not torch.allclose(model(images), expected, atol=1e-4)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def _torchvision(name: str) -> models.Model:
    """One of torchvision's networks with one small full layer in place of its large ones."""
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
def test_torchvisions_sequential_networks_are_pruned_too(name, keep):
    model, images = _torchvision(name), torch.rand(1, 3, 64, 64)
    small = perturbation.prune(model, keep)
    with perturbation.mask_units(model, keep):
        assert torch.allclose(small(images), model(images), atol=1e-4)
    assert perturbation.cost(small)[1] < perturbation.cost(model)[1]


def test_the_cost_is_what_the_layers_multiply():
    model = _model()
    parameters, multiply_adds = perturbation.cost(model)
    convs = 10 * 10 * 8 * 27 + 5 * 5 * 6 * 72
    assert multiply_adds == convs + 150 * 9 + 9 * 4
    assert parameters == 8 * 28 + 6 * 73 + 151 * 9 + 10 * 4
    small = perturbation.prune(model, {"conv1": [0, 1, 2, 3]})
    assert perturbation.cost(small)[1] == 10 * 10 * 4 * 27 + 5 * 5 * 6 * 36 + 150 * 9 + 9 * 4


def test_a_pruned_network_is_written_and_loaded_again(tmp_path):
    model = models.load("alexnet_mini")
    keep = {"CL2": range(0, 80, 2), "CL5": range(30), "FL1": range(100)}
    small = perturbation.prune(model, keep)
    perturbation.save_pruned(small, tmp_path / "small.safetensors")
    again = models.load("alexnet_mini", weights=tmp_path / "small.safetensors")
    image = torch.rand(2, 3, 128, 128)
    assert torch.equal(again(image), small(image))
    assert perturbation.cost(again) == perturbation.cost(small)
    assert hooks.activations(again, image, ["CL5"])["CL5"].shape[1] == 30
    thrice = perturbation.prune(again, {"CL3": range(40)})
    assert thrice(image).shape == (2, 16)


def test_other_widths_are_refused_in_files_that_do_not_claim_them(tmp_path):
    small = perturbation.prune(models.load("alexnet_mini"), {"CL2": range(40)})
    weights.write_half(small.net, tmp_path / "odd.safetensors")
    assert not weights.is_pruned(tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="does not fit"):
        models.load("alexnet_mini", weights=tmp_path / "odd.safetensors")


def test_the_curve_begins_at_the_network_itself_and_never_empties_a_layer(images):
    model, classes = _model(), torch.arange(6) % 4
    points = perturbation.pruning_curve(model, "conv1", range(8), [0, 0.5, 1], images, classes)
    whole = float((model(images).argmax(1) == classes).float().mean())
    assert points[0] == perturbation.PruningResult(0, whole, *perturbation.cost(model))
    assert [point.share for point in points] == [0, 0.5, 7 / 8]
    costs = [point.multiply_adds for point in points]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == 3


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((x + self.second(x)).mean((2, 3)))


def test_what_cannot_be_removed_is_said_in_one_line(images):
    plain, branching = _model(), models.load(Branching(), input_size=SIZE)
    caffe = models.load(architectures.build("caffenet_mini", 4), input_size=128)
    for error, says, bad in (
        (InputError, "not sequential", lambda: perturbation.prune(branching, {"first": [0]})),
        (InputError, "the picture or the classes", lambda: perturbation.prune(plain, {"fc2": [0]})),
        (InputError, "expected some of 0 to 7", lambda: perturbation.prune(plain, {"conv1": [8]})),
        (InputError, "expected some of 0 to 7", lambda: perturbation.prune(plain, {"conv1": []})),
        (InputError, "to their neighbours", lambda: perturbation.prune(caffe, {"conv1": [0]})),
        (NameNotFound, "did you mean", lambda: perturbation.prune(plain, {"conv3": [0]})),
        (NameNotFound, "binarised", lambda: perturbation.perturb(plain, "fc1", images, "binary")),
        (InputError, "magnitude or", lambda: perturbation.importance(plain, "fc1", images, "x")),
    ):
        with pytest.raises(error, match=says) as caught:
            bad()
        assert "\n" not in str(caught.value)

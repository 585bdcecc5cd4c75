"""The families have the geometry of their papers; the minis keep the first layers."""

import math
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnvis_lab.core import InputError, NameNotFound
from cnnvis_lab.models import architectures

# Channels and size of each layer's map.
ALEXNET = {  # Krizhevsky et al. 2012, figure 2 and section 3.5
    "conv1": (96, 55),
    "pool1": (96, 27),
    "conv2": (256, 27),
    "pool2": (256, 13),
    "conv3": (384, 13),
    "conv4": (384, 13),
    "conv5": (256, 13),
    "pool5": (256, 6),
}
ZFNET = ALEXNET | {  # Zeiler and Fergus 2013, figure 3
    "conv1": (96, 110),
    "pool1": (96, 55),
    "conv2": (256, 26),
}
PUBLISHED = {"alexnet2012": ALEXNET, "caffenet": ALEXNET, "zfnet": ZFNET}
MINIS = {"alexnet_mini": "alexnet2012", "caffenet_mini": "caffenet", "zfnet_mini": "zfnet"}


def _meta(family: str, classes: int = 1000, **options: object) -> nn.Sequential:
    """Build on the meta device, which allocates no memory."""
    with torch.device("meta"):
        return architectures.build(family, classes, **options)


def _shapes(net: nn.Sequential, size: int) -> dict[str, tuple[int, ...]]:
    """Shape of each layer's output for two images, without the batch axis."""
    x = torch.empty(2, 3, size, size, device="meta")
    shapes = {}
    for name, module in net.named_children():
        x = module(x)
        shapes[name] = tuple(x.shape[1:])
    return shapes


@pytest.mark.parametrize("family", PUBLISHED)
def test_full_sizes_have_the_published_maps(family):
    shapes = _shapes(_meta(family), architectures.SPECS[family].input_size)
    for layer, (channels, size) in PUBLISHED[family].items():
        assert shapes[layer] == (channels, size, size), layer
    assert shapes["flatten"] == (9216,) and shapes["fc8"] == (1000,)
    assert shapes["fc6"] == shapes["fc7"] == (4096,)


@pytest.mark.parametrize("family", ["alexnet2012", "caffenet"])
def test_grouped_layers_read_half_the_channels_as_published(family):
    net = _meta(family)
    read = {"conv1": 3, "conv2": 48, "conv3": 256, "conv4": 192, "conv5": 192}
    assert {name: net.get_submodule(name).weight.shape[1] for name in read} == read
    for name in ("conv2", "conv4", "conv5"):
        conv = net.get_submodule(name)
        whole = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, device="meta")
        assert 2 * conv.weight.numel() == whole.weight.numel()


def test_the_two_groups_of_a_grouped_convolution_are_independent():
    conv = architectures.build("caffenet_mini", 4).conv2
    x = torch.rand(1, 48, 7, 7)
    other = torch.cat([x[:, :24], torch.rand(1, 24, 7, 7)], 1)
    same = (conv(x) - conv(other)).abs().amax((0, 2, 3)) == 0
    assert same[:48].all() and not same[48:].any()


def test_alexnet_normalizes_before_pooling_and_the_others_after_it():
    for family, between in [("alexnet2012", "norm pool"), *[(f, "pool norm") for f in MINIS]]:
        names = [name for name, _ in _meta(family).named_children()]
        kinds = [part for part in between.split() if f"{part}1" in names]
        for stage in "12":
            start = names.index(f"relu{stage}") + 1
            assert names[start : start + len(kinds)] == [kind + stage for kind in kinds]
        assert names[names.index("conv3") :][:6] == [
            *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5")
        ]


def _slow_lrn(a: Tensor, alpha: float, k: float) -> Tensor:
    """Krizhevsky et al. 2012, section 3.3, with n = 5 and beta = 0.75."""
    b = torch.empty_like(a)
    for i in range(a.shape[1]):
        near = a[:, max(0, i - 2) : i + 3].square().sum(1)
        b[:, i] = a[:, i] / (k + alpha * near) ** 0.75
    return b


@pytest.mark.parametrize(
    ("family", "alpha", "k"),
    [
        ("alexnet2012", 1e-4, 2.0),  # the paper's constants
        ("caffenet", 1e-4 / 5, 1.0),  # Caffe's: alpha divided by the window's size, k = 1
        ("caffenet_mini", 1e-4 / 5, 1.0),
        ("zfnet", 1e-4, 2.0),
    ],
)
def test_response_normalization_is_the_papers_formula(family, alpha, k):
    a = torch.randn(2, 9, 3, 3, generator=torch.Generator().manual_seed(0)).double() * 200
    for layer in ("norm1", "norm2"):
        normalized = _meta(family).get_submodule(layer)(a)
        assert torch.allclose(normalized, _slow_lrn(a, alpha, k), rtol=1e-9)


@pytest.mark.parametrize(("family", "size"), [("alexnet2012", 3), ("caffenet", 4), ("zfnet", 4)])
def test_in_ceil_mode_the_last_window_extends_beyond_the_border(family, size):
    x = torch.rand(1, 1, 8, 8)
    pooled = _meta(family).pool1(x)
    slow = [
        [x[0, 0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max() for j in range(size)]
        for i in range(size)
    ]
    assert torch.equal(pooled[0, 0], torch.tensor(slow))


@pytest.mark.parametrize(("mini", "full"), MINIS.items())
def test_minis_have_about_a_million_weights_and_the_full_sizes_first_layer(mini, full):
    small, large = _meta(mini, 16), _meta(full)
    assert 0.75e6 < sum(p.numel() for p in small.parameters()) < 1.25e6
    for part in ("kernel_size", "stride"):
        assert getattr(small.conv1, part) == getattr(large.conv1, part)
    assert _shapes(small, architectures.SPECS[mini].input_size)["fc8"] == (16,)


@pytest.mark.parametrize("family", MINIS)
@pytest.mark.parametrize("dropout", [0, 0.4])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_dropout_and_batch_norm_are_built_only_where_requested(family, dropout, batch_norm):
    net = _meta(family, 5, dropout=dropout, batch_norm=batch_norm)
    names = [name for name, _ in net.named_children()]
    drops = [module.p for module in net if isinstance(module, nn.Dropout)]
    assert drops == [dropout] * (2 if dropout else 0)
    behind = [names[i - 1] for i, name in enumerate(names) if name.startswith("bn")]
    hidden = [name for name in names if name[:-1] in ("conv", "fc")][:-1]
    assert behind == (hidden if batch_norm else [])
    assert _shapes(net, 128)["fc8"] == (5,)


def test_dropout_changes_neither_the_initial_weights_nor_the_scores_in_eval_mode():
    torch.manual_seed(0)
    plain = architectures.build("alexnet_mini", 4, dropout=0).eval()
    torch.manual_seed(0)
    dropping = architectures.build("alexnet_mini", 4, dropout=0.5).eval()
    images = torch.rand(2, 3, 128, 128)
    assert torch.equal(plain(images), dropping(images))
    assert not torch.equal(plain(images), dropping.train()(images))


@pytest.mark.parametrize("family", ["caffenet_mini", "judge_mini"])
def test_initial_weights_preserve_the_scale_of_signals_except_for_small_first_kernels(family):
    """He's initialization: std is sqrt(2 / fan-in), where fan-in is that of a group; no bias."""
    torch.manual_seed(0)
    net = architectures.build(family, 16)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            expected = math.sqrt(2 / module.weight[0].numel())
            if module is net[0] and family != "judge_mini":
                expected = 0.01  # Krizhevsky et al. 2012, section 5
            spread = 5 / math.sqrt(2 * module.weight.numel())  # five standard errors
            assert abs(float(module.weight.detach().std()) / expected - 1) < spread
            assert not module.bias.any()


CONVS = st.tuples(  # channels, kernel, stride, padding
    st.sampled_from([4, 6]), st.sampled_from([1, 3, 5]), st.integers(1, 2), st.integers(0, 2)
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(CONVS, min_size=3, max_size=3),
    pooled=st.lists(st.booleans(), min_size=3, max_size=3),
    size=st.integers(200, 260),
    ceil=st.booleans(),
)
def test_the_first_fully_connected_layer_fits_the_maps_of_any_convolutions(
    rows, pooled, size, ceil
):
    convs = [
        architectures.ConvSpec(*row, pool=pool) for row, pool in zip(rows, pooled, strict=True)
    ]
    spec = architectures.NetSpec(size, tuple(convs), (6, 6), ceil_mode=ceil)
    with mock.patch.dict(architectures.SPECS, {"drawn": spec}):
        assert _shapes(_meta("drawn", 3), size)["fc8"] == (3,)


def test_the_classifier_halves_the_map_at_every_stage_and_always_normalizes():
    net = _meta("judge_mini", 16, dropout=0, batch_norm=False)
    shapes = _shapes(net, architectures.SPECS["judge_mini"].input_size)
    sizes = [shapes[name][1] for name in ("stem", "stage1", "stage2", "stage3")]
    assert sizes == [64, 32, 16, 8] and shapes["fc"] == (16,)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    shortcuts = sum(name.endswith("shortcut") for name, _ in net.named_modules())
    assert norms == sum(isinstance(m, nn.Conv2d) for m in net.modules()) - shortcuts


def test_a_residual_block_whose_inner_path_is_zero_equals_its_shortcut():
    block = architectures.ResidualBlock(3, 5).eval()
    x = torch.randn(2, 3, 8, 8)
    full_output = block(x)
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x), block.shortcut(x).relu())
    assert not torch.equal(full_output, block(x))


def test_a_wrong_family_suggests_the_right_one():
    with pytest.raises(NameNotFound, match="did you mean caffenet"):
        architectures.build("cafenet", 10)


@pytest.mark.parametrize(("classes", "dropout"), [(10, 1.0), (10, -0.1), (0, 0.5)])
def test_impossible_options_are_refused(classes, dropout):
    with pytest.raises(InputError, match="expected"):
        architectures.build("alexnet_mini", classes, dropout=dropout)

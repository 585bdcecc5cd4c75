"""Dissection equals a slow reference count for count, in any batches, shards or passes."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import fields, replace
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from support.reference_dissection import (
    LabelledTensors,
    random_data,
    slow_counts,
    small_net,
)
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.data import Label, ResizedImages, broden
from cnnvis_lab.data.broden import write_scenes
from cnnvis_lab.data.scenes import SceneSet
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import (
    CONVENTIONS,
    Convention,
    LayerTable,
    RunOptions,
    thresholds,
)
from cnnvis_lab.methods.dissection.plan import labelled_data
from cnnvis_lab.methods.dissection.workspace import Workspace

COARSE = Convention(quantile=0.05)

RUN_OPTIONS = {field.name for field in fields(RunOptions)}


def dissect(model, data, layers, **options) -> dict[str, LayerTable]:
    """Call `dissection.dissect` with the run's options among the others."""
    run = RunOptions(**{name: options.pop(name) for name in RUN_OPTIONS & options.keys()})
    return dissection.dissect(model, data, layers, run=run, **options)


def _same(one: dict, other: dict) -> bool:
    counts = ("intersection", "mask_pixels", "concept_pixels", "concept_images")
    return one.keys() == other.keys() and all(
        torch.equal(getattr(one[layer], name), getattr(other[layer], name))
        for layer in one
        for name in ("thresholds", *counts, "top_images", "top_values")
    )


@pytest.fixture
def early(monkeypatch) -> None:
    """Use sampling and checkpoints also on small datasets."""
    monkeypatch.setattr(thresholds, "SAMPLE_IMAGES", 8)
    monkeypatch.setattr(Workspace, "EVERY", 2)


@pytest.mark.parametrize("layer", ["0", "3"])
@pytest.mark.parametrize("name", [name for name in CONVENTIONS if name != "2020"])
def test_every_count_equals_the_reference(name, layer):
    convention = replace(CONVENTIONS[name], quantile=0.05)
    net, data = small_net(), random_data()
    table = dissect(net, data, [layer], convention=convention, batch=7)[layer]
    reference = slow_counts(net, data, layer, convention)
    assert reference["intersection"].sum() > 100
    for key, expected in reference.items():
        assert np.array_equal(getattr(table, key).numpy(), expected), key


def test_thresholds_after_upsampling_equal_the_reference():
    convention = replace(CONVENTIONS["2020"], label_step=1, quantile=0.05)
    net, data = small_net(), random_data()
    table = dissect(net, data, ["2"], convention=convention)["2"]
    reference = slow_counts(net, data, "2", convention)
    # The map is interpolated in single precision here and in double there.
    assert np.allclose(table.thresholds, reference["thresholds"], rtol=2**-7)
    fraction = table.mask_pixels[:, 0].sum() / (7 * data.maps[:, 0].numel())
    assert 0.045 < fraction <= 0.05


def test_a_coarser_label_grid_is_every_second_label_pixel():
    net, data = small_net(), random_data()
    coarse = dissect(net, data, ["0"], convention=replace(COARSE, label_step=2, grid="pixels"))
    thinned = LabelledTensors(data.images, data.maps[..., ::2, ::2], data.labels)
    plain = dissect(net, thinned, ["0"], convention=replace(COARSE, grid="pixels"))
    assert _same(coarse, plain)


def test_half_a_percent_of_the_positions_is_above_the_threshold():
    net, data = small_net(), random_data(48, size=64)
    for layer in ("0", "2"):
        table = dissect(net, data, [layer])[layer]
        activations = net[: int(layer) + 1](data.images)
        above = (activations > table.thresholds[:, None, None]).double().mean((0, 2, 3))
        assert (above <= 0.005).all() and (above > 0.004).all()


def test_a_unit_planted_for_a_concept_has_an_iou_of_one_and_detects_it():
    generator = torch.Generator().manual_seed(3)
    concept = torch.rand(20, 1, 8, 8, generator=generator) < 0.1
    images = torch.rand(20, 3, 16, 16, generator=generator)
    images[:, 1] = 0
    images[:, 1, ::2, ::2] = concept[:, 0].float()
    net = nn.Sequential(nn.Conv2d(3, 3, 1, stride=2, bias=False)).requires_grad_(False)
    net[0].weight[:] = torch.eye(3)[:, :, None, None]
    maps = torch.cat(
        [4 * concept.int(), 9 * (torch.rand(20, 1, 8, 8, generator=generator) < 0.3)], 1
    )
    labels = {4: Label(4, "dog", "object", 0), 9: Label(9, "cat", "object", 0)}
    table = dissect(
        net, LabelledTensors(images, maps, labels), ["0"], convention=replace(COARSE, quantile=0.2)
    )
    assert table["0"].iou[1, 0] == 1 and table["0"].detectors()[1].name == "dog"
    assert table["0"].iou[:, 0].argmax() == 1 and (table["0"].iou[[0, 2]] < 0.3).all()


@pytest.mark.parametrize("name", CONVENTIONS)
def test_label_maps_may_be_finer_than_small_images(name):
    square = torch.zeros(4, 1, 28, 28, dtype=torch.int32)
    for index, one in enumerate(square):
        one[:, 3 * index : 3 * index + 14, 4:18] = 1
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False)).requires_grad_(False)
    net[0].weight[:] = torch.tensor([1.0, -1.0])[:, None, None, None]
    labels = {1: Label(1, "square", "object", 0)}
    fine = square.repeat_interleave(4, 2).repeat_interleave(4, 3)
    data = LabelledTensors(square.float(), fine, labels)
    convention = replace(CONVENTIONS[name], quantile=0.3, label_step=1)
    table = dissect(models.load(net, input_size=28), data, ["0"], convention=convention)["0"]
    assert table.iou[0, 0] > 0.75 and table.iou[1, 0] < 0.1


def test_a_mask_compared_with_itself_has_an_iou_of_one():
    net, data = small_net(), random_data()
    thresholds = dissect(net, data, ["2"], convention=COARSE)["2"].thresholds
    masks = dissection.unit_masks(net, data.images, "2", thresholds, [4], size=(16, 16))
    labels = {1: Label(1, "unit 4 itself", "object", 0)}
    table = dissect(
        net, LabelledTensors(data.images, masks.int(), labels), ["2"], convention=COARSE
    )["2"]
    assert masks.any() and table.iou[4, 0] == 1


def test_permuted_units_keep_their_counts():
    net, data, order = small_net(), random_data(), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    plain = dissect(net, data, ["2"], convention=COARSE)["2"]
    net[2].weight[:], net[2].bias[:] = net[2].weight[order], net[2].bias[order]
    permuted = dissect(net, data, ["2"], convention=COARSE)["2"]
    assert torch.equal(permuted.intersection, plain.intersection[order])
    assert torch.equal(permuted.mask_pixels, plain.mask_pixels[order])


def test_counts_do_not_depend_on_batch_size_disk_limit_or_other_layers(early):
    net, data, layers = small_net(exact=True), random_data(), ["0", "2", "6"]
    data.images = (data.images * 16).round() / 16
    whole = dissect(net, data, layers, convention=COARSE, batch=4, top=3)
    for options in ({"batch": 9}, {"disk_limit": 0}, {"disk_limit": 3000}, {"batch": 100}):
        other = dissect(net, data, layers, **{"convention": COARSE, "top": 3} | options)
        assert _same(whole, other)
    for layer in layers:
        assert _same({layer: whole[layer]}, dissect(net, data, [layer], convention=COARSE, top=3))


def test_cached_cells_make_the_second_forward_pass_unnecessary(early):
    net, data = small_net(), random_data(40)
    dissect(net, data, ["2"], convention=COARSE, batch=4)
    read_with_cache, data.read = data.read, 0
    dissect(net, data, ["2"], convention=COARSE, batch=4, disk_limit=0)
    assert data.read == read_with_cache + 40 - 8  # the sample of 8 is not cached


def test_an_unrepresentative_sample_costs_time_but_changes_no_count(early):
    net, data = small_net(), random_data(40)
    first = dissection.make_plan(net, data, ["2"], batch=8).batches[0]
    data.images[first] *= 30
    sampled = dissect(net, data, ["0", "2"], convention=COARSE, batch=8)
    plan = dissection.make_plan(net, data, ["0", "2"], convention=COARSE, batch=8)
    quantiles, tops = dissection.threshold_pass(plan, exact=True)
    assert not dissection.threshold_pass(plan)[0]["2"].is_exact(0.95).all()
    thresholds = dissection.estimate_thresholds(plan, quantiles)
    counts = dissection.count_pass(plan, thresholds)
    assert _same(sampled, dissection.tables(plan, thresholds, counts, tops))


def test_shards_merge_to_the_same_bytes_in_any_order():
    net, data = small_net(), random_data(25)
    plan = dissection.make_plan(net, data, ["0", "2"], convention=COARSE, batch=5, top=2)
    shards = [[0, 3], [1], [2, 4]]
    first = [dissection.threshold_pass(plan, shard) for shard in shards]
    whole, results = dissect(net, data, ["0", "2"], convention=COARSE, batch=5, top=2), set()
    thresholds = {layer: whole[layer].thresholds for layer in plan.layers}
    second = [dissection.count_pass(plan, thresholds, shard) for shard in shards]
    for order in permutations(range(3)):
        parts, counts = deepcopy([first[i] for i in order]), deepcopy([second[i] for i in order])
        for quantiles, tops in parts[1:]:
            for layer in plan.layers:
                parts[0][0][layer].merge(quantiles[layer])
                parts[0][1][layer].merge(tops[layer])
        for other in counts[1:]:
            counts[0].merge(other)
        estimated = dissection.estimate_thresholds(plan, parts[0][0])
        assert _same(dissection.tables(plan, estimated, counts[0], parts[0][1]), whole)
        states = [counts[0].sums, *(parts[0][0][layer].state() for layer in plan.layers)]
        results.add(b"".join(value.numpy().tobytes() for part in states for value in part.values()))
    assert len(results) == 1


@pytest.mark.parametrize("killed_at", [20, 30, 52, 66])
def test_a_killed_dissection_resumes_at_its_checkpoint(killed_at, early, tmp_path):
    net, data = small_net(), random_data(40)
    options = {"convention": COARSE, "batch": 4, "top": 2}

    def kill(done: int, total: int) -> None:
        assert total == 80
        if done >= killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dissect(net, data, ["0", "2"], folder=tmp_path, on_progress=kill, **options)
    progress: list[int] = []
    resumed = dissect(
        net,
        data,
        ["0", "2"],
        folder=tmp_path,
        on_progress=lambda done, _: progress.append(done),
        **options,
    )
    assert killed_at - 12 < progress[0] and progress[-1] == 80
    assert _same(resumed, dissect(net, data, ["0", "2"], **options))


def test_a_dissection_killed_between_its_sample_and_its_first_checkpoint_restarts(
    early, monkeypatch, tmp_path
):
    monkeypatch.setattr(Workspace, "EVERY", 5)
    net, data = small_net(), random_data(40)
    options = {"convention": COARSE, "batch": 4, "top": 2}

    def kill(done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dissect(net, data, ["0", "2"], folder=tmp_path, on_progress=kill, **options)
    assert (tmp_path / "floors.safetensors").exists()
    assert not (tmp_path / "first.safetensors").exists()
    resumed = dissect(net, data, ["0", "2"], folder=tmp_path, **options)
    assert _same(resumed, dissect(net, data, ["0", "2"], **options))


def test_the_number_of_threads_is_restored_after_an_interrupt(early):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)

    def kill(done: int, total: int) -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            dissect(small_net(), random_data(40), ["0"], batch=4, on_progress=kill)
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:  # also in new threads
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(threads)


def test_one_and_two_threads_give_the_same_counts(early):
    net, data, tables = small_net(exact=True), random_data(40), []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        tables.append(dissect(net, data, ["0", "2"], convention=COARSE, batch=4, top=3))
        torch.set_num_threads(threads)
    assert _same(*tables)


def test_a_folder_of_another_dissection_is_refused(tmp_path):
    net, data = small_net(), random_data()
    dissect(net, data, ["2"], folder=tmp_path)
    for changed in (
        lambda: dissect(small_net(1), data, ["2"], folder=tmp_path),
        lambda: dissect(net, random_data(seed=1), ["2"], folder=tmp_path),
        lambda: dissect(net, data, ["2"], folder=tmp_path, convention="lite"),
    ):
        with pytest.raises(FileError, match="belongs to another dissection"):
            changed()


def test_a_damaged_folder_is_refused_with_advice(early, tmp_path):
    net, data = small_net(), random_data(40)
    dissect(net, data, ["2"], batch=4, folder=tmp_path)
    (tmp_path / "first.safetensors").write_bytes(b"no such file")
    with pytest.raises(FileError, match="remove the folder"):
        dissect(net, data, ["2"], batch=4, folder=tmp_path)


def test_unions_grow_with_the_images_that_count():
    net, data = small_net(), random_data()
    areas = ("touched", "category", "everywhere")
    tables = [
        dissect(net, data, ["2"], convention=replace(COARSE, area=area))["2"] for area in areas
    ]
    for smaller, larger in pairwise(tables):
        assert (smaller.mask_pixels <= larger.mask_pixels).all() and (
            smaller.mask_pixels < larger.mask_pixels
        ).any()
        assert torch.equal(smaller.intersection, larger.intersection)


def test_binary_masks_do_not_depend_on_how_far_a_unit_is_above_its_threshold():
    net, images = small_net(), random_data().images
    thresholds = torch.full((7,), 0.1)
    scaled = small_net()
    scaled[2].weight[:], scaled[2].bias[:] = 3 * net[2].weight, 3 * net[2].bias
    for name, same in (("net2vec", True), ("original", False)):
        one = dissection.unit_masks(net, images, "3", thresholds, range(7), convention=name)
        other = dissection.unit_masks(
            scaled, images, "3", 3 * thresholds, range(7), convention=name
        )
        assert torch.equal(one, other)
        far = dissection.unit_masks(scaled, images, "3", thresholds * 2, range(7), convention=name)
        above = net[:4](images) > 0.1
        scaled_above = scaled[:4](images) > 0.2
        assert torch.equal(far, one) is False and (scaled_above | ~above).all()
        assert same or (far & ~one).any()


def test_scenes_and_their_broden_folder_give_the_same_table(tmp_path):
    write_scenes(tmp_path / "world", 12, seed=2)
    model = models.load("zfnet_mini")
    layers = ["CL1", "CL5"]
    generated = dissect(model, SceneSet(2, 12, labelled=True), layers, convention=COARSE)
    read = dissect(model, broden.open_folder(tmp_path / "world"), layers, convention=COARSE)
    assert _same(generated, read)
    concepts = [
        [(c.number, c.name, c.category) for c in t["CL5"].concepts] for t in (generated, read)
    ]
    assert concepts[0] == concepts[1]


def test_a_real_folder_is_dissected_with_a_real_network(shared_data):
    folder = broden.open_folder(shared_data / "broden_real_mini")
    folder = replace(folder, records=folder.records[::12])
    weights = shared_data / "weights" / "squeezenet1_1.safetensors"
    results = {}
    for kind in (weights, "random"):
        model = models.load("squeezenet1_1", weights=kind)
        table = dissect(model, folder, ["features.12"], min_images=3)["features.12"]
        results[kind] = len(table.detectors()), float(table.iou.max())
        assert ((table.iou >= 0) & (table.iou <= 1)).all() and len(table) == 512
    for trained, random in zip(results[weights], results["random"], strict=True):
        assert trained > 1.5 * random
    for column, concept in enumerate(table.concepts):
        if concept.category in ("texture", "scene"):  # labels of whole images count every pixel
            assert table.concept_pixels[column] == table.concept_images[column] * 112 * 112


def test_mistakes_are_named_in_the_error():
    net, data = small_net(), random_data()
    with pytest.raises(NameNotFound, match="did you mean lite"):
        dissect(net, data, ["0"], convention="light")
    with pytest.raises(InputError, match="0 layers"):
        dissect(net, data, [])
    with pytest.raises(InputError, match="has no label maps"):
        labelled_data(net, ResizedImages("", 32, 20, data.batch))
    with pytest.raises(InputError, match="no concept"):
        dissect(net, LabelledTensors(data.images, data.maps, {}), ["0"])
    net[0].bias[:] = float("nan")
    with pytest.raises(InputError, match="layer '0' returned NaN"):
        dissect(net, data, ["0"])


class Lost(nn.Module):
    """Moves pixels so that receptive fields cannot be computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(x, 2), 2).roll(3, -1)


class _WholeImage(nn.Module):
    """Scales maps by their own mean, so that all positions depend on the whole image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("convention", ["original", "lite", "2020"])
def test_maps_without_receptive_fields_of_their_own_are_stretched_over_the_image(convention):
    convention = replace(CONVENTIONS[convention], quantile=0.2, label_step=1)
    stretched = replace(
        convention, grid="pixels" if "fields" in convention.grid else convention.grid
    )
    for first in (Lost(), _WholeImage()):
        net = nn.Sequential(first, nn.Conv2d(3, 2, 3)).requires_grad_(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = dissect(net, random_data(), ["1"], convention=convention)
        assert _same(found, dissect(net, random_data(), ["1"], convention=stretched))


def test_a_warning_says_that_a_receptive_field_is_unknown():
    net = nn.Sequential(Lost(), nn.Conv2d(3, 2, 3)).requires_grad_(False)
    with pytest.warns(UserWarning, match="field of 1 is unknown"):
        dissect(net, random_data(), ["1"])


class Tutorial(nn.Module):
    """Flattens its maps by `view`, as in PyTorch's tutorial on CIFAR."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 5), nn.Linear(6 * 784, 4)
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.last(self.head(x.view(x.size(0), -1)))


@pytest.mark.parametrize("layers", [["conv"], ["head"], ["conv", "last"]])
def test_a_network_that_views_its_maps_is_dissected(layers):
    torch.manual_seed(0)
    model = models.load(Tutorial(), input_size=32)
    data = random_data()
    found = dissect(model, data, layers, convention=COARSE)
    net = model.net
    net.forward = lambda x: net.last(net.head(net.conv(x).flatten(1)))
    assert _same(found, dissect(model, data, layers, convention=COARSE))

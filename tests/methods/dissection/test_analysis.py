"""Analyses of dissections and of concept vectors, and their figures."""

import numpy as np
import pytest
import torch
from support.reference_dissection import LABELS, random_data, small_net
from torch import nn

from cnnvis_lab import data, models
from cnnvis_lab.core import InputError, hooks
from cnnvis_lab.data import Label
from cnnvis_lab.data.broden import write_scenes
from cnnvis_lab.lab import figures
from cnnvis_lab.lab.figures import style
from cnnvis_lab.methods import dissection, net2vec
from cnnvis_lab.methods.dissection import Convention, dissect

pytestmark = pytest.mark.usefixtures("one_thread")
COARSE = Convention(quantile=0.05)


def table(layer: str = "2", **options: object):
    return dissect(small_net(), random_data(), [layer], convention=COARSE, **options)[layer]


def test_distinct_units_have_different_concepts_and_are_the_best_for_them():
    layer_table = table()
    iou, column = layer_table.best("object")
    units = dissection.distinct_units(layer_table, 9, "object")
    concepts = [int(column[unit]) for unit in units]
    assert len(set(concepts)) == len(concepts) == len(column.unique())
    for unit, concept in zip(units, concepts, strict=True):
        assert iou[unit] == iou[column == concept].max()
    assert iou[units].tolist() == sorted(iou[units].tolist(), reverse=True)


def test_the_best_units_of_all_layers_are_the_best_of_each_concept():
    tables = dissect(small_net(), random_data(), ["0", "2"], convention=COARSE)
    best = dissection.best_units(tables, "color", 2)
    names = [dissection.best_concept(tables[layer], unit, "color") for layer, unit in best]
    assert len({name for name, _ in names}) == 2 and names[0][1] >= names[1][1]
    assert names[0][1] == max(float(one.best("color")[0].max()) for one in tables.values())


def test_concepts_are_counted_by_category_in_every_table():
    tables = [table().with_limits(min_iou=limit) for limit in (0.02, 0.05)]
    counts = dissection.concepts_by_category(tables)
    for index, one in enumerate(tables):
        assert {
            name: row[index] for name, row in counts.items() if name in one.categories
        } == one.unique_concepts()
    assert dissection.unique_detectors_at(table(), [0.02, 0.05]) == [
        sum(t.unique_concepts().values()) for t in tables
    ]


def test_the_fraction_above_the_threshold_is_counted_over_all_images():
    layer_table, data = table(), random_data()
    above = dissection.fraction_above_threshold(small_net(), data, "2", layer_table.thresholds)
    activations = hooks.activations(small_net(), data.images, ["2"])["2"]
    expected = (activations > layer_table.thresholds[:, None, None]).double().mean((0, 2, 3))
    assert torch.allclose(above.double(), expected) and 0.03 < above.max() <= 0.05


def test_top_activations_have_the_masks_that_were_counted():
    layer_table, data = table(top=3), random_data()
    examples = dissection.top_activations(small_net(), data, layer_table, 4, 3, convention=COARSE)
    masks = dissection.unit_masks(
        small_net(),
        data.images,
        "2",
        layer_table.thresholds,
        [4],
        size=(16, 16),
        convention=COARSE,
    )
    assert masks[layer_table.top_images[4]].any()
    for example, index in zip(examples, layer_table.top_images[4].tolist(), strict=True):
        assert torch.equal(example.image, data.images[index])
        assert torch.equal(example.mask, masks[index, 0])
        assert (example.concept, example.iou) == dissection.best_concept(layer_table, 4)
        assert example.unit == 4
    of_category = dissection.top_activations(
        small_net(), data, layer_table, 4, 1, category="color"
    )[0]
    assert of_category.concept in ("red", "blue") and of_category.iou == float(
        layer_table.best("color")[0][4]
    )
    with pytest.raises(InputError, match="top=4"):
        dissection.top_activations(small_net(), data, layer_table, 4, 4)


def test_the_walkthrough_of_one_image_ends_in_its_mask_and_iou():
    layer_table, data = table(top=1), random_data()
    steps = dissection.walkthrough(small_net(), data, layer_table, 4)
    example = dissection.top_activations(small_net(), data, layer_table, 4, 1)[0]
    assert torch.equal(steps.image, example.image) and torch.equal(steps.mask, example.mask)
    concept = layer_table.concepts[int(layer_table.best()[1][4])]
    truth = (data.maps[layer_table.top_images[4, 0]] == concept.number).any(0)
    assert torch.equal(steps.concept, truth)
    assert steps.activation.max() == layer_table.top_values[4, 0]
    assert (
        abs(steps.iou - float((example.mask & truth).sum() / (example.mask | truth).sum())) < 1e-6
    )


def test_bases_are_compared_if_there_are_labels(tmp_path):
    model = models.load("alexnet_mini")
    same = dissection.compare_bases(model, "CL5", torch.eye(80), "", 8)
    assert len(same.units) == 80 and same.mean_difference() == pytest.approx(0, abs=1e-6)
    data.images.to_pil(torch.rand(3, 128, 128)).save(tmp_path / "plain.png")
    for source, count in (("", 0), (str(tmp_path), 8)):
        other = dissection.compare_bases(model, "CL5", torch.eye(80), source, count)
        assert other.mean_difference() is None


def test_a_rotation_sweep_starts_with_the_plain_basis_and_keeps_the_classes():
    tables, unchanged_classes = dissection.rotation_sweep(
        small_net(), random_data(), "2", [0.0, 1.0], seed=1, convention=COARSE
    )
    assert torch.allclose(tables[0].iou, table().iou, atol=0.02) and unchanged_classes == 1
    assert not torch.allclose(tables[1].iou, table().iou, atol=0.02)


def test_concordance_is_the_fraction_of_pairs_in_the_same_order():
    assert dissection.concordance([1, 2, 3], [10, 20, 30]) == 1
    assert dissection.concordance([1, 2, 3], [3, 2, 1]) == 0
    assert dissection.concordance([1, 2, 2], [5, 5, 9]) == 0.75
    assert dissection.concordance([4, 4], [1, 2]) is None


def test_relative_range_and_correlation_are_none_without_variation():
    assert dissection.relative_range([8, 10, 12]) == 0.4
    assert dissection.relative_range([8]) is None and dissection.relative_range([]) is None
    assert dissection.correlation([1, 2, 3], [2, 4, 6.5]) > 0.99
    assert dissection.correlation([1, 1, 1], [2, 4, 6.5]) is None


def test_a_layer_that_encodes_the_scene_transfers_and_noise_does_not():
    data, net = random_data(60), nn.Sequential(nn.Conv2d(3, 3, 1, bias=False)).requires_grad_(False)
    labels = dict(LABELS) | {1: Label(1, "beach", "scene", 0)}
    street = next(
        number for number, label in labels.items() if label.category == "scene" and number > 1
    )
    is_beach = torch.rand(60, generator=torch.Generator().manual_seed(0)) < 0.5
    data.maps[:, 3] = torch.where(is_beach, 1, street)[:, None, None].int()
    data.labels = labels
    chance = dissection.transfer_accuracy(net, data, "0")
    data.images[is_beach] *= 0.5
    assert dissection.transfer_accuracy(net, data, "0") == 1 and chance < 0.8
    data.maps[:, 3] = 0
    with pytest.raises(InputError, match="too few images with different scenes"):
        dissection.transfer_accuracy(net, data, "0")


def test_convolutional_and_fully_connected_layers_are_found():
    alexnet = models.load("alexnet_mini")
    assert dissection.conv_layers(alexnet) == [f"CL{i}.relu" for i in range(1, 6)]
    assert net2vec.fully_connected_layers(alexnet) == ["FL1.relu", "FL2.relu", "FL3"]
    other = models.load("squeezenet1_1", weights="random")
    stages = dissection.conv_layers(other)
    assert "logits" not in stages and len(stages) > 3 and not net2vec.fully_connected_layers(other)


def test_datasets_are_opened_by_name_and_splits_share_no_image(tmp_path):
    train, validation = data.open_labelled_splits("", 128, 3, 2)
    assert (len(train), len(validation)) == (3, 2)
    both = torch.cat([train.batch(range(3)), validation.batch(range(2))])
    assert torch.equal(both, data.open_labelled("", 128, 5).batch(range(5)))
    write_scenes(tmp_path / "world", 10, seed=2)
    folder = str(tmp_path / "world")
    assert (
        len(data.open_labelled(folder, 128, 4)) == 4
        and len(data.open_labelled(folder, 128, 99)) == 10
    )
    train, validation = data.open_labelled_splits(folder, 64, 99, 99)
    assert len(train) + len(validation) == 10 and train.batch([0]).shape[-1] == 64
    names = [{record.image for record in part.folder.records} for part in (train, validation)]
    assert not names[0] & names[1]
    with pytest.raises(InputError, match="no image of split 'test'"):
        data.open_labelled(folder, 128, 4, "test")
    with pytest.raises(InputError, match="0 images"):
        data.open_labelled("", 128, 0)


def test_categories_keep_their_colors_and_stacked_bars_add_up():
    few, many = (style.category_colors(names) for names in (["part", "color"], [*"xy", "part"]))
    assert list(few) == ["color", "part"] and few["part"] == many["part"]
    assert len(set(many.values())) == 3
    bars = figures.stacked_bars(["a", "b"], {"color": [1, 2], "part": [4, 0]}).axes[0]
    tops: dict[float, float] = {}
    for bar in bars.patches:
        x = round(bar.get_x() + bar.get_width() / 2)
        tops[x] = max(tops.get(x, 0), bar.get_y() + bar.get_height())
    assert tops == {0: 5, 1: 2} and {text.get_text() for text in bars.texts} == {"5", "2"}


def test_every_point_is_drawn_and_the_overlap_has_four_colors():
    figure = figures.scatter({"color": ([0.1, 0.2], [0.3, 0.1]), "part": ([], [])}, diagonal=True)
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 2
    mask, concept = np.array([[0, 1], [0, 1]], bool), np.array([[0, 0], [1, 1]], bool)
    assert (
        len(np.unique(figures.concepts.overlap_image(mask, concept).reshape(3, -1), axis=1).T) == 4
    )
    pipeline = figures.concepts.dissection_pipeline(
        np.zeros((3, 4, 4)), mask.astype(float), mask.astype(float), mask, concept,
        names=["a"] * 6, steps=["b"] * 4,
    )  # fmt: skip
    assert len(pipeline.axes) == 6

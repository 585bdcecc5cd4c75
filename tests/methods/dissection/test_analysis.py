"""Analyses of dissections and of concept vectors, and their figures."""

from dataclasses import replace

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
    tables = [replace(table(), min_iou=limit) for limit in (0.02, 0.05)]
    counts = dissection.count_concepts({"CL1.relu": tables[0], "CL2": tables[1]})
    assert counts.names == ("CL1", "CL2")
    for name, one in zip(counts.names, tables, strict=True):
        unique, total = one.unique_concepts(), sum(one.unique_concepts().values())
        assert {kind: counts.of(kind)[name] for kind in one.categories} == unique
        assert counts.of()[name] == total and counts.of("no such")[name] == 0
        fraction = counts.fraction("color", "object")[name]
        assert fraction == (unique["color"] + unique["object"]) / max(total, 1)
    assert table().unique_detectors_at([0.02, 0.05]) == [*counts.of().values()]


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


def test_examples_prefer_images_on_which_the_mask_is_seen(monkeypatch):
    tables, data = (
        dissect(small_net(), random_data(), ["0", "2"], convention=COARSE, top=4),
        random_data(),
    )
    options = {"units": 2, "images": 2, "convention": COARSE}
    by_category = dissection.examples_by_category(small_net(), data, tables, **options)
    assert [*by_category] == [*tables["2"].categories]
    best = [(unit[0].layer, unit[0].unit) for unit in by_category["color"]]
    assert best == dissection.best_units(tables, "color", 2)
    monkeypatch.setattr(dissection.single_unit, "VISIBLE_FRACTION", 0.1)
    assert not dissection.examples_by_layer(
        small_net(), data, {"2": replace(tables["2"], min_iou=1.1)}, **options
    )["2"]
    tables = {layer: replace(table, min_iou=0.0) for layer, table in tables.items()}
    by_layer = dissection.examples_by_layer(small_net(), data, tables, **options)
    assert [unit[0].unit for unit in by_layer["2"]] == dissection.distinct_units(tables["2"], 2)
    for unit in by_layer["2"]:
        recorded = dissection.top_activations(
            small_net(), data, tables["2"], unit[0].unit, 4, convention=COARSE
        )
        visible = [one.mask.float().mean() >= 0.1 for one in recorded]
        order = sorted(range(4), key=lambda index: not visible[index])[:2]
        for one, index in zip(unit, order, strict=True):
            assert torch.equal(one.image, recorded[index].image)


def test_the_walkthrough_of_one_image_ends_in_its_mask_and_iou():
    layer_table, data = table(top=1), random_data()
    steps = dissection.walkthrough(small_net(), data, layer_table, 4)
    example = dissection.top_activations(small_net(), data, layer_table, 4, 1)[0]
    assert torch.equal(steps.image, example.image) and torch.equal(steps.mask, example.mask)
    concept = layer_table.concepts[int(layer_table.best()[1][4])]
    truth = (data.maps[layer_table.top_images[4, 0]] == concept.number).any(0)
    assert torch.equal(steps.concept_mask, truth) and steps.target == "2:4"
    assert (steps.concept, steps.dataset_iou) == dissection.best_concept(layer_table, 4)
    assert steps.activation.max() == layer_table.top_values[4, 0]
    assert (
        abs(steps.iou - float((example.mask & truth).sum() / (example.mask | truth).sum())) < 1e-6
    )


def test_the_walkthrough_shows_an_image_where_mask_and_concept_meet_or_at_least_the_concept():
    layer_table, data = table(top=20), random_data()
    high = layer_table.thresholds.clone()
    high[0] = 1e9  # this unit has no mask anywhere
    layer_table, skipped = replace(layer_table, thresholds=high), 0
    for unit in range(len(layer_table)):
        concept = layer_table.concepts[int(layer_table.best()[1][unit])]
        recorded = dissection.top_activations(small_net(), data, layer_table, unit, 20)
        images = layer_table.top_images[unit].tolist()
        truths = [(data.maps[image] == concept.number).any(0) for image in images]
        shown = next(i for i, truth in zip(images, truths, strict=True) if truth.any())
        pairs = zip(images, recorded, truths, strict=True)
        both = [image for image, one, truth in pairs if (one.mask & truth).any()]
        assert bool(both) == (unit > 0)
        skipped += both[:1] not in ([], [shown])
        shown = both[0] if both else shown
        steps = dissection.walkthrough(small_net(), data, layer_table, unit)
        assert steps.concept_mask.any() and torch.equal(steps.image, data.images[shown])
    for limit, detected in ((0.0, True), (1.1, False)):
        limited = replace(layer_table, min_iou=limit)
        assert dissection.walkthrough(small_net(), data, limited, 0).detected == detected
    assert skipped  # a first image with the concept, but without the mask on it


def test_no_unit_below_the_limit_is_an_example_of_a_concept():
    tables = dissect(small_net(), random_data(), ["0", "2"], convention=COARSE, top=2)
    strict = {layer: replace(one, min_iou=1.1) for layer, one in tables.items()}
    arguments = small_net(), random_data(), strict
    assert set(map(len, dissection.examples_by_layer(*arguments, images=1).values())) == {0}
    assert set(map(len, dissection.examples_by_category(*arguments, images=1).values())) == {0}
    assert strict["2"].used_concepts == len(strict["2"].concepts)
    assert replace(tables["2"], min_images=10**6).used_concepts == 0


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

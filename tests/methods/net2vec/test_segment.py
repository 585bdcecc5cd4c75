"""Net2Vec equals a slow reference, and finds planted concepts."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support.reference_dissection import LABELS, LabelledTensors, columns_of, random_data, small_net
from torch import nn
from torch.nn import functional

from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.data import Label
from cnnvis_lab.methods import dissection, net2vec
from cnnvis_lab.methods.dissection import upsample
from cnnvis_lab.methods.dissection.grid import make_axis, make_grid
from cnnvis_lab.methods.net2vec import SGD_SETTINGS, Probes, SGDSettings, classify, prepare, segment
from cnnvis_lab.methods.net2vec.prepare import block_mean_matrix, block_sums

pytestmark = pytest.mark.usefixtures("one_thread")

QUANTILE = 0.05
FAST = SGDSettings(0.1, 30, 64)


def everywhere(count: int, seed: int = 0) -> LabelledTensors:
    """Images that all show the same three concepts at different positions."""
    rng = torch.Generator().manual_seed(seed)
    maps = 2 + 3 * torch.randint(0, 3, (count, 1, 4, 4), generator=rng)
    maps = maps.repeat_interleave(4, 2).repeat_interleave(4, 3).int()
    maps[:, :, 0, :3] = torch.tensor([2, 5, 8], dtype=torch.int32)
    labels = {number: LABELS[number] for number in (2, 5, 8)}
    return LabelledTensors(torch.rand(count, 3, 32, 32, generator=rng), maps, labels)


def prepared(data: LabelledTensors, layer: str = "2", block: int = 1, others: tuple = ()) -> list:
    return prepare(small_net(), data, others, [layer], quantile=QUANTILE, block=block, batch=7)


def reference_bits(data: LabelledTensors, layer: str, thresholds: torch.Tensor) -> torch.Tensor:
    activations = hooks.activations(small_net(), data.images, [layer])[layer]
    return (activations > thresholds[:, None, None]).double()


def reference_upsample(maps: torch.Tensor, size: int) -> torch.Tensor:
    return functional.interpolate(maps, size=(size, size), mode="bilinear", align_corners=True)


def thresholds(data: LabelledTensors, layer: str) -> torch.Tensor:
    convention = replace(dissection.CONVENTIONS["net2vec"], quantile=QUANTILE)
    return dissection.dissect(small_net(), data, [layer], convention=convention)[layer].thresholds


def reference_weights(on, truth, first, loss: str, settings: SGDSettings) -> torch.Tensor:
    """Learn one concept alone with autograd, from every label pixel, batch by batch."""
    weights = first.double().clone().requires_grad_()
    optimizer = torch.optim.SGD([weights], settings.learning_rate, settings.momentum)
    alpha = 1 - truth.mean()
    for _ in range(settings.epochs):
        for part in range(0, len(on), settings.batch):
            maps, t = on[part : part + settings.batch], truth[part : part + settings.batch]
            summed = (maps * weights[:, None, None]).sum(1, keepdim=True)
            p = torch.sigmoid(reference_upsample(summed, truth.shape[-1]))[:, 0]
            hit, miss = (p, 1 - p) if loss == "linear" else (p.log(), (1 - p).log())
            value = -(alpha * t * hit + (1 - alpha) * (1 - t) * miss).sum() / len(maps)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return weights.detach()


@pytest.mark.parametrize("loss", ["linear", "cross-entropy"])
@pytest.mark.parametrize("layer", ["0", "3"])
def test_learning_all_concepts_together_equals_learning_each_alone_in_the_reference(layer, loss):
    data, settings = everywhere(20), replace(SGD_SETTINGS["released"], epochs=4, learning_rate=3e-2)
    (train,) = prepared(data, layer)
    together = segment(train, layer, loss=loss, settings=settings, seed=3)
    start = segment(train, layer, loss=loss, settings=replace(settings, epochs=0), seed=3)
    on = reference_bits(data, layer, thresholds(data, layer))
    assert (together.weights - start.weights).abs().max() > 0.05
    for row, number in enumerate(data.labels):
        truth = (data.maps[:, 0] == number).double()
        expected = reference_weights(on, truth, start.weights[row], loss, settings)
        assert torch.allclose(together.weights[row].double(), expected, atol=1e-5)


def test_a_concept_does_not_depend_on_the_others_learned_with_it():
    (train,) = prepared(random_data(), block=4)
    together = segment(train, "2", settings=FAST)
    for row, column in enumerate(together.concept.tolist()):
        alone = segment(train, "2", [column], settings=FAST)
        assert torch.allclose(alone.weights[0], together.weights[row], atol=1e-4)


def coarse() -> LabelledTensors:
    """A concept is where the interpolated map of the first color exceeds one half."""
    bright = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.15
    images = torch.zeros(24, 3, 16, 16)
    images[:, :1, ::4, ::4] = bright.float()
    grid = make_grid("corners", (4, 4), (16, 16), (8, 8))  # Net2Vec's
    return LabelledTensors(
        images, (upsample(bright.float(), grid) > 0.5).int(), {1: Label(1, "blob", "object", 0)}
    )


def test_the_calibrated_bias_has_the_highest_iou_of_all_candidates():
    net = nn.Sequential(nn.Conv2d(3, 3, 1, stride=4, bias=False)).requires_grad_(False)
    net[0].weight[:] = torch.eye(3)[:, :, None, None]
    (train,) = prepare(net, coarse(), [], ["0"], quantile=0.3, block=1)
    plain = segment(train, "0", settings=FAST)
    calibrated = segment(train, "0", settings=replace(FAST, calibrated=True))
    assert torch.equal(calibrated.weights, plain.weights)
    cuts = torch.linspace(0, 0.8, 9)[:, None] * plain.weights[:, 0]
    ious = [net2vec.set_iou(train, "0", Probes(plain.weights, -cut, plain.concept)) for cut in cuts]
    reached = net2vec.set_iou(train, "0", calibrated)
    assert reached == max(ious) and reached > 1.5 * ious[0]


def test_the_first_weights_are_those_of_the_paper():
    (train,) = prepared(random_data(), "3")
    start = segment(train, "3", settings=replace(FAST, epochs=0)).weights
    assert start.abs().max() <= 7**-0.5 and start.abs().max() > 0.8 * 7**-0.5


@pytest.mark.parametrize("layer", ["0", "3"])
def test_a_single_filter_scores_as_network_dissection_counts_it(layer):
    data = random_data()
    convention = replace(dissection.CONVENTIONS["net2vec"], quantile=QUANTILE)
    table = dissection.dissect(small_net(), data, [layer], convention=convention)[layer]
    (train,) = prepared(data, layer)
    assert table.intersection.sum() > 100
    assert torch.equal(net2vec.filter_iou(train, layer), table.iou)


@pytest.mark.parametrize("layer", ["0", "3"])
def test_a_one_hot_vector_is_the_single_filter(layer):
    train, validation = prepared(random_data(), layer, others=(random_data(seed=1),))
    units, columns = train[layer].units, range(len(train.concepts))
    every = torch.arange(units).repeat_interleave(len(columns))
    probes = net2vec.one_hot(train, layer, every, [*columns] * units)
    singles = net2vec.filter_iou(validation, layer)
    assert singles.max() > 0.02
    assert torch.equal(net2vec.set_iou(validation, layer, probes).view(units, -1), singles)
    masks = net2vec.masks(validation, layer, probes.rows(slice(0, None, len(columns))), range(20))
    unit_masks = dissection.unit_masks(
        small_net(), random_data(seed=1).images, layer, thresholds(random_data(), layer),
        range(units), size=(16, 16), convention="net2vec",
    )  # fmt: skip
    assert masks.any() and torch.equal(masks, unit_masks.transpose(0, 1))


@pytest.mark.parametrize("block", [1, 3, 4])
def test_scores_are_counted_pixel_by_pixel_over_images_that_show_the_concept(block):
    data, other = random_data(), random_data(seed=5)
    train, validation = prepared(data, "0", block, (other,))
    probes = segment(train, "0", settings=FAST)
    scores = net2vec.set_iou(validation, "0", probes, batch=6)
    on = reference_bits(other, "0", thresholds(data, "0"))
    for row, column in enumerate(probes.concept.tolist()):
        truth = (other.maps == train.concepts[column].number).any(1)
        present = truth.flatten(1).any(1)
        summed = (on[present] * probes.weights[row, :, None, None]).sum(1, keepdim=True)
        # Rounding of the scores to float32 may flip a pixel whose score is zero.
        mask = reference_upsample(summed, 16)[:, 0] > 1e-6
        both, either = (mask & truth[present]).sum(), (mask | truth[present]).sum()
        assert abs(scores[row] - both / either) < 0.01


def test_the_best_filter_is_chosen_on_training_images_and_scored_on_others():
    train, validation = prepared(random_data(), "3", others=(random_data(seed=9),))
    best = net2vec.best_filters(train, validation, "3")
    on_training, on_validation = (net2vec.filter_iou(part, "3") for part in (train, validation))
    assert (
        torch.equal(best.train, on_training.amax(0)) and (best.score <= on_validation.amax(0)).all()
    )
    assert (
        best.score < on_validation.amax(0)
    ).any()  # another unit is better on the validation images
    assert all(best.score[c] == on_validation[u, c] for c, u in enumerate(best.unit.tolist()))
    some = net2vec.best_filters(train, validation, "3", [3, 1])
    assert all(torch.equal(a, b[[3, 1]]) for a, b in zip(some, best, strict=True))


def test_validation_images_do_not_affect_what_is_learned():
    data = random_data()
    first, second = (prepared(data, others=(random_data(seed=s),))[0] for s in (1, 2))
    assert torch.equal(first["2"].packed, second["2"].packed)
    assert torch.equal(first["2"].pooled, second["2"].pooled)
    brighter = random_data(seed=1)
    brighter.images *= 3
    original, scaled = (
        prepared(data, others=(other,))[1] for other in (random_data(seed=1), brighter)
    )
    assert (
        scaled["2"].active(range(20)).sum() > original["2"].active(range(20)).sum()
    )  # same thresholds


def planted() -> tuple[nn.Module, list[LabelledTensors]]:
    """Units are the color channels; "either" is where the first or the third is bright."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, stride=2, bias=False)).requires_grad_(False)
    net[0].weight[:] = torch.eye(3)[:, :, None, None]
    labels = {1: Label(1, "either", "object", 0), 2: Label(2, "second", "object", 0)}
    sets = []
    for seed in (0, 1):
        bright = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) < 0.1
        images = torch.zeros(24, 3, 16, 16)
        images[..., ::2, ::2] = bright.float()
        both = torch.stack([bright[:, 0] | bright[:, 2], 2 * bright[:, 1]], 1).int()
        sets.append(LabelledTensors(images, both, labels))
    return net, sets


def test_a_concept_planted_in_two_units_is_found_in_their_combination():
    net, (data, other) = planted()
    train, validation = prepare(net, data, [other], ["0"], quantile=0.2, block=1)
    best = net2vec.best_filters(train, validation, "0")
    for loss in net2vec.LOSSES:
        probes = segment(train, "0", loss=loss, settings=FAST)
        assert net2vec.set_iou(validation, "0", probes).tolist() == [1, 1]
        assert probes.weights[0, 0] > 0 and probes.weights[0, 2] > 0 and probes.weights[1, 1] > 0
        assert set(net2vec.largest_weights(probes, 2)[0].nonzero()[:, 0].tolist()) == {0, 2}
    assert 0.4 < best.score[0] < 0.7 and best.score[1] == 1 and best.unit[1] == 1


@pytest.mark.parametrize("learn", [segment, classify])
def test_a_subset_of_all_filters_is_the_full_model_and_others_are_excluded(learn):
    (train,) = prepared(random_data(), "3", block=4)
    columns = [0, 2, 3]
    learn = partial(segment, settings=FAST) if learn is segment else classify
    full = learn(train, "3", columns)
    one, three, all_of_them = net2vec.learn_subsets(learn, train, "3", full, [1, 3, 7])
    assert torch.allclose(all_of_them.weights, full.weights, atol=1e-5)
    assert torch.equal(three.concept, full.concept)
    for probes, count in ((one, 1), (three, 3)):
        assert torch.equal(probes.weights != 0, net2vec.largest_weights(full, count))
        assert (net2vec.largest_weights(full, count).sum(1) == count).all()


def test_one_bit_is_stored_per_activation():
    data = random_data()
    (train,) = prepared(data, "0")
    on = reference_bits(data, "0", thresholds(data, "0"))
    assert np.array_equal(train["0"].maps(range(20)), on.permute(0, 2, 3, 1).float().numpy())
    assert train["0"].packed.nbytes == 20 * 16 * 16 * 1  # five units in one byte


@pytest.mark.parametrize(
    ("count", "length", "side"), [(7, 64, 4), (5, 17, 4), (30, 9, 5), (1, 8, 3)]
)
def test_block_means_equal_those_of_the_upsampled_map(count, length, side):
    maps = torch.rand(2, 3, count, count + 1)
    grid = make_grid("corners", (count, count + 1), (32, 32), (length, length + 2))
    upsampled = upsample(maps, grid).flatten(0, 1)
    sums, sizes = block_sums(upsampled, side), block_sums(torch.ones(1, length, length + 2), side)
    rows, columns = (block_mean_matrix(one, side) for one in grid)
    assert torch.allclose(rows @ maps.flatten(0, 1) @ columns.T, sums / sizes, atol=1e-5)
    assert int(sizes.sum()) == length * (length + 2)
    assert make_axis("corners", count, 32, length, None) == grid.rows


def test_concept_masks_have_the_concepts_pixels():
    data = random_data()
    (train,) = prepared(data, block=4)
    assert (train.masks.image.diff() >= 0).all()
    for pair, (image, column) in enumerate(zip(*train.present.nonzero(as_tuple=True), strict=True)):
        truth = (data.maps[image] == train.concepts[column].number).any(0)
        assert train.masks.pixels[pair].sum() == truth.sum() > 0
    (whole,) = columns_of(train, "striped")
    assert train.mean_fraction[whole] == 1 and whole not in net2vec.usable_concepts(train, train)
    few = net2vec.usable_concepts(train, train, segmentation=False, min_images=8)
    assert whole not in few and whole in net2vec.usable_concepts(
        train, train, segmentation=False, min_images=7
    )


def test_a_concept_that_fills_its_images_is_not_weighted_and_others_are_balanced():
    (train,) = prepared(random_data())
    striped, red = columns_of(train, "striped", "red")
    assert train.pixel_weights[striped].tolist() == [1, 1]
    assert torch.allclose(
        train.pixel_weights[red],
        torch.stack([1 - train.mean_fraction[red], train.mean_fraction[red]]),
    )


def test_the_best_threshold_is_the_best_of_all_units_signs_and_levels():
    train, validation = prepared(random_data(30), "3", others=(random_data(30, seed=4),))
    columns = [0, 3, 5]
    best = net2vec.best_thresholds(train, validation, "3", columns)
    pooled, present = train["3"].pooled, train.present[:, columns]
    for row in range(len(columns)):
        with_it = present[:, row]
        accuracies = []
        for values in pooled.T:
            for level in values:
                above = values > level
                accuracy = (above[with_it].double().mean() + (~above[~with_it]).double().mean()) / 2
                accuracies += [float(accuracy), float(1 - accuracy)]
        assert abs(best.train[row] - max(accuracies)) < 1e-6
    assert (best.score <= 1).all() and (best.score != best.train).any()


def test_accuracy_weights_images_with_and_without_the_concept_equally():
    (train,) = prepared(random_data(), "3")
    never = Probes(torch.zeros(6, 7), torch.full((6,), -1.0), torch.arange(6))
    assert torch.allclose(net2vec.balanced_accuracy(train, "3", never), torch.full((6,), 0.5))
    learned = classify(train, "3", range(6))
    predicted = train["3"].pooled.double() @ learned.weights.T.double() + learned.bias > 0
    for row, accuracy in enumerate(net2vec.balanced_accuracy(train, "3", learned)):
        with_it = train.present[:, row]
        fractions = [
            (predicted[:, row] == with_it)[part].double().mean() for part in (with_it, ~with_it)
        ]
        assert abs(accuracy - sum(fractions) / 2) < 1e-6


def test_a_concept_that_one_unit_detects_is_classified_without_error():
    net, (data, other) = planted()
    for part in (data, other):
        present = torch.arange(24) % 3 == 0
        part.images[:, 1, ::2, ::2] = 0.5 * present[:, None, None]
        part.maps[:, 1] = 2 * present[:, None, None]
    train, validation = prepare(net, data, [other], ["0"], quantile=0.2)
    probes = classify(train, "0", [1])
    assert net2vec.balanced_accuracy(validation, "0", probes) == 1
    best = net2vec.best_thresholds(train, validation, "0", [1])
    assert best.unit == 1 and best.score == 1
    assert net2vec.largest_weights(probes, 1)[0].tolist() == [False, True, False]


def test_neighbors_and_purity_recover_planted_kinds():
    rng = torch.Generator().manual_seed(0)
    kinds = ["color"] * 4 + ["object"] * 4
    centers = torch.eye(2, 6).repeat_interleave(4, 0)
    vectors = centers + 0.05 * torch.randn(8, 6, generator=rng)
    assert (net2vec.purity(vectors, kinds, 3) == 1).all()
    assert torch.allclose(net2vec.chance_purity(kinds), torch.tensor(3 / 7).double())
    similarities, rows = net2vec.neighbors(vectors, 3)
    scaled = vectors * torch.rand(8, 1, generator=rng).add(0.1)
    assert torch.equal(
        net2vec.neighbors(scaled, 3)[1], rows
    )  # similarity does not depend on length
    assert (similarities[:, 0] >= similarities[:, 1]).all() and (
        rows != torch.arange(8)[:, None]
    ).all()


def test_sums_of_vectors_solve_planted_analogies():
    rng = torch.Generator().manual_seed(1)
    colors, shapes = torch.randn(3, 40, generator=rng), torch.randn(3, 40, generator=rng)
    table = (colors[:, None] + shapes).flatten(0, 1)  # row 3 i + j: color i, shape j
    # red square - red circle + blue circle = blue square
    similarities = net2vec.combine(table, plus=[0, 4], minus=[1])
    assert int(similarities.argmax()) == 3 and (similarities[[0, 1, 4]] == -2).all()


def test_filters_are_grouped_by_their_number_of_concepts():
    per_filter = torch.tensor([0, 0, 0, 2, 5]).bincount(minlength=7)
    assert per_filter.tolist() == [3, 0, 1, 0, 0, 1, 0]
    assert torch.allclose(
        net2vec.sharing_histogram(per_filter), torch.tensor([4, 2, 1, 0, 0, 0, 0]).double() / 7
    )


def test_the_principal_plane_keeps_distances_within_a_plane():
    rng = torch.Generator().manual_seed(2)
    flat = functional.normalize(torch.randn(9, 2, generator=rng), dim=1)
    rotated = flat @ torch.linalg.qr(torch.randn(5, 5, generator=rng))[0][:2]
    coordinates, fractions = net2vec.principal_plane(rotated)
    assert torch.allclose(
        torch.cdist(coordinates, coordinates), torch.cdist(flat, flat).double(), atol=1e-5
    )
    assert abs(fractions.sum() - 1) < 1e-6 and fractions[0] >= fractions[1]


def test_mistakes_are_named_in_the_error():
    (train,) = prepared(random_data())
    with pytest.raises(NameNotFound, match="did you mean linear"):
        segment(train, "2", loss="liner")
    with pytest.raises(NameNotFound, match="did you mean released"):
        segment(train, "2", settings="release")
    with pytest.raises(NameNotFound, match="prepared layer"):
        segment(train, "3")
    with pytest.raises(InputError, match="8 filters of 7"):
        net2vec.largest_weights(segment(train, "2", settings=replace(FAST, epochs=0)), 8)
    with pytest.raises(InputError, match="different concepts"):
        prepare(small_net(), random_data(), [everywhere(4)], ["2"])
    with pytest.raises(InputError, match="expected 1 to 15"):
        prepare(small_net(), random_data(), [], ["2"], block=16)
    with pytest.raises(InputError, match="3 neighbors among 3"):
        net2vec.neighbors(torch.eye(3), 3)
    unseen = LabelledTensors(random_data().images, random_data().maps * 0, LABELS)
    with pytest.raises(InputError, match="no training image shows 'dog'"):
        segment(prepared(unseen)[0], "2", [2])

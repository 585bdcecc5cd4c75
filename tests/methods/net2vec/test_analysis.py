"""Analyses of concept vectors: examples, filter counts, categories, analogies."""

from functools import partial

import pytest
import torch
from support.reference_dissection import columns_of, random_data, small_net

from cnnvis_lab.core import InputError
from cnnvis_lab.methods import net2vec
from cnnvis_lab.methods.net2vec import Probes, prepare

pytestmark = pytest.mark.usefixtures("one_thread")


def prepared(block: int = 4) -> tuple:
    return tuple(
        prepare(
            small_net(), random_data(), [random_data(seed=3)], ["3"], quantile=0.05, block=block
        )
    )


def test_examples_show_the_concept_with_their_masks_and_ious():
    _, validation = prepared()
    (column,) = columns_of(validation, "dog")
    probe = net2vec.one_hot(validation, "3", torch.tensor([4]), [column])
    examples = net2vec.examples(validation, "3", probe, 3)
    images, maps = validation.data.images, validation.data.maps
    fractions = (maps == validation.concepts[column].number).any(1).flatten(1).double().mean(1)
    for example in examples:
        index = int((images == example.image).flatten(1).all(1).nonzero())
        truth = (maps[index] == validation.concepts[column].number).any(0)
        assert fractions[index] >= fractions[fractions > 0].median() > 0
        iou = float((example.mask & truth).sum() / (example.mask | truth).sum())
        assert abs(example.iou - iou) < 1e-6
        active = torch.from_numpy(validation["3"].maps([index])[0, ..., 4])
        assert example.mask.any() == active.any()
    assert len(examples) == 3
    validation.masks.concept[validation.masks.concept == column] = 0
    with pytest.raises(InputError, match="no image shows 'dog'"):
        net2vec.examples(validation, "3", probe, 3)


def test_concepts_to_show_are_those_requested_and_objects_for_missing_ones():
    train, _ = prepared()
    probes = Probes(torch.eye(6, 7), torch.zeros(6), torch.arange(6))
    names = [
        [train.concepts[c].name for c in net2vec.concepts_to_show(train, probes, requested)]
        for requested in (["leg", "horse"], ["leg", "street", "red"], [])
    ]
    assert names == [["leg", "dog"], ["leg", "street", "red"], ["dog", "red"]]


def test_scores_by_filter_count_end_at_the_full_score():
    train, validation = prepared()
    segmented = net2vec.segment(train, "3", seed=2)
    assert net2vec.filter_counts(7) == [1, 2, 4, 7] and net2vec.filter_counts(8) == [1, 2, 4, 8]
    curve = net2vec.scores_by_filter_count(
        partial(net2vec.segment, seed=2), net2vec.set_iou, train, validation, "3", segmented
    )
    assert torch.allclose(curve[-1], net2vec.set_iou(validation, "3", segmented), atol=1e-3)
    classified = net2vec.classify(train, "3", [0, 2, 3])
    accuracies = net2vec.scores_by_filter_count(
        net2vec.classify, net2vec.balanced_accuracy, train, validation, "3", classified
    )
    assert torch.allclose(accuracies[-1], net2vec.balanced_accuracy(validation, "3", classified))
    assert curve.shape == (4, len(segmented)) and accuracies.shape == (4, 3)


def test_fractions_reached_increase_to_one():
    assert net2vec.fraction_reached(torch.tensor([1, 4, 4, 8]), [1, 2, 4, 8]).tolist() == [
        0.25,
        0.25,
        0.75,
        1,
    ]


def test_values_are_grouped_by_category():
    train, _ = prepared()
    grouped = net2vec.by_category(train, [0, 2, 1], torch.tensor([1.0, 2.0, 3.0]))
    assert {kind: values.tolist() for kind, values in grouped.items()} == {
        "color": [1, 3],
        "object": [2],
    }


def test_analogies_are_ranked():
    train, _ = prepared()
    vectors = torch.eye(6, 7)
    red, blue, dog, leg = columns_of(train, "red", "blue", "dog", "leg")
    vectors[leg] = vectors[red] - vectors[blue] + vectors[dog]
    probes = Probes(vectors, torch.zeros(6), torch.arange(6))
    assert net2vec.analogy_rank(train, probes, "red - blue + dog -> leg") == 1
    assert net2vec.analogy_rank(train, probes, "red-blue -> street") > 1
    assert net2vec.analogy_rank(train, probes, "red - blue + horse -> leg") is None
    assert net2vec.analogy_rank(train, probes.rows([red, blue, leg]), "red + dog -> leg") is None
    for text in ("red - blue", "-> leg"):
        with pytest.raises(InputError, match="expected a form like"):
            net2vec.analogy_rank(train, probes, text)

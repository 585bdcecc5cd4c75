"""Analyses of concept vectors: examples and analogies."""

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


def test_examples_are_compared_on_the_same_images():
    train, validation = prepared()
    probes = net2vec.segment(train, "3", columns_of(train, "dog", "red", "leg"))
    best = net2vec.best_filters(train, validation, "3", probes.concept.tolist())
    compared = net2vec.compare_examples(validation, "3", probes, best, ["leg", "dog"], count=3)
    assert [one.concept.name for one in compared] == ["leg", "dog"]
    assert [one.unit for one in compared] == best.unit[[2, 0]].tolist()
    for row, one in zip((2, 0), compared, strict=True):
        both = net2vec.examples(validation, "3", probes.rows([row]), 3)
        assert [example.iou for example in one.combination] == [example.iou for example in both]
        for single, combined in zip(one.single, one.combination, strict=True):
            assert torch.equal(single.image, combined.image)
    swapped = [
        net2vec.ConceptExamples(one.concept, one.unit, one.combination, one.single)
        for one in compared
    ]
    fractions = net2vec.fraction_better_covered(compared), net2vec.fraction_better_covered(swapped)
    assert min(fractions) >= 0 and sum(fractions) <= 1


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
    known = "red - blue + dog -> leg"
    assert net2vec.analogy_ranks(train, probes, [known, "red + horse -> leg"]) == {known: 1}
    for text in ("red - blue", "-> leg"):
        with pytest.raises(InputError, match="expected a form like"):
            net2vec.analogy_rank(train, probes, text)

"""The probe for planted companions detects them; classes without a companion are refused."""

from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound
from cnnvis_lab.data.images import from_uint8
from cnnvis_lab.data.scenes import CLASS_NAMES, COMPANIONS, draw
from cnnvis_lab.methods import evaluation


@pytest.mark.parametrize("class_name", COMPANIONS)
@pytest.mark.parametrize("with_companion", [True, False])
def test_a_scene_is_drawn_with_or_without_the_companion_as_requested(class_name, with_companion):
    index = CLASS_NAMES.index(class_name)
    for n in range(4):
        scene = draw(11, index + 16 * n, with_companion=with_companion)
        assert any(o.companion_of == class_name for o in scene.objects) == with_companion


def test_by_default_the_companion_is_random_and_the_scene_does_not_change():
    index = CLASS_NAMES.index("phone")
    scene = draw(11, index)
    present = any(o.companion_of == "phone" for o in scene.objects)
    assert (draw(11, index, with_companion=present).image == scene.image).all()


@cache
def probe() -> evaluation.CompanionProbe:
    return evaluation.fit_companion_probe(models.load("judge_mini"), "bird", image_count=120)


def test_the_probe_detects_companions_in_images_it_was_not_fitted_on():
    index = CLASS_NAMES.index("bird")
    present = [True, False] * 8
    scenes = [draw(5, index + 16 * n, with_companion=with_) for n, with_ in enumerate(present)]
    images = torch.stack([from_uint8(scene.image) for scene in scenes])
    detected = probe().probability(images) > 0.5
    assert (detected == torch.tensor(present)).float().mean() > 0.7
    assert probe().accuracy > 0.7


def test_fractions_are_for_the_class_of_the_probe_and_for_the_other_classes():
    images = torch.rand(4, 3, 128, 128)
    detected = (probe().probability(images) > 0.5).float()
    of_class, of_others = evaluation.fraction_with_companion(
        probe(), images, ["bird", "cat", "bird", "dog"]
    )
    assert of_class == detected[[0, 2]].mean() and of_others == detected[[1, 3]].mean()


def test_a_class_without_a_companion_is_refused():
    with pytest.raises(
        NameNotFound, match="no class with a companion named 'phon'; did you mean phone"
    ):
        evaluation.fit_companion_probe(models.load("judge_mini"), "phon")


def test_rates_are_the_fractions_of_each_classs_own_and_other_images():
    images, more = torch.rand(3, 3, 128, 128), torch.rand(2, 3, 128, 128)
    classes = ["cat", "bird", "dog"]
    rates = evaluation.companion_rates(
        probe().classifier, images, classes, {"bird": more}, image_count=120
    )
    detected = (probe().probability(torch.cat([more, images])) > 0.5).float()
    own, others = float(detected[[0, 1, 3]].mean()), float(detected[[2, 4]].mean())
    assert rates.fractions == {"bird": (own, others)} and rates.mean_difference() == own - others
    assert rates.accuracy == {"bird": probe().accuracy}


@pytest.mark.parametrize(("classes", "count"), [(["bird"], 0), (["unknown"], 120)])
def test_there_are_no_rates_without_probes_or_without_the_classes(classes, count):
    images = torch.rand(1, 3, 128, 128)
    rates = evaluation.companion_rates(
        probe().classifier, images, classes, {"bird": images}, image_count=count
    )
    assert rates.mean_difference() is None and str(rates) == ""


def test_classes_with_a_companion_are_found_in_the_order_of_the_companions():
    assert evaluation.with_companions(["cat", *reversed(COMPANIONS)]) == list(COMPANIONS)

"""The probe for planted companions finds them, and refuses what has none."""

from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound
from cnnvis_lab.data.images import from_uint8
from cnnvis_lab.data.scenes import CLASS_NAMES, COMPANIONS, draw
from cnnvis_lab.methods import evaluation


@pytest.mark.parametrize("owner", COMPANIONS)
@pytest.mark.parametrize("with_companion", [True, False])
def test_a_picture_is_drawn_with_or_without_the_companion_as_asked(owner, with_companion):
    index = CLASS_NAMES.index(owner)
    for number in range(4):
        picture = draw(11, index + 16 * number, with_companion=with_companion)
        assert any(o.companion_of == owner for o in picture.objects) == with_companion


def test_by_default_chance_decides_and_the_picture_is_as_ever():
    index = CLASS_NAMES.index("phone")
    plain = draw(11, index)
    has = any(o.companion_of == "phone" for o in plain.objects)
    assert (draw(11, index, with_companion=has).image == plain.image).all()


@cache
def probe() -> evaluation.CompanionProbe:
    return evaluation.fit_companion_probe(models.load("judge_mini"), "bird", pictures=120)


def test_the_probe_sees_companions_in_pictures_it_was_not_fitted_on():
    index = CLASS_NAMES.index("bird")
    wanted = [True, False] * 8
    drawn = [draw(5, index + 16 * n, with_companion=w).image for n, w in enumerate(wanted)]
    seen = probe().sees(torch.stack([from_uint8(image) for image in drawn])) > 0.5
    assert (seen == torch.tensor(wanted)).float().mean() > 0.7
    assert probe().accuracy > 0.7


def test_shares_are_those_of_the_owner_and_of_the_others():
    images = torch.rand(4, 3, 128, 128)
    seen = (probe().sees(images) > 0.5).float()
    own, others = evaluation.fraction_with_companion(
        probe(), images, ["bird", "cat", "bird", "dog"]
    )
    assert own == seen[[0, 2]].mean() and others == seen[[1, 3]].mean()


def test_a_class_without_a_companion_is_refused():
    with pytest.raises(
        NameNotFound, match="no class with a companion named 'phon'; did you mean phone"
    ):
        evaluation.fit_companion_probe(models.load("judge_mini"), "phon")

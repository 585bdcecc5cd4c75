"""A profile has all parts and a summary in one line."""

from dataclasses import replace

import pytest
from support import planted_units
from support.planted_units import dataset, network

from cnnvis_lab.core import InputError, NameNotFound
from cnnvis_lab.methods import unit_profile
from cnnvis_lab.methods.unit_profile import Unavailable

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("1:3", InputError, "unit 3 of 1: it has 3; expected 0 to 2"),
        ("1", InputError, "expected layer:unit"),
        ("one:1", NameNotFound, "no layer named 'one'"),
    ],
)
def test_a_wrong_target_is_reported(target, error, message):
    with pytest.raises(error, match=message):
        unit_profile.resolve_unit(network(), target)


def test_a_users_network_has_no_generator():
    generator = unit_profile.generator_for(network(), dataset())
    assert "no generator" in generator.reason
    assert unit_profile.maximize_with_generator(network(), "0:0", generator) is generator


def test_a_profile_has_all_parts_and_names_the_concept_in_one_line():
    profile = planted_units.profile()
    assert str(profile) == "Sequential 0:0 detects dog (object), IoU 1.000"
    assert (profile.layer, profile.unit, profile.unit_count) == ("0", 0, 3)
    assert profile.receptive_field == (1, 1) and profile.kernel.flatten().tolist() == [1, 0, 0]
    assert profile.is_detector and profile.generated.reason
    assert profile.maximized.image.shape == (3, 1, 1)
    assert [snapshot.step for snapshot in profile.history] == [0, 9]
    assert [snapshot.iou for snapshot in profile.history] == [1.0, 1.0]
    no_detector = replace(profile, is_detector=False)
    assert "detects nothing; it fits best dog" in str(no_detector)
    assert str(replace(profile, concepts=Unavailable("none"))).endswith("0:0: none")
    without = tuple(fit._replace(iou=0.0) for fit in profile.concepts)
    assert str(replace(no_detector, concepts=without)) == "Sequential 0:0 fits no concept"


def test_only_units_that_score_classes_have_class_names():
    assert network().unit_class("logits", 1) == "dog"
    assert network().unit_class("0", 1) == ""

"""The figure of a unit profile shows every part, or the reason why it is not available."""

from dataclasses import replace

import pytest
from support import planted_units

from cnnvis_lab.lab import figures
from cnnvis_lab.lab.figures.unit import draw_profile
from cnnvis_lab.methods.unit_profile import Unavailable, UnitProfile

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def profile() -> UnitProfile:
    return planted_units.profile()


def test_drawing_the_figure_twice_gives_the_same_bytes(profile):
    first, again = (figures.to_png(draw_profile(profile)) for _ in range(2))
    assert first == again and first.startswith(b"\x89PNG")


def test_every_part_may_be_unavailable(profile):
    parts = ("maximized", "generated", "concepts", "concept_weights", "history")
    bare = replace(profile, kernel=None, **{part: Unavailable(f"no {part}") for part in parts})
    reasons = Unavailable("no masks"), Unavailable("no projections")
    top = replace(profile.top, masks=reasons[0], projections=reasons[1])
    figure = draw_profile(replace(bare, top=top))
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert texts == {"no projections", *(f"no {part}" for part in parts)}
    assert len(figure.axes) == len(texts) + len(top.images)


def test_the_reason_replaces_an_unavailable_part(profile):
    texts = [text.get_text() for axes in draw_profile(profile).axes for text in axes.texts]
    assert "no generator is available" in [" ".join(text.split()) for text in texts]
    assert "kernel" in texts and "dog" in texts


def test_the_figure_says_that_a_unit_fits_no_concept(profile):
    concepts = tuple(fit._replace(iou=0.0) for fit in profile.concepts)
    figure = draw_profile(replace(profile, concepts=concepts, is_detector=False))
    assert "fits no concept" in [text.get_text() for text in figure.texts]


def test_a_longer_history_has_an_image_per_step(profile):
    figure = draw_profile(replace(profile, history=profile.history * 4))
    ticks = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert ticks == ["0", "9"] * 4
    assert sum("step 9" in text.get_text() for text in figure.texts) == 4

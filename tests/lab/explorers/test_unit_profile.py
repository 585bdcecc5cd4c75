"""The panel of one unit shows what each method gives, what is at hand first."""

import pytest
import torch
from support.reference_dissection import made, small_net

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.data import ResizedImages
from cnnvis_lab.lab import explorers, figures
from cnnvis_lab.lab.explorers import worker
from cnnvis_lab.lab.explorers.unit_profile import COLUMNS, OUTSIDE_BRIGHTNESS
from cnnvis_lab.methods import activation_maximization, unit_profile
from cnnvis_lab.methods.unit_profile import TrainingHistory, layer

SIDE = 32
DATA = made(24, SIDE)
pytestmark = pytest.mark.usefixtures("one_thread")


def model(seed: int = 0) -> models.Model:
    return models.load(small_net(seed), input_size=SIDE, classes=tuple("abcd"))


@pytest.fixture
def panel() -> explorers.UnitProfile:
    before = TrainingHistory({0: small_net(5).state_dict()}, 7, "both ends")
    return explorers.UnitProfile(model(), DATA, ["0", "2"], unit=1, training=before, steps=8)


def same(tile, wanted) -> None:
    torch.testing.assert_close(torch.as_tensor(tile.image), torch.as_tensor(wanted))


def drawn(panel, **settings):
    """What the panel shows after its settings were moved; in order, all it showed on the way."""
    grown, put = [], panel._preview
    panel._preview = lambda view: (grown.append(view), put(view))
    panel.set(**settings)
    assert panel.wait(60)
    request = worker.Request(panel.settings)
    request.model = panel.model
    view = panel.draw(request, **request.settings)
    assert panel.message == view.text
    return view, grown


def test_a_panel_shows_what_each_method_gives(panel):
    view, _ = drawn(panel, layer="2", unit=4)
    known = unit_profile.analyze_layer(model(), "2", DATA, top=COLUMNS)
    top = unit_profile.top_images(model(), known, 4, COLUMNS)
    found = activation_maximization.render(model(), ["2:4"], steps=8)
    made_for, pictures, plain, guided = view.rows
    same(made_for[0], found.patches[0])
    assert made_for[0].caption.endswith(f"answers {float(found.activations[0]):.1f}")
    for n, tile in enumerate(pictures):
        same(tile, figures.concepts.masked_image(top.pictures[n], top.masks[n], OUTSIDE_BRIGHTNESS))
    for row, rule in ((plain, "deconvnet"), (guided, "guided")):
        for tile, wanted in zip(
            row, figures.normalize_projections(top.projections[rule]), strict=True
        ):
            same(tile, wanted)
    assert [tile.caption for tile in made_for[1::2]] == ["step 0", "step 7"]
    same(made_for[3], top.patches[0])
    same(made_for[4], figures.normalize_projections(top.projections["guided"])[0])
    assert f"fits {known.fits(4, 1)[0].concept}" in view.text
    assert "no generator is at hand" in view.text


def test_what_is_at_hand_is_shown_before_what_takes_time(panel):
    _, grown = drawn(panel, layer="2", unit=3)
    assert grown[0].text.endswith("drawing ...") and len(grown[0].rows) == 1
    assert len(grown[0].rows[0]) == COLUMNS


def test_a_layer_is_gone_through_once(panel, monkeypatch):
    drawn(panel, layer="2", unit=0)
    monkeypatch.setattr(unit_profile, "analyze_layer", None)  # nobody asks again
    for unit in (1, 2):
        view, _ = drawn(panel, unit=unit)
        assert view.text.startswith(f"2:{unit} fires in")


def test_a_unit_that_covers_nothing_fits_no_concept(panel, monkeypatch):
    nothing = (unit_profile.ConceptFit("dog", "object", 0.0),)
    monkeypatch.setattr(unit_profile.LayerAnalysis, "fits", lambda *_: nothing)
    view, _ = drawn(panel, layer="2", unit=4)
    assert "; fits no concept; " in view.text
    assert not any("fits" in tile.caption for row in view.rows for tile in row)


def test_the_switch_of_its_life_is_dead_where_there_is_none():
    panel = explorers.UnitProfile(model(), DATA, ["0"], steps=8)
    assert panel.controls["life"].disabled
    view, _ = drawn(panel, unit=2)
    assert (
        view.rows[0][0].caption == "kernel"
        and len(view.rows[0]) == 2
        and "no training of these weights" in view.text
    )
    panel = explorers.UnitProfile(
        model(), DATA, ["0"], training=TrainingHistory({}, 3, ""), steps=8
    )
    assert not panel.controls["life"].disabled
    view, _ = drawn(panel, life=False)
    assert len(view.rows[0]) == 2


def test_a_longer_life_has_rows_of_its_own():
    states = {step: small_net(step).state_dict() for step in range(8)}
    panel = explorers.UnitProfile(
        model(), DATA, ["2"], training=TrainingHistory(states, None, ""), steps=8
    )
    view, _ = drawn(panel, unit=2)
    assert [tile.caption for tile in view.rows[-2]] == [f"step {step}" for step in range(2, 8)]
    assert len(view.rows) == 6 and len(view.rows[-1]) == COLUMNS


def test_pictures_without_labels_and_classes_are_told():
    shown = DATA.pictures
    data = ResizedImages("", SIDE, len(shown), lambda numbers: shown[numbers])
    panel = explorers.UnitProfile(model(), data, ["0", "logits"], layer="logits", unit=2, steps=8)
    view, _ = drawn(panel)
    assert view.text.startswith("logits:2, c, fires in") and layer.NO_LABELS in view.text
    same(
        view.rows[1][0],
        shown[unit_profile.analyze_layer(model(), "logits", data).found.images[2, 0]],
    )


def test_a_stopped_panel_keeps_what_it_has_and_forgets_the_half_made(panel, monkeypatch):
    def stopped(*given: object, **knobs: object) -> unit_profile.Rendered:
        panel.stop()
        return unit_profile.Rendered(torch.zeros(3, 4, 4), 1.0)

    monkeypatch.setattr(unit_profile, "maximize_activation", stopped)
    panel.set(layer="2", unit=5)
    assert panel.wait(60)
    assert panel.message.endswith("(stopped early)") and not panel._made


def test_snapshots_and_errors_are_those_of_every_panel(panel):
    panel.set(layer="0", unit=3)
    assert panel.wait(60) and panel.snapshot() == panel.image
    with pytest.raises(InputError, match="unit = 99: expected 0 to 4"):
        panel.set(unit=99)
    assert panel.wait(60)

"""The explorer of a unit profile shows the results of each method, the quick ones first."""

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.data import ResizedImages
from cnnvis_lab.lab import explorers, figures
from cnnvis_lab.lab.explorers import worker
from cnnvis_lab.lab.explorers.unit_profile import COLUMNS
from cnnvis_lab.methods import activation_maximization, unit_profile
from cnnvis_lab.methods.unit_profile import TrainingHistory, layer

SIZE = 32
DATA = random_data(24, SIZE)
pytestmark = pytest.mark.usefixtures("one_thread")


def model(seed: int = 0) -> models.Model:
    return models.load(small_net(seed), input_size=SIZE, classes=tuple("abcd"))


@pytest.fixture
def panel() -> explorers.UnitProfile:
    before = TrainingHistory({0: small_net(5).state_dict()}, 7, "both ends")
    return explorers.UnitProfile(model(), DATA, ["0", "2"], unit=1, history=before, steps=8)


def assert_shows(tile, image) -> None:
    torch.testing.assert_close(torch.as_tensor(tile.image), torch.as_tensor(image))


def show(panel, **settings):
    """Return what the panel shows for these settings, and its earlier views in order."""
    views, original = [], panel._preview
    panel._preview = lambda view: (views.append(view), original(view))
    panel.set(**settings)
    assert panel.wait(60)
    request = worker.Request(panel.settings)
    request.model = panel.model
    view = panel._draw(request)
    assert panel.message == view.text
    return view, views


def test_the_panel_shows_the_results_of_each_method(panel):
    view, _ = show(panel, layer="2", unit=4)
    analysis = unit_profile.analyze_layer(model(), "2", DATA, top=COLUMNS)
    top = unit_profile.top_images(model(), analysis, 4, COLUMNS)
    rendering = activation_maximization.render(model(), ["2:4"], steps=8)
    first_row, images, plain, guided = view.rows
    assert first_row[0].caption.startswith("image 0\nactivation ")
    assert_shows(first_row[1], rendering.patches[0])
    assert first_row[1].caption.endswith(f"activation {float(rendering.activations[0]):.1f}")
    for image, mask, tile in zip(top.images, top.masks, images, strict=True):
        assert_shows(tile, figures.concepts.masked_image(image, mask))
    for row, rule in ((plain, "deconvnet"), (guided, "guided")):
        expected = figures.normalize_projections(top.projections[rule])
        for tile, image in zip(row, expected, strict=True):
            assert_shows(tile, image)
    assert [tile.caption for tile in first_row[2::2]] == ["step 0", "step 7"]
    assert_shows(first_row[4], top.patches[0])
    assert_shows(first_row[5], figures.normalize_projections(top.projections["guided"])[0])
    assert f"fits {analysis.best_concepts(4, 1)[0].concept}" in view.text
    assert "no generator is available" in view.text


def test_quick_results_are_shown_before_slow_ones(panel):
    _, views = show(panel, layer="2", unit=3)
    assert views[0].text == "2:3: computing ..."
    assert [tile.caption.split("\n")[0] for (tile,) in views[0].rows] == ["image 0"]


def test_a_layer_is_analyzed_once(panel, monkeypatch):
    show(panel, layer="2", unit=0)
    monkeypatch.setattr(unit_profile, "analyze_layer", None)  # not called again
    for unit in (1, 2):
        view, _ = show(panel, unit=unit)
        assert view.text.startswith(f"2:{unit} is active in")


def test_the_generator_is_made_with_the_copy_of_the_network(panel, monkeypatch):
    """Cells use the network itself meanwhile."""
    used, original = [], unit_profile.generator_for
    monkeypatch.setattr(
        unit_profile, "generator_for", lambda *given: (used.append(given[0]), original(*given))[1]
    )
    panel.set(layer="2", unit=4)
    assert panel.wait(60)
    assert used == [worker.isolated_copy(panel.model).model]


def test_a_unit_that_covers_nothing_fits_no_concept(panel, monkeypatch):
    nothing = (unit_profile.ConceptFit("dog", "object", 0.0),)
    monkeypatch.setattr(unit_profile.LayerAnalysis, "best_concepts", lambda *_: nothing)
    view, _ = show(panel, layer="2", unit=4)
    assert "; fits no concept; " in view.text
    assert not any("fits" in tile.caption for row in view.rows for tile in row)


def test_the_switch_of_the_history_is_disabled_if_there_is_none():
    panel = explorers.UnitProfile(model(), DATA, ["0"], steps=8)
    assert panel.controls["history"].disabled
    view, _ = show(panel, unit=2)
    assert view.rows[0][1].caption == "kernel" and len(view.rows[0]) == 3
    assert "no training of these weights" in view.text
    history = TrainingHistory({}, 3, "")
    panel = explorers.UnitProfile(model(), DATA, ["0"], history=history, steps=8)
    assert not panel.controls["history"].disabled
    view, _ = show(panel, history=False)
    assert len(view.rows[0]) == 3


def test_a_longer_history_has_rows_of_tiles():
    states = {step: small_net(step).state_dict() for step in range(8)}
    history = TrainingHistory(states, None, "")
    panel = explorers.UnitProfile(model(), DATA, ["2"], history=history, steps=8)
    view, _ = show(panel, unit=2)
    assert [tile.caption for tile in view.rows[-2]] == [f"step {step}" for step in range(2, 8)]
    assert len(view.rows) == 6 and len(view.rows[-1]) == COLUMNS


def test_missing_labels_and_the_class_of_a_unit_are_in_the_text():
    images = DATA.images
    data = ResizedImages("", SIZE, len(images), lambda indices: images[indices])
    panel = explorers.UnitProfile(model(), data, ["0", "logits"], layer="logits", unit=2, steps=8)
    view, _ = show(panel)
    assert view.text.startswith("logits:2, c, is active in") and layer.NO_LABELS in view.text
    analysis = unit_profile.analyze_layer(model(), "logits", data)
    assert_shows(view.rows[1][0], images[analysis.top.images[2, 0]])


def test_a_stopped_panel_does_not_cache_an_unfinished_image(panel, monkeypatch):
    def stopped(*arguments: object, **options: object) -> unit_profile.Rendered:
        panel.stop()
        return unit_profile.Rendered(torch.zeros(3, 4, 4), 1.0)

    monkeypatch.setattr(unit_profile, "maximize_activation", stopped)
    panel.set(layer="2", unit=5)
    assert panel.wait(60)
    assert panel.message.endswith("(stopped early)") and not panel._rendered


def test_snapshots_and_errors_work_as_in_every_panel(panel):
    panel.set(layer="0", unit=3)
    assert panel.wait(60) and panel.snapshot() == panel.image
    with pytest.raises(InputError, match="unit = 99: expected 0 to 4"):
        panel.set(unit=99)
    assert panel.wait(60)

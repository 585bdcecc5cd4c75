"""Requests, the panel and snapshots of all explorers, tested without a browser."""

import base64
import json
import threading
from io import BytesIO

import nbformat
import numpy as np
import pytest
import torch
from nbconvert import HTMLExporter
from nbformat import v4
from PIL import Image
from traitlets import TraitError

from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.data import ResizedImages, images
from cnnvis_lab.lab import figures
from cnnvis_lab.lab.explorers import base, board, controls
from cnnvis_lab.lab.explorers.thumbnails import Thumbnails
from cnnvis_lab.lab.explorers.worker import cached, isolated_copy
from cnnvis_lab.lab.figures import Tile, tiles


class Gray(base.Explorer):
    """Draws a gray image; can be blocked by a gate, and records what it draws."""

    title = "How <gray>?"
    alt = "A gray square."
    slow = True

    def __init__(self):
        self.started, self.gate, self.drawn = threading.Semaphore(0), threading.Event(), []
        self.gate.set()
        settings = {
            "level": controls.number("level", 1, 0, 9),
            "kind": controls.choice("kind", ["plain", "steps", "wrong", "broken"], "plain"),
            "unused": controls.number("unused", 0, 0, 9),
        }
        super().__init__(torch.nn.Identity(), settings)

    def unused_settings(self, settings):
        return {"unused"} if settings["level"] != 9 else set()

    def draw(self, request, level, kind, unused):
        """Draw.

        Args:
            request: the request.
            level: brightness of the square,
                in tenths.
            kind: what happens.
            unused: nothing.
        """
        self.drawn.append(level)
        self.started.release()
        assert self.gate.wait(20)
        if kind == "wrong":
            raise InputError("no such gray; choose another")
        if kind == "broken":
            raise RuntimeError("a <bug>\nof two lines")
        done = 0
        while kind == "steps" and not request.should_stop():
            done += 1
            request.progress(min(done, 5), 5)
            request.preview(lambda: base.View([[Tile(torch.full((3, 4, 4), 0.5))]], "growing"))
        return base.View([[Tile(torch.full((3, 4, 4), level / 10))]], f"level {level}")


@pytest.fixture
def gray():
    explorer = Gray()
    yield explorer
    explorer.gate.set()
    explorer.stop()
    assert explorer.wait(20)
    assert not [thread for thread in threading.enumerate() if thread.name == "explorer"]


def level_of(png: bytes) -> float:
    """Return the gray level of the image's first tile."""
    pixels = np.asarray(Image.open(BytesIO(png)))
    return round(pixels[tiles.GAP + 8, tiles.GAP + 8, 0] / 255, 1)


def test_moving_a_control_redraws_the_image(gray):
    gray.controls["level"].value = 4
    assert gray.wait(20)
    assert level_of(gray.image) == 0.4 and gray.message == "level 4"
    assert gray.image == gray.snapshot()


def test_only_the_latest_of_several_waiting_requests_is_drawn(gray):
    gray.gate.clear()
    gray.set(level=2)
    assert gray.started.acquire(timeout=20)  # level 2 is being drawn
    for level in (3, 4, 5, 6):
        gray.set(level=level)
    gray.gate.set()
    assert gray.wait(20)
    assert gray.drawn == [2, 6] and level_of(gray.image) == 0.6


def test_an_outdated_request_is_not_shown(gray, monkeypatch):
    texts = []
    monkeypatch.setattr(gray, "_show_result", lambda result, stopped: texts.append(result.text))
    gray.gate.clear()
    gray.set(level=2)
    assert gray.started.acquire(timeout=20)
    gray.set(level=3)
    gray.gate.set()
    assert gray.wait(20) and texts == ["level 3"]


def test_the_stop_button_ends_the_computation_and_shows_its_result_so_far(gray):
    gray.set(kind="steps", level=7)
    assert gray.started.acquire(timeout=20)
    while gray.message != "growing":
        assert not gray.wait(0.01)
    assert level_of(gray.image) == 0.5 and not gray._frame.stop.disabled
    gray._frame.stop.click()
    assert gray.wait(20)
    assert level_of(gray.image) == 0.7 and gray.message == "level 7 (stopped early)"
    assert gray._frame.stop.disabled and gray._frame.bar.layout.visibility == "hidden"


def test_a_stopped_result_is_not_cached(gray):
    gray.set(kind="steps", level=7)
    assert gray.started.acquire(timeout=20)
    gray.stop()
    assert gray.wait(20)
    gray.set(level=7)
    assert gray.started.acquire(timeout=20)
    gray.stop()
    assert gray.wait(20) and gray.drawn == [7, 7]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("wrong", "no such gray; choose another"),
        ("broken", "RuntimeError: a <bug> of two lines"),
    ],
)
def test_an_error_is_one_line_in_the_panel_and_the_next_request_works(gray, kind, line):
    gray.set(level=3)
    assert gray.wait(20)
    gray.set(kind=kind)
    assert gray.wait(20)
    assert gray.message == line and "<bug>" not in gray._frame.status.value
    assert "color1" in gray._frame.status.value and level_of(gray.image) == 0.3
    gray.set(kind="plain", level=5)
    assert gray.wait(20)
    assert gray.message == "level 5" and level_of(gray.image) == 0.5


def test_results_of_earlier_settings_are_cached(gray):
    for level in (2, 3, 2):
        gray.set(level=level)
        assert gray.wait(20)
    assert gray.drawn == [2, 3] and level_of(gray.image) == 0.2


def test_a_setting_without_effect_is_disabled_and_draws_nothing(gray):
    assert gray.controls["unused"].disabled
    gray.snapshot()
    gray.set(unused=4)
    assert gray.wait(20) and gray.drawn == [1]
    gray.set(level=9)
    assert gray.wait(20) and not gray.controls["unused"].disabled
    gray.set(unused=5)
    assert gray.wait(20) and gray.drawn == [1, 9, 9]


def test_invalid_settings_are_refused(gray):
    assert gray.settings == {"level": 1, "kind": "plain", "unused": 0}
    with pytest.raises(NameNotFound, match="did you mean level"):
        gray.set(levle=3)
    with pytest.raises(InputError, match="one of plain, steps, wrong"):
        gray.set(kind="loud")
    with pytest.raises(InputError, match="level = 12: expected 0 to 9"):
        gray.set(level=12)
    assert gray.wait(20)


def test_several_settings_at_once_are_one_request(gray):
    gray.set(level=9, unused=3)
    assert gray.wait(20) and gray.drawn == [9]


def displayed(monkeypatch) -> list:
    calls = []
    fake = lambda *objects, **options: calls.append((objects, options))  # noqa: E731
    monkeypatch.setattr(base, "display", fake)
    return calls


def test_without_a_front_end_the_image_is_displayed_instead_of_the_panel(gray, monkeypatch):
    calls = displayed(monkeypatch)
    gray.show(False)
    image, text = (objects[0] for objects, _ in calls)
    assert image.data == gray.snapshot() and image.alt == "A gray square. level 1"
    assert text == {"text/plain": "level 1"}


def test_without_a_front_end_an_error_is_displayed_and_not_raised(gray, monkeypatch):
    calls = displayed(monkeypatch)
    gray.controls["kind"].unobserve_all()
    gray.controls["kind"].value = "wrong"
    gray.show(False)
    assert [objects[0] for objects, _ in calls] == [{"text/plain": "no such gray; choose another"}]


def test_an_exported_page_contains_the_image(gray, monkeypatch):
    calls = displayed(monkeypatch)
    gray.show(True)
    ((bundle,), options), *rest = calls
    assert options["raw"] and not rest
    assert "application/vnd.jupyter.widget-view+json" in bundle
    output = v4.new_output("display_data", data=bundle, metadata=options["metadata"])
    notebook = v4.new_notebook(cells=[v4.new_code_cell("explorer", outputs=[output])])
    nbformat.validate(notebook)
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert base64.b64encode(gray.snapshot()).decode() in page and "A gray square." in page


def test_an_isolated_copy_shares_weights_but_no_hooks():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)).eval()
    copy, lock = isolated_copy(net)
    assert isolated_copy(net) == (copy, lock) and copy is not net
    pairs = zip(net.state_dict().values(), copy.state_dict().values(), strict=True)
    assert all(a.data_ptr() == b.data_ptr() for a, b in pairs)
    with hooks.record(net, ["0"]) as recorded:
        copy(torch.rand(1, 3, 2, 2))
        with pytest.raises(InputError):
            recorded["0"]


def test_two_panels_of_one_network_never_draw_at_the_same_time():
    drawing, counts = [], []

    class Watching(Gray):
        def draw(self, request, **settings):
            drawing.append(self)
            counts.append(len(drawing))
            view = super().draw(request, **settings)
            drawing.remove(self)
            return view

    first, second = Watching(), Watching()
    second.model = first.model
    for level in range(2, 6):
        first.set(level=level)
        second.set(level=level)
    assert first.wait(20) and second.wait(20)
    assert max(counts) == 1


def test_small_images_are_enlarged_by_repeating_pixels_and_large_ones_are_shrunk():
    small = torch.rand(3, 5, 7)
    fitted = np.asarray(tiles.fit_image(small, 30))
    assert fitted.shape == (20, 28, 3)
    assert (fitted[::4, ::4] == images.to_uint8(small)).all() and (
        fitted[::4] == fitted[3::4]
    ).all()
    assert tiles.fit_image(torch.rand(90, 60), 30).size == (20, 30)


def test_tiles_are_arranged_in_rows_with_captions_below():
    black, caption = torch.zeros(3, 4, 4), "one line\nand one that is far too long to fit below"
    png = figures.render_png([[Tile(black, caption), Tile(black)], [Tile(black)]], 40)
    page = np.asarray(Image.open(BytesIO(png)).convert("L"))
    assert page.shape == (40 + 2 * tiles.LINE_HEIGHT + 40 + 3 * tiles.GAP, 2 * 40 + 3 * tiles.GAP)
    gap, second = tiles.GAP, 2 * tiles.GAP + 40
    lower = second + 2 * tiles.LINE_HEIGHT
    for y, x in ((gap, gap), (gap, second), (lower, gap)):
        assert not page[y : y + 40, x : x + 40].any()
    assert (page[lower:, second:] == 255).all()
    below = page[gap + 40 : lower, :second]
    assert below.min() < 128 and (page[gap + 40 : lower, second:] == 255).all()
    assert png == figures.render_png([[Tile(black, caption), Tile(black)], [Tile(black)]], 40)


def test_a_page_without_tiles_is_refused():
    with pytest.raises(InputError, match="at least one row"):
        figures.render_png([[]])


def _gray_png(level: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.full((30, 20, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_is_chosen_by_name_or_uploaded():
    samples, errors = torch.rand(3, 3, 8, 8), []
    dataset = ResizedImages("", 8, 3, lambda indices: samples[indices])
    choice = controls.ImageChoice(torch.nn.Identity(), dataset)
    choice.on_error = errors.append
    assert choice.control.value == "image 0"
    assert torch.equal(choice["image 2"], samples[2])
    assert torch.equal(choice["astronaut"], images.photograph("astronaut", 8))
    choice.receive("../mine.png", _gray_png(51))
    assert choice.control.value == "mine.png" and not errors
    torch.testing.assert_close(choice["mine.png"], torch.full((3, 8, 8), 0.2))
    choice.receive("mine.txt", b"no image")
    assert "mine.txt is not an image" in str(errors[0]) and choice.control.value == "mine.png"
    for name in ("..", "", "a\0b", "a" * 5000):
        choice.receive(name, _gray_png(51))
    assert len(errors) == 5 and all("is no name of a file here" in str(one) for one in errors[1:])


def test_different_uploads_with_the_same_name_are_kept_apart():
    dataset = ResizedImages("", 8, 1, lambda indices: torch.rand(1, 3, 8, 8))
    choice = controls.ImageChoice(torch.nn.Identity(), dataset)
    for level in (51, 102, 102):
        choice.receive("mine.png", _gray_png(level))
    assert choice.control.value == "mine.png (2)"
    for name, level in (("mine.png", 0.2), ("mine.png (2)", 0.4)):
        torch.testing.assert_close(choice[name], torch.full((3, 8, 8), level))


def test_new_options_keep_the_chosen_value_if_they_contain_it():
    control = controls.choice("layer", ["a", "b"], "b")
    controls.set_options(control, ["c", "b"])
    assert control.value == "b"
    controls.set_options(control, ["d", "e"])
    assert control.value == "d" and control.options == ("d", "e")


def test_the_cache_keeps_only_the_latest_entries():
    cache, computed = {}, []
    for key in (1, 2, 1, 3, 4, 1):
        assert (
            cached(cache, key, lambda key=key: computed.append(key) or -key, max_entries=3) == -key
        )
    assert computed == [1, 2, 3, 4, 1] and set(cache) == {3, 4, 1}


def test_a_saved_file_contains_the_settings_and_the_code(gray, tmp_path):
    gray._code_for = lambda at: f"result = {at.level}"
    with pytest.raises(InputError, match="no view to save yet"):
        gray.save(tmp_path / "gray.png")
    gray.set(level=4)
    assert gray.wait(20)
    saved = Image.open(gray.save(tmp_path / "gray.png"))
    assert level_of((tmp_path / "gray.png").read_bytes()) == 0.4
    assert json.loads(saved.text["settings"]) == gray.settings
    assert saved.text["title"] == "How <gray>?" and saved.text["description"] == "level 4"
    values = {}
    exec(saved.text["code"], values)
    assert values["result"] == 4


def test_every_control_has_a_line_of_help(gray):
    assert gray.controls["level"].tooltip == "Brightness of the square, in tenths."
    assert "Brightness of the square" in gray._frame.panel.children[-2].value


def test_a_page_has_a_text_for_each_image_and_folds_what_is_too_high():
    row = [Tile(torch.rand(3, 8, 8), "a <b>\nc"), Tile(torch.rand(3, 300, 200))]
    page = board.encode(board.View([row] * 4, cell=100)).to_html()
    assert page.count('alt="a &lt;b&gt; c"') == 8 and page.count("<figure>") == 8
    shown, folded = page.split("<details>")
    assert shown.count("<figure>") == 4 and folded.startswith("<summary>more rows (2)")
    assert 'class="cnnvis-small"' in page and "width: 96px" in page and "width: 67px" in page


def test_wide_views_are_stacked_with_the_name_of_each_unit():
    same = Tile(torch.rand(3, 8, 8), "both")
    first, second = (
        board.View(
            [[Tile(torch.rand(3, 8, 8))] * 6, [Tile(torch.rand(3, 8, 8), f"image\n{n}")], [same]],
            str(n), 100,
        )
        for n in (1, 2)
    )  # fmt: skip
    both = first.beside(second, ["unit 3", "unit 5"])
    captions = [row[0].caption for row in both.rows]
    # What is true of both units is said once.
    assert captions == ["unit 3", "unit 5", "unit 3\nimage\n1", "unit 5\n2", "both"]
    assert both.text == "1\n2"
    page = board.encode(both).to_html()
    assert "--cell: 96px" in page and 'style="width: 64px"' in page  # captions are wider


def test_a_panel_is_displayed_before_a_slow_computation_ends(gray, monkeypatch):
    calls = displayed(monkeypatch)
    gray.set(kind="steps")
    assert gray.started.acquire(timeout=20)
    gray.show(True)
    assert calls and not gray.wait(0)
    assert "image/png" in calls[0][0][0]


def test_thumbnails_take_their_options_only():
    grid = Thumbnails(options=["a", "b"], value="a", pairs=True)
    with pytest.raises(TraitError):
        grid.value = "c"
    grid.second = "b"
    grid.options = ["c", "d"]
    assert grid.value == "c" and grid.second is None
    received = []
    grid.on_file(lambda *file: received.append(file))
    grid._handle_custom_msg({"file": "a.png"}, [memoryview(b"bytes")])
    assert received == [("a.png", b"bytes")]

"""Figures have the same bytes at any time, in any thread and under any settings."""

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image
from support.small_figures import charts, framed_grid, image_grid, schematic

from cnnvis_lab.lab import figures
from cnnvis_lab.lab.figures import style

MAKERS = {
    "grid": image_grid,
    "framed": framed_grid,
    "charts": charts,
    "schematic": schematic,
    "sheet": lambda: figures.contact_sheet(torch.rand(5, 3, 4, 4), columns=3),
    "lines": lambda: figures.line_chart({"a": ([0, 1], [1, 2]), "b": ([0, 1], torch.ones(2))}),
    "stacked": lambda: figures.stacked_bars(["x", "y"], {"part": [1, 2], "color": [0, 1]}),
    "scatter": lambda: figures.scatter({"color": ([0.1], [0.2])}, labels=[(0.1, 0.2, "red")]),
}


def _png(maker: str) -> bytes:
    torch.manual_seed(0)
    return figures.to_png(MAKERS[maker]())


def _chunks(png: bytes) -> list[bytes]:
    """Return the kinds of a PNG's chunks, each of which is length, kind, content, checksum."""
    offset, kinds = 8, []
    while offset < len(png):
        length, kind = struct.unpack(">I4s", png[offset : offset + 8])
        kinds.append(kind)
        offset += 12 + length
    return kinds


@pytest.mark.parametrize("maker", MAKERS)
def test_the_same_figure_gives_the_same_bytes_without_metadata(maker):
    png = _png(maker)
    assert png == _png(maker)
    assert set(_chunks(png)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert np.asarray(Image.open(io.BytesIO(png))).std() > 0


@pytest.mark.parametrize("maker", MAKERS)
def test_a_users_settings_change_no_figure_and_are_not_changed(maker):
    png = _png(maker)
    user_settings = {
        "font.size": 21,
        "savefig.bbox": "tight",
        "axes.facecolor": "pink",
        "figure.dpi": 50,
        "lines.linestyle": ":",
        "legend.frameon": True,
        "path.simplify": False,
    }
    with matplotlib.rc_context(user_settings):
        before = dict(matplotlib.rcParams)
        assert _png(maker) == png
        assert dict(matplotlib.rcParams) == before


def test_figures_drawn_in_parallel_threads_are_the_same_and_change_no_setting():
    def draw(number: int) -> bytes:
        return figures.to_png([image_grid, MAKERS["lines"]][number % 2]())

    before, alone = dict(matplotlib.rcParams), [draw(0), draw(1)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(draw, range(18)))
    assert set(together[::2]) == {alone[0]} and set(together[1::2]) == {alone[1]}
    assert dict(matplotlib.rcParams) == before


def test_every_character_is_drawn_by_a_font_or_as_its_code_point(monkeypatch, caplog):
    monkeypatch.setattr(style, "_installed_fonts", lambda: ["DejaVu Sans"])
    style._has_glyph.cache_clear()
    labels = ["кошка 猫", "猫ねこ", "cat"]
    figure = figures.image_grid([[np.eye(2)] * 3], column_labels=labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a missing glyph
        style.to_png(figure)
    shown = [text.get_text() for text in figure.texts]
    assert {"кошка [U+732B]", "[U+732B][U+306D][U+3053]", "cat"} <= {*shown}
    assert style.drawn_length("猫 x") == len("[U+732B] x")
    (line,) = caplog.messages
    assert line.startswith("no installed font has こ ね 猫: ")
    caplog.clear()
    style.to_png(figures.image_grid([[np.eye(2)]], column_labels=["кошка"]))
    assert caplog.messages == []
    style._has_glyph.cache_clear()


HOSTILE = ("$\\frac{1}{$", "a$b$c", "$\\bad$", "50 $ and 60 $", "\\$")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_is_never_read_as_a_formula(text):
    label = Figure(figsize=(3, 1)).text(0.1, 0.5, text)  # not drawn by this package
    plain = Figure(figsize=(3, 1)).text(0.1, 0.5, text, parse_math=False)
    assert style.to_png(label.figure) == style.to_png(plain.figure)
    rows = {text: (np.arange(3), np.arange(3))}
    for make in (
        lambda: figures.image_grid([[np.eye(2)]], column_labels=[text], row_labels=[text]),
        lambda: figures.chart_grid([[figures.Chart(rows, title=text, xlabel=text, ylabel=text)]]),
        lambda: figures.stacked_bars([text], {text: [3]}, title=text, ylabel=text),
    ):
        style.to_png(make())


def test_the_projects_own_formulas_are_typeset():
    figure = Figure(figsize=(3, 1))
    figure.text(0.1, 0.5, "$f_0$", gid=style.FORMULA)
    plain = Figure(figsize=(3, 1))
    plain.text(0.1, 0.5, "$f_0$")
    assert style.to_png(figure) != style.to_png(plain)


def test_fonts_that_are_not_installed_are_not_asked_for():
    installed = style._installed_fonts()
    assert installed[0] == "DejaVu Sans"
    assert {*installed} <= {*font_manager.fontManager.get_font_names()}


def test_what_matplotlib_says_of_fonts_is_not_shown_while_a_figure_is_drawn(caplog):
    with style.figure_style():
        font_manager.findfont("No Such Font")
    assert not caplog.records
    font_manager.findfont("No Such Font Either")
    assert "No Such Font Either" in caplog.text

"""One unit by all methods in one figure; a part that cannot be had says why in its place."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from ...methods.unit_profile import (
    ConceptFit,
    ConceptWeight,
    Rendered,
    Unavailable,
    UnitProfile,
    UnitSnapshot,
)
from .concepts import masked_image
from .images import normalize_kernels, normalize_projections
from .page import Page, draw_box
from .style import COLORS, INK, MUTED, Array, category_colors, figure_style, to_numpy

WIDTH, HEIGHT, HISTORY_HEIGHT = 10.0, 9.5, 0.95  # inches, and by how much where no life is known
MARGIN, IMAGE_SIZE, TILE_SIZE, GAP = 0.22, 1.55, 1.11, 0.097
SOFT = "#555555"
OUTSIDE_BRIGHTNESS = 0.36  # how bright a picture is where the unit is not active
HISTORY_COLUMNS = 6  # pictures of its life, next to each other


@figure_style()
def draw_profile(story: UnitProfile) -> Figure:
    """Draw all that is told of a unit."""
    page = _Page(WIDTH, HEIGHT - HISTORY_HEIGHT * isinstance(story.life, Unavailable))
    _heading(page, story)
    top = 0.96
    _optimized_images(page, story, top)
    _bars(page, 4.12, top, "concepts its mask covers, IoU", story.concepts, _fit_row)
    words = "concepts whose vectors use it, weight"
    _bars(page, 7.12, top, words, story.shares, _weight_row)
    _top_images(page, story, 3.06)
    _history(page, story, 7.5)
    return page.figure


class _Page(Page):
    """A page of small text, with places for parts that are not available."""

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text below and to the right of x, y."""
        super().text(x, y, text, **({"size": 8, "color": INK, "va": "top"} | style))

    def absent(self, x: float, y: float, width: float, height: float, why: str) -> None:
        """Say in a gray box why a part is not available."""
        axes = self.axes(x, y, width, height)
        axes.set(xticks=[], yticks=[], facecolor="#f4f4f2")
        axes.spines[:].set(visible=False)
        words = "\n".join(textwrap.wrap(why, max(int(width * 15), 12)))
        axes.text(0.5, 0.5, words, ha="center", va="center", size=8, color=SOFT)


def _heading(page: _Page, story: UnitProfile) -> None:
    name = f"{story.layer}:{story.unit}" + (f", {story.class_name}" if story.class_name else "")
    page.text(MARGIN, 0.14, f"{story.network}  {name}", size=15, weight="bold")
    facts = [f"one of {story.units} units"]
    if story.field:
        facts.append(f"sees {story.field[0]} x {story.field[1]} pixels")
    facts.append(f"above zero in {story.fires:.0%} of the pictures")
    page.text(WIDTH - MARGIN, 0.5, "; ".join(facts), size=8.5, color=SOFT, ha="right")
    page.text(MARGIN, 0.46, _detection_text(story), size=10, color=SOFT)


def _detection_text(story: UnitProfile) -> str:
    if isinstance(story.concepts, Unavailable):
        return "" if story.class_name else "which concept it detects is not known"
    best = story.concepts[0]
    if story.detects:
        return f"detects {best.concept} ({best.category}), IoU {best.iou:.2f}"
    if best.iou == 0:
        return "fits no concept"
    return f"detects no concept; {best.concept} fits it best, IoU {best.iou:.2f}"


def _title(page: _Page, x: float, y: float, words: str, beside: str = "") -> None:
    page.text(x, y - 0.24, words, size=8.5, weight="bold")
    if beside:
        font = FontProperties(family="DejaVu Sans", weight="bold")
        width = TextPath((0, 0), words, size=8.5, prop=font).get_extents().x1 / 72
        page.text(x + width + 0.12, y - 0.24, beside, size=8.5, color=SOFT)


def _optimized_images(page: _Page, story: UnitProfile, y: float) -> None:
    largest = float(story.strongest.activations[0])
    pairs = (("what excites it most", story.drawn), ("drawn by a generator", story.generated))
    for place, (words, part) in enumerate(pairs):
        x = MARGIN + place * (IMAGE_SIZE + 0.38)
        _title(page, x, y, words)
        if isinstance(part, Unavailable):
            page.absent(x, y, IMAGE_SIZE, IMAGE_SIZE, part.why)
            continue
        page.image(x, y, IMAGE_SIZE, part.picture)
        page.text(x, y + IMAGE_SIZE + 0.04, _activation_text(part, largest), color=SOFT)
    if story.kernel is not None:
        _kernel(page, story, y)


def _kernel(page: _Page, story: UnitProfile, y: float) -> None:
    """Lay a unit's kernel into the corner of its picture."""
    side, x = 0.62, MARGIN + IMAGE_SIZE
    axes = page.image(
        x - side, y + IMAGE_SIZE - side, side, normalize_kernels(story.kernel[None])[0]
    )
    frame = Rectangle((0, 0), 1, 1, fill=False, transform=axes.transAxes, clip_on=False)
    frame.set(edgecolor="white", lw=2)
    axes.add_patch(frame)
    axes.text(0.5, 1.06, "kernel", transform=axes.transAxes, ha="center", size=7, color=INK)


def _activation_text(part: Rendered, largest: float) -> str:
    times = f", {part.activation / largest:.1f} × any picture" if largest > 0 else ""
    return f"answers {part.activation:.1f}{times}"


def _fit_row(fit: ConceptFit) -> tuple[str, str, float, str]:
    return fit.concept, fit.category, fit.iou, f"{fit.iou:.3f}"


def _weight_row(share: ConceptWeight) -> tuple[str, str, float, str]:
    place = "largest" if share.place == 1 else f"no. {share.place}"
    return share.concept, share.category, share.weight, f"{share.weight:.2f} {place}"


def _bars(
    page: _Page,
    x: float,
    y: float,
    title: str,
    rows: Sequence[ConceptFit | ConceptWeight] | Unavailable,
    read: object,
) -> None:
    """Draw a bar for each concept, in its category's colour, with name and number beside it."""
    _title(page, x, y, title)
    if isinstance(rows, Unavailable):
        page.absent(x, y, WIDTH - MARGIN - 7.12, IMAGE_SIZE, rows.why)
        return
    told = [read(row) for row in rows]
    axes = page.axes(x + 1.22, y, WIDTH - MARGIN - 7.12 - 1.22, IMAGE_SIZE)
    colors = category_colors(["color", "texture", "material", "part", "object", "scene"])
    most = max(max(value for _, _, value, _ in told), 1e-6)
    for place, (name, category, value, note) in enumerate(told):
        axes.barh(place, max(value, 0), color=colors.get(category, COLORS[-1]), height=0.62)
        axes.text(value + 0.03 * most, place, note, va="center", size=7.5, color=INK)
        words = name if len(name) <= 12 else f"{name[:11]}…"
        axes.text(-0.04 * most, place - 0.02, words, va="bottom", ha="right", size=8, color=INK)
        axes.text(-0.04 * most, place + 0.02, category, va="top", ha="right", size=6.5, color=SOFT)
    axes.set(xlim=(0, 1.95 * most), ylim=(len(told) - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[["bottom", "left"]].set(visible=False)
    axes.axvline(0, color=MUTED, lw=0.8)


def _top_images(page: _Page, story: UnitProfile, y: float) -> None:
    top = story.strongest
    plain = isinstance(top.masks, Unavailable)
    how = "framed what it sees" if _has_local_field(story) else ""
    how = "; ".join(filter(None, [how, "" if plain else "bright where its mask is"]))
    _title(page, MARGIN, y, "its strongest pictures", how)
    for place, picture in enumerate(top.pictures):
        x = MARGIN + place * (TILE_SIZE + GAP)
        shown = picture if plain else masked_image(picture, top.masks[place], OUTSIDE_BRIGHTNESS)
        axes = page.image(x, y, TILE_SIZE, shown)
        if _has_local_field(story):
            draw_box(axes, top.boxes[place].tolist(), COLORS[4], 1.2)
        value = f"{float(top.activations[place]):.1f}"
        page.text(x + TILE_SIZE, y + TILE_SIZE + 0.02, value, ha="right", size=7, color=SOFT)
    _projections(page, story, y + TILE_SIZE + 0.42)


def _projections(page: _Page, story: UnitProfile, y: float) -> None:
    back = story.strongest.projections
    _title(page, MARGIN, y, "what in them excites it", "projected back by the DeconvNet")
    if isinstance(back, Unavailable):
        page.absent(MARGIN, y, WIDTH - 2 * MARGIN, TILE_SIZE, back.why)
        return
    for line, rule in enumerate(back):
        top = y + line * (TILE_SIZE + 0.28)
        if line:
            words = "the same, guided: only through what fired on the way forward"
            page.text(MARGIN, top - 0.22, words, size=8.5, color=SOFT)
        for place, picture in enumerate(normalize_projections(back[rule])):
            page.image(MARGIN + place * (TILE_SIZE + GAP), top, TILE_SIZE, _enlarge(picture))


def _has_local_field(story: UnitProfile) -> bool:
    """Whether the unit sees a part of its pictures only."""
    whole = story.strongest.pictures.shape[-2:]
    return tuple(story.strongest.patches.shape[-2:]) != tuple(whole)


def _enlarge(picture: Array) -> np.ndarray:
    """Enlarge a small part of a picture by whole pixels, so that it stays as it is."""
    shown = to_numpy(picture)
    times = max(1, 96 // max(shown.shape[-2:]))
    return shown.repeat(times, -1).repeat(times, -2)


def _history(page: _Page, story: UnitProfile, y: float) -> None:
    if isinstance(story.life, Unavailable):
        _title(page, MARGIN, y, "its life over training")
        page.absent(MARGIN, y, WIDTH - 2 * MARGIN, 0.8, story.life.why)
        return
    _title(page, MARGIN, y, "its life over training", story.source)
    moments = story.life
    each = max(1, HISTORY_COLUMNS // len(moments))
    room = 6.7 if moments[0].iou is not None else WIDTH - 2 * MARGIN
    pitch = room / len(moments)
    side = min(0.84, (pitch - 0.1) / each - 0.05)
    for place, moment in enumerate(moments):
        _snapshot(page, moment, MARGIN + place * pitch, y, side, each, pitch)
    if moments[0].iou is not None:
        _iou_curve(page, story, y)


def _snapshot(
    page: _Page, moment: UnitSnapshot, x: float, y: float, side: float, each: int, pitch: float
) -> None:
    drawn = moment.projections
    for rank in range(min(each, len(moment.patches))):
        left = x + rank * (side + 0.05)
        page.image(left, y, side, _enlarge(moment.patches[rank]))
        if not isinstance(drawn, Unavailable):
            shown = _enlarge(normalize_projections(drawn[rank : rank + 1])[0])
            page.image(left, y + side + 0.05, side, shown)
    under = y + 2 * side + 0.1
    lines = [f"step {moment.step}", f"answers {moment.activation:.1f}"]
    if moment.best and moment.best.iou > 0:
        lines.append(f"fits {moment.best.concept}\N{NO-BREAK SPACE}{moment.best.iou:.2f}")
    page.text(x, under, (", " if pitch > 2.2 else "\n").join(lines), size=7.5)


def _iou_curve(page: _Page, story: UnitProfile, y: float) -> None:
    """Draw how well the unit fits its concept over the recorded steps."""
    axes = page.axes(7.5, y + 0.06, WIDTH - 7.5 - MARGIN - 0.1, 1.38)
    values = [moment.iou for moment in story.life]
    # Between two ends alone nothing is known.
    how = {"ls": "--", "lw": 1.2} if len(values) == 2 else {"lw": 1.8}
    axes.plot(range(len(values)), values, color=COLORS[0], marker="o", ms=4, **how)
    steps = [str(moment.step) for moment in story.life]
    axes.set_xticks(range(len(steps)), steps, size=7.5)
    axes.set(xlim=(-0.3, len(steps) - 0.7), ylim=(0, max(1.15 * max(values), 0.01)))
    axes.set_title(f"IoU with {story.concepts[0].concept}, by step", size=8.5, pad=3)
    axes.tick_params(axis="y", labelsize=7.5)

"""The unit profile as one figure; an unavailable part is replaced by its reason."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from torch import Tensor

from ...methods.unit_profile import Unavailable, UnitProfile, UnitSnapshot
from .concepts import masked_image
from .images import normalize_kernels, normalize_projections
from .page import Page, draw_box, frame_axes
from .style import (
    CATEGORY_ORDER,
    COLORS,
    INK,
    MUTED,
    Array,
    category_colors,
    figure_style,
    to_numpy,
)

# Lengths are in inches.
WIDTH, HEIGHT, HEIGHT_WITHOUT_HISTORY = 10.0, 9.5, 8.55
MARGIN, IMAGE_SIZE, TILE_SIZE, GAP = 0.22, 1.55, 1.11, 0.097
GRAY = "#555555"
HISTORY_COLUMNS = 6

Bar = tuple[str, str, float, str]  # concept, category, value, note


@figure_style()
def draw_profile(profile: UnitProfile) -> Figure:
    """Draw the profile of a unit."""
    has_history = not isinstance(profile.history, Unavailable)
    page = _Page(WIDTH, HEIGHT if has_history else HEIGHT_WITHOUT_HISTORY)
    _heading(page, profile)
    _optimized_images(page, profile, 0.96)
    _concepts(page, profile, 0.96)
    _top_images(page, profile, 3.06)
    _projections(page, profile, 4.59)
    _history(page, profile, 7.5)
    return page.figure


class _Page(Page):
    """A page of small text, on which positions are inches from the upper left corner."""

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes whose upper left corner is at x, y."""
        return super().axes(x, self.height - y - height, width, height)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text below and to the right of x, y."""
        super().text(x, self.height - y, text, **({"size": 8, "color": INK, "va": "top"} | style))

    def title(self, x: float, y: float, text: str, note: str = "") -> None:
        """Write the title of the part at x, y, with a note beside it."""
        self.text(x, y - 0.24, text, size=8.5, weight="bold")
        if note:
            font = FontProperties(family="DejaVu Sans", weight="bold")
            width = TextPath((0, 0), text, size=8.5, prop=font).get_extents().x1 / 72
            self.text(x + width + 0.12, y - 0.24, note, size=8.5, color=GRAY)

    def unavailable(self, x: float, y: float, width: float, height: float, reason: str) -> None:
        """Write in a gray box why a part is not available."""
        axes = self.axes(x, y, width, height)
        axes.set(xticks=[], yticks=[], facecolor="#f4f4f2")
        axes.spines[:].set(visible=False)
        lines = "\n".join(textwrap.wrap(reason, max(int(width * 15), 12)))
        axes.text(0.5, 0.5, lines, ha="center", va="center", size=8, color=GRAY)


def _heading(page: _Page, profile: UnitProfile) -> None:
    name = f"{profile.layer}:{profile.unit}"
    name += f", {profile.class_name}" if profile.class_name else ""
    page.text(MARGIN, 0.14, f"{profile.network}  {name}", size=15, weight="bold")
    facts = [f"one of {profile.unit_count} units"]
    if profile.receptive_field:
        rows, columns = profile.receptive_field
        facts.append(f"receptive field {rows} x {columns} pixels")
    facts.append(f"active in {profile.active_fraction:.0%} of the images")
    page.text(WIDTH - MARGIN, 0.5, "; ".join(facts), size=8.5, color=GRAY, ha="right")
    page.text(MARGIN, 0.46, _detection_text(profile), size=10, color=GRAY)


def _detection_text(profile: UnitProfile) -> str:
    if isinstance(profile.concepts, Unavailable):
        return "" if profile.class_name else "no labels: its concept is unknown"
    best = profile.concepts[0]
    if profile.is_detector:
        return f"detects {best.concept} ({best.category}), IoU {best.iou:.2f}"
    if best.iou == 0:
        return "fits no concept"
    return f"detects no concept; {best.concept} fits it best, IoU {best.iou:.2f}"


def _optimized_images(page: _Page, profile: UnitProfile, y: float) -> None:
    largest = float(profile.top.activations[0])
    parts = {"activation maximization": profile.maximized, "through a generator": profile.generated}
    for column, (title, part) in enumerate(parts.items()):
        x = MARGIN + column * (IMAGE_SIZE + 0.38)
        page.title(x, y, title)
        if isinstance(part, Unavailable):
            page.unavailable(x, y, IMAGE_SIZE, IMAGE_SIZE, part.reason)
            continue
        page.image(x, y, IMAGE_SIZE, part.image)
        text = f"activation {part.activation:.1f} (in images: {largest:.1f})"
        page.text(x, y + IMAGE_SIZE + 0.04, text, color=GRAY)
    if profile.kernel is not None:
        _kernel(page, profile.kernel, MARGIN + IMAGE_SIZE, y + IMAGE_SIZE)


def _kernel(page: _Page, kernel: Tensor, right: float, bottom: float) -> None:
    """Draw a unit's kernel over the lower right corner of its image."""
    size = 0.62
    image = normalize_kernels(kernel[None])[0]
    axes = page.image(right - size, bottom - size, size, image)
    frame_axes(axes, "white", 2)
    axes.text(0.5, 1.06, "kernel", transform=axes.transAxes, ha="center", size=7, color=INK)


def _concepts(page: _Page, profile: UnitProfile, y: float) -> None:
    fits = profile.concepts
    if not isinstance(fits, Unavailable):
        fits = [(fit.concept, fit.category, fit.iou, f"{fit.iou:.3f}") for fit in fits]
    _bars(page, 4.12, y, "concepts, IoU with its mask", fits)
    weights = profile.concept_weights
    if not isinstance(weights, Unavailable):
        weights = [
            (one.concept, one.category, one.weight, f"{one.weight:.2f} {_ordinal(one.rank)}")
            for one in weights
        ]
    _bars(page, 7.12, y, "largest weights in concept vectors", weights)


def _ordinal(rank: int) -> str:
    return "largest" if rank == 1 else f"no. {rank}"


def _bars(page: _Page, x: float, y: float, title: str, bars: Sequence[Bar] | Unavailable) -> None:
    """Draw a bar for each concept in its category's color, with name and value beside it."""
    width, name_width = WIDTH - MARGIN - 7.12, 1.22
    page.title(x, y, title)
    if isinstance(bars, Unavailable):
        page.unavailable(x, y, width, IMAGE_SIZE, bars.reason)
        return
    axes = page.axes(x + name_width, y, width - name_width, IMAGE_SIZE)
    colors = category_colors(CATEGORY_ORDER)
    largest = max(max(value for _, _, value, _ in bars), 1e-6)
    for row, (name, category, value, note) in enumerate(bars):
        axes.barh(row, max(value, 0), color=colors.get(category, COLORS[7]), height=0.62)
        axes.text(value + 0.03 * largest, row, note, va="center", size=7.5, color=INK)
        name = name if len(name) <= 12 else f"{name[:11]}…"
        left = {"x": -0.04 * largest, "ha": "right"}
        axes.text(y=row - 0.02, s=name, va="bottom", size=8, color=INK, **left)
        axes.text(y=row + 0.02, s=category, va="top", size=6.5, color=GRAY, **left)
    axes.set(xlim=(0, 1.95 * largest), ylim=(len(bars) - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[["bottom", "left"]].set(visible=False)
    axes.axvline(0, color=MUTED, lw=0.8)


def _top_images(page: _Page, profile: UnitProfile, y: float) -> None:
    top = profile.top
    sees_part = top.patches.shape[-2:] != top.images.shape[-2:]
    notes = ["frame: receptive field"] if sees_part else []
    if not isinstance(top.masks, Unavailable):
        notes.append("outline: where it is active")
    page.title(MARGIN, y, "top-activating images", "; ".join(notes))
    for column, image in enumerate(top.images):
        x = MARGIN + column * (TILE_SIZE + GAP)
        if not isinstance(top.masks, Unavailable):
            image = masked_image(image, top.masks[column])
        axes = page.image(x, y, TILE_SIZE, image)
        if sees_part:
            scale = image.shape[-1] / top.images.shape[-1]
            draw_box(axes, (top.boxes[column] * scale).tolist(), COLORS[4], 1.2)
        text = f"{float(top.activations[column]):.1f}"
        page.text(x + TILE_SIZE, y + TILE_SIZE + 0.02, text, ha="right", size=7, color=GRAY)


def _projections(page: _Page, profile: UnitProfile, y: float) -> None:
    projections = profile.top.projections
    page.title(MARGIN, y, "projections of these activations", "DeconvNet")
    if isinstance(projections, Unavailable):
        page.unavailable(MARGIN, y, WIDTH - 2 * MARGIN, TILE_SIZE, projections.reason)
        return
    for row, by_rule in enumerate(projections.values()):
        top = y + row * (TILE_SIZE + 0.28)
        if row:
            text = "guided: only through units that were active in the forward pass"
            page.text(MARGIN, top - 0.22, text, size=8.5, color=GRAY)
        for column, image in enumerate(normalize_projections(by_rule)):
            page.image(MARGIN + column * (TILE_SIZE + GAP), top, TILE_SIZE, _enlarge(image))


def _enlarge(image: Array) -> np.ndarray:
    """Enlarge a small image by a whole factor, so that its pixels stay sharp."""
    pixels = to_numpy(image)
    factor = max(1, 96 // max(pixels.shape[-2:]))
    return pixels.repeat(factor, -1).repeat(factor, -2)


def _history(page: _Page, profile: UnitProfile, y: float) -> None:
    snapshots = profile.history
    if isinstance(snapshots, Unavailable):
        page.title(MARGIN, y, "training history")
        page.unavailable(MARGIN, y, WIDTH - 2 * MARGIN, 0.8, snapshots.reason)
        return
    page.title(MARGIN, y, "training history", profile.source)
    ious = [one.iou for one in snapshots if one.iou is not None]
    pitch = (6.7 if ious else WIDTH - 2 * MARGIN) / len(snapshots)
    for place, snapshot in enumerate(snapshots):
        x, count = MARGIN + place * pitch, HISTORY_COLUMNS // len(snapshots)
        _snapshot(page, snapshot, x, y, pitch, count)
    if ious and not isinstance(profile.concepts, Unavailable):
        title = f"IoU with {profile.concepts[0].concept}, by training step"
        _iou_curve(page, y, title, [str(one.step) for one in snapshots], ious)


def _snapshot(
    page: _Page, snapshot: UnitSnapshot, x: float, y: float, pitch: float, count: int
) -> None:
    """Draw patches above their projections, at most `count` of them and at least one."""
    count = max(1, count)
    size = min(0.84, (pitch - 0.1) / count - 0.05)
    for column, patch in enumerate(snapshot.patches[:count]):
        left = x + column * (size + 0.05)
        page.image(left, y, size, _enlarge(patch))
        if not isinstance(snapshot.projections, Unavailable):
            (projection,) = normalize_projections(snapshot.projections[column : column + 1])
            page.image(left, y + size + 0.05, size, _enlarge(projection))
    lines = [f"step {snapshot.step}", f"activation {snapshot.activation:.1f}"]
    if snapshot.best and snapshot.best.iou > 0:
        lines.append(f"fits {snapshot.best.concept}\N{NO-BREAK SPACE}{snapshot.best.iou:.2f}")
    text = (", " if pitch > 2.2 else "\n").join(lines)
    page.text(x, y + 2 * size + 0.1, text, size=7.5)


def _iou_curve(
    page: _Page, y: float, title: str, steps: Sequence[str], ious: Sequence[float]
) -> None:
    """Plot how well the unit fits its concept over the steps."""
    axes = page.axes(7.5, y + 0.06, WIDTH - 7.5 - MARGIN - 0.1, 1.38)
    # Dashed if there are two steps only: what happened between them is unknown.
    style, width = ("--", 1.2) if len(ious) == 2 else ("-", 1.8)
    axes.plot(range(len(ious)), ious, color=COLORS[0], marker="o", ms=4, ls=style, lw=width)
    axes.set_xticks(range(len(steps)), steps, size=7.5)
    axes.set(xlim=(-0.3, len(steps) - 0.7), ylim=(0, max(1.15 * max(ious), 0.01)))
    axes.set_title(title, size=8.5, pad=3)
    axes.tick_params(axis="y", labelsize=7.5)

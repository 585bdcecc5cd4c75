"""One style for all figures, and PNGs whose bytes depend only on what is drawn.

Only matplotlib's object interface is used, so that figures can be drawn on any thread.
"""

import logging
import textwrap
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import cycle
from threading import RLock
from unicodedata import east_asian_width

import numpy as np
from matplotlib import font_manager, rc_context, rcdefaults, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

Array = Tensor | np.ndarray | Sequence
# Okabe and Ito's colors, which color-blind readers can distinguish, in order of use; then gray.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442",
    "#8C8C8C",
)  # fmt: skip
# Colors that are visible on any image.
MARKER_COLORS = ("#D55E00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#0072B2")
INK, MUTED = "#222222", "#8a8a8a"
DPI = 144
FORMULA = "formula"  # gid of the texts whose parts between $ are typeset; no others are
# For characters that matplotlib's own DejaVu Sans lacks; those that are installed are used.
FALLBACK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "WenQuanYi Micro Hei", "IPAGothic",
    "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "Yu Gothic", "Arial Unicode MS",
)  # fmt: skip
RC_PARAMS = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
    "text.parse_math": False,
}
_style_lock = RLock()


@dataclass(frozen=True)
class Drawing:
    """A figure with what a reader needs to use it.

    Attributes:
        figure: the figure.
        caption: one or two sentences for the reader.
        alt: a description for readers who cannot see the figure.
        arrays: the numbers that the figure shows, by name.
    """

    figure: Figure
    caption: str
    alt: str
    arrays: Mapping[str, Array] = field(default_factory=dict)


def left_out(reason: str) -> Drawing:
    """Draw a sentence in the place of a figure that this network or these images do not allow.

    Args:
        reason: why, and what to give instead.
    """
    lines = textwrap.wrap(reason, 90)
    figure = Figure(figsize=(6.5, 0.3 + 0.2 * len(lines)))
    figure.text(0.02, 0.5, "\n".join(lines), va="center", color=INK, size=10)
    return Drawing(figure, f"Left out: {reason}", reason)


@contextmanager
def figure_style() -> Generator[None]:
    """Draw with matplotlib's defaults and `RC_PARAMS`, independently of the user's settings.

    matplotlib's settings belong to the whole process, so one thread draws at a time.
    """
    log = logging.getLogger("matplotlib.font_manager")
    with _style_lock, rc_context():
        rcdefaults()
        rcParams.update(RC_PARAMS)
        rcParams["font.family"] = _installed_fonts()
        level = log.level
        log.setLevel(logging.ERROR)  # that a fallback font has no bold face is no news
        try:
            yield
        finally:
            log.setLevel(level)


def to_png(figure: Figure) -> bytes:
    """Render a figure; the same figure always gives the same bytes.

    Characters that no installed font has are shown by their code points, and a line is logged.
    """
    buffer = BytesIO()
    with figure_style():
        texts = figure.findobj(Text)
        _replace_missing_glyphs(texts)
        for text in texts:  # names of classes or layers may look like mathtext
            text.set_parse_math(text.get_gid() == FORMULA)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _replace_missing_glyphs(texts: Sequence[Text]) -> None:
    characters = sorted({character for text in texts for character in text.get_text()})
    missing = [character for character in characters if not _has_glyph(character)]
    for text in texts:
        for character in missing:
            text.set_text(text.get_text().replace(character, _code_point(character)))
    if missing:
        logging.getLogger(__name__).warning(
            "no installed font has %s: the figure shows code points; install Noto Sans CJK, or "
            "another font that has them",
            " ".join(missing),
        )


@cache
def _installed_fonts() -> list[str]:
    names = set(font_manager.fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in names)]


@cache
def _has_glyph(character: str) -> bool:
    fonts = (font_manager.get_font(font_manager.findfont(name)) for name in _installed_fonts())
    return character == "\n" or any(font.get_char_index(ord(character)) for font in fonts)


def _code_point(character: str) -> str:
    return f"[U+{ord(character):04X}]"


def drawn_length(text: str) -> int:
    """Return a text's length as it will be drawn, in Latin letters; wide characters count twice."""
    drawn = "".join(c if _has_glyph(c) else _code_point(c) for c in text)
    return len(drawn) + sum(east_asian_width(character) in "WF" for character in drawn)


def to_numpy(values: Array) -> np.ndarray:
    """Return a tensor, or anything array-like, as a numpy array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


# Categories have the same color in every figure; others take the remaining colors.
CATEGORY_ORDER = ("color", "texture", "material", "part", "object", "scene")


def category_colors(names: Sequence[str]) -> dict[str, str]:
    """Return the color of each category, in the order of `CATEGORY_ORDER`."""
    known = [name for name in CATEGORY_ORDER if name in names]
    ordered = [*known, *(name for name in names if name not in known)]
    fixed = dict(zip(CATEGORY_ORDER, COLORS, strict=False))
    rest = cycle(COLORS[len(CATEGORY_ORDER) :])
    return {name: fixed.get(name) or next(rest) for name in ordered}

"""Backdrops of the scenes: layouts of sky, ground and walls, with objects on them.

A layout paints the canvas from back to front and returns the color term of its largest region. The
objects in front avoid this color, which is also recorded as one of the image's factors.
"""

from collections.abc import Callable

import numpy as np

from .canvas import Canvas, Labels, Pose
from .parts import Rng
from .shapes import Shape, below, block, ellipse, polygon, stroke
from .surfaces import COLOR_NAMES, TEXTURE_NAMES, Surface, plain, with_material, with_texture

STUFF = (
    "building", "cactus", "cloud", "counter", "curtain", "dune", "fence", "floor", "grass",
    "hedge", "hill", "mountain", "path", "picture", "road", "rock", "sea", "sky", "sun", "tile",
    "trunk", "wall", "water", "weed",
)  # fmt: skip
IMAGE_POSE = Pose(0.0, 0.0, 1.0)


class _BackdropPainter:
    """Painter of backdrop regions by name; `numbers` maps names to object label numbers."""

    def __init__(self, canvas: Canvas, rng: Rng, numbers: dict[str, int]) -> None:
        self.canvas, self.rng, self.numbers, self.size = canvas, rng, numbers, canvas.size

    def add(self, name: str, shape: Shape, surface: Surface, relief: float = 0.0) -> None:
        self.canvas.paint(shape, IMAGE_POSE, surface, Labels(object=self.numbers[name]), relief)

    def pick(self, *terms: str) -> str:
        return terms[self.rng.integers(len(terms))]

    def at(self, low: float, high: float) -> float:
        """Return a random length or height between two fractions of the image size, in pixels."""
        return float(self.rng.uniform(low, high)) * self.size

    def ground(self, name: str, surface: Surface, top: float, waves: float = 0.0) -> None:
        """Fill everything below a wavy line; `top` and `waves` in pixels."""
        phase, period = self.rng.uniform(0, 6.3), self.rng.uniform(25, 60)
        line = below(lambda x: top + waves * np.sin(x / period + phase), top - waves, self.size)
        self.add(name, line, surface)

    def sky(self, *terms: str, clouds: bool = True) -> str:
        term = self.pick(*(terms or ("blue", "blue", "blue", "gray", "orange", "pink", "white")))
        self.ground("sky", plain(term, self.rng, pale=0.55), 0)
        fade = np.linspace(0.95, 1.25, self.size, dtype=np.float32)[:, None, None]
        self.canvas.image *= fade
        if self.rng.random() < 0.3:
            x, y, r = self.at(0.1, 0.9), self.at(0.05, 0.25), self.at(0.05, 0.08)
            self.add("sun", ellipse(x, y, r), plain(self.pick("yellow", "white"), self.rng))
        for _ in range(self.rng.integers(0, 4) if clouds else 0):
            x, y, r = self.at(0, 1), self.at(0.04, 0.3), self.at(0.03, 0.06)
            white = plain("white" if term != "white" else "gray", self.rng)
            for dx, dy, grow in ((-1.3, 0.25, 0.8), (0, 0, 1.2), (1.3, 0.2, 0.9)):
                self.add("cloud", ellipse(x + dx * r, y + dy * r, 1.5 * grow * r, grow * r), white)
        return term


def _beach(s: _BackdropPainter) -> str:
    s.sky()
    horizon = s.at(0.3, 0.45)
    s.ground("sea", with_material("water", s.pick("blue", "blue", "green"), s.rng), horizon)
    term = s.pick("yellow", "orange", "white", "brown")
    s.ground("path", with_material("sand", term, s.rng), s.at(0.55, 0.68), s.size * 0.03)
    return term


def _street(s: _BackdropPainter) -> str:
    s.sky()
    x, base = -s.at(0, 0.1), s.at(0.55, 0.66)
    while x < s.size:
        wide, top = s.at(0.2, 0.36), s.at(0.06, 0.3)
        term = s.pick("red", "brown", "gray", "orange", "white", "yellow")
        facade = with_material("brick", term, s.rng) if s.rng.random() < 0.6 else plain(term, s.rng)
        s.add(
            "building",
            block(x + wide / 2, (top + base) / 2, wide / 2 - 1, (base - top) / 2),
            facade,
        )
        glass = plain(s.pick("black", "blue", "yellow"), s.rng)
        for column in np.arange(x + 7, x + wide - 6, 11):
            for row in np.arange(top + 8, base - 8, 14):
                s.add("building", block(column, row, 2.6, 4), glass)
        x += wide
    s.ground("path", plain("gray", s.rng)._replace(material="sand"), base)
    s.ground("road", plain(s.pick("black", "gray"), s.rng), base + s.at(0.05, 0.1))
    for dash in np.arange(s.at(0, 0.2), s.size, 30):
        s.add("road", block(dash, base + 0.24 * s.size, 8, 1.5), plain("white", s.rng))
    return "gray"


def _forest(s: _BackdropPainter) -> str:
    s.ground("hedge", with_material("grass", "green", s.rng), 0)
    s.canvas.image *= np.linspace(1.0, 0.45, s.size, dtype=np.float32)[:, None, None]
    for depth in np.sort(s.rng.uniform(0.3, 1.0, s.rng.integers(5, 10))):
        x, half = s.at(0, 1), (2 + 5 * depth)
        bark = with_material("wood", s.pick("brown", "brown", "gray", "black"), s.rng)
        s.add(
            "trunk",
            stroke(x, -10, x + s.at(-0.05, 0.05), (0.55 + 0.25 * depth) * s.size, half * 0.8, half),
            bark,
            0.8,
        )
    s.ground("grass", with_material("grass", s.pick("green", "brown"), s.rng), s.at(0.68, 0.8), 3)
    return "green"


def _meadow(s: _BackdropPainter) -> str:
    s.sky()
    s.ground("hill", with_material("grass", "green", s.rng), s.at(0.35, 0.5), s.size * 0.06)
    term = s.pick("green", "green", "yellow")
    top = s.at(0.55, 0.66)
    s.ground("grass", with_material("grass", term, s.rng), top, s.size * 0.03)
    for _ in range(s.rng.integers(0, 14)):
        x, y = s.at(0, 1), s.rng.uniform(top + 6, s.size)
        s.add("grass", ellipse(x, y, 1.6), plain(s.pick("white", "yellow", "red", "pink"), s.rng))
    return term


def _mountain(s: _BackdropPainter) -> str:
    s.sky()
    for _ in range(s.rng.integers(2, 4)):
        x, peak, wide, base = (
            s.at(0.05, 0.95),
            s.at(0.08, 0.3),
            s.at(0.35, 0.6),
            0.75 * s.size,
        )
        rock = with_material("gravel", s.pick("gray", "brown", "purple", "gray"), s.rng)
        s.add("mountain", polygon((x, peak), (x + wide, base), (x - wide, base)), rock, 0.3)
        drop = 0.28 * (base - peak)
        reach = wide * drop / (base - peak)
        snow = [
            (x, peak),
            (x + reach, peak + drop),
            (x + reach / 3, peak + 0.7 * drop),
            (x, peak + drop),
            (x - reach / 3, peak + 0.7 * drop),
            (x - reach, peak + drop),
        ]
        s.add("mountain", polygon(*snow), plain("white", s.rng))
    s.ground("grass", with_material("grass", "green", s.rng), s.at(0.62, 0.74), s.size * 0.04)
    return "green"


def _desert(s: _BackdropPainter) -> str:
    s.sky("blue", "orange", "purple", "yellow", "blue", clouds=False)
    term = s.pick("orange", "yellow", "brown")
    for top in (0.4, 0.52, 0.68):
        s.ground(
            "dune",
            with_material("sand", term, s.rng),
            s.at(top - 0.04, top + 0.04),
            s.at(0.03, 0.08),
        )
    for _ in range(s.rng.integers(0, 3)):
        x, y, tall = s.at(0.05, 0.95), s.at(0.55, 0.7), s.at(0.08, 0.16)
        green = plain("green", s.rng)
        s.add("cactus", stroke(x, y, x, y - 2 * tall, 3.5), green, 0.8)
        s.add("cactus", stroke(x, y - tall, x + 7, y - 1.4 * tall, 2.2), green, 0.8)
    return term


def _room(s: _BackdropPainter) -> str:
    term, other = s.rng.choice(COLOR_NAMES, 2, replace=False)
    paper = plain(term, s.rng)
    if s.rng.random() < 0.6:
        paper = with_texture(term, other, s.pick(*TEXTURE_NAMES), s.rng)
    s.ground("wall", paper, 0)
    base = s.at(0.66, 0.8)
    if s.rng.random() < 0.6:
        x, y = s.at(0.15, 0.85), s.at(0.12, 0.35)
        half_x, half_y = s.at(0.08, 0.16), s.at(0.07, 0.14)
        s.add(
            "picture",
            block(x, y, half_x + 2.5, half_y + 2.5),
            with_material("wood", "brown", s.rng),
        )
        s.add("picture", block(x, y, half_x, half_y), plain(s.pick(*COLOR_NAMES), s.rng))
    if s.rng.random() < 0.4:
        side, wide = float(s.rng.integers(2) * s.size), s.at(0.1, 0.2)
        fabric = with_material("fabric", s.pick(*COLOR_NAMES), s.rng)
        s.add("curtain", block(side, base / 2, wide, base / 2), fabric, 0.5)
    floor = with_material("wood", s.pick("brown", "orange", "yellow"), s.rng, np.pi / 2)
    s.ground("floor", floor, base)
    s.add("floor", block(s.size / 2, base, s.size, 1.6), plain("white", s.rng))
    return str(term)


def _kitchen(s: _BackdropPainter) -> str:
    term, other = s.rng.choice(COLOR_NAMES, 2, replace=False)
    tiles = with_texture(term, other, s.pick("grid", "chequered"), s.rng)
    s.ground("tile", tiles._replace(turn=0.0, period=s.at(0.1, 0.16)), 0)
    top = s.at(0.6, 0.72)
    board = with_material(
        s.pick("wood", "metal", "gravel"), s.pick("brown", "gray", "white", "black"), s.rng
    )
    s.ground("counter", board, top)
    s.add("counter", block(s.size / 2, top, s.size, 2.4), plain("gray", s.rng), 0.6)
    return str(term)


def _underwater(s: _BackdropPainter) -> str:
    term = s.pick("blue", "blue", "green", "purple")
    s.ground("water", with_material("water", term, s.rng), 0)
    s.canvas.image *= np.linspace(1.25, 0.6, s.size, dtype=np.float32)[:, None, None]
    base = s.at(0.74, 0.86)
    for _ in range(s.rng.integers(2, 6)):
        x, tall, green = (
            s.at(0, 1),
            s.at(0.1, 0.35),
            plain(s.pick("green", "red", "brown"), s.rng),
        )
        for lean in (-0.4, 0.0, 0.4):
            s.add("weed", stroke(x, base + 6, x + lean * tall, base - tall, 2.6, 1.0), green, 0.6)
    s.ground("path", with_material("gravel", s.pick("gray", "brown", "yellow"), s.rng), base, 4)
    for _ in range(s.rng.integers(0, 3)):
        rock = with_material("gravel", s.pick("gray", "black"), s.rng)
        s.add(
            "rock",
            ellipse(s.at(0, 1), base + s.at(0, 0.1), s.at(0.05, 0.12), s.at(0.04, 0.08)),
            rock,
            0.8,
        )
    return term


def _garden(s: _BackdropPainter) -> str:
    s.sky()
    term = s.pick("red", "brown", "orange", "gray")
    top = s.at(0.2, 0.4)
    if s.rng.random() < 0.55:
        s.ground("wall", with_material("brick", term, s.rng), top)
    else:
        board = with_material("wood", term, s.rng)
        for x in np.arange(s.at(-0.1, 0), s.size + 12, 13):
            s.add("fence", block(x, top + s.size / 2, 5.6, s.size / 2, 3), board, 0.4)
    s.ground("hedge", with_material("grass", "green", s.rng), s.at(0.5, 0.6), 3)
    s.ground(
        "path",
        with_material("gravel", s.pick("gray", "white", "brown"), s.rng),
        s.at(0.7, 0.8),
        3,
    )
    return term


SCENES: dict[str, Callable[[_BackdropPainter], str]] = {
    "beach": _beach,
    "desert": _desert,
    "forest": _forest,
    "garden": _garden,
    "kitchen": _kitchen,
    "meadow": _meadow,
    "mountain": _mountain,
    "room": _room,
    "street": _street,
    "underwater": _underwater,
}
SCENE_NAMES = tuple(SCENES)


def paint_backdrop(canvas: Canvas, scene: str, rng: Rng, numbers: dict[str, int]) -> str:
    """Paint a scene's layout over the whole canvas.

    Args:
        canvas: the canvas to paint on.
        scene: a key of `SCENES`.
        rng: generator of all random choices.
        numbers: name -> object label number.

    Returns:
        The color term of the largest region.
    """
    return SCENES[scene](_BackdropPainter(canvas, rng, numbers))

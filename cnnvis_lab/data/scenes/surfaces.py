"""Surfaces: the 11 basic color terms, two-color textures, and materials.

A texture is the signed distance, in pixels, to the border between two colors. It is therefore
anti-aliased like an outline, and every pixel has an exact color label. A material is a map of
relative brightness applied to one color. Texture names are those of the Describable Textures
vocabulary.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

COLORS = {
    "black": (0.09, 0.09, 0.10),
    "blue": (0.14, 0.33, 0.82),
    "brown": (0.44, 0.27, 0.14),
    "gray": (0.52, 0.52, 0.53),
    "green": (0.20, 0.58, 0.22),
    "orange": (0.95, 0.52, 0.10),
    "pink": (0.97, 0.60, 0.72),
    "purple": (0.48, 0.21, 0.62),
    "red": (0.82, 0.13, 0.13),
    "white": (0.94, 0.94, 0.93),
    "yellow": (0.96, 0.85, 0.17),
}
COLOR_NAMES = tuple(COLORS)
PHOTO_MATERIALS = ("brick", "grass", "gravel")
TILE = 256


def _wave(x: np.ndarray, period: float) -> np.ndarray:
    """Return the signed distance in pixels to the border of stripes half a period wide."""
    return period / 4 - np.abs(x / period % 1 - 0.5) * period


def _striped(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    return _wave(u, p)


def _dotted(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    shifted = u + (np.floor(v / p) % 2) * (p / 2)
    return 0.3 * p - np.hypot(shifted % p - p / 2, v % p - p / 2)


def _chequered(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    a, b = _wave(u, p), _wave(v, p)
    return np.sign(a * b) * np.minimum(np.abs(a), np.abs(b))


def _zigzagged(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    return _wave(v + 2 * _wave(u, 1.6 * p), p) * 0.7


def _grid(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    return np.maximum(np.abs(u % p - p / 2), np.abs(v % p - p / 2)) - 0.38 * p


def _honeycombed(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    def cell(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = np.abs(a % p - p / 2), np.abs(b % (p * 1.732) - p * 0.866)
        return np.maximum(a, a * 0.5 + b * 0.866)

    return np.minimum(cell(u, v), cell(u + p / 2, v + p * 0.866)) - 0.38 * p


def _marbled(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    return _wave(u + 1.5 * p * _sample_tile(_clouds(), u, v), 1.6 * p) + 0.1 * p


def _spiralled(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    angle = np.arctan2(v, u) / (2 * np.pi)
    return _wave(np.hypot(u, v) + angle * 1.3 * p, 1.3 * p)


def _woven(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    over = (np.floor(u / p) + np.floor(v / p)) % 2 > 0
    return np.abs(np.where(over, v, u) % p - p / 2) * -1 + 0.32 * p


def _cracked(u: np.ndarray, v: np.ndarray, p: float) -> np.ndarray:
    return 1.1 - _sample_tile(_cells(), u * 12 / p, v * 12 / p) * p / 12


TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "chequered": _chequered,
    "cracked": _cracked,
    "dotted": _dotted,
    "grid": _grid,
    "honeycombed": _honeycombed,
    "marbled": _marbled,
    "spiralled": _spiralled,
    "striped": _striped,
    "woven": _woven,
    "zigzagged": _zigzagged,
}
TEXTURE_NAMES = tuple(TEXTURES)
MATERIALS = ("brick", "fabric", "grass", "gravel", "metal", "sand", "water", "wood")


def _sample_tile(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return table[v.astype(np.int32) % TILE, u.astype(np.int32) % TILE]


def _noise(seed: int, roughness: float, stretch: float = 1.0) -> np.ndarray:
    """Return periodic noise with spectrum 1 / f^roughness, zero mean and unit variance."""
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    frequency = np.hypot(fx * stretch, fy / stretch)
    frequency[0, 0] = 1
    white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((TILE, TILE)))
    spectrum = white / frequency**roughness
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return (noise / noise.std()).astype(np.float32)


@lru_cache
def _clouds() -> np.ndarray:
    return _noise(1, 2.4)


@lru_cache
def _cells() -> np.ndarray:
    """Return the distance in pixels to the border of the 400 Voronoi cells, on a torus."""
    seeds = np.random.default_rng(2).uniform(0, TILE, (400, 2)).astype(np.float32)
    along = np.arange(TILE, dtype=np.float32)
    two = np.full((2, TILE, TILE), np.inf, dtype=np.float32)
    for x, y in seeds:
        dx, dy = np.abs(along - x), np.abs(along - y)
        d = np.hypot(np.minimum(dx, TILE - dx)[None], np.minimum(dy, TILE - dy)[:, None])
        two = np.stack([np.minimum(two[0], d), np.minimum(two[1], np.maximum(two[0], d))])
    return (two[1] - two[0]) / 2


def _photograph(name: str) -> np.ndarray:
    """Return a bundled photograph as a periodic tile, mirrored, at a scale that shows its grain."""
    from skimage import data as photographs  # slow to import
    from skimage.transform import resize

    half = resize(getattr(photographs, name)().astype(np.float32), (TILE // 2, TILE // 2))
    half = np.clip((half - half.mean()) / half.std() * 0.17, -0.4, 0.4)
    return np.block([[half, half[:, ::-1]], [half[::-1], half[::-1, ::-1]]])


def load_photographs() -> None:
    """Load the photographs of materials, and what reads them, before processes are forked.

    A process that is forked while another thread imports a module would wait for that for ever.
    """
    for material in PHOTO_MATERIALS:
        _relief(material)


@lru_cache
def _relief(material: str) -> np.ndarray:
    """Return the relative brightness of a material minus one, as one periodic tile."""
    if material in PHOTO_MATERIALS:
        return _photograph(material).astype(np.float32)
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32)
    turn = 2 * np.pi / TILE
    if material == "wood":
        grain = np.sin(turn * 20 * x + 3 * _noise(3, 1.8, 3.0)) * 0.14
        return (grain + 0.07 * _noise(4, 0.6, 5.0)).astype(np.float32)
    if material == "metal":
        sheen = np.sin(turn * (3 * x + 3 * y)) * 0.16
        return (sheen + 0.09 * _noise(5, 0.4, 0.15)).astype(np.float32)
    if material == "water":
        ripple = np.sin(turn * 24 * y + 2.5 * _noise(6, 1.7, 0.5))
        return (0.16 * ripple * (0.5 + 0.5 * np.sin(turn * 4 * x))).astype(np.float32)
    if material == "sand":
        return (0.07 * _noise(7, 0.2) + 0.08 * _noise(8, 1.5)).astype(np.float32)
    weave = np.sin(turn * 64 * x) * np.sin(turn * 64 * y) * 0.16  # fabric
    return (weave + 0.08 * _noise(9, 1.2)).astype(np.float32)


class Surface(NamedTuple):
    """One color, or two colors in a texture, or one color on a material.

    Attributes:
        color: RGB in [0, 1].
        color_label: number of its color term, counted from 1.
        second_color: RGB of the texture's second color.
        second_label: number of its color term; 0 for none.
        texture: name of the texture, or "".
        material: name of the material, or "".
        period: period of the texture, in pixels.
        turn: rotation in radians.
        shift: offset of texture or material, in pixels.
        gloss: strength of the highlight.
    """

    color: tuple[float, float, float]
    color_label: int
    second_color: tuple[float, float, float] = (0.0, 0.0, 0.0)
    second_label: int = 0
    texture: str = ""
    material: str = ""
    period: float = 10.0
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    gloss: float = 0.0

    @property
    def texture_label(self) -> int:
        """Number of the texture, counted from 1; 0 for none."""
        return TEXTURE_NAMES.index(self.texture) + 1 if self.texture else 0

    @property
    def material_label(self) -> int:
        """Number of the material, counted from 1; 0 for none."""
        return MATERIALS.index(self.material) + 1 if self.material else 0

    def paint(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return colors (..., 3) at offsets u, v, and the mask of a texture's second color."""
        flat = np.asarray(self.color, dtype=np.float32)
        if not self.texture and not self.material:
            return flat, None
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        a, b = u * cos + v * sin + self.shift[0], v * cos - u * sin + self.shift[1]
        if self.material:
            return flat * (1 + _sample_tile(_relief(self.material), a * 1.4, b * 1.4))[
                ..., None
            ], None
        mix = np.clip(TEXTURES[self.texture](a, b, self.period) + 0.5, 0, 1)
        step = np.asarray(self.second_color, dtype=np.float32) - flat
        return flat + mix[..., None] * step, mix > 0.5


def random_shade(
    term: str, rng: np.random.Generator, pale: float = 0.22
) -> tuple[float, float, float]:
    """Return a random color to which a basic color term applies.

    Args:
        term: the color term.
        rng: generator of the random choices.
        pale: maximum paleness, in [0.22, 1].
    """
    pale, bright = rng.uniform(pale - 0.22, pale), rng.uniform(0.9, 1.06)
    pure = COLORS[term]
    toward = max(pure)  # a paler shade of the same brightness has the same color term
    red, green, blue = (min(bright * (c + pale * (toward - c)), 1.0) for c in pure)
    return red, green, blue


def plain(term: str, rng: np.random.Generator, gloss: float = 0.0, pale: float = 0.22) -> Surface:
    """Return a surface of one color.

    Args:
        term: its color term.
        rng: generator of the random choices.
        gloss: strength of the highlight.
        pale: maximum paleness.
    """
    return Surface(random_shade(term, rng, pale), COLOR_NAMES.index(term) + 1, gloss=gloss)


def with_texture(term: str, other: str, texture: str, rng: np.random.Generator) -> Surface:
    """Return a surface of two colors in a texture of random size, angle and phase.

    Args:
        term: color term of the first color.
        other: color term of the second color.
        texture: a key of `TEXTURES`.
        rng: generator of the random choices.
    """
    return plain(term, rng)._replace(
        second_color=random_shade(other, rng),
        second_label=COLOR_NAMES.index(other) + 1,
        texture=texture,
        period=rng.uniform(6.5, 13),
        turn=rng.uniform(0, np.pi),
        shift=(0.0, 0.0) if texture == "spiralled" else tuple(rng.uniform(0, TILE, 2).tolist()),
    )


def with_material(material: str, term: str, rng: np.random.Generator, turn: float = 0.0) -> Surface:
    """Return a surface of one color and a material.

    Args:
        material: one of `MATERIALS`.
        term: its color term.
        rng: generator of the random choices.
        turn: rotation of the grain, in radians.
    """
    return plain(term, rng, gloss=0.5 if material == "metal" else 0.0)._replace(
        material=material, turn=turn, shift=tuple(rng.uniform(0, TILE, 2).tolist())
    )


def random_surface(rng: np.random.Generator, avoid: tuple[str, ...] = ()) -> Surface:
    """Return a random plain, textured or material surface; its first color is not in `avoid`."""
    terms = [term for term in COLOR_NAMES if term not in avoid]
    term = terms[rng.integers(len(terms))]
    kind = rng.random()
    if kind < 0.4:
        return plain(term, rng, gloss=0.35 * float(rng.random() < 0.5))
    if kind < 0.7:
        return with_material(
            MATERIALS[rng.integers(len(MATERIALS))], term, rng, rng.uniform(0, np.pi)
        )
    others = [other for other in terms if other != term]
    texture = TEXTURE_NAMES[rng.integers(len(TEXTURE_NAMES))]
    return with_texture(term, others[rng.integers(len(others))], texture, rng)

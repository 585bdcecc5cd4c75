"""Parts of buildings, plants and household objects."""

import numpy as np

from .parts import Part, Rng
from .shapes import block, ellipse, polygon, ring, stroke


def house(rng: Rng) -> list[Part]:
    """Draw the parts of one house."""
    eave, peak = rng.uniform(-0.22, -0.08), rng.uniform(-0.98, -0.7)
    door = rng.choice([-0.36, 0.0, 0.36])
    panes = [x for x in (-0.44, 0.0, 0.44) if abs(x - door) > 0.3]
    windows: list[Part] = []
    for x in panes:
        windows += [
            Part("window", block(x, 0.22, 0.17, 0.18), "light", 0.1),
            Part("window", block(x - 0.07, 0.22, 0.055, 0.14), "glass", 0.1),
            Part("window", block(x + 0.07, 0.22, 0.055, 0.14), "glass", 0.1),
        ]
    return [
        Part("chimney", block(0.42, -0.62, 0.09, 0.26), "third", 0.3),
        Part("wall", block(0, 0.34, 0.74, 0.5), "main", 0.1),
        Part(
            "roof",
            polygon((-0.94, eave), (-0.5, peak), (0.5, peak), (0.94, eave), corner=0.02),
            "second",
            0.2,
        ),
        *windows,
        Part("door", block(door, 0.54, 0.15, 0.3), "third", 0.2),
        Part("doorknob", ellipse(door + 0.09, 0.55, 0.03), "lamp", 0.5),
    ]


def tree(rng: Rng) -> list[Part]:
    """Draw the parts of one tree."""
    trunk = Part("trunk", stroke(0.0, 0.95, 0.02, 0.0, 0.15, 0.09), "second", 0.7)
    if rng.random() < 0.4:  # conifer
        tiers = [(-0.95, -0.35, 0.42), (-0.6, 0.05, 0.56), (-0.25, 0.45, 0.7)]
        crown = [
            Part("crown", polygon((0, top), (half, low), (-half, low), corner=0.03), "main", 0.3)
            for top, low, half in reversed(tiers)
        ]
        return [trunk, *crown]
    lobes = [
        (-0.38, -0.18, 0.38),
        (0.38, -0.2, 0.38),
        (-0.18, -0.55, 0.38),
        (0.22, -0.56, 0.36),
        (0.0, -0.2, 0.42),
    ]
    wobble = rng.uniform(-0.05, 0.05, (5, 2))
    crown = [
        Part("crown", ellipse(x + dx, y + dy, r), "main", 0.7)
        for (x, y, r), (dx, dy) in zip(lobes, wobble, strict=True)
    ]
    return [trunk, Part("branch", stroke(0.02, 0.2, 0.3, -0.15, 0.06, 0.04), "second", 0.5), *crown]


def flower(rng: Rng) -> list[Part]:
    """Draw the parts of one flower."""
    count, turn = rng.integers(5, 9), rng.uniform(0, np.pi)
    angles = turn + np.arange(count) * 2 * np.pi / count
    half = min(0.21, 0.95 / count)
    petals = [
        Part(
            "petal", ellipse(0.38 * np.cos(a), -0.36 + 0.38 * np.sin(a), 0.27, half, a), "main", 0.5
        )
        for a in angles
    ]
    return [
        Part("stem", stroke(0.0, -0.3, rng.uniform(-0.12, 0.12), 0.98, 0.045), "second", 0.7),
        Part("leaf", ellipse(0.24, 0.6, 0.26, 0.1, -0.5), "second", 0.4),
        Part("leaf", ellipse(-0.24, 0.44, 0.26, 0.1, 0.5), "second", 0.4),
        *petals,
        Part("pistil", ellipse(0, -0.36, 0.18), "third", 0.8),
    ]


def bottle(rng: Rng) -> list[Part]:
    """Draw the parts of one bottle."""
    wide, shoulder = rng.uniform(0.26, 0.36), rng.uniform(-0.35, -0.15)
    outline = [
        (-wide, shoulder + 0.2),
        (-0.1, shoulder - 0.1),
        (0.1, shoulder - 0.1),
        (wide, shoulder + 0.2),
        (wide, 0.92),
        (-wide, 0.92),
    ]
    return [
        Part("neck", block(0, shoulder - 0.25, 0.12, 0.28, 0.02), "main", 0.9),
        Part("body", polygon(*outline, corner=0.04), "main", 0.8),
        Part("label", block(0, 0.46, wide + 0.02, 0.24), "second", 0.4),
        Part("cap", block(0, shoulder - 0.54, 0.15, 0.09, 0.03), "third", 0.6),
    ]


def cup(rng: Rng) -> list[Part]:
    """Draw the parts of one cup."""
    low, tall = rng.uniform(0.36, 0.54), rng.uniform(0.6, 0.8)
    return [
        Part("handle", ring(0.66, 0.08, 0.26, 0.13), "second", 0.7),
        Part(
            "body",
            polygon((-0.62, -0.5), (0.62, -0.5), (low, tall), (-low, tall), corner=0.05),
            "main",
            0.3,
        ),
        Part("rim", ellipse(0, -0.52, 0.68, 0.17), "main", 0.3),
        Part("drink", ellipse(0, -0.51, 0.58, 0.115), "third", 0.0),
    ]


def phone(rng: Rng) -> list[Part]:
    """Draw the parts of one phone."""
    keys = [
        Part("key", block(x, y, 0.085, 0.055, 0.03), "light", 0.5)
        for y in (0.42, 0.6, 0.78)
        for x in (-0.25, 0.0, 0.25)
    ]
    return [
        Part("antenna", stroke(0.3, -0.85, 0.3, -1.12, 0.05), "main", 0.6),
        Part("body", block(0, 0, 0.48, 0.96, 0.14), "main", 0.4),
        Part("speaker", block(0, -0.8, 0.15, 0.03, 0.03), "dark", 0.1),
        Part("screen", block(0, -0.24, 0.36, 0.44, 0.04), "glass", 0.1),
        *(keys if rng.random() < 0.75 else [Part("key", ellipse(0, 0.6, 0.16), "light", 0.5)]),
    ]


def chair(rng: Rng) -> list[Part]:
    """Draw the parts of one chair."""
    top = rng.uniform(-0.98, -0.8)
    slats = [
        Part("back", block(x, (top + 0.1) / 2, 0.05, (0.1 - top) / 2 - 0.04), "second", 0.5)
        for x in (-0.42, -0.2, 0.02)
    ]
    return [
        Part("leg", stroke(-0.22, 0.14, -0.2, 0.72, 0.05), "main", 0.5),
        Part("leg", stroke(0.62, 0.14, 0.64, 0.72, 0.05), "main", 0.5),
        *slats,
        Part("back", block(-0.2, top + 0.08, 0.36, 0.1, 0.05), "main", 0.5),
        Part("back", stroke(-0.5, 0.1, -0.52, top + 0.05, 0.06), "main", 0.5),
        Part("back", stroke(0.12, 0.06, 0.1, top + 0.05, 0.06), "main", 0.5),
        Part(
            "seat",
            polygon((-0.56, 0.22), (-0.3, 0.02), (0.66, 0.02), (0.5, 0.22), corner=0.05),
            "third",
            0.4,
        ),
        Part("leg", stroke(-0.5, 0.26, -0.52, 0.96, 0.06), "main", 0.5),
        Part("leg", stroke(0.42, 0.26, 0.44, 0.96, 0.06), "main", 0.5),
    ]

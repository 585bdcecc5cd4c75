"""Parts of vehicles."""

import numpy as np

from .parts import Part, Rng
from .shapes import block, ellipse, polygon, ring, stroke, union


def airplane(rng: Rng) -> list[Part]:
    """Draw the parts of one airplane."""
    sweep = rng.uniform(0.25, 0.55)
    wings = [
        Part(
            "wing",
            polygon(
                (0.28, s * 0.08),
                (-0.14, s * 0.08),
                (-0.14 - sweep, s * 0.96),
                (0.08 - sweep, s * 0.96),
            ),
            "second",
            0.25,
        )
        for s in (-1, 1)
    ]
    tails = [
        Part(
            "tailplane",
            polygon((-0.68, s * 0.05), (-0.9, s * 0.05), (-1.06, s * 0.42), (-0.92, s * 0.42)),
            "second",
            0.25,
        )
        for s in (-1, 1)
    ]
    windows = [Part("window", ellipse(x, 0, 0.05), "dark", 0.2) for x in np.arange(-0.5, 0.6, 0.2)]
    engines = [
        Part(
            "engine",
            stroke(0.02 - sweep / 2, s * 0.48, 0.22 - sweep / 2, s * 0.48, 0.08),
            "third",
            0.7,
        )
        for s in (-1, 1)
    ]
    return [
        *engines,
        *wings,
        *tails,
        Part("fuselage", stroke(-0.9, 0, 0.84, 0, 0.1, 0.17), "main", 1.0),
        *windows,
        Part("cockpit", polygon((0.78, -0.1), (0.92, 0.0), (0.78, 0.1), corner=0.03), "glass", 0.3),
    ]


def _wheel(x: float, y: float, radius: float) -> list[Part]:
    return [
        Part("wheel", ellipse(x, y, radius), "dark", 0.3),
        Part("wheel", ellipse(x, y, radius * 0.56), "light", 0.6),
        Part("wheel", ellipse(x, y, radius * 0.18), "dark", 0.5),
    ]


def car(rng: Rng) -> list[Part]:
    """Draw the parts of one car."""
    roof = rng.uniform(-0.52, -0.4)
    return [
        Part(
            "cabin",
            polygon((-0.6, -0.08), (-0.38, roof), (0.26, roof), (0.56, -0.08), corner=0.05),
            "main",
            0.3,
        ),
        Part(
            "window",
            polygon((-0.48, -0.1), (-0.32, roof + 0.07), (-0.1, roof + 0.07), (-0.1, -0.1)),
            "glass",
            0.2,
        ),
        Part(
            "window",
            polygon((0.0, -0.1), (0.0, roof + 0.07), (0.22, roof + 0.07), (0.42, -0.1)),
            "glass",
            0.2,
        ),
        Part("body", block(0, 0.12, 0.98, 0.24, 0.14), "main", 0.6),
        Part("bumper", block(0, 0.32, 0.96, 0.05, 0.04), "second", 0.4),
        Part("door", block(-0.05, 0.12, 0.012, 0.17), "dark", 0.0),
        Part("headlight", ellipse(0.88, 0.05, 0.09, 0.07), "lamp", 0.6),
        *_wheel(-0.56, 0.36, 0.24),
        *_wheel(0.56, 0.36, 0.24),
    ]


def bicycle(rng: Rng) -> list[Part]:
    """Draw the parts of one bicycle."""
    wheels = []
    for x in (-0.58, 0.58):
        spokes = union(
            *(
                stroke(
                    x - 0.34 * np.cos(a),
                    0.34 - 0.34 * np.sin(a),
                    x + 0.34 * np.cos(a),
                    0.34 + 0.34 * np.sin(a),
                    0.012,
                )
                for a in (0.3, 1.35, 2.4)
            )
        )
        wheels += [
            Part("wheel", spokes, "light", 0.0),
            Part("wheel", ring(x, 0.34, 0.37, 0.09), "dark", 0.6),
        ]
    seat = rng.uniform(-0.4, -0.25)
    bars = [
        (-0.58, 0.34, -0.22, -0.1),
        (-0.22, -0.1, 0.36, -0.12),
        (-0.22, -0.1, 0.0, 0.36),
        (0.0, 0.36, 0.38, -0.12),
        (-0.58, 0.34, 0.0, 0.36),
        (0.36, -0.2, 0.58, 0.34),
    ]
    return [
        *wheels,
        Part("frame", union(*(stroke(*bar, 0.055) for bar in bars)), "main", 0.7),
        Part("saddle", stroke(-0.25, -0.1, -0.3, seat, 0.035), "third", 0.4),
        Part("saddle", stroke(-0.42, seat, -0.16, seat, 0.08, 0.05), "second", 0.6),
        Part(
            "handlebar",
            union(stroke(0.36, -0.2, 0.31, -0.44, 0.04), stroke(0.31, -0.44, 0.54, -0.5, 0.05)),
            "second",
            0.4,
        ),
        Part("pedal", ring(0.0, 0.36, 0.1, 0.05), "third", 0.4),
    ]


def boat(rng: Rng) -> list[Part]:
    """Draw the parts of one boat."""
    lean, top = rng.uniform(-0.05, 0.05), rng.uniform(-0.98, -0.85)
    return [
        Part("mast", stroke(0.0, 0.4, lean, top, 0.04), "third", 0.5),
        Part(
            "sail", polygon((lean - 0.07, top + 0.04), (-0.07, 0.22), (-0.72, 0.22)), "second", 0.25
        ),
        Part(
            "sail", polygon((lean + 0.07, top + 0.16), (0.07, 0.22), (0.58, 0.22)), "second", 0.25
        ),
        Part(
            "hull",
            polygon((-0.92, 0.38), (0.95, 0.38), (0.62, 0.82), (-0.66, 0.82), corner=0.03),
            "main",
            0.5,
        ),
        Part("hull", block(0.0, 0.39, 0.95, 0.045, 0.03), "third", 0.4),
    ]

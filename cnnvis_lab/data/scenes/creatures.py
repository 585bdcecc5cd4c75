"""Parts of faces and animals, and of the companion objects."""

from .parts import Part, Rng
from .shapes import block, cut, ellipse, polygon, ring, stroke, union


def face(rng: Rng) -> list[Part]:
    """Draw the parts of one face."""
    wide, gaze, smile = rng.uniform(0.56, 0.68), rng.uniform(-0.04, 0.04), rng.uniform(0, 0.1)
    eyes = []
    for side in (-1, 1):
        x = side * 0.27
        eyes += [
            Part("eye", ellipse(x, -0.1, 0.16, 0.105), "light", 0.2),
            Part("eye", ellipse(x + gaze, -0.1, 0.075), "dark", 0.3),
            Part("eyebrow", stroke(x - 0.15, -0.28, x + 0.15, -0.3, 0.035), "second", 0.2),
        ]
    return [
        Part("hair", ellipse(0, -0.22, wide + 0.16, 0.74), "second", 0.5),
        Part("ear", ellipse(-wide - 0.04, 0.0, 0.12, 0.2), "skin"),
        Part("ear", ellipse(wide + 0.04, 0.0, 0.12, 0.2), "skin"),
        Part("head", ellipse(0, 0.1, wide, 0.82), "skin", 0.8),
        Part(
            "hair",
            cut(ellipse(0, -0.22, wide + 0.03, 0.66), ellipse(0, 0.35, wide + 0.2, 0.8)),
            "second",
        ),
        *eyes,
        Part(
            "nose",
            polygon((-0.03, -0.02), (0.03, -0.02), (0.1, 0.27), (-0.1, 0.27), corner=0.03),
            "skin",
            0.9,
        ),
        Part(
            "mouth",
            cut(ellipse(0, 0.5, 0.3, 0.14), ellipse(0, 0.38 - smile, 0.4, 0.12)),
            "third",
            0.4,
        ),
    ]


def dog(rng: Rng) -> list[Part]:
    """Draw the parts of one dog."""
    up = rng.uniform(-0.6, -0.2)
    stride = rng.uniform(-0.08, 0.12)
    legs = [(-0.52, -stride), (-0.34, stride), (0.24, -stride), (0.42, stride)]
    return [
        Part("tail", stroke(-0.58, 0.0, -0.95, up, 0.08, 0.05)),
        *(Part("leg", stroke(x, 0.15, x + dx, 0.82, 0.11, 0.09)) for x, dx in legs),
        Part("torso", stroke(-0.46, 0.08, 0.32, 0.04, 0.28, 0.27), "main", 0.8),
        Part("neck", stroke(0.34, 0.0, 0.52, -0.4, 0.2, 0.17)),
        Part("head", ellipse(0.58, -0.48, 0.27, 0.25), "main", 0.7),
        Part("muzzle", stroke(0.68, -0.4, 0.92, -0.36, 0.14, 0.11), "second", 0.7),
        Part("nose", ellipse(1.0, -0.42, 0.07), "dark", 0.8),
        Part("ear", ellipse(0.42, -0.42, 0.12, 0.26, 0.25), "second", 0.4),
        Part("eye", ellipse(0.68, -0.56, 0.055), "dark", 0.5),
    ]


def cat(rng: Rng) -> list[Part]:
    """Draw the parts of one cat."""
    curl = rng.uniform(0.4, 0.7)
    whiskers = [
        Part("whisker", stroke(s * 0.1, -0.3, s * 0.5, -0.3 + dy, 0.012), "light", 0.0)
        for s in (-1, 1)
        for dy in (-0.1, 0.0, 0.1)
    ]
    return [
        Part(
            "tail",
            union(
                stroke(0.3, 0.75, 0.72, 0.62, 0.09),
                stroke(0.72, 0.62, 0.8, 0.62 - curl, 0.09, 0.06),
            ),
        ),
        Part(
            "torso",
            polygon((-0.2, -0.2), (0.2, -0.2), (0.36, 0.7), (-0.36, 0.7), corner=0.16),
            "main",
            0.45,
        ),
        Part("leg", stroke(-0.15, 0.3, -0.17, 0.82, 0.11), "main"),
        Part("leg", stroke(0.15, 0.3, 0.17, 0.82, 0.11), "main"),
        Part(
            "ear", polygon((-0.4, -0.5), (-0.36, -0.98), (-0.04, -0.68), corner=0.02), "second", 0.3
        ),
        Part("ear", polygon((0.4, -0.5), (0.36, -0.98), (0.04, -0.68), corner=0.02), "second", 0.3),
        Part("head", ellipse(0, -0.42, 0.44, 0.36), "main", 0.7),
        Part("eye", ellipse(-0.18, -0.48, 0.09, 0.08), "light", 0.2),
        Part("eye", ellipse(0.18, -0.48, 0.09, 0.08), "light", 0.2),
        Part("eye", ellipse(-0.18, -0.48, 0.032, 0.075), "dark", 0.2),
        Part("eye", ellipse(0.18, -0.48, 0.032, 0.075), "dark", 0.2),
        Part("muzzle", ellipse(0, -0.27, 0.17, 0.11), "second", 0.6),
        Part("nose", polygon((-0.06, -0.36), (0.06, -0.36), (0, -0.29), corner=0.02), "dark", 0.5),
        *whiskers,
    ]


def bird(rng: Rng) -> list[Part]:
    """Draw the parts of one bird."""
    lift = rng.uniform(-0.25, 0.1)
    return [
        Part(
            "tail",
            polygon((-0.42, 0.05), (-1.0, 0.12), (-0.98, 0.38), (-0.36, 0.26)),
            "second",
            0.3,
        ),
        Part("leg", stroke(-0.06, 0.45, -0.1, 0.82, 0.035), "third", 0.3),
        Part("leg", stroke(0.12, 0.45, 0.14, 0.82, 0.035), "third", 0.3),
        Part("torso", ellipse(0, 0.12, 0.55, 0.37, -0.25), "main", 0.9),
        Part("beak", polygon((0.62, -0.44), (0.98, -0.3), (0.62, -0.24)), "third", 0.4),
        Part("head", ellipse(0.46, -0.34, 0.27), "main", 0.8),
        Part(
            "wing",
            polygon(
                (0.22, -0.02),
                (-0.2, lift - 0.08),
                (-0.72, lift + 0.06),
                (-0.3, 0.32),
                (0.1, 0.3),
                corner=0.03,
            ),
            "second",
            0.4,
        ),
        Part("eye", ellipse(0.54, -0.4, 0.075), "light", 0.2),
        Part("eye", ellipse(0.555, -0.4, 0.042), "dark", 0.3),
    ]


def fish(rng: Rng) -> list[Part]:
    """Draw the parts of one fish."""
    tall = rng.uniform(0.36, 0.5)
    return [
        Part(
            "tail", polygon((-0.55, 0.0), (-1.0, -0.42), (-0.86, 0.0), (-1.0, 0.42)), "second", 0.3
        ),
        Part(
            "fin",
            polygon((-0.3, -tall * 0.7), (-0.12, -tall - 0.3), (0.35, -tall * 0.7)),
            "second",
            0.3,
        ),
        Part(
            "fin",
            polygon((-0.2, tall * 0.7), (-0.16, tall + 0.24), (0.12, tall * 0.8)),
            "second",
            0.3,
        ),
        Part("body", ellipse(0.12, 0, 0.78, tall), "main", 0.9),
        Part("gill", cut(ring(0.42, 0, 0.3, 0.05), block(0.8, 0, 0.47, 1)), "dark", 0.0),
        Part("fin", polygon((0.26, 0.06), (-0.14, 0.26), (0.08, -0.02)), "second", 0.3),
        Part("eye", ellipse(0.6, -0.1, 0.1), "light", 0.2),
        Part("eye", ellipse(0.62, -0.1, 0.052), "dark", 0.3),
    ]


def hand(rng: Rng) -> list[Part]:
    """Draw the parts of a hand that holds an object from behind: the companion of the phone."""
    fingers = [
        Part("finger", stroke(0.62, y, 0.3, y + 0.03, 0.1), "skin", 0.8) for y in (0.12, 0.36, 0.6)
    ]
    return [
        Part(
            "palm",
            polygon((-0.5, 0.5), (0.55, 0.5), (0.42, 1.5), (-0.3, 1.5), corner=0.14),
            "skin",
            0.6,
        ),
        *fingers,
        Part("thumb", stroke(-0.6, 0.75, -0.42, 0.15, 0.14, 0.1), "skin", 0.8),
    ]


def perch(rng: Rng) -> list[Part]:
    """Draw the parts of a branch under the feet: the companion of the bird."""
    rise = rng.uniform(-0.12, 0.12)
    leaves = [
        Part("leaf", ellipse(x, 0.72 + x * rise - 0.16, 0.2, 0.085, a), "second", 0.4)
        for x, a in ((-0.85, 0.9), (0.55, 2.3), (0.95, 1.0))
    ]
    return [
        Part("twig", stroke(-1.3, 0.86 - rise, 1.3, 0.86 + rise, 0.1, 0.06), "main", 0.8),
        *leaves,
    ]

"""Composes a picture: a scene, one main object that names its class, others, distractors, light."""

from dataclasses import dataclass

import numpy as np

from .backdrops import SCENE_NAMES, STUFF, paint_backdrop
from .canvas import PIXEL_CATEGORIES, Canvas, Labels, Light, Pose
from .objects import CLASS_NAMES, CLASSES, COMPANIONS, PARTS, STANDING, Companion
from .parts import Part, Rng
from .shapes import block, ellipse, polygon, stroke
from .surfaces import COLOR_NAMES, MATERIALS, TEXTURE_NAMES, Surface, plain, random_surface

SIZE = 128
COMPANION_RATE = 0.92
STRAY_COMPANION_RATE = 0.02
OBJECTS = (*CLASS_NAMES, *(companion.name for companion in COMPANIONS.values()), *STUFF)
LABELS: dict[str, tuple[str, ...]] = {
    "color": COLOR_NAMES,
    "object": OBJECTS,
    "part": PARTS,
    "material": MATERIALS,
    "scene": SCENE_NAMES,
    "texture": TEXTURE_NAMES,
}
_OBJECT_NUMBER = {name: number for number, name in enumerate(OBJECTS, 1)}
_PART_NUMBER = {name: number for number, name in enumerate(PARTS, 1)}


@dataclass(frozen=True)
class PartTruth:
    """Where one part was painted: the middle and box (x0, y0, x1, y1) of its shape, in pixels."""

    name: str
    x: float
    y: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Instance:
    """One object as it was planted.

    Attributes:
        name: its class, or the companion's name.
        number: its value in `Picture.instances`.
        pose: where its frame lies.
        box: x0, y0, x1, y1 of its unoccluded shape, in pixels, clipped to the picture.
        parts: every part in painting order; of a pair, the one at negative x of its frame first.
        surface: what its main role was painted with.
        companion_of: class of the object it accompanies, or "".
        visible_fraction: fraction of its pixels that nothing painted later covers.
    """

    name: str
    number: int
    pose: Pose
    box: tuple[int, int, int, int]
    parts: tuple[PartTruth, ...]
    surface: Surface
    companion_of: str
    visible_fraction: float


@dataclass(frozen=True)
class SceneImage:
    """A picture with everything that was planted in it.

    Attributes:
        image: (128, 128, 3) uint8 RGB.
        class_index: index into `CLASS_NAMES` of the main object.
        labels: category -> (128, 128) uint8 numbers into `LABELS[category]`, counted from 1, 0 for
            none; for color, object, part, material, texture.
        scene: number into `LABELS["scene"]`, counted from 1.
        instances: (128, 128) uint8, `Instance.number` of the topmost object, 0 for the backdrop.
        objects: the planted objects, farthest first; `main` is the one that names the class.
        main: index of the main object in `objects`.
        background_color: colour term of the backdrop's main region.
        light: the lamp.
    """

    image: np.ndarray
    class_index: int
    labels: dict[str, np.ndarray]
    scene: int
    instances: np.ndarray
    objects: tuple[Instance, ...]
    main: int
    background_color: str
    light: Light


@dataclass
class _PlacedObject:
    """An object being painted."""

    name: str
    number: int
    pose: Pose
    roles: dict[str, Surface]
    companion_of: str
    surface: Surface
    parts: list[PartTruth]
    pixels: int = 0


class _Composer:
    """Paints one picture from its own stream of random numbers."""

    def __init__(self, seed: int, index: int, size: int) -> None:
        self.rng = np.random.default_rng([seed, index])
        self.size = size
        self.light = self._draw_light()
        self.canvas = Canvas(size, self.light)
        self.planted: list[_PlacedObject] = []

    def _draw_light(self) -> Light:
        angle, height = self.rng.uniform(-2.6, -0.55), self.rng.uniform(0.45, 0.8)
        flat = np.sqrt(1 - height**2)
        warm = self.rng.uniform(-0.07, 0.07)
        return Light(
            float(flat * np.cos(angle)),
            float(flat * np.sin(angle)),
            height,
            self.rng.uniform(0.5, 0.68),
            (1 + warm, 1.0, 1 - warm),
        )

    def _roles(self, avoid: tuple[str, ...]) -> dict[str, Surface]:
        rng = self.rng
        main = random_surface(rng, avoid)
        first = COLOR_NAMES[main.color_label - 1]
        others = [term for term in COLOR_NAMES if term not in (first, *avoid)]
        second, third = rng.choice(others, 2, replace=False)
        light, glass = ("white", "white", "gray", "yellow"), ("blue", "black", "gray", "white")
        skin = ("pink", "brown", "orange", "yellow", "white", "gray", "green", "purple")
        skin = [term for term in skin if term not in avoid]
        return {
            "main": main,
            "second": random_surface(rng, (first, *avoid))
            if rng.random() < 0.3
            else plain(second, rng),
            "third": plain(third, rng, gloss=0.2),
            "dark": plain("black", rng, gloss=0.2),
            "light": plain(light[rng.integers(4)], rng, gloss=0.2),
            "glass": plain(glass[rng.integers(4)], rng, gloss=0.5),
            "lamp": plain(("yellow", "white", "red")[rng.integers(3)], rng, gloss=0.5),
            "skin": plain(skin[rng.integers(len(skin))], rng),
        }

    def plant(
        self, name: str, pose: Pose, avoid: tuple[str, ...], owner: str = ""
    ) -> _PlacedObject:
        """Begin an object: draw its surfaces, none of them first of a colour in `avoid`."""
        roles = self._roles(avoid)
        planted = _PlacedObject(name, len(self.planted) + 1, pose, roles, owner, roles["main"], [])
        self.planted.append(planted)
        return planted

    def paint(self, planted: _PlacedObject, parts: list[Part]) -> None:
        """Paint parts of a planted object over what is there, and note where they went."""
        for part in parts:
            labels = Labels(_OBJECT_NUMBER[planted.name], _PART_NUMBER[part.name], planted.number)
            surface = planted.roles[part.role]
            self.canvas.paint(part.shape, planted.pose, surface, labels, part.relief)
            planted.parts.append(_part_truth(part, planted.pose))
        if all(part.role != "main" for part in parts):
            planted.surface = planted.roles["skin"]
        planted.pixels = int((self.canvas.instance == planted.number).sum())

    def add_object(
        self, name: str, pose: Pose, avoid: tuple[str, ...], with_companion: bool | None = None
    ) -> int:
        """Paint an object with its shadow and, mostly, its companion; return its index."""
        if name in STANDING:
            ground = pose.y + 0.95 * pose.scale
            self.canvas.shadow(pose.x, ground, 0.9 * pose.scale, 0.18 * pose.scale, 0.45)
        own, parts = self.plant(name, pose, avoid), CLASSES[name](self.rng)
        companion = COMPANIONS.get(name)
        by_chance = companion is not None and self.rng.random() < COMPANION_RATE
        if companion is None or not (by_chance if with_companion is None else with_companion):
            self.paint(own, parts)
            return own.number - 1
        other, others = self.plant(companion.name, pose, avoid, name), companion.parts(self.rng)
        if companion.behind:
            self.paint(other, others[: companion.behind])
        self.paint(own, parts)
        self.paint(other, others[companion.behind :])
        return own.number - 1

    def pose(self, name: str, low: float, high: float, spread: float) -> Pose:
        """Draw a pose: half extent and distance from the middle as shares of the picture's size."""
        rng, turn = self.rng, 0.16 if name in STANDING else 0.45
        scale = rng.uniform(low, high) * self.size
        reach = spread * self.size
        x, y = self.size / 2 + rng.uniform(-reach, reach, 2)
        return Pose(x, y, scale, rng.uniform(-turn, turn), bool(rng.random() < 0.5))

    def add_others(self, count: int, main: str, avoid: tuple[str, ...]) -> None:
        """Paint small objects of other classes, out towards the border."""
        others = [name for name in CLASS_NAMES if name != main]
        for name in self.rng.choice(others, count, replace=False):
            angle, away = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.32, 0.46) * self.size
            pose = self.pose(name, 0.1, 0.17, 0.0)
            middle = self.size / 2
            pose = pose._replace(x=middle + away * np.cos(angle), y=middle + away * np.sin(angle))
            self.add_object(str(name), pose, avoid)

    def add_distractors(self, count: int, half: float) -> None:
        """Paint meaningless shapes: they carry colour, texture and material but are no object."""
        for _ in range(count):
            rng = self.rng
            r = rng.uniform(0.4, 1.0) * half * self.size
            points = [(np.cos(a), np.sin(a)) for a in np.sort(rng.uniform(0, 6.28, 4))]
            forms = (
                ellipse(0, 0, 1, rng.uniform(0.5, 0.95)),
                block(0, 0, 0.9, rng.uniform(0.3, 0.9), 0.1),
                stroke(-1, 0, 1, 0, rng.uniform(0.08, 0.2)),
                polygon(*points, corner=0.05),
            )
            angle, away = rng.uniform(0, 6.28), rng.uniform(0.25, 0.55) * self.size
            middle = self.size / 2
            pose = Pose(
                middle + away * np.cos(angle),
                middle + away * np.sin(angle),
                r,
                rng.uniform(0, 6.28),
            )
            self.canvas.paint(forms[rng.integers(4)], pose, random_surface(rng), Labels(), 0.5)

    def finished(self) -> np.ndarray:
        """Apply the light's colour and fall-off and the sensor's noise; return uint8 RGB."""
        rng, axis = self.rng, np.linspace(-1, 1, self.size, dtype=np.float32)
        across, down = rng.uniform(-0.12, 0.12, 2).astype(np.float32)
        falloff = (1 + across * axis)[None] * (1 + down * axis)[:, None]
        image = self.canvas.image * falloff[..., None]
        image *= np.asarray(self.light.tint, dtype=np.float32) * np.float32(rng.uniform(0.88, 1.08))
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image += noise * np.float32(rng.uniform(0.004, 0.025))
        return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _part_truth(part: Part, pose: Pose) -> PartTruth:
    x0, y0, x1, y1 = box = pose.box(part.shape)
    return PartTruth(part.name, (x0 + x1) / 2, (y0 + y1) / 2, box)


def _instance(planted: _PlacedObject, canvas: Canvas) -> Instance:
    boxes = np.array([part.box for part in planted.parts])
    low, high = np.floor(boxes[:, :2].min(0)), np.ceil(boxes[:, 2:].max(0))
    box = tuple(int(value) for value in np.clip([*low, *high], 0, canvas.size))
    seen = int((canvas.instance == planted.number).sum())
    return Instance(
        planted.name,
        planted.number,
        planted.pose,
        box,
        tuple(planted.parts),
        planted.surface,
        planted.companion_of,
        seen / max(planted.pixels, 1),
    )


def draw(
    seed: int, index: int, size: int = SIZE, *, with_companion: bool | None = None
) -> SceneImage:
    """Draw picture `index` of the world `seed`; the same two numbers always give the same bytes.

    Classes take turns (class = index modulo 16), so that any run of pictures is balanced.

    Args:
        seed: which world; training and held-out pictures use different ones.
        index: which picture, from 0.
        size: side in pixels.
        with_companion: whether the main object has its companion, if it is of a class with one;
            mostly, as chance will, by default.

    Returns:
        The picture with labels and planted truth.
    """
    composer = _Composer(seed, index, size)
    rng, canvas = composer.rng, composer.canvas
    name = CLASS_NAMES[index % len(CLASS_NAMES)]
    scene = int(rng.integers(len(SCENE_NAMES)))
    background = paint_backdrop(canvas, SCENE_NAMES[scene], rng, _OBJECT_NUMBER)
    avoid = (background,)
    composer.add_distractors(int(rng.integers(0, 3)), 0.12)
    composer.add_others(int(rng.integers(0, 3)), name, avoid)
    pose = composer.pose(name, 0.24, 0.44, 0.12)
    main = composer.add_object(name, pose, avoid, with_companion)
    for companion in _stray_companions(rng, name):
        planted = composer.plant(companion.name, composer.pose(name, 0.14, 0.2, 0.4), avoid)
        composer.paint(planted, companion.parts(rng))
    composer.add_distractors(int(rng.integers(0, 3)), 0.09)
    return SceneImage(
        image=composer.finished(),
        class_index=CLASS_NAMES.index(name),
        labels={category: canvas.labels[category] for category in PIXEL_CATEGORIES},
        scene=scene + 1,
        instances=canvas.instance,
        objects=tuple(_instance(planted, canvas) for planted in composer.planted),
        main=main,
        background_color=background,
        light=composer.light,
    )


def _stray_companions(rng: Rng, main: str) -> list[Companion]:
    """Companions without their object: rare, so that nothing but habit ties the two together."""
    return [
        companion
        for owner, companion in COMPANIONS.items()
        if owner != main and rng.random() < STRAY_COMPANION_RATE
    ]

"""Compose a scene: backdrop, a main object that defines the class, other objects, distractors."""

from dataclasses import dataclass

import numpy as np

from .backdrops import SCENE_NAMES, STUFF, paint_backdrop
from .canvas import PIXEL_CATEGORIES, Camera, Canvas, Labels, Light, Pose
from .objects import CLASS_NAMES, CLASSES, COMPANIONS, PARTS, STANDING, Companion
from .parts import Part, PartTruth, Rng
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
class Instance:
    """Ground truth of one object.

    Attributes:
        name: its class, or the companion's name.
        number: value in `SceneImage.instances`.
        pose: position of its frame.
        box: x0, y0, x1, y1 of its shape without occlusion, in pixels, clipped to the image.
        parts: all parts in painting order; of a pair, the one at negative x in the object's frame
            first.
        surface: surface of its main role.
        companion_of: class of the object it accompanies, or "".
        visible_fraction: fraction of its pixels not covered by objects painted later.
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
    """An image with its ground truth.

    Attributes:
        image: (128, 128, 3) uint8 RGB.
        class_index: index into `CLASS_NAMES` of the main object.
        labels: category -> (128, 128) uint8 numbers into `LABELS[category]`, counted from 1, 0 for
            unlabeled; for color, object, part, material, texture.
        scene: number into `LABELS["scene"]`, counted from 1.
        instances: (128, 128) uint8, `Instance.number` of the topmost object, 0 for the backdrop.
        objects: the objects, in painting order (farthest first).
        main: index in `objects` of the main object, which defines the class.
        background_color: color term of the backdrop's main region.
        light: the lamp.
        camera: what the camera does to the image.
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
    camera: Camera


@dataclass
class _PlacedObject:
    """An object that is being painted."""

    name: str
    number: int
    pose: Pose
    roles: dict[str, Surface]
    companion_of: str
    surface: Surface
    parts: list[PartTruth]
    pixels: int = 0


class _Composer:
    """Painter of one image, with its own random generator."""

    def __init__(self, seed: int, index: int, size: int) -> None:
        self.rng = np.random.default_rng([seed, index])
        self.size = size
        self.light = self._draw_light()
        self.canvas = Canvas(size, self.light)
        self.placed: list[_PlacedObject] = []

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

    def place(
        self, name: str, pose: Pose, avoid: tuple[str, ...], owner: str = ""
    ) -> _PlacedObject:
        """Create an object with random surfaces.

        Args:
            name: its class, or the companion's name.
            pose: position of its frame.
            avoid: color terms that its main surface must not have.
            owner: class of the object that it accompanies, or "".
        """
        roles = self._roles(avoid)
        placed = _PlacedObject(name, len(self.placed) + 1, pose, roles, owner, roles["main"], [])
        self.placed.append(placed)
        return placed

    def paint(self, placed: _PlacedObject, parts: list[Part]) -> None:
        """Paint parts of an object over the image, and record their positions."""
        for part in parts:
            labels = Labels(_OBJECT_NUMBER[placed.name], _PART_NUMBER[part.name], placed.number)
            surface = placed.roles[part.role]
            self.canvas.paint(part.shape, placed.pose, surface, labels, part.relief)
            placed.parts.append(PartTruth.of(part, placed.pose))
        if all(part.role != "main" for part in parts):
            placed.surface = placed.roles["skin"]
        placed.pixels = int((self.canvas.instance == placed.number).sum())

    def add_object(
        self, name: str, pose: Pose, avoid: tuple[str, ...], with_companion: bool | None = None
    ) -> int:
        """Paint an object with its shadow and, usually, its companion; return its index.

        Args:
            name: its class.
            pose: position of its frame.
            avoid: color terms that its main surface must not have.
            with_companion: whether its companion is painted; None for a random choice.
        """
        if name in STANDING:
            ground = pose.y + 0.95 * pose.scale
            self.canvas.shadow(pose.x, ground, 0.9 * pose.scale, 0.18 * pose.scale, 0.45)
        placed, parts = self.place(name, pose, avoid), CLASSES[name](self.rng)
        companion = COMPANIONS.get(name)
        by_chance = companion is not None and self.rng.random() < COMPANION_RATE
        if companion is None or not (by_chance if with_companion is None else with_companion):
            self.paint(placed, parts)
            return placed.number - 1
        other, others = self.place(companion.name, pose, avoid, name), companion.parts(self.rng)
        if companion.behind:
            self.paint(other, others[: companion.behind])
        self.paint(placed, parts)
        self.paint(other, others[companion.behind :])
        return placed.number - 1

    def pose(self, name: str, low: float, high: float, spread: float) -> Pose:
        """Return a random pose.

        Args:
            name: the object's class.
            low: lower bound of its half extent, as a fraction of the image size.
            high: upper bound of its half extent, as a fraction of the image size.
            spread: maximum distance from the center per axis, as a fraction of the image size.
        """
        rng, turn = self.rng, 0.16 if name in STANDING else 0.45
        scale = rng.uniform(low, high) * self.size
        reach = spread * self.size
        x, y = self.size / 2 + rng.uniform(-reach, reach, 2)
        return Pose(x, y, scale, rng.uniform(-turn, turn), rng.random() < 0.5)

    def add_others(self, count: int, main: str, avoid: tuple[str, ...]) -> None:
        """Paint small objects of other classes near the border.

        Args:
            count: number of objects.
            main: class of the main object.
            avoid: color terms that their main surfaces must not have.
        """
        others = [name for name in CLASS_NAMES if name != main]
        for name in self.rng.choice(others, count, replace=False):
            angle, away = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.32, 0.46) * self.size
            pose = self.pose(name, 0.1, 0.17, 0.0)
            middle = self.size / 2
            pose = pose._replace(x=middle + away * np.cos(angle), y=middle + away * np.sin(angle))
            self.add_object(str(name), pose, avoid)

    def add_distractors(self, count: int, half: float) -> None:
        """Paint shapes that have a color, texture or material label, but no object label."""
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

    def finish(self) -> tuple[np.ndarray, Camera]:
        """Apply the color and falloff of the light, exposure and noise; return uint8 RGB."""
        rng, axis = self.rng, np.linspace(-1, 1, self.size, dtype=np.float32)
        across, down = rng.uniform(-0.12, 0.12, 2).astype(np.float32)
        falloff = (1 + across * axis)[None] * (1 + down * axis)[:, None]
        image = self.canvas.image * falloff[..., None]
        exposure = rng.uniform(0.88, 1.08)
        image *= np.asarray(self.light.tint, dtype=np.float32) * np.float32(exposure)
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        level = rng.uniform(0.004, 0.025)
        image += noise * np.float32(level)
        return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8), Camera(exposure, level)


def _instance(placed: _PlacedObject, canvas: Canvas) -> Instance:
    boxes = np.array([part.box for part in placed.parts])
    low, high = np.floor(boxes[:, :2].min(0)), np.ceil(boxes[:, 2:].max(0))
    x0, y0, x1, y1 = (int(value) for value in np.clip([*low, *high], 0, canvas.size))
    seen = int((canvas.instance == placed.number).sum())
    return Instance(
        placed.name,
        placed.number,
        placed.pose,
        (x0, y0, x1, y1),
        tuple(placed.parts),
        placed.surface,
        placed.companion_of,
        seen / max(placed.pixels, 1),
    )


def draw(
    seed: int, index: int, size: int = SIZE, *, with_companion: bool | None = None
) -> SceneImage:
    """Draw a synthetic scene; the same seed and index always give the same bytes.

    Classes alternate (class = index modulo 16), so that any sequence of images is balanced.

    Args:
        seed: seed of the scenes; training and held-out images use different ones.
        index: index of the image, from 0.
        size: height and width, in pixels.
        with_companion: whether the main object has its companion, if its class has one; None for a
            random choice, mostly with companion.

    Returns:
        The image with labels and ground truth.
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
        placed = composer.place(companion.name, composer.pose(name, 0.14, 0.2, 0.4), avoid)
        composer.paint(placed, companion.parts(rng))
    composer.add_distractors(int(rng.integers(0, 3)), 0.09)
    image, camera = composer.finish()
    return SceneImage(
        image=image,
        class_index=CLASS_NAMES.index(name),
        labels={category: canvas.labels[category] for category in PIXEL_CATEGORIES},
        scene=scene + 1,
        instances=canvas.instance,
        objects=tuple(_instance(placed, canvas) for placed in composer.placed),
        main=main,
        background_color=background,
        light=composer.light,
        camera=camera,
    )


def _stray_companions(rng: Rng, main: str) -> list[Companion]:
    """Return companions to paint without their object: a few, to break the correlation."""
    return [
        companion
        for owner, companion in COMPANIONS.items()
        if owner != main and rng.random() < STRAY_COMPANION_RATE
    ]

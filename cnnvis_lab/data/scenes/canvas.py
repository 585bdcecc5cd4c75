"""A canvas for painting shaded, anti-aliased shapes over one another, with exact labels."""

from dataclasses import dataclass, field
from math import ceil, floor
from math import cos as cos_of
from math import sin as sin_of
from typing import NamedTuple

import numpy as np

from .shapes import Shape
from .surfaces import Surface

PIXEL_CATEGORIES = ("color", "object", "part", "material", "texture")


class Pose(NamedTuple):
    """Position of an object's frame.

    Attributes:
        x: column of the origin, in pixels.
        y: row of the origin, in pixels.
        scale: pixels per unit.
        turn: rotation in radians.
        mirrored: whether the object is mirrored left to right.
    """

    x: float
    y: float
    scale: float
    turn: float = 0.0
    mirrored: bool = False

    def to_pixels(self, u: float, v: float) -> tuple[float, float]:
        """Map the object's coordinates to pixels."""
        u = -u if self.mirrored else u
        cos, sin = self.scale * cos_of(self.turn), self.scale * sin_of(self.turn)
        return self.x + u * cos - v * sin, self.y + u * sin + v * cos

    def box(self, shape: Shape) -> tuple[float, float, float, float]:
        """Return the bounding box x0, y0, x1, y1 of the posed shape, in pixels."""
        x0, y0, x1, y1 = shape.box
        x, y = self.to_pixels((x0 + x1) / 2, (y0 + y1) / 2)
        cos, sin = abs(cos_of(self.turn)) * self.scale, abs(sin_of(self.turn)) * self.scale
        half_x, half_y = (x1 - x0) / 2, (y1 - y0) / 2
        wide, tall = half_x * cos + half_y * sin, half_x * sin + half_y * cos
        return x - wide, y - tall, x + wide, y + tall

    def from_pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map pixels to the object's coordinates."""
        cos, sin = cos_of(self.turn) / self.scale, sin_of(self.turn) / self.scale
        x, y = x - self.x, y - self.y
        u, v = x * cos + y * sin, y * cos - x * sin
        return (-u if self.mirrored else u), v


class Light(NamedTuple):
    """A distant lamp.

    Attributes:
        x: direction to the lamp, to the right.
        y: direction to the lamp, downward.
        z: direction to the lamp, toward the viewer.
        ambient: fraction of ambient light.
        tint: factors of the RGB channels.
    """

    x: float
    y: float
    z: float
    ambient: float
    tint: tuple[float, float, float]


class Camera(NamedTuple):
    """What a camera does to an image.

    Attributes:
        exposure: factor of all values.
        noise: standard deviation of the noise, in [0, 1].
    """

    exposure: float
    noise: float


class Labels(NamedTuple):
    """Labels of a painted shape, 0 for none.

    Attributes:
        object: number of the object label.
        part: number of the part label.
        instance: number of the object in the image.
    """

    object: int = 0
    part: int = 0
    instance: int = 0


def _span(low: float, high: float, size: int) -> slice:
    return slice(min(max(floor(low) - 1, 0), size), min(max(ceil(high) + 1, 0), size))


@dataclass
class Canvas:
    """An image that is being painted.

    Attributes:
        size: height and width of the image, in pixels.
        light: the lamp that lights every relief.
        image: (size, size, 3) float32, roughly in [0, 1].
        labels: category -> (size, size) uint8; 0 for unlabeled.
        instance: (size, size) uint8, number of the object at each pixel; 0 for the backdrop.
    """

    size: int
    light: Light
    image: np.ndarray = field(init=False)
    labels: dict[str, np.ndarray] = field(init=False)
    instance: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.zeros((self.size, self.size, 3), dtype=np.float32)
        self.labels = {
            name: np.zeros((self.size, self.size), dtype=np.uint8) for name in PIXEL_CATEGORIES
        }
        self.instance = np.zeros((self.size, self.size), dtype=np.uint8)

    def window(self, shape: Shape, pose: Pose) -> tuple[slice, slice]:
        """Return the rows and columns that a posed shape can touch."""
        x0, y0, x1, y1 = pose.box(shape)
        return _span(y0, y1, self.size), _span(x0, x1, self.size)

    def paint(
        self, shape: Shape, pose: Pose, surface: Surface, labels: Labels, relief: float = 0.0
    ) -> int:
        """Paint one shape over the image; return how many pixels it covers.

        Args:
            shape: outline, in the object's frame.
            pose: position of that frame.
            surface: colors in the object's frame; the size of textures is in pixels.
            labels: labels for the covered pixels.
            relief: from 0, flat, to 1, fully rounded.
        """
        window = self.window(shape, pose)
        rows, columns = window
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return 0
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None] + 0.5
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5
        u, v = pose.from_pixels(x, y)
        distance = shape.distance(u, v) * pose.scale
        color, second = surface.paint(u * pose.scale, v * pose.scale)
        shade, shine = self._lit(distance, relief, surface.gloss)
        cover = np.minimum(np.maximum(0.5 - distance, 0), 1)[..., None]
        lit = color * (shade if np.isscalar(shade) else shade[..., None])
        under = self.image[window]
        under += cover * (lit + shine - under)
        inside = distance < 0
        self._label(window, inside, surface, second, labels)
        return int(inside.sum())

    def _lit(self, distance: np.ndarray, relief: float, gloss: float) -> tuple:
        """Return brightness and highlight of a rounded shape from the distance to its outline."""
        light = self.light
        if relief == 0 or min(distance.shape) < 2:
            return np.float32(light.ambient + (1 - light.ambient) * 1.15 * light.z), np.float32(0)
        thick = max(-float(distance.min()) * relief * 1.25, 1.2)
        slope = np.minimum(np.maximum(1 + distance / thick, 0), 1)
        slope_y, slope_x = np.empty_like(distance), np.empty_like(distance)
        slope_y[1:], slope_x[:, 1:] = np.diff(distance, axis=0), np.diff(distance, axis=1)
        slope_y[0], slope_x[:, 0] = slope_y[1], slope_x[:, 1]
        toward = slope * (slope_x * light.x + slope_y * light.y)
        toward += np.sqrt(1 - slope * slope) * light.z
        lit = np.maximum(toward, 0)
        shine = gloss * lit[..., None] ** 24 if gloss else np.float32(0)
        return light.ambient + (1 - light.ambient) * 1.15 * lit, shine

    def _label(
        self,
        window: tuple[slice, slice],
        inside: np.ndarray,
        surface: Surface,
        second: np.ndarray | None,
        labels: Labels,
    ) -> None:
        color = np.uint8(surface.color_label)
        if second is not None:
            color = np.where(second, np.uint8(surface.second_label), color)
        values = {
            "color": color,
            "object": np.uint8(labels.object),
            "part": np.uint8(labels.part),
            "material": np.uint8(surface.material_label),
            "texture": np.uint8(surface.texture_label),
        }
        for name, value in values.items():
            np.copyto(self.labels[name][window], value, where=inside)
        np.copyto(self.instance[window], np.uint8(labels.instance), where=inside)

    def shadow(self, x: float, y: float, half_x: float, half_y: float, strength: float) -> None:
        """Darken a soft ellipse on the ground; labels do not change.

        Args:
            x: column of the center, in pixels.
            y: row of the center, in pixels.
            half_x: half width, in pixels.
            half_y: half height, in pixels.
            strength: fraction of the light removed at the center.
        """
        axis = np.arange(self.size, dtype=np.float32) + 0.5
        rows = slice(max(int(y - 2 * half_y), 0), max(min(int(y + 2 * half_y), self.size), 0))
        down = ((axis[rows] - y) / half_y) ** 2
        soft = np.exp(-0.9 * (((axis - x) / half_x)[None] ** 2 + down[:, None]))
        self.image[rows] *= 1 - strength * soft[..., None]

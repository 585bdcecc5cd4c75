"""Part correspondence: does occlusion of a part change the features of different images alike?"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int, NamedValues, features
from ...data import images as image_files
from ...data.scenes import CLASS_NAMES, SIZE, Instance, SceneImage, SceneSet
from ...models import Model
from .occlusion import BATCH, occlude_boxes

# In the place of the figure of faces.
NO_FACES = (
    "The parts of faces are labeled in the synthetic scenes only, which are new to this network."
)


def correspondence(
    model: Model,
    images: Images,
    boxes: Mapping[str, Int[Tensor, "n 4"]],
    layers: Sequence[str],
) -> dict[str, dict[str, Float[Tensor, " pairs"]]]:
    """Measure whether occluding the same part changes the features of different images alike.

    For images i, j and an occluded part, eps_i = f(x_i) - f(x_i occluded). The distance of the pair
    is the fraction of features in which sign(eps_i) and sign(eps_j) differ, where zero is a third
    sign. A small distance means that the network represents the part in the same way in all images.

    Args:
        model: the network.
        images: images of one class of objects.
        boxes: part -> its box (y0, x0, y1, x1) in each image, in pixels.
        layers: dotted names or aliases.

    Returns:
        Layer -> part -> distance of every pair; their sum is the paper's Delta, divided by the
            number of features.

    Raises:
        InputError: fewer than two images.

    Source: Zeiler and Fergus 2013, section 4.3 and table 1.
    """
    if len(images) < 2:
        raise InputError(f"correspondence of {len(images)} image: expected at least 2")
    original = features.extract(model, images, layers, batch=BATCH)
    result: dict[str, dict[str, Tensor]] = {layer: {} for layer in layers}
    for part, places in boxes.items():
        occluded = features.extract(model, occlude_boxes(images, places), layers, batch=BATCH)
        for layer in layers:
            signs = (original[layer] - occluded[layer]).flatten(1).sign().cpu()
            pairs = itertools.combinations(signs, 2)
            result[layer][part] = torch.stack([(a != b).float().mean() for a, b in pairs])
    return result


class Faces(NamedTuple):
    """Images of faces whose parts are known.

    Attributes:
        images: the images.
        parts: "left eye", "right eye" (from the viewer), "nose", "mouth" -> boxes.
        boxes: boxes of the whole faces.
    """

    images: Images
    parts: dict[str, Int[Tensor, "n 4"]]
    boxes: Int[Tensor, "n 4"]


@dataclass(frozen=True)
class PartDistances:
    """How differently occlusion of a part changes the features of different faces.

    Attributes:
        by_layer: layer -> part, or "random" -> `correspondence` averaged over pairs (and, for
            "random", over sizes).
        has_faces: whether the network has a class of faces.
    """

    by_layer: dict[str, dict[str, float]]
    has_faces: bool

    @property
    def gaps(self) -> NamedValues:
        """Layer -> the distance for random boxes minus the mean over parts.

        Empty if the network has no class of faces: its features need not represent their parts.
        """
        gaps = NamedValues()
        for layer, distances in self.by_layer.items() if self.has_faces else ():
            parts = [distance for part, distance in distances.items() if part != "random"]
            gaps[layer] = distances["random"] - sum(parts) / len(parts)
        return gaps


def part_distances(
    model: Model, faces: Faces, layers: Sequence[str], seed: int = 0
) -> PartDistances:
    """Return the mean distance for each part of faces, and for random boxes, layer by layer.

    Args:
        model: the network.
        faces: two or more.
        layers: dotted names or aliases.
        seed: seed of the random boxes; there is one of the size of each part, on each face.
    """
    random = {
        f"random {part}": random_boxes(boxes, faces.boxes, seed + index)
        for index, (part, boxes) in enumerate(faces.parts.items())
    }
    result = {}
    by_layer = correspondence(model, faces.images, faces.parts | random, layers)
    for layer, distances in by_layer.items():
        means = {name: float(pairs.mean()) for name, pairs in distances.items()}
        result[layer] = {part: means[part] for part in faces.parts}
        result[layer]["random"] = sum(means[name] for name in random) / len(random)
    return PartDistances(result, "face" in model.card.classes)


def random_boxes(
    like: Int[Tensor, "n 4"], within: Int[Tensor, "n 4"], seed: int = 0
) -> Int[Tensor, "n 4"]:
    """Draw boxes at random positions.

    Args:
        like: boxes that determine the sizes.
        within: boxes that must contain the random ones, as far as these fit.
        seed: seed of the positions.
    """
    size = like[:, 2:] - like[:, :2]
    room = (within[:, 2:] - within[:, :2] - size).clamp(min=0)
    fractions = torch.rand(room.shape, generator=torch.Generator().manual_seed(seed))
    corner = within[:, :2] + (fractions * (room + 1)).long()
    return torch.cat([corner, corner + size], 1)


def select_faces(
    scenes: SceneSet, count: int = 5, visible_fraction: float = 0.9, size: int = SIZE
) -> Faces:
    """Return the first synthetic scenes whose main object is a clearly visible face.

    Args:
        scenes: a set of synthetic scenes.
        count: number of images.
        visible_fraction: minimum fraction of the face that is not covered.
        size: height and width to which images and boxes are scaled, in pixels.

    Raises:
        InputError: the set has fewer faces.
    """
    chosen: list[SceneImage] = []
    for index in (scenes.classes() == CLASS_NAMES.index("face")).nonzero().flatten().tolist():
        scene = scenes.draw(index)
        if scene.objects[scene.main].visible_fraction >= visible_fraction:
            chosen.append(scene)
        if len(chosen) == count:
            break
    if len(chosen) < count:
        raise InputError(f"{len(chosen)} faces in {len(scenes)} images; expected at least {count}")
    faces = [scene.objects[scene.main] for scene in chosen]
    parts = [_face_parts(face) for face in faces]
    pixels = image_files.from_uint8(np.stack([scene.image for scene in chosen]))
    return Faces(
        image_files.resize(pixels, size),
        {name: _scale_boxes([boxes[name] for boxes in parts], size) for name in parts[0]},
        _scale_boxes([_enclosing_box([face.box]) for face in faces], size),
    )


Box = tuple[int, int, int, int]


def _scale_boxes(boxes: Sequence[Box], size: int) -> Int[Tensor, "n 4"]:
    """Scale boxes to another image size, and extend them to whole pixels."""
    low, high = (torch.tensor(boxes) * (size / SIZE)).chunk(2, 1)
    return torch.cat([low.floor(), high.ceil()], 1).long()


def _face_parts(face: Instance) -> dict[str, Box]:
    """Return the boxes of the parts; each eye consists of two parts, white and pupil."""
    eyes = sorted((part for part in face.parts if part.name == "eye"), key=lambda part: part.x)
    groups = {"left eye": eyes[:2], "right eye": eyes[2:]}
    for name in ("nose", "mouth"):
        groups[name] = [part for part in face.parts if part.name == name]
    return {name: _enclosing_box([part.box for part in group]) for name, group in groups.items()}


def _enclosing_box(boxes: Sequence[tuple[float, float, float, float]]) -> Box:
    """Return y0, x0, y1, x1 of the whole pixels around boxes x0, y0, x1, y1."""
    x0, y0 = (math.floor(min(box[i] for box in boxes)) for i in (0, 1))
    x1, y1 = (math.ceil(max(box[i] for box in boxes)) for i in (2, 3))
    return max(y0, 0), max(x0, 0), min(y1, SIZE), min(x1, SIZE)

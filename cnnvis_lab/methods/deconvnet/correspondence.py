"""Part correspondence: does a network know that the noses of different faces are the same thing?"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int
from ...data import images
from ...data.scenes import CLASS_NAMES, SIZE, Instance, SceneImage, SceneSet
from ...models import Model
from .occlusion import forward, occlude_boxes

Box = tuple[int, int, int, int]


def correspondence(
    model: Model,
    images: Images,
    boxes: Mapping[str, Int[Tensor, "n 4"]],
    layers: Sequence[str],
) -> dict[str, dict[str, Float[Tensor, " pairs"]]]:
    """Ask whether covering the same part changes different pictures' features in the same way.

    For pictures i, j and a covered part: eps_i = f(x_i) - f(x_i covered), and the distance of the
    pair is the share of features where sign(eps_i) and sign(eps_j) differ, H(sign eps_i, sign
    eps_j) over their number; zero is a sign of its own. Small means: the part corresponds.

    Args:
        model: the network.
        images: pictures of one class of object.
        boxes: part -> its box (y0, x0, y1, x1) on each picture, in pixels.
        layers: dotted names or aliases.

    Returns:
        Layer -> part -> distance of every pair; their sum is the paper's Delta, per feature.

    Raises:
        InputError: fewer than two pictures.

    Source: Zeiler and Fergus 2013, section 4.3 and table 1.
    """
    if len(images) < 2:
        raise InputError(f"correspondence of {len(images)} picture: expected at least 2")
    plain, _ = forward(model, images, layers)
    result: dict[str, dict[str, Tensor]] = {layer: {} for layer in layers}
    for part, places in boxes.items():
        covered, _ = forward(model, occlude_boxes(images, places), layers)
        for layer in layers:
            signs = (plain[layer] - covered[layer]).flatten(1).sign()
            result[layer][part] = torch.stack(
                [(a != b).float().mean() for a, b in itertools.combinations(signs, 2)]
            )
    return result


def part_distances(
    model: Model, faces: "Faces", layers: Sequence[str], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return the mean distance of each part of faces, and of random places, layer by layer.

    Args:
        model: the network.
        faces: two or more.
        layers: dotted names or aliases.
        seed: of the random places: on each face as many, and as large, as there are parts.

    Returns:
        Layer -> part, or "random" -> the mean over pairs (and sizes) of `correspondence`.
    """
    drawn = {
        f"random {name}": random_boxes(boxes, faces.whole, seed + number)
        for number, (name, boxes) in enumerate(faces.parts.items())
    }
    found = correspondence(model, faces.images, faces.parts | drawn, layers)
    means = {layer: {n: float(d.mean()) for n, d in own.items()} for layer, own in found.items()}
    return {
        layer: {part: own[part] for part in faces.parts}
        | {"random": sum(own[name] for name in drawn) / len(drawn)}
        for layer, own in means.items()
    }


def distance_gap(distances: Mapping[str, float]) -> float:
    """Return how much nearer parts are than random places, of one layer's `part_distances`."""
    parts = [distance for part, distance in distances.items() if part != "random"]
    return distances["random"] - sum(parts) / len(parts)


def random_boxes(
    like: Int[Tensor, "n 4"], within: Int[Tensor, "n 4"], seed: int = 0
) -> Int[Tensor, "n 4"]:
    """Draw boxes of the same sizes anywhere within others (as far as they fit)."""
    size = like[:, 2:] - like[:, :2]
    room = (within[:, 2:] - within[:, :2] - size).clamp(min=0)
    drawn = torch.rand(room.shape, generator=torch.Generator().manual_seed(seed))
    corner = within[:, :2] + (drawn * (room + 1)).long()
    return torch.cat([corner, corner + size], 1)


@dataclass(frozen=True)
class Faces:
    """Pictures of faces with planted parts.

    Attributes:
        images: the pictures.
        parts: "left eye", "right eye" (as one sees them), "nose", "mouth" -> boxes.
        whole: the faces' own boxes.
    """

    images: Images
    parts: dict[str, Int[Tensor, "n 4"]]
    whole: Int[Tensor, "n 4"]


def select_faces(
    pictures: SceneSet, count: int = 5, visible: float = 0.9, size: int = SIZE
) -> Faces:
    """Return the first pictures of the embedded world whose main object is a face, well visible.

    Args:
        pictures: a set of the world.
        count: how many.
        visible: share of the face that nothing may cover.
        size: side, in pixels, that pictures and boxes are brought to.

    Raises:
        InputError: the set has fewer.
    """
    found: list[SceneImage] = []
    for index in (pictures.classes() == CLASS_NAMES.index("face")).nonzero().flatten().tolist():
        if len(found) == count:
            break
        picture = pictures.draw(index)
        if picture.objects[picture.main].visible_fraction >= visible:
            found.append(picture)
    if len(found) < count:
        raise InputError(f"{len(found)} faces in {len(pictures)} pictures; wanted {count}")
    mains = [picture.objects[picture.main] for picture in found]
    parts = [_face_parts(face) for face in mains]
    return Faces(
        images.resize(images.from_uint8(np.stack([picture.image for picture in found])), size),
        {name: _scale_boxes([boxes[name] for boxes in parts], size) for name in parts[0]},
        _scale_boxes([_enclosing_box([face.box]) for face in mains], size),
    )


def _scale_boxes(boxes: Sequence[Box], size: int) -> Int[Tensor, "n 4"]:
    """Boxes on pictures brought to another size; whole pixels around all."""
    low, high = (torch.tensor(boxes) * (size / SIZE)).chunk(2, 1)
    return torch.cat([low.floor(), high.ceil()], 1).long()


def _face_parts(face: Instance) -> dict[str, Box]:
    """Boxes of the parts; each eye is planted twice, white and pupil."""
    eyes = sorted((part for part in face.parts if part.name == "eye"), key=lambda part: part.x)
    groups = {"left eye": eyes[:2], "right eye": eyes[2:]}
    for name in ("nose", "mouth"):
        groups[name] = [part for part in face.parts if part.name == name]
    return {name: _enclosing_box([part.box for part in group]) for name, group in groups.items()}


def _enclosing_box(boxes: Sequence[tuple[float, float, float, float]]) -> Box:
    """From boxes x0, y0, x1, y1 to the whole pixels around all: y0, x0, y1, x1."""
    x0, y0 = (math.floor(min(box[i] for box in boxes)) for i in (0, 1))
    x1, y1 = (math.ceil(max(box[i] for box in boxes)) for i in (2, 3))
    return max(y0, 0), max(x0, 0), min(y1, SIZE), min(x1, SIZE)

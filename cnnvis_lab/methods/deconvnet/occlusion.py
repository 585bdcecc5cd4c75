"""Occlusion: slide a gray square over an image and record feature maps and the class probability.

With occlusion, Zeiler and Fergus test whether a projection shows what activates a unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Bool, Float, Images, InputError, Int, features
from ...core.optimization import objectives
from ...models import Model
from .project import check_units, project

GRAY = 0.5
BATCH = 32


def respond(
    model: Model, images: Images, layers: Sequence[str]
) -> tuple[dict[str, Tensor], Float[Tensor, "n classes"]]:
    """Return layers' activations of images, and class probabilities, on the CPU.

    Args:
        model: the network.
        images: in [0, 1].
        layers: dotted names or aliases.
    """
    outputs = features.extract(model, images, [*layers, "net"], batch=BATCH)
    outputs = {layer: output.cpu() for layer, output in outputs.items()}
    return outputs, outputs.pop("net").softmax(1)


@dataclass(frozen=True)
class Occlusion:
    """The effect of a gray square on feature maps and a class, for each of its positions.

    Attributes:
        targets: "layer:unit" of each map.
        corners: (rows, columns, 2) upper left corners of the square, in pixels.
        side: height and width of the square, in pixels.
        activity: (targets, rows, columns) activation summed over the map, after rectification.
        baseline: (targets,) the same without the square.
        probability: (rows, columns) probability of the class.
        predicted: (rows, columns) index of the most probable class.
    """

    targets: tuple[str, ...]
    corners: Int[Tensor, "y x 2"]
    side: int
    activity: Float[Tensor, "t y x"]
    baseline: Float[Tensor, " t"]
    probability: Float[Tensor, "y x"]
    predicted: Int[Tensor, "y x"]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Box y0, x0, y1, x1 of the first square."""
        return 0, 0, self.side, self.side

    def sum_under(self, values: Float[Tensor, "h w"]) -> Float[Tensor, "y x"]:
        """Return the sum of pixel values under each square."""
        sums = functional.avg_pool2d(values[None, None], self.side, 1, divisor_override=1)[0, 0]
        return sums[self.corners[..., 0], self.corners[..., 1]]

    def on_pixels(self, values: Float[Tensor, "y x"]) -> Float[Tensor, "h w"]:
        """Return, for each pixel, the mean value of the squares that cover it."""
        height, width = (self.corners[-1, -1] + self.side).tolist()
        sums, counts = torch.zeros(2, height, width)
        for (y, x), value in zip(self.corners.flatten(0, 1), values.flatten(), strict=True):
            sums[y : y + self.side, x : x + self.side] += value
            counts[y : y + self.side, x : x + self.side] += 1
        return sums / counts.clamp(min=1)


def occlude(
    model: Model,
    image: Float[Tensor, "c h w"],
    targets: Sequence[str],
    label: int | None = None,
    *,
    side: int = 24,
    step: int = 6,
) -> Occlusion:
    """Slide a gray square over an image and record feature maps and the class probability.

    Args:
        model: the network.
        image: in [0, 1].
        targets: "layer:unit" of each map.
        label: index of the class; None for the predicted class of the image.
        side: height and width of the square, in pixels.
        step: maximum distance between positions, in pixels; the last square touches the border.

    Raises:
        InputError: a square larger than the image, or a unit out of range.

    Source: Zeiler and Fergus 2013, section 4.2 and figure 7.
    """
    height, width = image.shape[-2:]
    if not (0 < side <= min(height, width) and step > 0):
        raise InputError(f"square of {side}, step {step}: the image has {height}x{width} pixels")
    rows, columns = (_positions(length - side, step) for length in (height, width))
    corners = torch.cartesian_prod(rows, columns)
    squares = torch.cat([corners, corners + side], 1)
    # The first box is empty: the image without a square.
    boxes = torch.cat([torch.zeros(1, 4, dtype=torch.int64), squares])
    units, activity, probabilities = [objectives.parse_target(t) for t in targets], [], []
    for part in boxes.split(BATCH):
        outputs, scores = respond(model, occlude_boxes(image, part), [*dict(units)])
        maps = [_map_activity(outputs[layer], unit, layer) for layer, unit in units]
        activity.append(torch.stack(maps))
        probabilities.append(scores)
    sums, scores, grid = torch.cat(activity, 1), torch.cat(probabilities), (len(rows), len(columns))
    chosen = int(scores[0].argmax()) if label is None else label
    return Occlusion(
        tuple(targets),
        corners.view(*grid, 2),
        side,
        sums[:, 1:].view(-1, *grid),
        sums[:, 0],
        scores[1:, chosen].view(grid),
        scores[1:].argmax(1).view(grid),
    )


def _positions(last: int, step: int) -> Int[Tensor, " positions"]:
    """Return evenly spaced positions from 0 to `last`, at most `step` apart."""
    return torch.linspace(0, last, 1 + -(-last // step)).round().long()


def _map_activity(output: Tensor, unit: int, layer: str) -> Tensor:
    check_units(torch.tensor([unit]), output.shape[1], layer)
    return output[:, unit].clamp(min=0).flatten(1).sum(1) if output.ndim > 2 else output[:, unit]


def most_active_unit(
    model: Model, image: Float[Tensor, "c h w"], layer: str, *, inside: bool = False
) -> str:
    """Return "layer:unit" of the map with the highest activation on an image.

    Args:
        model: the network.
        image: in [0, 1].
        layer: dotted name or alias.
        inside: leave out, unless all are, maps whose highest activation is at their border, where
            padding takes the place of the image.
    """
    output = features.extract(model, image[None], [layer])[layer][0]
    if output.ndim == 1:
        return f"{layer}:{int(output.argmax())}"
    peaks, inner = output.flatten(1).amax(1), output[:, 1:-1, 1:-1].flatten(1)
    if inside and inner.numel():
        kept = (inner.amax(1) == peaks) & (peaks > 0)
        peaks = peaks.where(kept | ~kept.any(), -torch.inf)
    return f"{layer}:{int(peaks.argmax())}"


def occlude_boxes(image: Float[Tensor, "*n c h w"], boxes: Int[Tensor, "m 4"]) -> Images:
    """Fill boxes with gray, each in an image of its own or in a copy of a single image.

    Args:
        image: (3, h, w) or (m, 3, h, w) in [0, 1].
        boxes: (m, 4) y0, x0, y1, x1 in pixels.
    """
    images = image.expand(len(boxes), *image.shape[-3:]).clone()
    for pixels, (y0, x0, y1, x1) in zip(images, boxes.clamp(min=0).tolist(), strict=True):
        pixels[:, y0:y1, x0:x1] = GRAY
    return images


@dataclass(frozen=True)
class Explanation:
    """A unit's projections on an image, and the effect of occlusion on the unit and the class.

    Attributes:
        target: "layer:unit".
        image: the image.
        projections: rule -> (3, h, w).
        occlusion: effect of the square on the unit's map and on the class.
        probability: probability of the class for the image without a square.
    """

    target: str
    image: Float[Tensor, "c h w"]
    projections: dict[str, Float[Tensor, "c h w"]]
    occlusion: Occlusion
    probability: float

    @property
    def activity_lost(self) -> Float[Tensor, "y x"]:
        """Decrease of the map's activity caused by each square."""
        return self.occlusion.baseline[0] - self.occlusion.activity[0]

    @property
    def probability_lost(self) -> Float[Tensor, "y x"]:
        """Decrease of the class probability caused by each square."""
        return self.probability - self.occlusion.probability

    def energy(self, rule: str) -> Float[Tensor, "y x"]:
        """Return the energy of a projection under each square."""
        return self.occlusion.sum_under((self.projections[rule] ** 2).sum(0))

    def agreement(self, rule: str) -> float:
        """Return the correlation, over all squares, between lost activity and covered energy."""
        both = torch.stack([self.activity_lost.flatten(), self.energy(rule).flatten()])
        return float(torch.corrcoef(both)[0, 1].nan_to_num())  # 0 if either is constant

    def object_coverage(self, mask: Bool[Tensor, "h w"]) -> float:
        """Return how much of an object the square covers that makes the class least probable.

        Args:
            mask: the object's pixels.

        Returns:
            The object's pixels under that square divided by their mean over all squares.
        """
        pixels = self.occlusion.sum_under(mask.float()).flatten()
        return float(pixels[self.occlusion.probability.argmin()] / pixels.mean().clamp(min=1e-12))


def mean_agreement(explanations: Sequence[Explanation]) -> dict[str, float]:
    """Return rule -> mean `Explanation.agreement` over images."""
    return {
        rule: sum(one.agreement(rule) for one in explanations) / len(explanations)
        for rule in explanations[0].projections
    }


def mean_object_coverage(
    explanations: Sequence[Explanation], masks: Bool[Tensor, "n h w"] | None
) -> float | None:
    """Return the mean `Explanation.object_coverage` over images.

    Args:
        explanations: one for each image.
        masks: the pixels of the object in each image; None if they are not known.
    """
    if masks is None:
        return None
    pairs = zip(explanations, masks, strict=True)
    return sum(one.object_coverage(mask) for one, mask in pairs) / len(explanations)


def explain(
    model: Model,
    image: Float[Tensor, "c h w"],
    layer: str,
    label: int | None = None,
    *,
    rules: Sequence[str] = ("deconvnet",),
    side: int | None = None,
    step: int | None = None,
) -> Explanation:
    """Project a layer's most active unit on an image, and occlude the image at every position.

    Args:
        model: the network.
        image: in [0, 1].
        layer: dotted name or alias.
        label: index of the class whose probability is recorded; None for the predicted class.
        rules: names in `core.backward.RULES`.
        side: height and width of the square, in pixels; None for a quarter of the image size.
        step: distance between positions; None for a quarter of `side`.

    Source: Zeiler and Fergus 2013, figure 7.
    """
    side = side or image.shape[-1] // 4
    target, images = most_active_unit(model, image, layer), image[None].to(model.device)
    projections = {
        rule: project(model, images, target, rule=rule).pixels[0, 0].cpu() for rule in rules
    }
    occlusion = occlude(model, image, [target], label, side=side, step=step or max(1, side // 4))
    scores = features.predict(model, images).softmax(1)[0]
    probability = float(scores[scores.argmax() if label is None else label])
    return Explanation(target, image, projections, occlusion, probability)

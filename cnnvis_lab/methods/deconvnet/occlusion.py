"""How a network's answer changes with its picture: a part of it covered, the whole of it moved.

The experiments by which Zeiler and Fergus check that what is projected back is what counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Bool, Float, Images, InputError, Int, hooks
from ...core.optimization import objectives
from ...models import Model
from .project import project

GRAY = 0.5
BATCH = 32


@torch.no_grad()
def forward(
    model: Model, images: Images, layers: Sequence[str]
) -> tuple[dict[str, Tensor], Float[Tensor, "n classes"]]:
    """Return activations of layers, and class probabilities, of any number of images."""
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    scores = []
    for part in images.split(BATCH):
        with hooks.record(model, layers) as acts:
            scores.append(model(part.to(model.device)).softmax(1).cpu())
        for layer in layers:
            kept[layer].append(acts[layer].cpu())
    return {layer: torch.cat(parts) for layer, parts in kept.items()}, torch.cat(scores)


@dataclass(frozen=True)
class Occlusion:
    """What a gray square changes, wherever it lies.

    Attributes:
        targets: "layer:unit" of each map.
        corners: (places down, places across, 2) upper left corner of the square, in pixels.
        side: of the square, in pixels.
        activity: (targets, down, across) activation summed over the map, as after a ReLU.
        whole: (targets,) the same of the untouched picture.
        probability: (down, across) of the class in question.
        named: (down, across) the most likely class.
    """

    targets: tuple[str, ...]
    corners: Int[Tensor, "y x 2"]
    side: int
    activity: Float[Tensor, "t y x"]
    whole: Float[Tensor, " t"]
    probability: Float[Tensor, "y x"]
    named: Int[Tensor, "y x"]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The first square's y0, x0, y1, x1."""
        return 0, 0, self.side, self.side

    def covered(self, values: Float[Tensor, "h w"]) -> Float[Tensor, "y x"]:
        """Return the sum of each square's pixels, of values of the picture's size."""
        sums = functional.avg_pool2d(values[None, None], self.side, 1, divisor_override=1)[0, 0]
        return sums[self.corners[..., 0], self.corners[..., 1]]

    def energy(self, projection: Float[Tensor, "3 h w"]) -> Float[Tensor, "y x"]:
        """Return how much of a projection's energy each square covers."""
        return self.covered((projection**2).sum(0))

    def on_pixels(self, values: Float[Tensor, "y x"]) -> Float[Tensor, "h w"]:
        """Return, for each pixel, the mean of what was measured by the squares that cover it."""
        height, width = (self.corners[-1, -1] + self.side).tolist()
        sums, counts = torch.zeros(2, height, width)
        for (y, x), value in zip(self.corners.flatten(0, 1), values.flatten(), strict=True):
            sums[y : y + self.side, x : x + self.side] += value
            counts[y : y + self.side, x : x + self.side] += 1
        return sums / counts.clamp(min=1)


def occlude(
    model: Model,
    image: Float[Tensor, "3 h w"],
    targets: Sequence[str],
    label: int | None = None,
    *,
    side: int = 24,
    step: int = 6,
) -> Occlusion:
    """Slide a gray square over a picture and watch maps and the class.

    Args:
        model: the network.
        image: in [0, 1].
        targets: "layer:unit" whose maps are watched.
        label: the class; by default the one the untouched picture is given.
        side: of the square, in pixels.
        step: from place to place, in pixels, at most; the last places lie at the border.

    Raises:
        InputError: a square that is larger than the picture.

    Source: Zeiler and Fergus 2013, section 4.2 and figure 7.
    """
    height, width = image.shape[-2:]
    if not (0 < side <= min(height, width) and step > 0):
        raise InputError(f"square of {side}, step {step}: the picture has {height}x{width} pixels")
    rows, columns = (_positions(length - side, step) for length in (height, width))
    corners = torch.cartesian_prod(rows, columns)
    # The first square is empty: the untouched picture.
    boxes = torch.cat(
        [torch.zeros(1, 4, dtype=torch.int64), torch.cat([corners, corners + side], 1)]
    )
    wanted, sums, scores = [objectives.parse_target(target) for target in targets], [], []
    for part in boxes.split(BATCH):
        acts, chances = forward(model, occlude_boxes(image, part), [*dict(wanted)])
        sums.append(
            torch.stack([_map_activity(acts[layer], unit, layer) for layer, unit in wanted])
        )
        scores.append(chances)
    activity, chances, grid = torch.cat(sums, 1), torch.cat(scores), (len(rows), len(columns))
    watched = int(chances[0].argmax()) if label is None else label
    return Occlusion(
        tuple(targets),
        corners.view(*grid, 2),
        side,
        activity[:, 1:].view(-1, *grid),
        activity[:, 0],
        chances[1:, watched].view(grid),
        chances[1:].argmax(1).view(grid),
    )


def _positions(last: int, step: int) -> Int[Tensor, " places"]:
    """Evenly from 0 to the last, no further apart than a step."""
    return torch.linspace(0, last, 1 + -(-last // step)).round().long()


def _map_activity(output: Tensor, unit: int, layer: str) -> Tensor:
    if unit >= output.shape[1]:
        has = output.shape[1]
        raise InputError(f"unit {unit} of {layer}: it has {has} units, counted from 0")
    return output[:, unit].clamp(min=0).flatten(1).sum(1) if output.ndim > 2 else output[:, unit]


def most_active_unit(model: Model, image: Float[Tensor, "3 h w"], layer: str) -> str:
    """Return "layer:unit" of the map that fires most strongly anywhere on a picture."""
    (output,) = forward(model, image[None], [layer])[0][layer]
    peaks = output.flatten(1).amax(1) if output.ndim > 1 else output
    return f"{layer}:{int(peaks.argmax())}"


def occlude_boxes(image: Float[Tensor, "*n 3 h w"], boxes: Int[Tensor, "m 4"]) -> Images:
    """Cover boxes (y0, x0, y1, x1) with gray: each its own picture, or each on a copy of one."""
    images = image.expand(len(boxes), *image.shape[-3:]).clone()
    for picture, (y0, x0, y1, x1) in zip(images, boxes.clamp(min=0).tolist(), strict=True):
        picture[:, y0:y1, x0:x1] = GRAY
    return images


@dataclass(frozen=True)
class Explanation:
    """A unit on a picture: what is projected of it, and what covering parts changes.

    Attributes:
        target: "layer:unit".
        image: the picture.
        projections: rule -> (3, h, w).
        occlusion: of the unit's map and of the class.
        sure: probability of the class on the untouched picture.
    """

    target: str
    image: Float[Tensor, "3 h w"]
    projections: dict[str, Float[Tensor, "3 h w"]]
    occlusion: Occlusion
    sure: float

    @property
    def lost(self) -> Float[Tensor, "y x"]:
        """How much of the map's activity each square takes away."""
        return self.occlusion.whole[0] - self.occlusion.activity[0]

    @property
    def doubt(self) -> Float[Tensor, "y x"]:
        """How much of the class's probability each square takes away."""
        return self.sure - self.occlusion.probability

    def energy(self, rule: str) -> Float[Tensor, "y x"]:
        """Return how much of a projection's energy each square covers."""
        return self.occlusion.energy(self.projections[rule])

    def agreement(self, rule: str) -> float:
        """Return the correlation of lost activity and covered energy over all places."""
        both = torch.stack([self.lost.flatten(), self.energy(rule).flatten()])
        return float(torch.corrcoef(both)[0, 1].nan_to_num())  # 0 where one is the same all over

    def over(self, places: Float[Tensor, "y x"]) -> Float[Tensor, "h w"]:
        """Return what was measured by squares for the pixels they cover."""
        return self.occlusion.on_pixels(places)

    def object_under(self, mask: Bool[Tensor, "h w"]) -> float:
        """Return how much more of an object lies under the square where the class is least sure.

        Args:
            mask: the object's pixels.

        Returns:
            Its pixels under that square over their mean over all squares.
        """
        under = self.occlusion.covered(mask.float()).flatten()
        return float(under[self.occlusion.probability.argmin()] / under.mean().clamp(min=1e-12))


def explain(
    model: Model,
    image: Float[Tensor, "3 h w"],
    layer: str,
    label: int | None = None,
    *,
    rules: Sequence[str] = ("deconvnet",),
    side: int | None = None,
    step: int | None = None,
) -> Explanation:
    """Project a layer's strongest unit on a picture, and cover the picture place by place.

    Args:
        model: the network.
        image: in [0, 1].
        layer: dotted name or alias.
        label: class whose probability is watched; by default the one the network names.
        rules: names in `core.reversals.RULES`.
        side: of the square, in pixels; by default a quarter of the picture's.
        step: from place to place; by default a quarter of the square's side.

    Source: Zeiler and Fergus 2013, figure 7.
    """
    side = side or image.shape[-1] // 4
    target, batch = most_active_unit(model, image, layer), image[None].to(model.device)
    shown = {rule: project(model, batch, target, rule=rule).pictures[0, 0].cpu() for rule in rules}
    covered = occlude(model, image, [target], label, side=side, step=step or max(1, side // 4))
    with torch.no_grad():
        chances = model(batch).softmax(1)[0]
    watched = int(chances.argmax()) if label is None else label
    return Explanation(target, image, shown, covered, float(chances[watched]))

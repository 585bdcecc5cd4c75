"""Explorer of perturbation: an image from its features before and after a change."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...core import perturbations
from ...data import ImageSet
from ...methods import perturbation
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .inversion import CELL, ViewOfImages, optimize_images
from .worker import Request

# Kinds of change; all but one drop a share of what fires.
PERTURBATION_KINDS = {
    "drop the least": "least",
    "drop the most": "most",
    "drop at random": "random",
    "keep signs only": "binarised",
}


class Perturbation(Explorer):
    """A picture, what a layer's code of it gives, and what is left after a change of the code.

    Args:
        model: the network.
        pictures: the data set some pictures are offered of; photographs are offered anyway.
        layers: to choose among; those that have decoders by default.
        trained: layer -> the decoder of its codes; layers without are inverted by descent.
        layer: which to begin with; the last by default.
        steps: of that descent.
    """

    title = "What survives a change of the code?"
    alt = "A picture, what its code gives, and what the changed code gives; classes below."

    def __init__(
        self,
        model: Model,
        pictures: ImageSet | None,
        layers: Sequence[str] = (),
        *,
        trained: Mapping[str, generators.Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders, self.steps = dict(trained or {}), steps
        layers = list(layers or self.decoders or model.default_layers())
        self.slow = not set(layers) <= set(self.decoders)
        self.chosen = controls.ImageChoice(model.card.input_size, pictures, self._failed)
        shares = [(f"{share:.0%}", share) for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)]
        moved = {
            "picture": self.chosen.control,
            "layer": controls.choice("layer", layers, layer or layers[-1]),
            "kind": controls.choice("change", list(PERTURBATION_KINDS), "drop the least"),
            "fraction": controls.slider("of what fires", shares, 0.5, live=not self.slow),
        }
        super().__init__(model, moved, [self.chosen.upload])

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """Signs are kept of all entries."""
        return {"fraction"} if PERTURBATION_KINDS[settings["kind"]] == "binarised" else set()

    def draw(self, request: Request, picture: str, layer: str, kind: str, fraction: float) -> View:
        """Change the code; draw it and pass it on through the rest of the network."""
        image, change = self.chosen[picture], PERTURBATION_KINDS[kind]
        plain = change == "binarised"
        act = change if plain else perturbation.drop(fraction, change, active=True)
        parts = [
            perturbation.perturb(request.model, layer, image[None], one) for one in ("none", act)
        ]
        codes = torch.cat(parts)
        twice = image[None].repeat(2, 1, 1, 1)
        odds = perturbation.forward_from(request.model, layer, twice, codes).softmax(1)
        named = [_top_classes(request.model, row) for row in odds]
        words = [picture, f"from the whole code\n{named[0]}", f"from what is left\n{named[1]}"]

        def view(drawn: Tensor, text: str) -> View:
            row = [Tile(*pair) for pair in zip([image, *drawn], words, strict=True)]
            return View([row], text, CELL)

        before, after = odds.argmax(1).tolist()
        same = "the class stays" if before == after else "the class changes"
        share = "" if plain else f" {fraction:.0%} of what fires"
        return view(
            self._drawn_from(request, layer, codes, view), f"{layer}, {kind}{share}: {same}"
        )

    def _drawn_from(
        self, request: Request, layer: str, codes: Tensor, view: ViewOfImages
    ) -> Tensor:
        if layer in self.decoders:
            return self.decoders[layer].draw(codes)
        empty = perturbations.norms(codes).flatten() == 0
        some = {layer: codes.masked_fill(empty.view(-1, *[1] * (codes.ndim - 1)), 1.0)}
        found = optimize_images(request, some, "default", self.steps, 0, view)
        found[empty] = 0.5  # nothing is left to come near to
        return found


def _top_classes(model: Model, odds: Tensor) -> str:
    best = odds.topk(min(2, len(odds)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return ", ".join(f"{model.card.classes[index]} {value:.0%}" for index, value in pairs)

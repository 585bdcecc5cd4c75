"""Explorer of perturbation: an image from a layer's features before and after a change."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from ...core import perturbations
from ...data import ImageSet
from ...methods import inversion, perturbation
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .board import OPTIMIZING
from .inversion import CELL
from .units import first_shown, top_classes
from .worker import Request

# Kinds of perturbation; all but the last drop a fraction of the active units.
PERTURBATION_KINDS = {
    "drop the smallest": "least",
    "drop the largest": "most",
    "drop at random": "random",
    "keep signs only": "binarized",
}
FRACTIONS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class Perturbation(Explorer):
    """An image, its reconstruction from a layer's features, and from perturbed features.

    Args:
        model: the network.
        images: dataset to choose images from; None offers the bundled photographs only.
        layers: layers to choose from; those with decoders by default.
        decoders: layer -> decoder of its features; other layers are inverted by optimization.
        layer: the first choice; by default the last of them that is a convolution.
        steps: number of optimization steps.
    """

    title = "What survives a perturbation of the features?"
    alt = "An image, and reconstructions from its features and perturbed features, with classes."
    imports = (
        "import torch",
        "from cnnvis_lab import data, models",
        "from cnnvis_lab.methods import inversion, perturbation",
    )

    def __init__(
        self,
        model: Model,
        images: ImageSet | None,
        layers: Sequence[str] = (),
        *,
        decoders: Mapping[str, generators.Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders, self.steps = dict(decoders or {}), steps
        layers = list(layers or self.decoders or model.default_layers())
        self.slow = not set(layers) <= set(self.decoders)
        fractions = [(f"{fraction:.0%}", fraction) for fraction in FRACTIONS]
        settings = {
            "layer": controls.choice("layer", layers, layer or first_shown(model, layers)),
            "kind": controls.choice("change", [*PERTURBATION_KINDS], "drop the smallest", "240px"),
            "fraction": controls.slider("of active units", fractions, 0.5, live=not self.slow),
        }
        super().__init__(model, settings, controls.ImageChoice(model, images))

    def for_network(self, model: Model) -> "Perturbation":
        """Return this panel for another network."""
        return Perturbation(model, self.chosen.dataset, steps=self.steps)

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """Binarization keeps the signs of all entries."""
        return {"fraction"} if settings["kind"] == "keep signs only" else set()

    def draw(self, request: Request, image: str, layer: str, kind: str, fraction: float) -> View:
        """Perturb the features, reconstruct the image, and classify it.

        Args:
            request: gets progress and previews.
            image: image that is encoded; its thumbnail, or a file of your own.
            layer: dotted name or alias of the layer whose features are perturbed.
            kind: which entries of the features are set to zero.
            fraction: fraction of the active units to drop.
        """
        original, change, amount = self.chosen[image], PERTURBATION_KINDS[kind], ""
        if change != "binarized":
            change = perturbation.drop(fraction, change, active=True)
            amount = f" {fraction:.0%} of active units"
        codes = torch.cat(
            [
                perturbation.perturb(request.model, layer, original[None], each)
                for each in ("none", change)
            ]
        )
        scores = perturbation.forward_from(
            request.model, layer, original.expand(2, -1, -1, -1), codes
        )
        probabilities = scores.softmax(1)
        before, after = (top_classes(request.model, row) for row in probabilities)
        names = {image: before, "from all features": before, "from perturbed features": after}
        captions = [f"{name}\n{classes}" for name, classes in names.items()]

        def view(reconstructed: Tensor, text: str) -> View:
            pairs = zip([original, *reconstructed], captions, strict=True)
            return View([[Tile(*pair) for pair in pairs]], text, CELL)

        first, second = probabilities.argmax(1).tolist()
        verdict = "the class stays" if first == second else "the class changes"
        reconstructed = self._reconstruct(request, layer, codes, view)
        return view(reconstructed, f"{layer}, {kind}{amount}: {verdict}")

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the calls that perturb the features and draw images of both, as the panel does.

        One image alone would be optimized with other rounding errors, to another image.
        """
        change = PERTURBATION_KINDS[at.kind]
        given = repr(change)
        if change != "binarized":
            given = f"perturbation.drop({at.fraction}, {change!r}, active=True)"
        call = f"decoders[{at.layer!r}].draw(codes)"
        if at.layer not in self.decoders:
            inverted = f"inversion.invert(model, {{{at.layer!r}: codes}}, steps={self.steps})"
            call = f"{inverted}[{at.layer!r}]"
        return f"""image = {self.chosen.code(at.image)}
change = {given}
both = ("none", change)
codes = torch.cat([perturbation.perturb(model, {at.layer!r}, image[None], one) for one in both])
result = {call}[1]"""

    def _reconstruct(
        self, request: Request, layer: str, codes: Tensor, view: Callable[[Tensor, str], View]
    ) -> Tensor:
        if layer in self.decoders:
            return self.decoders[layer].draw(codes)
        empty = perturbations.norms(codes).flatten() == 0
        some = {layer: codes.masked_fill(empty.view(-1, *[1] * (codes.ndim - 1)), 1.0)}
        options = request.options(lambda images: view(images, OPTIMIZING))
        result = inversion.invert(request.model, some, steps=self.steps, options=options)
        inverted = result.images.flatten(0, 2)
        inverted[empty] = 0.5  # no features are left to invert
        return inverted

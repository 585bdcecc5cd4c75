"""Explorers of what features keep of a picture: inverted as they are, or after a change."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ...core.codes import norms
from ...core.errors import InputError
from ...methods import inversion, perturbation
from ...methods.deconvnet_top import DataSet
from ...models import Model
from ...models.generators import Generator
from ..explore import Explorer, View
from ..requests import Job
from ..tiles import Tile
from . import controls

STEPS = (20, 50, 100, 200, 400)
CELL = 264
DECODER = "decoder"
Growing = Callable[[Tensor, str], View]  # from pictures found so far, and words
# Kinds of change; all but one drop a share of what fires.
KINDS = {
    "drop the least": "least",
    "drop the most": "most",
    "drop at random": "random",
    "keep signs only": "binarised",
}


class Inversion(Explorer):
    """A picture, and one with the same features in a layer.

    Args:
        model: the network.
        pictures: the data set some pictures are offered of; photographs are offered anyway.
        layers: to choose among.
        trained: layer -> the decoder of its codes, such as of `models.decoders.painters`.
        layer: which to begin with; the first by default.
        steps: of the descent.
    """

    title = "What does this layer keep of the picture?"
    alt = "A picture, and beside it one found from its features in one layer."
    slow = True

    def __init__(
        self,
        model: Model,
        pictures: DataSet | None,
        layers: Sequence[str],
        *,
        trained: Mapping[str, Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders = dict(trained or {})
        self.chosen = controls.PictureChoice(model.card.input_size, pictures, self._failed)
        methods = [*inversion.RECIPES, *([DECODER] if self.decoders else [])]
        moved = {
            "picture": self.chosen.control,
            "layer": controls.choice("layer", layers, layer or layers[0]),
            "method": controls.choice("method", methods, methods[0]),
            "start": controls.number("start", 0, 0, 999),
            "steps": controls.slider("steps", controls.with_value(STEPS, steps), steps),
        }
        super().__init__(model, moved, [self.chosen.upload])

    def idle(self, settings: Mapping[str, object]) -> set[str]:
        """A decoder draws at once."""
        return {"start", "steps"} if settings["method"] == DECODER else set()

    def draw(self, job: Job, picture: str, layer: str, method: str, start: int, steps: int) -> View:
        """Find a picture for the layer's code of the chosen one."""
        image = self.chosen[picture]
        codes = inversion.encode(job.model, [layer], image[None])

        def view(found: Tensor, text: str) -> View:
            return View([[Tile(image, picture), Tile(found[0], f"from {layer}")]], text, CELL)

        if method == DECODER:
            found = self._decoder(layer).draw(codes[layer])
        else:
            found = _descended(job, codes, method, steps, start, view)
        again = inversion.encode(job.model, [layer], found)[layer]
        error = float(inversion.feature_error(again, codes[layer])[0])
        pixels = float((found[0].cpu() - image).norm() / image.norm())
        text = f"{layer}: features differ by {error:.1%} of their size, pixels by {pixels:.0%}"
        return view(found, text)

    def _decoder(self, layer: str) -> Generator:
        if layer not in self.decoders:
            known = ", ".join(self.decoders)
            raise InputError(f"no decoder reads {layer}; choose {known}, or another method")
        return self.decoders[layer]


def _descended(
    job: Job,
    codes: Mapping[str, Tensor],
    recipe: str,
    steps: int,
    start: int,
    view: Growing,
) -> Tensor:
    """Find pictures (n, 3, h, w) for one layer's codes by descent; show them as they grow."""
    found = inversion.invert(
        job.model,
        codes,
        recipe=recipe,
        steps=steps,
        seed=start,
        progress=job.progress,
        look=lambda images: job.show(lambda: view(images, "descending ...")),
        should_stop=job.ending,
    )
    return found.images.flatten(0, 2)


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
        pictures: DataSet | None,
        layers: Sequence[str] = (),
        *,
        trained: Mapping[str, Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders, self.steps = dict(trained or {}), steps
        layers = list(layers or self.decoders or model.tour())
        self.slow = not set(layers) <= set(self.decoders)
        self.chosen = controls.PictureChoice(model.card.input_size, pictures, self._failed)
        shares = [(f"{share:.0%}", share) for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)]
        moved = {
            "picture": self.chosen.control,
            "layer": controls.choice("layer", layers, layer or layers[-1]),
            "kind": controls.choice("change", list(KINDS), "drop the least"),
            "fraction": controls.slider("of what fires", shares, 0.5, live=not self.slow),
        }
        super().__init__(model, moved, [self.chosen.upload])

    def idle(self, settings: Mapping[str, object]) -> set[str]:
        """Signs are kept of all entries."""
        return {"fraction"} if KINDS[settings["kind"]] == "binarised" else set()

    def draw(self, job: Job, picture: str, layer: str, kind: str, fraction: float) -> View:
        """Change the code; draw it and pass it on through the rest of the network."""
        image, change = self.chosen[picture], KINDS[kind]
        plain = change == "binarised"
        act = change if plain else perturbation.dropping(fraction, change, active=True)
        parts = [perturbation.perturb(job.model, layer, image[None], one) for one in ("none", act)]
        codes = torch.cat(parts)
        twice = image[None].repeat(2, 1, 1, 1)
        odds = perturbation.rest(job.model, layer, twice, codes).softmax(1)
        named = [_likeliest(job.model, row) for row in odds]
        words = [picture, f"from the whole code\n{named[0]}", f"from what is left\n{named[1]}"]

        def view(drawn: Tensor, text: str) -> View:
            row = [Tile(*pair) for pair in zip([image, *drawn], words, strict=True)]
            return View([row], text, CELL)

        before, after = odds.argmax(1).tolist()
        same = "the class stays" if before == after else "the class changes"
        share = "" if plain else f" {fraction:.0%} of what fires"
        return view(self._drawn_from(job, layer, codes, view), f"{layer}, {kind}{share}: {same}")

    def _drawn_from(self, job: Job, layer: str, codes: Tensor, view: Growing) -> Tensor:
        if layer in self.decoders:
            return self.decoders[layer].draw(codes)
        empty = norms(codes).flatten() == 0
        some = {layer: codes.masked_fill(empty.view(-1, *[1] * (codes.ndim - 1)), 1.0)}
        found = _descended(job, some, "default", self.steps, 0, view)
        found[empty] = 0.5  # nothing is left to come near to
        return found


def _likeliest(model: Model, odds: Tensor) -> str:
    best = odds.topk(min(2, len(odds)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return ", ".join(f"{model.card.classes[index]} {value:.0%}" for index, value in pairs)

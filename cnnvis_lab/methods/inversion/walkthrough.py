"""The two ways from a code back to a picture, stage by stage, as survey figure F8 shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core import Float, InputError, features, hooks
from ...models import Model, generators
from .invert import invert
from .recipes import Recipe

# After which shares of the descent its picture is shown; one step at least.
SHOWN_FRACTIONS = (0.0, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Walkthrough:
    """A picture's way to its code, and two ways back.

    Attributes:
        layers: those on the way; the last one's code is inverted.
        encoded: the picture (3, h, w), then the strongest map (h, w) of each layer.
        taken: numbers of steps of the descent after which a picture is shown.
        descent: those pictures.
        errors: their normalised feature errors.
        stages: names of the decoder's stages shown, in the order in which it works.
        decoded: their strongest maps, and the decoder's picture last; empty without a decoder.
    """

    layers: tuple[str, ...]
    encoded: list[Tensor]
    taken: tuple[int, ...]
    descent: list[Tensor]
    errors: tuple[float, ...]
    stages: tuple[str, ...]
    decoded: list[Tensor]


def walkthrough(
    model: Model,
    layers: Sequence[str],
    image: Float[Tensor, "3 h w"],
    painter: generators.Generator | None = None,
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
) -> Walkthrough:
    """Follow a picture to a layer's code, and the code back to pixels.

    Args:
        model: the network.
        layers: of maps, from the picture to the one that is inverted.
        image: the picture, in [0, 1], of the network's input size.
        painter: decoder of the last layer.
        recipe: how to descend, see `inversion.invert`.
        steps: of the descent.
        seed: of its start.

    Raises:
        InputError: a layer without maps.

    Source: survey figure F8.
    """
    codes = features.extract(model, image[None], layers)
    for layer, code in codes.items():
        if code.ndim != 4:
            raise InputError(f"{layer} has no maps to be shown; choose layers of convolutions")
    code = codes[layers[-1]]
    taken, descent, errors = _trace_optimization(model, {layers[-1]: code}, recipe, steps, seed)
    stages, decoded = _trace_decoder(painter, code) if painter else ((), [])
    encoded = [image.cpu(), *(map_of_most_energy(codes[layer]) for layer in layers)]
    return Walkthrough(tuple(layers), encoded, taken, descent, errors, stages, decoded)


def map_of_most_energy(maps: Float[Tensor, "1 maps h w"]) -> Float[Tensor, "h w"]:
    """Return the map of most energy."""
    return maps[0, int(maps[0].flatten(1).norm(dim=1).argmax())].detach().cpu()


def _trace_optimization(
    model: Model, codes: dict[str, Tensor], recipe: str | Recipe, steps: int | None, seed: int
) -> tuple[tuple[int, ...], list[Tensor], tuple[float, ...]]:
    """Invert one code; return after how many steps pictures are shown, these, and their errors."""
    seen: list[Tensor] = []
    found = invert(
        model,
        codes,
        recipe=recipe,
        steps=steps,
        seed=seed,
        stop_below=0.0,
        on_step=lambda images: seen.append(images[0].detach().cpu().clone()),
    )
    # What is noted before step k is the error of the picture after k steps.
    errors = [*found.history.flatten().tolist()[1:], float(found.errors)]
    taken = sorted({max(1, round(share * len(seen))) for share in SHOWN_FRACTIONS})
    return tuple(taken), [seen[n - 1] for n in taken], tuple(errors[n - 1] for n in taken)


def _trace_decoder(
    painter: generators.Generator, code: Float[Tensor, "1 ..."]
) -> tuple[tuple[str, ...], list]:
    """The maps behind each of the decoder's doublings, and its picture."""
    names = [name for name, _ in painter.net.named_children()]
    doubling = [
        n for n, part in painter.net.named_children() if isinstance(part, nn.ConvTranspose2d)
    ]
    before = names[names.index(doubling[0]) - 1]
    shown = [before, *(f"relu_{name}" for name in doubling[:-1])]
    with torch.no_grad():
        maps = hooks.activations(painter.net, code, shown)
        picture = painter.draw(code)[0].cpu()
    words = ("convolutions", *doubling[:-1], "picture")
    return words, [*(map_of_most_energy(maps[name]) for name in shown), picture]

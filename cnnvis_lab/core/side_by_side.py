"""Objectives of different layers in one batch: each image is scored by its own."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .errors import InputError
from .objectives import Objective


def side_by_side(parts: Sequence[tuple[Objective, int]]) -> Objective:
    """Score the first images of a batch by one objective, the next ones by another, and so on.

    Each image leaves the forward pass at the layer its objective reads.

    Args:
        parts: objectives of one layer each, and how many images are theirs.

    Raises:
        InputError: an objective of no layer or several, or of images in groups.
    """
    for part, _ in parts:
        if len(part.layers) != 1 or part.group > 1:
            found = ", ".join(part.layers) or "none"
            raise InputError(f"objectives side by side read one layer each; this one: {found}")
    owner = torch.tensor([p for p, (_, count) in enumerate(parts) for _ in range(count)])
    number = torch.cat([torch.arange(count) for _, count in parts])
    exits = tuple(parts[p][0].layers[0] for p in owner.tolist())

    def score(acts: Mapping[str, Tensor], images: Tensor, index: Tensor) -> Tensor:
        index, result = index.cpu(), images.new_empty(len(index))
        leavers = {layer: [i for i in index.tolist() if exits[i] == layer] for layer in acts}
        for place in owner[index].unique().tolist():
            part = parts[place][0]
            here = owner[index] == place
            (layer,) = part.layers
            rows = torch.tensor([i for i, n in enumerate(leavers[layer]) if owner[n] == place])
            own = {layer: acts[layer][rows.to(images.device)]}
            own_index = number[index[here]].to(images.device)
            mask = here.to(images.device)
            result = result.masked_scatter(mask, part.score(own, images[mask], own_index))
        return result

    layers = tuple(dict.fromkeys(exits))
    return Objective(layers, score, exits=exits)

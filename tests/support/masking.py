"""The reference for pruned networks: the removed feature maps are set to zero."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.methods.perturbation.pruning import mask_edit, pruning_site, weight_of


@contextmanager
def mask_units(model: models.Model, keep: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Set all other maps of some layers to zero inside the block, at full size."""
    edits = {}
    for layer, units in keep.items():
        site = pruning_site(model, layer)
        flags = torch.zeros(len(weight_of(model.net, site.producer)))
        flags[list(units)] = 1
        edits[site.norms[-1] if site.norms else site.producer] = mask_edit(flags)
    with hooks.edit(model, edits):
        yield

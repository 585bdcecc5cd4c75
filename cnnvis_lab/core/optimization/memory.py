"""Estimate how many images fit into memory."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import hooks
from ..types import Images

# Autograd stores about one copy and one gradient of every output; the third copy is a margin.
COPIES_KEPT = 3


def batch_that_fits(model: nn.Module, one: Images, layers: Sequence[str], memory_limit: int) -> int:
    """Return how many images can pass forward and backward, up to a layer, within a memory limit.

    Args:
        model: any network.
        one: one image of the intended size.
        layers: dotted names or aliases; the deepest one matters.
        memory_limit: in bytes.
    """
    bytes_each = 0

    def count(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal bytes_each
        if isinstance(output, Tensor) and not any(True for _ in module.children()):
            bytes_each += output.numel() * output.element_size()

    with torch.no_grad():
        hooks.activations(model, one, layers)  # a first pass may count calls in a pass of its own
        with hooks.hooked(model.named_modules(), count):
            hooks.activations(model, one, layers)
    return max(1, int(memory_limit / (COPIES_KEPT * max(bytes_each, one.numel() * 4))))

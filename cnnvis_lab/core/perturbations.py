"""Norm-preserving perturbations of a layer's activations: binarize, quantize, drop.

A code is the activation of a layer for one image, (units) or (units, h, w). Every perturbation
keeps the norm of each code (unless nothing is left of it), so that it tests the importance of the
pattern of the entries and not of their magnitude.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import InputError
from .types import Float

Codes = Float[Tensor, "n ..."]


def norms(codes: Codes) -> Codes:
    """Return each code's norm over all entries, shaped to divide the codes."""
    sizes = codes
    for axis in range(codes.ndim - 1, 0, -1):  # a single sum over all squares loses a digit
        sizes = sizes.norm(dim=axis)
    return sizes.view(-1, *[1] * (codes.ndim - 1))


def match_norm(perturbed: Codes, codes: Codes) -> Codes:
    """Scale perturbed codes to the norms of the original codes; zero codes stay zero."""
    size = norms(perturbed)
    return perturbed * torch.where(size > 0, norms(codes) / size.clamp(min=1e-30), 0.0)


def binarize(codes: Codes) -> Codes:
    """Keep signs and zeros; set all other entries of a code to the same magnitude.

    Source: Dosovitskiy and Brox 2016, section "Varying the code".
    """
    return match_norm(codes.sign(), codes)


def drop(codes: Codes, importance: Codes, fraction: float = 0.5, *, active: bool = False) -> Codes:
    """Set the least important entries to zero.

    Args:
        codes: (n, ...) codes.
        importance: of every entry; negate it to drop the most important entries, draw it at random
            for dropout. Ties are broken in a fixed order.
        fraction: of all entries, rounded to whole entries.
        active: take the fraction of the nonzero entries instead. After a ReLU most entries may be
            zero; dropping the less important half of all entries then changes nothing, and the
            more important half holds all of them.

    Raises:
        InputError: a fraction outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"a fraction of {fraction} to drop: expected 0 to 1")
    flat, ranked = codes.flatten(1), importance.flatten(1)
    counts = torch.full((len(flat),), flat.shape[1], device=flat.device)
    if active:
        ranked = ranked.masked_fill(flat == 0, torch.inf)
        counts = (flat != 0).sum(1)
    order = ranked.argsort(dim=1, stable=True)
    rank = torch.empty_like(order).scatter(
        1, order, torch.arange(flat.shape[1]).to(order).expand_as(order)
    )
    remaining = rank >= (fraction * counts).round().unsqueeze(1)
    return match_norm(codes * remaining.view_as(codes), codes)


def random_importance(codes: Codes, seed: int) -> Codes:
    """Return random importance; that of image i depends only on the seed and on i."""
    streams = (torch.Generator().manual_seed(seed * 1_000_003 + i) for i in range(len(codes)))
    return torch.stack([torch.rand(codes.shape[1:], generator=s) for s in streams]).to(codes)


def keep_top(codes: Codes, count: int = 5) -> Codes:
    """Keep the `count` largest entries of each code and set all others to zero."""
    return match_norm(codes * _top_mask(codes, count), codes)


def remove_top(codes: Codes, count: int = 5) -> Codes:
    """Set the `count` largest entries of each code to zero."""
    return match_norm(codes * ~_top_mask(codes, count), codes)


def _top_mask(codes: Codes, count: int) -> Tensor:
    if not 1 <= count < codes[0].numel():
        raise InputError(
            f"{count} largest of {codes[0].numel()} entries: expected fewer, 1 or more"
        )
    top = codes.flatten(1).topk(count, dim=1).indices
    flags = torch.zeros_like(codes.flatten(1), dtype=torch.bool).scatter(1, top, True)
    return flags.view_as(codes)


def quantize(codes: Codes, bits: int) -> Codes:
    """Round to 2^bits evenly spaced levels between each code's smallest entry, or 0, and largest.

    Args:
        codes: (n, ...) codes.
        bits: 1 to 16.
    """
    if not 1 <= bits <= 16:
        raise InputError(f"{bits} bits: expected 1 to 16")
    tail = (-1, *[1] * (codes.ndim - 1))
    low = codes.flatten(1).amin(1).clamp(max=0).view(tail)
    high = codes.flatten(1).amax(1).clamp(min=0).view(tail)
    step = ((high - low) / (2**bits - 1)).clamp(min=1e-30)
    return match_norm(((codes - low) / step).round() * step + low, codes)


Perturbation = Callable[[Codes, Codes, int], Codes]
# The perturbations of Dosovitskiy and Brox, by name: functions of codes, the importance of their
# entries and a seed. "dropout" draws its own importance; "active" counts nonzero entries only.
PERTURBATIONS: dict[str, Perturbation] = {
    "none": lambda codes, importance, seed: codes,
    "binarized": lambda codes, importance, seed: binarize(codes),
    "dropout": lambda codes, importance, seed: drop(codes, random_importance(codes, seed)),
    "least": lambda codes, importance, seed: drop(codes, importance),
    "most": lambda codes, importance, seed: drop(codes, -importance),
    "dropout active": lambda c, importance, seed: drop(c, random_importance(c, seed), active=True),
    "least active": lambda codes, importance, seed: drop(codes, importance, active=True),
    "most active": lambda codes, importance, seed: drop(codes, -importance, active=True),
}

"""Changes of codes: what a layer says, made coarser or poorer without making it quieter.

A code is one image's features, (units) or (units, h, w). Every change keeps each code's norm over
all its entries (where anything is left of it), so that it tells what the entries' pattern matters
and not what their size does.
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
    for axis in range(codes.ndim - 1, 0, -1):  # a sum over all squares at once loses a digit
        sizes = sizes.norm(dim=axis)
    return sizes.view(-1, *[1] * (codes.ndim - 1))


def match_norm(changed: Codes, codes: Codes) -> Codes:
    """Scale changed codes back to the norms they had; what is zero throughout stays so."""
    size = norms(changed)
    return changed * torch.where(size > 0, norms(codes) / size.clamp(min=1e-30), 0.0)


def binarize(codes: Codes) -> Codes:
    """Keep the signs, zeros included, and give all other entries one magnitude.

    Source: Dosovitskiy and Brox 2016, section "Varying the code".
    """
    return match_norm(codes.sign(), codes)


def drop(codes: Codes, importance: Codes, share: float = 0.5, *, active: bool = False) -> Codes:
    """Set the least important entries to zero.

    Args:
        codes: the codes.
        importance: of every entry; negate it to drop the most important ones, draw it at random
            for dropout. Among equals, which entries go is arbitrary but fixed.
        share: of all entries, rounded to whole ones.
        active: of the entries that are not zero instead. Behind a ReLU most entries may be zero;
            dropping the least half of all then does nothing, and the most important half is all
            there is.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share} to drop: expected 0 to 1")
    flat, ranked = codes.flatten(1), importance.flatten(1)
    counts = torch.full((len(flat),), flat.shape[1], device=flat.device)
    if active:
        ranked = ranked.masked_fill(flat == 0, torch.inf)
        counts = (flat != 0).sum(1)
    order = ranked.argsort(dim=1, stable=True)
    rank = torch.empty_like(order).scatter(
        1, order, torch.arange(flat.shape[1]).to(order).expand_as(order)
    )
    kept = rank >= (share * counts).round().unsqueeze(1)
    return match_norm(codes * kept.view_as(codes), codes)


def random_importance(codes: Codes, seed: int) -> Codes:
    """Draw an importance for every entry at random; image i's does not depend on the others."""
    streams = (torch.Generator().manual_seed(seed * 1_000_003 + i) for i in range(len(codes)))
    return torch.stack([torch.rand(codes.shape[1:], generator=s) for s in streams]).to(codes)


def keep_top(codes: Codes, count: int = 5) -> Codes:
    """Keep each code's largest entries alone; the others become zero."""
    return match_norm(codes * _top_mask(codes, count), codes)


def remove_top(codes: Codes, count: int = 5) -> Codes:
    """Set each code's largest entries to zero."""
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
        codes: the codes.
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
# The changes of Dosovitskiy and Brox, by name: from codes, the importance of their entries and a
# seed. "dropout" draws its own importance. "active" ones count entries that are not zero only.
PERTURBATIONS: dict[str, Perturbation] = {
    "none": lambda codes, importance, seed: codes,
    "binarised": lambda codes, importance, seed: binarize(codes),
    "dropout": lambda codes, importance, seed: drop(codes, random_importance(codes, seed)),
    "least": lambda codes, importance, seed: drop(codes, importance),
    "most": lambda codes, importance, seed: drop(codes, -importance),
    "dropout active": lambda c, importance, seed: drop(c, random_importance(c, seed), active=True),
    "least active": lambda codes, importance, seed: drop(codes, importance, active=True),
    "most active": lambda codes, importance, seed: drop(codes, -importance, active=True),
}

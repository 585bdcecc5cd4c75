"""What concept vectors say of one another: neighbours, sums, categories, and the filters shared."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, InputError, Int

# Numbers of concepts that a filter serves, as the paper's histograms group them: 0, 1, 2 to 5, ...
CONCEPT_COUNT_GROUPS = (0, 1, 2, 6, 10, 15, 20)


def cosine_similarities(vectors: Float[Tensor, "n units"]) -> Float[Tensor, "n n"]:
    """Return the cosine of each pair of vectors."""
    unit = functional.normalize(vectors, dim=1)
    return unit @ unit.T


def neighbors(
    vectors: Float[Tensor, "n units"], count: int
) -> tuple[Float[Tensor, "n count"], Int[Tensor, "n count"]]:
    """Return the cosines and rows of each vector's nearest others, nearest first.

    Raises:
        InputError: more neighbours than there are other vectors.
    """
    if not 1 <= count < len(vectors):
        raise InputError(f"{count} neighbours among {len(vectors)} vectors: expected 1 to one less")
    near = cosine_similarities(vectors).fill_diagonal_(-2).topk(count, dim=1)
    return near.values, near.indices


def purity(vectors: Float[Tensor, "n units"], kinds: Sequence[str], count: int = 5) -> Tensor:
    """Return the share of each vector's nearest others that are of its own kind: (n,)."""
    number = {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}
    own = torch.tensor([number[kind] for kind in kinds])
    return (own[neighbors(vectors, count)[1]] == own[:, None]).double().mean(1)


def chance_purity(kinds: Sequence[str]) -> Float[Tensor, " n"]:
    """Return the purity to expect if neighbours were drawn at random."""
    others = [kinds.count(kind) - 1 for kind in kinds]
    return torch.tensor(others, dtype=torch.float64) / (len(kinds) - 1)


def combine(
    vectors: Float[Tensor, "n units"], plus: Sequence[int], minus: Sequence[int] = ()
) -> Float[Tensor, " n"]:
    """Return the cosine of every vector with a sum of some; -2 for those that went into it.

    Args:
        vectors: the concept vectors; they enter at unit length.
        plus: rows added.
        minus: rows taken away.
    """
    unit = functional.normalize(vectors, dim=1)
    total = unit[list(plus)].sum(0) - unit[list(minus)].sum(0)
    near = unit @ functional.normalize(total, dim=0)
    near[[*plus, *minus]] = -2
    return near


def rank(near: Float[Tensor, " n"], wanted: int) -> int:
    """Return the place, from 1, of a row among those that `combine` compared."""
    return int((near > near[wanted]).sum()) + 1


def concepts_per_filter(best: Int[Tensor, " concepts"], units: int) -> Int[Tensor, " units"]:
    """Return of how many concepts each unit is the best one."""
    return best.bincount(minlength=units)


def sharing_histogram(per_filter: Int[Tensor, " units"]) -> Float[Tensor, " groups"]:
    """Return the share of filters that serve as many concepts as each group of `SHARED` says."""
    group = torch.bucketize(per_filter, torch.tensor(CONCEPT_COUNT_GROUPS), right=True) - 1
    return group.bincount(minlength=len(CONCEPT_COUNT_GROUPS)).double() / len(per_filter)


def filters_needed(
    scores: Float[Tensor, "sizes concepts"], sizes: Sequence[int], share: float, floor: float = 0.0
) -> Int[Tensor, " concepts"]:
    """Return with how many filters each concept first reaches a share of its score with all.

    Args:
        scores: a row for each number of filters, rising; the last with all.
        sizes: these numbers.
        share: of the way from `floor` to the last row.
        floor: what is reached knowing nothing: 0 for IoU, 0.5 for accuracy.
    """
    reached = scores - floor >= share * (scores[-1] - floor)
    return torch.tensor(sizes)[reached.int().argmax(0)]


def principal_plane(
    vectors: Float[Tensor, "n units"],
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " 2"]]:
    """Return the vectors on their two principal axes, and the share of variance of each."""
    unit = functional.normalize(vectors, dim=1).double()
    centred = unit - unit.mean(0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    sign = left[left.abs().argmax(0), torch.arange(left.shape[1])].sign()  # no mirror by chance
    return (left * sign * singular)[:, :2], (singular.square() / singular.square().sum())[:2]

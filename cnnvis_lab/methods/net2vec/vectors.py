"""Relations between concept vectors: neighbors, sums, categories and shared filters."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, InputError, Int

# Lower bounds of groups of concepts per filter, as in the paper's histograms: 0, 1, 2 to 5, ...
CONCEPT_COUNT_GROUPS = (0, 1, 2, 6, 10, 15, 20)


def neighbors(
    vectors: Float[Tensor, "n units"], count: int
) -> tuple[Float[Tensor, "n count"], Int[Tensor, "n count"]]:
    """Return the cosines and rows of each vector's nearest neighbors, nearest first.

    Raises:
        InputError: more neighbors than there are other vectors.
    """
    if not 1 <= count < len(vectors):
        raise InputError(
            f"{count} neighbors among {len(vectors)} vectors: expected fewer, 1 or more"
        )
    unit = functional.normalize(vectors, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).topk(count, dim=1)
    return nearest.values, nearest.indices


def purity(vectors: Float[Tensor, "n units"], kinds: Sequence[str], count: int = 5) -> Tensor:
    """Return (n,): the fraction of each vector's neighbors that are of the same kind.

    Args:
        vectors: the concept vectors.
        kinds: the kind of each vector.
        count: number of neighbors.
    """
    number = {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}
    numbers = torch.tensor([number[kind] for kind in kinds])
    return (numbers[neighbors(vectors, count)[1]] == numbers[:, None]).double().mean(1)


def chance_purity(kinds: Sequence[str]) -> Float[Tensor, " n"]:
    """Return the expected purity for random neighbors."""
    others = [kinds.count(kind) - 1 for kind in kinds]
    return torch.tensor(others, dtype=torch.float64) / (len(kinds) - 1)


def combine(
    vectors: Float[Tensor, "n units"], plus: Sequence[int], minus: Sequence[int] = ()
) -> Float[Tensor, " n"]:
    """Return the cosine of every vector with a sum of some; -2 for the summands themselves.

    Args:
        vectors: the concept vectors, which are normalized first.
        plus: rows to add.
        minus: rows to subtract.
    """
    unit = functional.normalize(vectors, dim=1)
    total = unit[list(plus)].sum(0) - unit[list(minus)].sum(0)
    cosines = unit @ functional.normalize(total, dim=0)
    cosines[[*plus, *minus]] = -2
    return cosines


def sharing_histogram(per_filter: Int[Tensor, " units"]) -> Float[Tensor, " groups"]:
    """Return the fraction of filters in each of `CONCEPT_COUNT_GROUPS`.

    Args:
        per_filter: number of concepts for which each unit is the best one.
    """
    group = torch.bucketize(per_filter, torch.tensor(CONCEPT_COUNT_GROUPS), right=True) - 1
    return group.bincount(minlength=len(CONCEPT_COUNT_GROUPS)).double() / len(per_filter)


def mean_sharing(per_filter: Int[Tensor, " units"]) -> float:
    """Return the mean number of concepts of the filters that are best for any.

    Args:
        per_filter: number of concepts for which each unit is the best one.
    """
    return float(per_filter[per_filter > 0].double().mean())


def principal_plane(
    vectors: Float[Tensor, "n units"],
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " 2"]]:
    """Return the vectors' two principal components, and the fraction of variance of each one."""
    unit = functional.normalize(vectors, dim=1).double()
    left, singular, _ = torch.linalg.svd(unit - unit.mean(0), full_matrices=False)
    sign = left[left.abs().argmax(0), torch.arange(left.shape[1])].sign()  # fixes the orientation
    return (left * sign * singular)[:, :2], (singular.square() / singular.square().sum())[:2]

"""Images in memory, with the interface of a dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class TensorImages:
    """Images given as a tensor."""

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.images[list(indices)]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for indices in torch.arange(len(self)).split(size):
            yield indices, self.batch(indices.tolist())


def noise(count: int, size: int, seed: int) -> TensorImages:
    """Return images of noise."""
    generator = torch.Generator().manual_seed(seed)
    return TensorImages(torch.rand(count, 3, size, size, generator=generator))

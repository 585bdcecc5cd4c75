"""Units whose maximum activations on the images are similar."""

import weakref
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor

from ..types import Float
from .quantiles import flatten_positions

ROWS, BLOCK = 1024, 256  # images, and units, that are processed together


class CoActivation:
    """The maximum activation of each unit on each image; inactive units are 0.

    The activations are kept in a temporary file of 4 bytes per unit and image, so that memory grows
    neither with the number of images nor with the square of the number of units.
    """

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self._units = self._count = 0

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Add one batch."""
        peaks = flatten_positions(activations).amax(2).clamp(min=0).cpu().float()
        self._file.write(peaks.numpy().tobytes())
        self._units = peaks.shape[1]
        self._count += len(peaks)

    def _peaks(self) -> np.ndarray:
        """Return the activations, read from the file where they are used."""
        self._file.flush()
        return np.memmap(self._file, np.float32, "r", shape=(self._count, self._units))

    def nearest(self, count: int) -> list[list[tuple[int, float]]]:
        """Return, for each unit, the other units with the highest cosine above 0, and the cosines.

        Args:
            count: number of units, at most.
        """
        found = []
        for first in range(0, self._units, BLOCK):
            cosines = self.cosines(first, first + BLOCK)
            cosines[range(len(cosines)), range(first, first + len(cosines))] = 0  # the unit itself
            values, units = cosines.sort(dim=1, descending=True, stable=True)
            rows = zip(units[:, :count].tolist(), values[:, :count].tolist(), strict=True)
            found += [[pair for pair in zip(*row, strict=True) if pair[1] > 0] for row in rows]
        return found

    def cosines(self, first: int, last: int) -> Float[Tensor, "rows units"]:
        """Return the cosine of some units with every unit; 0 if one of them is never active.

        Args:
            first: index of the first of these units.
            last: index after the last; fewer if the layer ends before.
        """
        peaks, units = self._peaks(), slice(first, last)
        products = torch.zeros(len(range(self._units)[units]), self._units, dtype=torch.float64)
        squares = torch.zeros(self._units, dtype=torch.float64)
        for start in range(0, len(peaks), ROWS):
            part = torch.from_numpy(peaks[start : start + ROWS].astype(np.float64))
            products += part[:, units].T @ part
            squares += part.square().sum(0)
        lengths = squares.sqrt()
        return products / (lengths[units, None] * lengths).clamp(min=1e-12)

"""Recipes: how to synthesize images, as phases of gradient ascent from a starting image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..types import Images
from . import image_space
from .ascent import AscentResult, ascend
from .objective import Objective
from .options import DEFAULT_OPTIONS, Monitor, Options, Phase

AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")


@dataclass(frozen=True)
class Recipe:
    """An optimization as a paper describes it.

    Attributes:
        space: "pixels", from noise about gray, or "fourier" with decorrelated colors.
        phases: run one after the other.
        source: paper, code or measurement from which the constants are taken.
        start_std: standard deviation of the starting noise, of pixels or Fourier coefficients.
        bounded: keep pixels within [0, 1]; Fourier images always are.
    """

    space: str
    phases: tuple[Phase, ...]
    source: str
    start_std: float = 0.01
    bounded: bool = True

    @property
    def steps(self) -> int:
        """Total number of steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def with_steps(self: AnyRecipe, steps: int | None) -> AnyRecipe:
        """Return the recipe with another total number of steps, in the same proportions.

        Raises:
            InputError: fewer than 1 step.
        """
        if steps is None:
            return self
        if steps < 1:
            raise InputError(f"{steps} steps: expected at least 1, or None for the recipe's own")
        counts = (max(1, round(phase.steps * steps / self.steps)) for phase in self.phases)
        phases = (
            phase.for_steps(count) if phase.for_steps else replace(phase, steps=count)
            for phase, count in zip(self.phases, counts, strict=True)
        )
        return replace(self, phases=tuple(phases))

    def start(
        self,
        seeds: Sequence[int],
        size: int | tuple[int, int],
        device: str | torch.device = "cpu",
        channels: int = 3,
    ) -> image_space.Space:
        """Return the space of images that start from noise.

        Args:
            seeds: one per image.
            size: pixels of a square, or (height, width).
            device: torch device of the images.
            channels: of the images.
        """
        if self.space == "fourier":
            std = self.start_std
            return image_space.fourier(seeds, size, std=std, channels=channels, device=device)
        noise = image_space.noise(seeds, size, std=self.start_std, channels=channels)
        return self.start_from(noise.to(device))

    def start_from(self, images: Images) -> image_space.Space:
        """Return the space of images that start from given ones.

        Raises:
            InputError: the recipe's space is neither "pixels" nor "fourier".
        """
        if self.space == "fourier":
            return image_space.fourier_from(images)
        if self.space != "pixels":
            raise InputError(f"space {self.space!r}: expected pixels or fourier")
        low, high = (0.0, 1.0) if self.bounded else (None, None)
        return image_space.pixels(images, low=low, high=high)

    def run(
        self,
        model: nn.Module,
        objective: Objective,
        space: image_space.Space,
        options: Options = DEFAULT_OPTIONS,
        monitor: Monitor | None = None,
    ) -> AscentResult:
        """Run the phases, each starting from the final images of the previous one.

        Args:
            model: any network.
            objective: one score per image.
            space: the starting images, from `start` or `start_from`.
            options: seed, memory limit and callbacks; snapshots refer to the first phase.
            monitor: an objective to record, which may finish single images early.

        Returns:
            The last images, with the history of all phases.
        """
        results: list[AscentResult] = []
        for phase in self.phases:
            if results:
                space = self.start_from(_enlarge_center(results[-1].images, phase.enlarge))
                options = replace(options, snapshots=())
            results.append(ascend(model, objective, space, phase, options, monitor))
            if results[-1].interrupted:
                break
        return replace(
            results[-1],
            history=torch.cat([result.history for result in results]),
            monitored=torch.cat([result.monitored for result in results]),
            snapshots=results[0].snapshots,
        )


def _enlarge_center(images: Images, factor: float) -> Tensor:
    """Enlarge the center of images to the size of the images."""
    if factor == 1.0:
        return images
    height, width = images.shape[-2:]
    large = functional.interpolate(images, scale_factor=factor, mode="bilinear")
    top, left = (large.shape[-2] - height) // 2, (large.shape[-1] - width) // 2
    return large[..., top : top + height, left : left + width]

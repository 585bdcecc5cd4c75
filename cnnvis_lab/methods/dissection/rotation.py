"""Dissection of a layer in rotated bases (Bau et al. 2017, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core import Float, rotation
from ...data import has_labels, open_labelled
from ...models import Model
from .conventions import Convention
from .dissect import dissect
from .plan import LabelledData, Plan, make_plan
from .table import LayerTable, count_concepts


@dataclass(frozen=True)
class RotationSweep:
    """A layer dissected while its basis is rotated step by step toward random ones.

    Attributes:
        layer: the layer.
        fractions: fractions of the rotation, from 0 to 1.
        tables: for each random rotation a table per fraction.
        unchanged: fraction of images whose predicted class does not change with the full rotation;
            the smallest over the rotations.
    """

    layer: str
    fractions: tuple[float, ...]
    tables: tuple[tuple[LayerTable, ...], ...]
    unchanged: float

    def unique_detectors(self) -> dict[str, Tensor]:
        """Return category -> number of unique detectors by fraction, averaged over the rotations.

        The first entry, "all", is the sum; categories without any detector are left out.
        """
        counts = [count_concepts(dict(enumerate(tables))).by_category for tables in self.tables]
        means = {
            category: torch.tensor([count[category] for count in counts]).sum(0) / len(counts)
            for category in counts[0]
        }
        total = torch.stack([*means.values()]).sum(0)
        return {"all": total} | {name: mean for name, mean in means.items() if mean.any()}

    def remaining(self) -> Tensor:
        """Return the number of unique detectors by fraction, relative to that without rotation."""
        total = self.unique_detectors()["all"]
        return total / max(float(total[0]), 1)


def rotation_sweep(
    model: nn.Module,
    data: LabelledData,
    table: LayerTable,
    *,
    steps: int = 5,
    rotations: int = 1,
    seed: int = 0,
    convention: str | Convention = "original",
) -> RotationSweep:
    """Dissect a layer in bases that are rotated step by step toward random ones.

    Args:
        model: the network.
        data: images with label maps.
        table: table of the layer in its own basis, from the same data and convention.
        steps: number of equal steps to the full rotation.
        rotations: number of random rotations.
        seed: seed of the first rotation; the next ones count up from it.
        convention: see `dissect`.

    Source: Bau et al. 2017, section 3.2.
    """
    plan = make_plan(model, data, [table.layer])
    fractions = tuple(step / steps for step in range(steps + 1))
    sweeps, unchanged = [], []
    for number in range(rotations):
        matrix = rotation.random_rotation(plan.units[table.layer], seed + number)
        tables = [table]
        for fraction in fractions[1:]:
            partial = rotation.fractional_rotation(matrix, fraction)
            rotated = rotation.RotatedLayer(model, table.layer, partial)
            result = dissect(
                rotated, data, ["rotated"], convention=convention, min_images=table.min_images
            )
            tables.append(result["rotated"])
        sweeps.append(tuple(tables))
        full = rotation.RotatedLayer(model, table.layer, matrix)
        unchanged.append(_agreement(model, full, plan))
    return RotationSweep(table.layer, fractions, tuple(sweeps), min(unchanged))


@torch.no_grad()
def _agreement(one: nn.Module, other: nn.Module, plan: Plan) -> float:
    """Return the fraction of images that two networks classify alike."""
    same = 0
    for indices in plan.batches:
        images = plan.data.batch(indices)
        same += int((one(images).argmax(1) == other(images).argmax(1)).sum())
    return same / len(plan.data)


@dataclass(frozen=True)
class BasisComparison:
    """The highest IoU of each unit of a layer, and of each direction of another basis.

    Attributes:
        units: of the units; empty if the images have no label maps.
        directions: of the directions.
    """

    units: Float[Tensor, " units"]
    directions: Float[Tensor, " units"]

    def mean_difference(self) -> float | None:
        """Return the mean of the units minus that of the directions; None without labels."""
        return float(self.units.mean()) - float(self.directions.mean()) if len(self.units) else None


def compare_bases(
    model: Model, layer: str, basis: Float[Tensor, "units units"], source: str, image_count: int
) -> BasisComparison:
    """Dissect a layer's units, and the directions of another basis.

    Args:
        model: the network.
        layer: dotted name or alias.
        basis: an orthogonal matrix, one direction in each row.
        source: images with label maps, as for `data.open_labelled`.
        image_count: maximum number of images; 0 to measure nothing.
    """
    if not (image_count and has_labels(source)):
        return BasisComparison(torch.zeros(0), torch.zeros(0))
    labelled = open_labelled(source, model.card.input_size, image_count)
    rotated = rotation.RotatedLayer(model, layer, basis)
    return BasisComparison(
        dissect(model, labelled, [layer])[layer].best()[0],
        dissect(rotated, labelled, ["rotated"])["rotated"].best()[0],
    )

"""A rotated basis has other detectors, and the same predictions."""

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab import data, models
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import Convention, dissect

pytestmark = pytest.mark.usefixtures("one_thread")
COARSE = Convention(quantile=0.05, min_iou=0.02)


def _sweep(**options: int) -> dissection.RotationSweep:
    table = dissect(small_net(), random_data(), ["2"], convention=COARSE)["2"]
    return dissection.rotation_sweep(
        small_net(), random_data(), table, convention=COARSE, **options
    )


def test_a_sweep_starts_with_the_plain_basis_and_keeps_the_classes():
    sweep = _sweep(steps=2, rotations=2, seed=1)
    assert sweep.fractions == (0, 0.5, 1) and sweep.unchanged == 1
    first, second = sweep.tables
    assert first[0] is second[0]
    assert not torch.equal(first[2].intersection, second[2].intersection)
    assert not torch.allclose(first[2].iou, first[0].iou, atol=0.02)
    assert torch.equal(_sweep(steps=1, seed=2).tables[0][1].iou, second[2].iou)


def test_unique_detectors_are_averaged_over_the_rotations():
    sweep = _sweep(steps=2, rotations=2)
    counts = sweep.unique_detectors()
    unique = [[table.unique_concepts() for table in tables] for tables in sweep.tables]
    for category, values in counts.items():
        if category != "all":
            pairs = zip(*unique, strict=True)
            assert values.tolist() == [(a[category] + b[category]) / 2 for a, b in pairs]
    total = sum(values for name, values in counts.items() if name != "all")
    assert torch.equal(counts["all"], total)
    assert torch.equal(sweep.remaining(), total / total[0]) and sweep.remaining()[0] == 1


def test_bases_are_compared_if_there_are_labels(tmp_path):
    model = models.load("alexnet_mini")
    same = dissection.compare_bases(model, "CL5", torch.eye(80), "", 8)
    assert len(same.units) == 80 and same.mean_difference() == pytest.approx(0, abs=1e-6)
    data.images.to_pil(torch.rand(3, 128, 128)).save(tmp_path / "plain.png")
    for source, count in (("", 0), (str(tmp_path), 8)):
        other = dissection.compare_bases(model, "CL5", torch.eye(80), source, count)
        assert other.mean_difference() is None

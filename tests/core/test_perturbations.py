"""Perturbations of codes: exact norms, signs, zeros and levels."""

import pytest
import torch
from torch import Tensor

from cnnvis_lab.core import InputError, perturbations
from cnnvis_lab.methods import perturbation

pytestmark = pytest.mark.usefixtures("one_thread")


def _codes(seed: int = 0, signed: bool = True) -> Tensor:
    values = torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(seed))
    codes = values if signed else values.relu()
    return codes * torch.arange(1, 6).view(-1, 1, 1, 1)


CASES = perturbations.PERTURBATIONS | {
    "five largest": perturbation.keep_top(5),
    "without them": perturbation.keep_top(5, invert=True),
    **{f"{bits} bits": perturbation.quantize(bits) for bits in range(1, 9)},
    **{f"{fraction} {order} active": perturbation.drop(fraction, order, active=True)
       for fraction in (0.1, 0.9) for order in ("least", "most", "random")},
}  # fmt: skip


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_every_perturbation_keeps_the_norm(name, signed):
    codes = _codes(signed=signed)
    changed = CASES[name](codes, codes.abs(), 3)
    expected = perturbations.norms(codes)
    if (
        name == "most" and not signed
    ):  # half of the entries may hold all nonzero ones of a code after a ReLU
        expected = expected * (changed != 0).flatten(1).any(1).view(-1, 1, 1, 1)
    assert torch.allclose(perturbations.norms(changed), expected, rtol=1e-5)


def test_binarization_keeps_signs_and_zeros_and_one_magnitude():
    codes = _codes()
    codes[0, :3] = 0
    changed = perturbations.binarize(codes)
    assert torch.equal(changed.sign(), codes.sign())
    for one in changed:
        magnitudes = one[one != 0].abs()
        assert torch.allclose(magnitudes, magnitudes[0].expand_as(magnitudes))


def test_dropout_zeroes_exactly_half_and_scales_the_rest_by_one_factor():
    codes = _codes()
    changed = perturbations.PERTURBATIONS["dropout"](codes, codes.abs(), 0)
    assert ((changed == 0).flatten(1).sum(1) == codes[0].numel() // 2).all()
    for before, after in zip(codes, changed, strict=True):
        ratio = after[after != 0] / before[after != 0]
        assert torch.allclose(ratio, ratio[0].expand_as(ratio)) and ratio[0] > 1
    other = perturbations.PERTURBATIONS["dropout"](codes, codes.abs(), 1)
    assert not torch.equal(changed == 0, other == 0)
    assert torch.equal(
        changed[:2], perturbations.PERTURBATIONS["dropout"](codes[:2], codes[:2].abs(), 0)
    )


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_the_least_important_entries_are_dropped_and_the_most_important_kept(fraction):
    codes, importance = _codes(), _codes(1).abs()
    least = perturbations.drop(codes, importance, fraction) == 0
    for dropped, weights in zip(least, importance, strict=True):
        assert dropped.sum() == round(fraction * dropped.numel())
        if 0 < fraction < 1:
            assert weights[dropped].max() < weights[~dropped].min()


def test_the_most_important_half_of_a_sparse_code_holds_all_its_nonzero_entries():
    codes = _codes(signed=False)
    codes[:, 3:] = 0
    assert torch.allclose(
        perturbations.PERTURBATIONS["least"](codes, codes.abs(), 0), codes, rtol=1e-6
    )
    assert not perturbations.PERTURBATIONS["most"](codes, codes.abs(), 0).any()


@pytest.mark.parametrize("name", ["dropout active", "least active", "most active"])
def test_half_of_the_active_entries_are_dropped_and_the_others_kept(name):
    codes = _codes(signed=False)
    changed = perturbations.PERTURBATIONS[name](codes, codes.abs(), 0)
    for code, after in zip(codes, changed, strict=True):
        active, left = code != 0, after != 0
        assert not (left & ~active).any()
        assert (active & ~left).sum() == round(0.5 * int(active.sum()))
        dropped, kept = code[active & ~left], code[left]
        if name != "dropout active":
            assert (
                dropped.max() < kept.min() if name == "least active" else dropped.min() > kept.max()
            )


def test_the_largest_entries_and_all_others_partition_the_code():
    codes = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    only, others = perturbations.keep_top(codes), perturbations.remove_top(codes)
    assert ((only != 0).sum(1) == 5).all() and ((others != 0).sum(1) == 11).all()
    assert not ((only != 0) & (others != 0)).any()
    assert (codes.topk(5).indices == only.topk(5).indices).all() or (codes < 0).any()
    for code, kept in zip(codes, only != 0, strict=True):
        assert code[kept].min() > code[~kept].max()


@pytest.mark.parametrize("bits", range(1, 9))
def test_quantized_codes_have_at_most_2_to_the_bits_levels_and_are_close(bits):
    codes = _codes(signed=False)
    changed = perturbations.quantize(codes, bits)
    step = codes.flatten(1).amax(1) / (2**bits - 1)
    for code, after, width in zip(codes, changed, step, strict=True):
        assert len(after.unique()) <= 2**bits
        scale = after.max() / code.max()  # the levels are scaled slightly to keep the norm
        assert ((after / scale - code).abs() <= width / 2 * 1.001).all()
        assert (after[code == 0] == 0).all()


def test_impossible_perturbations_are_refused():
    codes = _codes()
    for call in (
        lambda: perturbations.quantize(codes, 0),
        lambda: perturbations.drop(codes, codes, 1.5),
        lambda: perturbations.keep_top(codes, 72),
        lambda: perturbation.drop(0.5, "best"),
    ):
        with pytest.raises(InputError, match="expected"):
            call()

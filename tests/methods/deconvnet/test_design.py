"""Dead maps, spectra and aliasing that were planted in a network."""

import math

import pytest
import torch
from support import own_networks, tensor_images
from support.tensor_images import TensorImages
from torch import Tensor, nn

from cnnvis_lab import data, models
from cnnvis_lab.core import InputError, spectra
from cnnvis_lab.core.statistics.tally import FiringRate
from cnnvis_lab.methods import deconvnet
from cnnvis_lab.methods.deconvnet import design


def _noise(size: int = 24) -> TensorImages:
    return tensor_images.noise(10, size, seed=0)


def _wave(cycles: float, size: int = 16, angle: float = 0.0) -> Tensor:
    """Return a gray wave with this number of cycles per pixel."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    phase = 2 * math.pi * cycles * (x * math.cos(angle) + y * math.sin(angle))
    return phase.cos().expand(3, size, size)


def _network(kernels: Tensor, stride: int = 2) -> models.Model:
    torch.manual_seed(1)
    first = nn.Conv2d(3, len(kernels), kernels.shape[-1], stride, bias=False)
    with torch.no_grad():
        first.weight.copy_(kernels)
    net = nn.Sequential(first, nn.ReLU(), nn.Conv2d(len(kernels), 6, 3), nn.ReLU(), nn.Flatten())
    width = 6 * (((24 - kernels.shape[-1]) // stride + 1) - 2) ** 2
    return models.load(net.append(nn.Linear(width, 2)), input_size=24)


@pytest.fixture
def network() -> models.Model:
    """Kernels of low, middle and high waves, and a flat one; of the second maps two are dead.

    The others are active on half of the images.
    """
    waves = [_wave(0.03, 8), _wave(0.17, 8), _wave(0.4, 8), 0.01 * _wave(0.2, 8)]
    model = _network(torch.stack(waves) * models.load("alexnet_mini").std)
    with torch.no_grad():
        peaks = model.net[:3]((_noise().images - model.mean) / model.std).amax((2, 3))
        model.net[2].bias -= peaks.median(0).values
        model.net[2].bias[[1, 4]] = -1e3
    return model


def test_maps_that_no_image_activates_are_dead_and_the_others_have_their_rates(network):
    dataset = _noise()
    row = deconvnet.diagnose(network, dataset, ["2"]).layers[0]
    maps = network.net[:3]((dataset.images - network.mean) / network.std)
    assert row.dead.tolist() == [False, True, False, False, True, False]
    assert torch.allclose(row.firing_rates, (maps.amax((2, 3)) > 0).float().mean(0))
    assert ((row.firing_rates > 0.3) & (row.firing_rates < 0.7)).sum() == 4
    assert not row.aliasing[row.dead].any() and row.aliasing[~row.dead].all()
    assert (row.field, row.stride) == ((12, 12), (2, 2))


def test_a_firing_rate_is_the_fraction_of_images_with_an_active_position():
    data = torch.randn(9, 4, 2, 2, generator=torch.Generator().manual_seed(0)) - 1.5
    rates = FiringRate()
    for rows in torch.arange(9).split(4):
        rates.update(data[rows], rows)
    expected = [sum(bool((image[unit] > 0).any()) for image in data) / 9 for unit in range(4)]
    assert rates.fractions().tolist() == pytest.approx(expected)
    assert 0 < min(expected) < max(expected) < 1


def test_a_wave_lies_in_the_band_of_its_frequency():
    for cycles, band in ((0.0, 0), (0.05, 0), (0.12, 1), (0.22, 1), (0.3, 2), (0.5, 2)):
        power, frequency = spectra.power_spectra(_wave(cycles, 32)[None])
        bands = torch.bucketize(frequency.norm(dim=0), torch.tensor(spectra.FREQUENCY_BANDS))
        fractions = [float(power[0][bands == i].sum()) for i in range(3)]
        assert fractions[band] > 0.8 and sum(fractions) == pytest.approx(1, abs=1e-5)


def test_kernels_are_classified_by_frequency_and_the_flat_one_is_found(network):
    kernels = design.diagnose_kernels(network)
    assert kernels.flat.tolist() == [False, False, False, True]
    assert kernels.bands[:3].argmax(1).tolist() == [0, 1, 2]
    assert torch.allclose(kernels.bands.sum(1), torch.ones(4))
    assert kernels.stride == (2, 2) and kernels.layer == "0"


def test_waves_of_all_middle_frequencies_cover_the_band_and_one_wave_does_not():
    one_wave = _network(_wave(0.17, 11)[None])
    all_waves = _network(
        torch.stack([
            _wave(cycles, 11, step * math.pi / 12)
            for cycles in (0.1, 0.14, 0.18, 0.22, 0.26)
            for step in range(12)
        ])
    )  # fmt: skip
    assert design.diagnose_kernels(one_wave).coverage < 0.3
    assert design.diagnose_kernels(all_waves).coverage > 0.95


@pytest.mark.parametrize("angle", [0.0, math.pi / 2])
def test_aliasing_is_the_energy_beyond_half_a_cycle_per_stride(angle):
    for stride in (1, 2, 4):
        for cycles in (1 / 16, 2 / 16, 3 / 16, 5 / 16, 7 / 16):
            image = _wave(cycles, 32, angle)[None]
            expected = 1.0 if cycles > 0.5 / stride else 0.0
            fraction = float(spectra.aliased_fraction(image, (stride, stride)))
            assert fraction == pytest.approx(expected, abs=1e-4)
    mixed = (_wave(1 / 16, 32) + 2 * _wave(5 / 16, 32))[None]
    assert float(spectra.aliased_fraction(mixed, (2, 2))) == pytest.approx(4 / 5, abs=1e-4)
    assert float(spectra.aliased_fraction(torch.zeros(1, 3, 8, 8), (4, 4))) == 0


def test_spectra_of_small_kernels_are_interpolated():
    smooth = torch.tensor([1.0, 2.0, 1.0])
    rough = torch.tensor([1.0, -2.0, 1.0])
    kernels = torch.stack([torch.outer(line, line) for line in (smooth, rough)])
    low, high = spectra.aliased_fraction(kernels[:, None].expand(-1, 3, -1, -1), (2, 2)).tolist()
    # fraction of the energy of 1 + cos w beyond w = pi / 2, down or across; the spectrum is coarse
    beyond = (3 * math.pi / 4 - 2) / (3 * math.pi / 2)
    assert low == pytest.approx(1 - (1 - beyond) ** 2, abs=0.04)
    assert high == pytest.approx(1 - beyond**2, abs=0.01)


def test_aliasing_of_the_first_layer_is_that_of_its_kernels(network):
    diagnosis = deconvnet.diagnose(network, _noise(), ["0"], k=2)
    # a projection of the first layer is its kernel, scaled
    assert torch.allclose(diagnosis.layers[0].aliasing, diagnosis.kernels.aliasing, atol=1e-4)


def test_a_column_has_one_number_per_layer(network):
    diagnosis = deconvnet.diagnose(network, _noise())
    names = [layer for layer in network.default_layers() if layer != "logits"]
    assert [layer.layer for layer in diagnosis.layers] == names
    assert diagnosis.column("dead_fraction")[:2] == pytest.approx([0, 1 / 3])
    second = diagnosis.layers[1]
    active = second.aliasing[~second.dead]
    assert diagnosis.column("mean_aliasing")[1] == pytest.approx(float(active.mean()))
    assert diagnosis.column("mean_firing_rate")[1] == float(second.firing_rates.mean())


def test_an_earlier_scan_and_small_batches_of_maps_give_the_same_diagnosis(network, monkeypatch):
    dataset, layers = _noise(), ["0", "2"]
    whole = deconvnet.diagnose(network, dataset, layers, k=2)
    scan = deconvnet.scan_dataset(network, dataset, layers, k=9)
    active = scan.active_units(3)
    assert len(active["2"]) == 3 and not {1, 4} & {*active["2"]}
    assert torch.equal(scan.firing_rates["2"].fractions(), whole.layers[1].firing_rates)
    monkeypatch.setattr(design, "MAPS_PER_BATCH", 2)
    in_batches = deconvnet.diagnose(network, dataset, layers, k=2, scan=scan)
    for one, other in zip(whole.layers, in_batches.layers, strict=True):
        assert torch.allclose(one.aliasing, other.aliasing, atol=1e-6)
        assert torch.equal(one.firing_rates, other.firing_rates)


def test_a_report_flags_the_planted_faults(network):
    dataset = _noise()
    report = deconvnet.design_report(network, dataset, ["0", "2"])
    assert report.flagged_filters == {"dead": [3]}  # the flat one is weakly active
    assert report.flagged_second_layer["dead"] == [1, 4]
    aliasing = report.diagnosis.layers[1].aliasing
    assert (
        report.flagged_second_layer["aliased"]
        == (aliasing > design.ALIASING_LIMIT).nonzero().flatten().tolist()
    )
    assert report.filters.shape == (4, 3, 8, 8) and report.second_layer.shape == (6, 3, 12, 12)
    assert report.second_layer.flatten(1).any(1).tolist() == [u not in (1, 4) for u in range(6)]
    assert torch.allclose(
        spectra.aliased_fraction(report.second_layer, (2, 2)), aliasing, atol=1e-6
    )
    with pytest.raises(InputError, match="the first two"):
        deconvnet.design_report(network, dataset, ["0"])


def test_designs_are_compared_on_the_same_images(network):
    layers = ["0", "2"]
    before = deconvnet.design_report(network, _noise(), layers)
    with torch.no_grad():
        network.net[2].bias[1] += 2e3  # one dead map becomes active
    alone = deconvnet.compare_designs(network, None, _noise(), layers)
    (after,) = alone.reports.values()
    assert alone.compare("dead") == {}
    pair = deconvnet.DesignComparison({"older": before, "newer": after})
    assert pair.compare("dead").decrease == pytest.approx(1 / 12)
    assert pair.compare("coverage").increase == 0 and pair.compare("accuracy") == {}
    layers = (before.diagnosis.layers[1], after.diagnosis.layers[1])
    assert [*pair.compare("aliasing").values()] == [layer.mean_aliasing for layer in layers]


def test_any_two_networks_are_compared_on_images_of_their_own_size():
    older, newer = models.load("alexnet_mini"), models.load("zfnet_mini")
    scenes = data.open_images("", 128, 4)
    pair = deconvnet.compare_designs(newer, older, scenes, ["CL1", "CL2"])
    assert list(pair.reports) == ["alexnet_mini", "zfnet_mini"]
    assert pair.compare("accuracy")["zfnet_mini"] == newer.card.accuracy
    small = models.load(own_networks.CifarResNet(), input_size=32)
    pair = deconvnet.compare_designs(small, newer, scenes.at_size(32), ["conv", "layer1"])
    # Fields of a 7x7 and a 5x5 convolution with 3x3 pooling in between, strides 2; of three 3x3.
    assert pair.reports["zfnet_mini"].second_layer.shape[1:] == (3, *[7 + 2 * 2 + 4 * 4] * 2)
    assert pair.reports["CifarResNet"].second_layer.shape == (8, 3, *[3 + 2 + 2] * 2)


def test_of_large_layers_some_maps_are_projected(network, monkeypatch):
    every = deconvnet.diagnose(network, _noise(), ["0", "2"]).layers[1]
    report = deconvnet.design_report(network, _noise(), ["0", "2"])
    monkeypatch.setattr(design, "MAX_MAPS", 3)
    chosen = deconvnet.design_report(network, _noise(), ["0", "2"])
    some, kept = chosen.diagnosis.layers[1], design.projected_maps(6).tolist()
    assert kept[0] == 0 and kept[-1] == 5 and len(kept) == 3
    assert torch.equal(chosen.second_layer, report.second_layer[kept])
    assert torch.allclose(some.aliasing[kept], every.aliasing[kept])
    assert some.aliasing.isnan().sum() == 3 and some.mean_aliasing == pytest.approx(
        float(every.aliasing[[unit for unit in kept if not every.dead[unit]]].mean())
    )
    assert chosen.flagged_second_layer["dead"] == [
        place for place, unit in enumerate(kept) if every.dead[unit]
    ]


def test_a_waves_spectrum_peaks_in_its_ring_and_rings_contain_all_but_the_corners():
    for cycles in (0.05, 0.2, 0.35):
        centers, fractions = spectra.radial_spectrum(
            torch.stack([_wave(cycles), 5 * _wave(cycles)])
        )
        assert abs(centers[fractions.argmax()] - cycles) <= 0.5 / 16
    noise = torch.randn(50, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    centers, fractions = spectra.radial_spectrum(noise)
    power, frequency = spectra.power_spectra(noise)
    within = power[:, frequency.norm(dim=0) <= 0.5].sum(1).mean()
    assert len(centers) == 16 and 0.7 < fractions.sum() == pytest.approx(float(within), abs=1e-5)


def test_the_error_on_a_network_that_cannot_be_reversed_names_the_layer():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1), nn.Flatten(), nn.Linear(4 * 36, 2))
    model = models.load(net, input_size=8)
    with pytest.raises(InputError, match=r"softmax in 'net\.1' cannot be reversed"):
        deconvnet.diagnose(model, _noise(8), ["0", "3"])
    assert len(deconvnet.diagnose(model, _noise(8), ["0"]).layers) == 1

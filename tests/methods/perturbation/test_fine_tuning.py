"""Fine-tuned networks: planted dead maps cost nothing; all criteria see the same images."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import pytest
import torch
from support import small_chain
from support.small_chain import SIZE, branching_model, fully_connected_model
from torch import Tensor

from cnnvis_lab import data, models
from cnnvis_lab.core import features, hooks
from cnnvis_lab.data import ImageSet
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import TuningOptions, fine_tuning
from cnnvis_lab.methods.perturbation.fine_tuning import fraction_for_cost

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = TuningOptions(steps=6, final_steps=12, batch=8, rate=1e-5, ranking_images=16)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    noise = torch.rand(40, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    return data.open_images(noise, SIZE, len(noise))


@pytest.fixture(scope="module")
def noise(images: ImageSet) -> Tensor:
    return images.batch(range(len(images)))


@dataclass
class Recorded:
    """Images that note which of them are asked for."""

    images: ImageSet
    asked: list[list[int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        self.asked.append(list(indices))
        return self.images.batch(indices)

    def batches(self, size: int):
        return self.images.batches(size)


def _with_dead_maps() -> models.Model:
    """A network in which 3 of 8, 2 of 6 and 3 of 9 units are always zero."""
    model = fully_connected_model()
    for name, units in (("conv1", [1, 4, 6]), ("conv2", [0, 5]), ("fc1", [2, 3, 7])):
        module = model.net.get_submodule(name)
        module.weight[units], module.bias[units] = 0, 0
    model.net.fc2.weight *= 20  # so that noise images get different classes
    return model


def test_maps_that_are_always_zero_are_removed_first_and_cost_nothing(noise, images):
    model = _with_dead_maps()
    known, tuning = perturbation.split_for_tuning(model, images, 16, synthetic=False)
    assert len(known[0]) == 16 and torch.equal(tuning.batch([0]), noise[16:17])
    assert len(known[1].unique()) > 1
    tuned = perturbation.compare_tuned(
        model, tuning, known, decoders={}, multiply_adds=0.6, options=OPTIONS
    )
    informed = ["reconstruction", "loss", "activation", "magnitude"]
    assert [*tuned.before] == [*informed, "random"] and len(tuned.trials["random"]) == 3
    assert tuned.whole.accuracy == 1 and tuned.before["random"] < 1
    assert {name: tuned.before[name] for name in informed} == dict.fromkeys(informed, 1.0)
    assert {name: tuned.after[name] for name in informed} == dict.fromkeys(informed, 1.0)
    assert tuned.accuracy_lost == 0 and tuned.best and tuned.best not in tuned.trials["random"]
    costs = {trial.after[2:] for own in tuned.trials.values() for trial in own}
    assert tuned.final and costs == {perturbation.cost(tuned.final.network)}
    assert tuned.multiply_adds and 0.4 < tuned.multiply_adds <= 0.6


def test_fine_tuning_recovers_scores_and_changes_no_given_network(noise, images):
    for norm in (False, True):
        model = fully_connected_model(norm)
        small = perturbation.prune(model, {"conv1": range(5), "conv2": range(4), "fc1": range(6)})
        state = {name: value.clone() for name, value in small.state_dict().items()}
        scores = features.predict(model, noise)
        options = TuningOptions(steps=60, batch=16, rate=5e-3)
        with torch.inference_mode():
            tuned, losses = perturbation.fine_tune(small, images, scores, options)
        assert len(losses) == 60 and sum(losses[-8:]) < 0.3 * sum(losses[:8])
        error = (features.predict(tuned, noise) - scores).norm()
        assert error < 0.7 * (features.predict(small, noise) - scores).norm()
        assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())
        assert tuned.card == small.card and not any(p.requires_grad for p in tuned.parameters())
        assert not any(module.training for module in tuned.net.modules())
        if norm:
            assert not torch.equal(tuned.net.bn1.running_mean, small.net.bn1.running_mean)


def test_the_loss_is_the_divergence_of_softened_probabilities(noise, images):
    model, options = _with_dead_maps(), TuningOptions(1, batch=40, temperature=3.0)
    small = perturbation.prune(model, {"fc1": range(2)})
    scores = features.predict(model, noise)
    _, (loss,) = perturbation.fine_tune(small, images, scores, options)
    wanted, given = ((s / 3).softmax(1) for s in (scores, features.predict(small, noise)))
    divergence = float((wanted * (wanted / given).log()).sum(1).mean())
    assert divergence > 0.001 and loss == pytest.approx(9 * divergence, rel=1e-3)
    rounded = TuningOptions(1, batch=40, temperature=3.0, autocast=True)
    _, (coarse,) = perturbation.fine_tune(small, images, scores, rounded)
    assert coarse != loss and coarse == pytest.approx(loss, rel=0.2)


def test_every_criterion_is_trained_on_the_same_images_in_the_same_order(images):
    model, recorded = fully_connected_model(), Recorded(images)
    known, _ = perturbation.split_for_tuning(model, images, 16, synthetic=False)
    tuned = perturbation.compare_tuned(
        model, recorded, known, decoders={}, options=OPTIONS, random_orders=2, seed=3
    )
    asked = [indices for indices in recorded.asked if len(indices) == OPTIONS.batch]
    steps, count = OPTIONS.steps, sum(map(len, tuned.trials.values()))
    runs = [asked[start : start + steps] for start in range(0, count * steps, steps)]
    assert count == 6 and len(asked) == count * steps + OPTIONS.final_steps
    assert all(run == runs[0] for run in runs)  # each image once, before any again
    assert sorted(chain.from_iterable(runs[0][:5])) == [*range(40)]


def test_the_final_network_is_exported_loaded_and_gives_the_same_scores(noise, images, tmp_path):
    model = fully_connected_model(norm=True)
    known, tuning = perturbation.split_for_tuning(model, images, 8, synthetic=False)
    tuned = perturbation.compare_tuned(
        model, tuning, known, decoders={}, options=OPTIONS, random_orders=1
    )
    losses = [trial.loss for own in tuned.trials.values() for trial in own]
    assert tuned.best and tuned.best.loss == min(losses) and len({*losses}) > 1
    assert tuned.final and tuned.final.loss < max(losses)
    assert tuned.export(tmp_path) == 0 and tuned.export() == 0
    file = tmp_path / "arrays" / "pruned.safetensors"
    loaded = models.load(fully_connected_model(norm=True).net, weights=file, input_size=SIZE)
    assert torch.equal(loaded(noise), tuned.final.network(noise))
    assert perturbation.cost(loaded)[1] <= 0.5 * perturbation.cost(model)[1]


def test_where_pruning_is_impossible_the_reason_is_given(images):
    for model, multiply_adds, reason in (
        (branching_model(), 0.5, "needs a sequential network"),
        (fully_connected_model(), 1e-3, "conv1, conv2, fc1"),
    ):
        known, tuning = perturbation.split_for_tuning(model, images, 8, synthetic=False)
        tuned = perturbation.compare_tuned(
            model, tuning, known, decoders={}, multiply_adds=multiply_adds, options=OPTIONS
        )
        assert reason in tuned.reason and not tuned.trials
        assert tuned.accuracy_lost is tuned.multiply_adds is tuned.export() is None
        assert tuned.after.difference("reconstruction", "random") is None


def test_as_many_maps_are_kept_as_the_cost_allows():
    model = fully_connected_model()
    ranked = {"conv1": range(8), "conv2": range(6), "fc1": range(9)}
    whole = perturbation.cost(model)[1]
    costs = [
        perturbation.cost(fine_tuning.prune_to_fraction(model, ranked, percent / 100))[1]
        for percent in range(1, 101)
    ]
    for limit in (0.2, 0.5, 1.0):
        allowed = [percent for percent, own in enumerate(costs, 1) if own <= limit * whole]
        assert fraction_for_cost(model, ranked, limit) == max(allowed) / 100
    assert fraction_for_cost(model, ranked, 0.001) is None


def test_prunable_layers_are_those_with_weights_but_the_last():
    expected = {"conv1": "relu1", "conv2": "relu2", "fc1": "relu3"}
    assert perturbation.prunable_layers(fully_connected_model()) == expected
    assert perturbation.prunable_layers(branching_model()) == {}
    labels = ["CL1", "CL2", "CL3", "CL4", "CL5", "FL1", "FL2"]
    mini = perturbation.prunable_layers(models.load("alexnet_mini"))
    assert mini == {label: f"{label}.relu" for label in labels}


def test_estimates_are_derivatives_with_respect_to_the_size_of_each_map(noise):
    model, images = small_chain.model().double(), noise[:8].double()
    decoder, classes = small_chain.decoder(), small_chain.CLASSES
    estimated = perturbation.estimate_importance(model, "relu2", images, classes, decoder, batch=5)

    def errors(scale: Tensor) -> tuple[Tensor, Tensor]:
        with hooks.edit(model, {"relu2": lambda maps: maps * scale.view(1, -1, 1, 1)}):
            entropy = torch.nn.functional.cross_entropy(model(images), classes, reduction="none")
        maps = hooks.activations(model, images, ["relu2"])["relu2"] * scale.view(1, -1, 1, 1)
        return (decoder.draw(maps) - images).flatten(1).norm(dim=1), entropy

    for unit in range(6):
        step = torch.zeros(6, dtype=torch.double)
        step[unit] = 1e-5
        more, less = errors(1 + step), errors(1 - step)
        slopes = [float(((a - b) / 2e-5).abs().mean()) for a, b in zip(more, less, strict=True)]
        assert slopes[0] == pytest.approx(float(estimated.reconstruction[unit]), rel=1e-4)
        assert slopes[1] == pytest.approx(float(estimated.loss[unit]), rel=1e-4)
    unknown = perturbation.estimate_importance(model, "relu2", images, classes)
    assert unknown.reconstruction.isnan().all() and torch.equal(unknown.loss, estimated.loss)


def test_without_a_decoder_units_are_ranked_by_their_effect_on_the_next_layer(noise):
    model, images = fully_connected_model(), noise[:8]
    whole = hooks.activations(model, images, ["fc2"])["fc2"]
    effects = []
    for unit in range(9):
        flags = torch.ones(9)
        flags[unit] = 0
        with hooks.edit(model, {"relu3": lambda codes, flags=flags: codes * flags}):
            changed = hooks.activations(model, images, ["fc2"])["fc2"]
        effects.append(float((changed - whole).norm(dim=1).mean()))
    ranked = perturbation.rankings(
        model, {"fc1": "relu3"}, images, small_chain.CLASSES, decoders={}, exact=False
    )
    order = ranked.orders["fc1"]["reconstruction"][0]
    assert [effects[unit] for unit in order] == pytest.approx(sorted(effects), abs=1e-6)

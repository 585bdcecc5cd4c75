"""CKA and unit correlation agree with their definitions and show when a layer settles."""

import pytest
import torch
from support.recorded_training import labelled_images, noise, recording_of, view
from torch import Tensor

from cnnvis_lab.core import NameNotFound, hooks
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.methods.training_evolution import linear_cka, step_reaching
from cnnvis_lab.methods.training_evolution.similarity import unit_correlation


def test_a_curve_reaches_a_level_between_two_steps_or_at_the_last_step():
    curves = torch.tensor([[0.1, 0.95, 0.5], [0.9, 0.2, 0.8], [0.3, 0.3, 1.0]])
    assert step_reaching([5, 6, 10], curves).tolist() == pytest.approx([6, 5, 8])
    assert step_reaching([5, 6, 10], curves, 0.5).tolist() == pytest.approx([5.5, 5, 5])
    assert step_reaching([5, 6, 10], curves[:, :2], 0.99).tolist() == [10, 10]
    assert step_reaching([7], curves[:1], 0.5).tolist() == [7, 7, 7]
    assert torch.equal(curves[2], torch.tensor([0.3, 0.3, 1.0]))  # the input is not changed


def test_cka_is_invariant_to_rotation_and_scale_and_low_for_unrelated_data():
    x = noise(400, 6) @ torch.diag(torch.tensor([3.0, 2, 1, 1, 0.5, 0.1])) + 5
    rotation = torch.linalg.qr(noise(6, 6, seed=1)).Q
    assert linear_cka(x, -7 * x @ rotation + 2) == pytest.approx(1, abs=1e-5)
    assert linear_cka(x, noise(400, 9, seed=2)) < 0.05
    assert linear_cka(x, torch.zeros(400, 2)) == 0


def test_cka_agrees_with_its_definition_by_centered_gram_matrices():
    x, y = noise(30, 4), noise(30, 5, seed=1) + 1
    y[:, 0] += 2 * x[:, 1]
    center = torch.eye(30) - 1 / 30
    first, second = (center @ part @ part.T @ center for part in (x, y))

    def hsic(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b).trace()

    expected = hsic(first, second) / (hsic(first, first) * hsic(second, second)).sqrt()
    assert linear_cka(x, y) == pytest.approx(float(expected), rel=1e-4)
    assert 0.2 < expected < 0.9


def test_a_units_correlation_does_not_depend_on_its_scale():
    x, y = noise(50, 3), noise(50, 3, seed=1)
    y[:, 1], y[:, 2] = 4 * x[:, 1] - 3, 0
    expected = torch.corrcoef(torch.stack([x[:, 0], y[:, 0]]))[0, 1]
    expected = torch.stack([expected, torch.tensor(1.0), torch.tensor(0.0)])
    assert torch.allclose(unit_correlation(x, y), expected)


def test_a_layer_that_stops_changing_settles_first(recorded):
    """All layers but the second have their final weights from the second snapshot on."""
    last = recorded.snapshots[-1].weights
    weights = [recorded.snapshots[0].weights, recorded.snapshots[0].weights, last]
    mixed = [
        {name: (last if i and "second" not in name else state)[name] for name in state}
        for i, state in enumerate(weights)
    ]
    evolution = recording_of([{"weights": weights} for weights in mixed], ("first", "second"))
    images = labelled_images().images[:6]
    final = training_evolution.similarity(view(), evolution, images)
    for values in (final.cka, final.correlation):
        assert torch.allclose(values[2], torch.ones(2), atol=1e-5)
        assert values[1, 0] == pytest.approx(1, abs=1e-5) and (values[0] < 0.999).all()
        assert values[1, 1] < 0.999
    first, second = training_evolution.step_reaching(final.steps, final.cka, 0.9999).tolist()
    assert first <= 10 < 19 < second <= 20
    assert final.convergence("cka", 0.9999).tolist() == pytest.approx([first / 20, second / 20])
    with pytest.raises(NameNotFound, match="did you mean correlation"):
        final.convergence("corelation")
    previous = training_evolution.similarity(view(), evolution, images, reference="previous")
    assert previous.steps == [10, 20]
    assert previous.cka[1, 0] == pytest.approx(1, abs=1e-5) and previous.cka[1, 1] < 0.999
    with pytest.raises(NameNotFound, match="did you mean final"):
        training_evolution.similarity(view(), evolution, images, reference="finals")


def test_every_position_of_every_image_is_an_example(recorded):
    images, model = labelled_images().images[:5], view()
    final = training_evolution.similarity(model, recorded, images, ["second"])
    both = [
        hooks.activations(training_evolution.restore(model, snapshot), images, ["second"])["second"]
        for snapshot in (recorded.snapshots[0], recorded.snapshots[-1])
    ]
    rows = [
        torch.stack([m[:, y, x] for m in maps for y in range(8) for x in range(8)]) for maps in both
    ]
    assert float(final.cka[0, 0]) == pytest.approx(linear_cka(*rows), rel=1e-4)
    units = zip(rows[0].T, rows[1].T, strict=True)
    expected = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in units])
    assert float(final.correlation[0, 0]) == pytest.approx(float(expected.mean()), abs=1e-4)

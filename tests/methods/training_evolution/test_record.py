"""A recorded training: undisturbed, kept whole, and read as what was planted in it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from support.reference_dissection import Made, made
from torch import Tensor, nn
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.core import FileError, InputError, NameNotFound, hooks
from cnnvis_lab.data import Label
from cnnvis_lab.data.scenes import TRAIN_SEED, SceneSet
from cnnvis_lab.methods import activation_maximization, deconvnet, dissection, training_evolution
from cnnvis_lab.methods.training_evolution import Evolution, Snapshot, curves, store
from cnnvis_lab.methods.training_evolution.similarity import unit_correlation
from cnnvis_lab.methods.training_evolution.store import BestConcepts, UnitMaxima
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer

LAYERS = ["first", "second"]
AT = [0, 1, 3, 6]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """For the same bits everywhere, and because on so few numbers threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Shown(Made):
    """The small labelled world, gone through in order."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for part in torch.arange(len(self)).split(size):
            yield part, self.batch(part.tolist())


def _pictures(count: int = 20, seed: int = 0) -> Shown:
    return Shown(**{k: v for k, v in vars(made(count, seed=seed)).items() if k != "read"})


class Own(nn.Module):
    """A network by hand: functional ReLU, batch normalisation, dropout."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, width, 5, 2, 2), nn.BatchNorm2d(width)
        self.second, self.drop = nn.Conv2d(width, 7, 3, 2, 1), nn.Dropout(0.5)
        self.last = nn.Linear(7 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.last(self.drop(x.flatten(1)))


def _trained(net: nn.Module, recorder: object = None, steps: int = 6) -> nn.Module:
    """Train by hand; dropout draws from the global stream."""
    torch.manual_seed(5)
    pictures, classes = made(16, seed=9).pictures, torch.arange(16) % 4
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for step in range(1, steps + 1):
        loss = functional.cross_entropy(net((pictures - 0.45) / 0.25), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder:
            recorder.step(step)
    return net


def _fresh(seed: int = 0, width: int = 5) -> Own:
    torch.manual_seed(seed)
    return Own(width)


def _record(net: nn.Module, folder: Path, pictures: Shown | None = None, **knobs):
    knobs = {"at": AT, "units": 2, **knobs}
    return training_evolution.record(net, folder, pictures or _pictures(), LAYERS, **knobs)


def _recorded(folder: Path, **knobs) -> Evolution:
    net = _fresh()
    with _record(net, folder, **knobs) as recorder:
        _trained(net, recorder)
    return training_evolution.load(folder)


def _view() -> models.Model:
    return models.load(_fresh(99), input_size=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recording with everything."""
    folder = tmp_path_factory.mktemp("recorded")
    _recorded(folder, labelled=_pictures(), ascent=2, measured={"norm": _norm})
    return folder


def _norm(model: models.Model) -> float:
    return float(model.net.last.weight.norm())


@pytest.fixture(scope="module")
def recorded(folder) -> Evolution:
    return training_evolution.load(folder)


def _same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_training_by_hand_goes_on_as_if_nobody_had_looked(tmp_path):
    net = _fresh()
    with _record(net, tmp_path, labelled=_pictures(), ascent=1) as recorder:
        _trained(net, recorder)
    assert _same(net, _trained(_fresh()))
    assert all(module.training for module in net.modules())
    assert all(weight.requires_grad for weight in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@cache
def _world() -> SceneSet:
    return SceneSet(TRAIN_SEED, 16)


def _trainer() -> ClassifierTrainer:
    return ClassifierTrainer(
        ClassifierRecipe("alexnet_mini", pictures=16, epochs=2, batch=8), _world()
    )


def _follow(
    folder: Path, trainer: ClassifierTrainer, checkpoint: Path | None = None
) -> list[float]:
    view = models.load("alexnet_mini", weights="random")
    knobs = {"at": [1, 3, 4], "view": view, "units": {"CL5": [3]}}
    with training_evolution.record(
        trainer.net, folder, _world(), ["CL5", "CL1"], **knobs
    ) as recorder:
        return training_evolution.train(trainer, recorder, checkpoint)


def test_the_trainer_gives_the_same_losses_and_weights_under_the_recorders_eyes(tmp_path):
    plain, watched = _trainer(), _trainer()
    expected = [loss for _ in range(2) for loss in plain.epoch_losses()]
    assert _follow(tmp_path, watched) == expected
    assert _same(plain.net, watched.net)
    found = training_evolution.load(tmp_path)
    assert found.steps == [1, 3, 4] and found.layers == ("CL5", "CL1")
    assert [*found.snapshots[0].projections] == ["CL5"]  # of the other layer no unit is drawn
    assert found.snapshots[0].strongest["CL1"].values.shape == (48,)
    last = found.snapshots[-1].weights["conv1.weight"]
    assert torch.equal(last, watched.net.conv1.weight.detach().half())


def test_a_trainer_cut_off_goes_on_from_its_checkpoint_and_records_the_same_bytes(tmp_path):
    _follow(tmp_path / "whole", _trainer())

    class CutOff(ClassifierTrainer):
        def save(self, path: Path) -> None:
            super().save(path)
            raise KeyboardInterrupt

    first, checkpoint = _trainer(), tmp_path / "kept.pt"
    first.__class__ = CutOff
    with pytest.raises(KeyboardInterrupt):
        _follow(tmp_path / "cut", first, checkpoint)
    assert training_evolution.load(tmp_path / "cut").steps == [1]
    assert len(_follow(tmp_path / "cut", _trainer(), checkpoint)) == 2
    assert _bytes(tmp_path / "cut") == _bytes(tmp_path / "whole")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_kept_weights_are_those_of_the_step_in_16_bit(recorded):
    for state in recorded.snapshots:
        net = _trained(_fresh(), steps=state.step)
        for name, value in net.state_dict().items():
            kept = state.weights[name]
            expected = value.half() if value.is_floating_point() else value
            assert torch.equal(kept, expected) and kept.dtype == expected.dtype


def test_a_restored_state_computes_what_the_rounded_network_does(recorded):
    view, images = _view(), _pictures().pictures
    net = _trained(_fresh(), steps=3).eval()
    for weight in [*net.parameters(), *net.buffers()]:
        weight.data = weight.data.half().float() if weight.is_floating_point() else weight.data
    state = recorded.snapshots[AT.index(3)]
    restored = training_evolution.restore(view, state)
    assert restored is view
    assert torch.equal(view(images), net((images - view.mean) / view.std).detach())
    assert torch.equal(state.kernels, net.first.weight.detach() / view.std)


def test_the_strongest_pictures_are_chosen_anew_at_every_step(recorded):
    images, numbers = _pictures().pictures, []
    for state in recorded.snapshots:
        acts = hooks.activations(training_evolution.restore(_view(), state), images, LAYERS)
        for layer in LAYERS:
            found, maps = state.strongest[layer], acts[layer].flatten(2)
            assert torch.allclose(found.values, maps.amax((0, 2)), atol=1e-6)
            y, x = found.positions.unbind(1)
            there = acts[layer][found.images, torch.arange(len(y)), y, x]
            assert torch.allclose(there, found.values, atol=1e-6)
        numbers.append(state.strongest["second"].images)
    assert not torch.equal(numbers[0], numbers[-1])


def test_projections_are_those_of_the_kept_network_and_its_strongest_pictures(recorded):
    images = _pictures().pictures
    for state in recorded.snapshots:
        view = training_evolution.restore(_view(), state)
        for layer, shown in state.projections.items():
            assert shown.units.tolist() == recorded.units[layer]
            assert torch.equal(shown.images[:, 0], state.strongest[layer].images[shown.units])
            for row, unit in enumerate(recorded.units[layer]):
                picture = images[shown.images[row]]
                whole = deconvnet.project(view, picture, f"{layer}:{unit}").pictures[0, 0]
                y0, x0, y1, x1 = shown.boxes[row, 0].tolist()
                expected, found = whole[:, y0:y1, x0:x1], shown.projections[row, 0]
                assert torch.allclose(found, expected, rtol=2**-8, atol=1e-12)
    assert any(p.projections.any() for p in recorded.snapshots[-1].projections.values())


def test_ascent_concepts_and_numbers_are_those_of_the_kept_network(recorded):
    state, view = (
        recorded.snapshots[-1],
        training_evolution.restore(_view(), recorded.snapshots[-1]),
    )
    for layer in LAYERS:
        targets = [f"{layer}:{unit}" for unit in recorded.units[layer]]
        drawn = activation_maximization.render(view, targets, steps=2).patches
        assert torch.allclose(state.rendered[layer], drawn, atol=2**-10)
    for layer, table in dissection.dissect(view, _pictures(), LAYERS).items():
        found, detectors = state.concepts[layer], table.detectors()
        marked = training_evolution.detected_concepts(recorded, layer, table.min_iou)[-1].tolist()
        assert marked == [detectors[u].number if u in detectors else 0 for u in range(len(table))]
        assert torch.equal(found.iou, table.best()[0])
    assert state.numbers == {"norm": _norm(view)}
    assert recorded.number("norm").tolist() == [s.numbers["norm"] for s in recorded.snapshots]
    with pytest.raises(InputError, match="'accuracy' was not measured at every step"):
        recorded.number("accuracy")


def test_only_what_is_asked_for_is_looked_at(tmp_path):
    state = _recorded(tmp_path, rule=None).snapshots[0]
    assert not state.projections and not state.rendered and not state.concepts
    assert set(state.strongest) == set(LAYERS)


def test_disk_does_not_grow_with_the_data_set_and_weights_take_two_bytes(tmp_path):
    sizes = []
    for count in (8, 40):
        _recorded(tmp_path / str(count), pictures=_pictures(count), rule=None)
        sizes.append({p.stat().st_size for p in (tmp_path / str(count)).glob("step-*")})
    assert sizes[0] == sizes[1] and len(sizes[0]) == 1
    wide = _fresh(width=400)
    with _record(wide, tmp_path / "wide", rule=None) as recorder:
        recorder.step(1)
    weights = sum(value.numel() for value in wide.state_dict().values())
    kernels = 4 * wide.first.weight.numel()
    size = max(p.stat().st_size for p in (tmp_path / "wide").glob("step-*"))
    assert size - kernels < 2 * weights + 50 * 400


def _killed_in_a_write(folder: str) -> None:
    """Run in a process of its own: dies while the third state is half written."""
    torch.set_num_threads(1)
    written, whole = [], store.save_file

    def save(parts: dict, partial: Path) -> None:
        written.append(partial)
        whole(parts, partial)
        if len(written) == 3:
            partial.write_bytes(partial.read_bytes()[:1000])
            signal.raise_signal(signal.SIGKILL)

    store.save_file = save
    _recorded(Path(folder))


def test_a_recording_killed_while_it_writes_goes_on_and_ends_as_an_unbroken_one(tmp_path):
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    code = "import sys, test_training_evolution as t; t._killed_in_a_write(sys.argv[1])"
    path = f"{Path(__file__).parent}:{Path(__file__).parents[1]}"
    killed = subprocess.run([sys.executable, "-c", code, str(cut)], env={"PYTHONPATH": path})
    assert killed.returncode == -signal.SIGKILL
    assert [*cut.glob(".partial-*")]
    assert training_evolution.load(cut).steps == AT[:2]  # what is half written does not count
    kept = {p: p.stat().st_mtime_ns for p in cut.glob("step-*")}
    assert _record(_fresh(), cut).remaining == AT[2:]
    _recorded(cut)
    _recorded(whole)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept  # not recorded again
    assert _bytes(cut) == _bytes(whole)


def test_a_block_left_in_peace_ends_with_a_final_state_and_a_broken_one_does_not(tmp_path):
    for broken in (False, True):
        net, place = _fresh(), tmp_path / str(broken)
        try:
            with _record(net, place) as recorder:
                _trained(net, recorder, steps=4)
                if broken:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert training_evolution.load(place).steps == ([0, 1, 3] if broken else [0, 1, 3, 4])
    assert recorder.remaining == [6] and recorder.step(2) is False


def test_a_folder_of_another_network_data_set_or_choice_is_refused(folder, tmp_path):
    _recorded(tmp_path)
    others = {
        "weights": {"net": _fresh(width=6)},
        "pictures": {"pictures": _pictures(seed=1)},
        "units": {"units": {"first": [0]}},
        "labels": {"labelled": _pictures()},
    }
    for odd, given in others.items():
        knobs = {"net": _fresh(), **given}
        with pytest.raises(FileError, match=rf"another recording \(its {odd} differ\)"):
            _record(folder=tmp_path, **knobs)
    more = _record(_fresh(), tmp_path, at=[0, 2, 3])  # other steps are no other recording
    assert more.remaining == [2]


def test_wrong_layers_units_and_steps_are_told_at_once(tmp_path):
    with pytest.raises(NameNotFound, match="did you mean first"):
        training_evolution.record(_fresh(), tmp_path, _pictures(), ["frist"], at=[1])
    with pytest.raises(InputError, match=r"units \[5\] of first: it has 5, counted from 0"):
        _record(_fresh(), tmp_path, units={"first": [5]})
    for at in ([], [-1]):
        with pytest.raises(InputError, match="counted from 0"):
            _record(_fresh(), tmp_path, at=at)
    with pytest.raises(InputError, match="belongs to another network"):
        other = models.load(_fresh(width=6), input_size=32)
        _record(_fresh(), tmp_path, view=other)
    net = _fresh()
    with pytest.raises(InputError, match="network in training itself; give it a copy"):
        _record(net, tmp_path / "own", view=models.load(net, input_size=32))


def test_a_training_that_diverges_is_told_and_keeps_what_was_recorded(tmp_path):
    net = _fresh()
    recorder = _record(net, tmp_path)
    with torch.no_grad():
        net.second.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(InputError, match=r"step 3: second\.weight holds .* take smaller steps"):
        recorder.step(3)
    assert training_evolution.load(tmp_path).steps == [0]


def test_missing_and_damaged_recordings_are_told(folder, tmp_path):
    with pytest.raises(FileError, match="no recording of a training in"):
        training_evolution.load(tmp_path)
    _record(_fresh(), tmp_path, at=[1])
    with pytest.raises(FileError, match=r"no step is recorded in .* yet"):
        training_evolution.load(tmp_path)
    damaged = tmp_path / "step-000000001.safetensors"
    damaged.write_bytes(next(folder.glob("step-*")).read_bytes()[:-100])
    with pytest.raises(FileError, match=r"step-000000001\.safetensors is damaged"):
        training_evolution.load(tmp_path)


def test_the_schedule_is_the_papers_stretched_to_the_run():
    assert training_evolution.schedule(64) == list(training_evolution.PAPER_EPOCHS)
    assert training_evolution.schedule(6400) == [
        100 * epoch for epoch in training_evolution.PAPER_EPOCHS
    ]
    assert training_evolution.schedule(8) == [1, 2, 4, 5, 8]
    assert training_evolution.schedule(10, [0, 0.1, 2, 4]) == [0, 1, 5, 10]
    for steps in (1, 3, 77, 500):
        at = training_evolution.schedule(steps)
        assert at == sorted(set(at)) and at[0] >= 1 and at[-1] == steps
    with pytest.raises(InputError, match="0 steps"):
        training_evolution.schedule(0)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cka_knows_a_rotated_and_scaled_space_again_and_no_unrelated_one():
    x = _noise(400, 6) @ torch.diag(torch.tensor([3.0, 2, 1, 1, 0.5, 0.1])) + 5
    turn = torch.linalg.qr(_noise(6, 6, seed=1)).Q
    assert training_evolution.linear_cka(x, -7 * x @ turn + 2) == pytest.approx(1, abs=1e-5)
    assert training_evolution.linear_cka(x, _noise(400, 9, seed=2)) < 0.05
    assert training_evolution.linear_cka(x, torch.zeros(400, 2)) == 0


def test_cka_agrees_with_its_definition_by_centred_gram_matrices():
    x, y = _noise(30, 4), _noise(30, 5, seed=1) + 1
    y[:, 0] += 2 * x[:, 1]
    centre = torch.eye(30) - 1 / 30
    first, second = (centre @ part @ part.T @ centre for part in (x, y))

    def hsic(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b).trace()

    expected = hsic(first, second) / (hsic(first, first) * hsic(second, second)).sqrt()
    assert training_evolution.linear_cka(x, y) == pytest.approx(float(expected), rel=1e-4)
    assert 0.2 < expected < 0.9


def test_units_correlate_with_themselves_whatever_their_scale():
    x, y = _noise(50, 3), _noise(50, 3, seed=1)
    y[:, 1], y[:, 2] = 4 * x[:, 1] - 3, 0
    found = unit_correlation(x, y)
    expected = torch.corrcoef(torch.stack([x[:, 0], y[:, 0]]))[0, 1]
    assert torch.allclose(found, torch.stack([expected, torch.tensor(1.0), torch.tensor(0.0)]))


def _planted(states: list[dict], layers: tuple[str, ...] = ("a", "b"), **known) -> Evolution:
    """A recording made up of what is given for each state."""
    empty = {"weights": {}, "kernels": torch.zeros(1, 3, 7, 7), "strongest": {}, "projections": {}}
    empty |= {"rendered": {}, "concepts": {}, "numbers": {}}
    made_up = tuple(Snapshot(**empty | {"step": 10 * i} | given) for i, given in enumerate(states))
    return Evolution(layers, {layer: [] for layer in layers}, known.get("labels", {}), made_up)


def test_a_layer_that_stops_to_change_is_seen_to_settle_first(recorded):
    """All but the second layer has its final weights from the second state on."""
    last = recorded.snapshots[-1].weights
    own = [recorded.snapshots[0].weights, recorded.snapshots[0].weights, last]
    mixed = [
        {name: (last if i and "second" not in name else weights)[name] for name in weights}
        for i, weights in enumerate(own)
    ]
    planted = _planted([{"weights": weights} for weights in mixed], ("first", "second"))
    images = _pictures().pictures[:6]
    found = training_evolution.similarity(_view(), planted, images)
    for values in (found.cka, found.correlation):
        assert torch.allclose(values[2], torch.ones(2), atol=1e-5)
        assert values[1, 0] == pytest.approx(1, abs=1e-5) and (values[0] < 0.999).all()
        assert values[1, 1] < 0.999
    first, second = training_evolution.step_reaching(found.steps, found.cka, 0.9999).tolist()
    assert first <= 10 < 19 < second <= 20
    before = training_evolution.similarity(_view(), planted, images, reference="previous")
    assert before.steps == [10, 20]
    assert before.cka[1, 0] == pytest.approx(1, abs=1e-5) and before.cka[1, 1] < 0.999
    with pytest.raises(NameNotFound, match="did you mean final"):
        training_evolution.similarity(_view(), planted, images, reference="finals")


def test_similarity_looks_at_activations_of_all_positions(recorded):
    images, view = _pictures().pictures[:5], _view()
    found = training_evolution.similarity(view, recorded, images, ["second"])
    pair = [
        hooks.activations(training_evolution.restore(view, state), images, ["second"])["second"]
        for state in (recorded.snapshots[0], recorded.snapshots[-1])
    ]
    rows = [
        torch.stack([m[:, y, x] for m in maps for y in range(8) for x in range(8)]) for maps in pair
    ]
    assert float(found.cka[0, 0]) == pytest.approx(training_evolution.linear_cka(*rows), rel=1e-4)
    units = zip(rows[0].T, rows[1].T, strict=True)
    expected = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in units])
    assert float(found.correlation[0, 0]) == pytest.approx(float(expected.mean()), abs=1e-4)


def test_a_curve_reaches_a_level_on_the_line_between_two_records_or_at_the_last():
    rising = torch.tensor([[0.1, 0.95, 0.5], [0.9, 0.2, 0.8], [0.3, 0.3, 1.0]])
    assert training_evolution.step_reaching([5, 6, 10], rising).tolist() == pytest.approx([6, 5, 8])
    assert training_evolution.step_reaching([5, 6, 10], rising, 0.5).tolist() == pytest.approx(
        [5.5, 5, 5]
    )
    assert training_evolution.step_reaching([5, 6, 10], rising[:, :2], 0.99).tolist() == [10, 10]
    assert training_evolution.step_reaching([7], rising[:1], 0.5).tolist() == [7, 7, 7]
    assert torch.equal(rising[2], torch.tensor([0.3, 0.3, 1.0]))  # the caller's stay as they are


def _strongest(images: list[int], values: list[float] | None = None) -> UnitMaxima:
    count = len(images)
    values = torch.tensor(values or [1.0] * count)
    return UnitMaxima(values, torch.tensor(images), torch.zeros(count, 2, dtype=torch.int64))


def test_changes_of_the_strongest_picture_are_counted_by_layer():
    rows = [([1, 2, 3, 4], [7, 7]), ([1, 9, 3, 5], [7, 7]), ([1, 9, 3, 4], [8, 7])]
    planted = _planted([{"strongest": {"a": _strongest(a), "b": _strongest(b)}} for a, b in rows])
    assert training_evolution.top_image_changes(planted).tolist() == [[0.5, 0], [0.25, 0.5]]
    assert training_evolution.top_image_changes(planted, reference="final").tolist() == [
        [0.25, 0.5],
        [0.25, 0.5],
        [0, 0],
    ]


def test_maps_that_fire_on_no_picture_are_dead():
    values = [[1.0, -1, 0, 2], [1.0, 1, 1, 2]]
    planted = _planted([{"strongest": {"a": _strongest([0] * 4, v)}} for v in values], ("a",))
    assert training_evolution.dead_fraction(planted).tolist() == [[0.5], [0.0]]


def test_noisy_kernels_are_told_from_smooth_ones():
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    smooth, checker = (x - 3) / 3, (-1.0) ** (x + y)
    kernels = torch.stack([smooth, checker])[:, None].expand(-1, 3, -1, -1)
    random = _noise(300, 3, 7, 7).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    low, high = curves.kernel_noise(_planted([{"kernels": kernels}]))[0].tolist()
    assert low < 0.25 and high > 0.95
    white = float(curves.kernel_noise(_planted([{"kernels": random}])).mean())
    assert white == pytest.approx(0.8, abs=0.06)


LABELS = {
    number: Label(number, name, kind, 0)
    for number, name, kind in ((3, "dots", "texture"), (4, "dog", "object"), (5, "cat", "object"))
}


def _with_concepts(*rows: list[tuple[int, float]]) -> Evolution:
    parts = [(torch.tensor([n for n, _ in row]), torch.tensor([v for _, v in row])) for row in rows]
    return _planted(
        [{"concepts": {"a": BestConcepts(*part)}} for part in parts], ("a",), labels=LABELS
    )


def test_detectors_are_distinct_concepts_that_fit_well_enough():
    planted = _with_concepts(
        [(3, 0.05), (3, 0.2), (4, 0.03), (5, 0.01)], [(4, 0.1), (3, 0.2), (4, 0.09), (5, 0.05)]
    )
    assert {k: v.tolist() for k, v in training_evolution.detector_counts(planted).items()} == {
        "texture": [1, 1], "object": [0, 2],
    }  # fmt: skip
    assert training_evolution.detector_counts(planted, min_iou=0.06)["object"].tolist() == [0, 1]
    with pytest.raises(InputError, match="labelled="):
        training_evolution.detector_counts(_planted([{}]))


def test_units_that_move_from_one_category_to_another_are_counted_once():
    planted = _with_concepts(
        [(3, 0.2), (3, 0.2), (4, 0.2), (3, 0.2)],
        [(4, 0.2), (4, 0.01), (3, 0.2), (3, 0.2)],
        [(5, 0.2), (3, 0.2), (3, 0.2), (3, 0.2)],
    )
    assert training_evolution.category_switches(planted, "texture", "object") == 1 / 4
    assert training_evolution.category_switches(planted, "object", "texture") == 1 / 2
    assert training_evolution.category_switches(planted, "texture", "object", min_iou=0.5) == 0


@pytest.mark.parametrize(
    ("accuracy", "alike", "dead", "verdict"),
    [
        ([0.1, 0.5, 0.6, 0.6, 0.6], 0.99, 0.1, "stop"),
        ([0.1, 0.5, 0.6, 0.6, 0.65], 0.99, 0.1, "go on"),
        ([0.1, 0.5, 0.6, 0.6, 0.6], 0.90, 0.1, "go on"),
        ([0.1, 0.5], 0.99, 0.1, "go on"),
        ([0.1, 0.5, 0.7, 0.4, 0.3], 0.99, 0.1, "stop"),
        ([0.1, 0.5, 0.6, 0.6, 0.65], 0.99, 0.5, "begin anew"),
    ],
)
def test_the_advice_is_to_stop_where_nothing_changes_and_to_begin_anew_where_maps_die(
    accuracy, alike, dead, verdict
):
    count = len(accuracy)
    similar, dying = torch.full((count - 1, 2), 0.995), torch.zeros(count, 2)
    similar[-1, 1], dying[-1, 0] = alike, dead
    given = training_evolution.recommend(torch.tensor(accuracy), similar, dying)
    assert given.verdict == verdict and given.why


def test_a_settled_past_does_not_count_against_a_layer_that_moves_now():
    similar = torch.tensor([[0.2], [0.3], [0.99], [0.99]])
    flat, alive = torch.full((5,), 0.6), torch.zeros(5, 1)
    assert training_evolution.recommend(flat, similar, alive).verdict == "stop"
    assert training_evolution.recommend(flat, similar.flip(0), alive).verdict == "go on"
    assert training_evolution.recommend(flat, similar, alive, patience=3).verdict == "go on"


def test_the_advice_along_a_recording_knows_only_its_past(recorded):
    numbers = iter((0.1, 0.5, 0.5, 0.5))
    states = tuple(replace(s, numbers={"accuracy": next(numbers)}) for s in recorded.snapshots)
    known, images = replace(recorded, states=states), _pictures().pictures[:4]
    given = training_evolution.recommendations(_view(), known, images)
    alike = training_evolution.similarity(_view(), known, images, reference="previous").cka
    accuracy, dead = known.number("accuracy"), training_evolution.dead_fraction(known)
    assert [*given] == AT
    for i, step in enumerate(AT):
        told = training_evolution.recommend(accuracy[: i + 1], alike[:i], dead[: i + 1])
        assert given[step] == told
    early = replace(known, states=states[:2])
    assert [*training_evolution.recommendations(_view(), early, images).values()] == [
        given[0],
        given[1],
    ]


def test_strength_is_the_root_mean_square_of_projections(recorded):
    found = training_evolution.projection_rms(recorded)
    assert found.shape == (len(AT), len(LAYERS))
    values = recorded.snapshots[1].projections["second"].projections.flatten().double()
    assert float(found[1, 1]) == pytest.approx(float(values.norm() / len(values) ** 0.5), rel=1e-5)


def test_a_recording_says_it_is_of_another_architecture(recorded):
    with pytest.raises(InputError, match="step 6 does not fit"):
        training_evolution.restore(
            models.load(_fresh(width=6), input_size=32), recorded.snapshots[-1]
        )
    other = replace(recorded.snapshots[0], weights={})
    with pytest.raises(InputError, match="step 0 does not fit"):
        training_evolution.restore(_view(), other)

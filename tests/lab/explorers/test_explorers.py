"""Each method's explorer shows what its method gives, for every setting; on tiny networks."""

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from support.reference_dissection import Made, made, small_net
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import features
from cnnvis_lab.core.optimization import Options
from cnnvis_lab.data import ResizedImages
from cnnvis_lab.lab import explorers, figures
from cnnvis_lab.lab.explorers import LearnedLayer
from cnnvis_lab.lab.explorers.base import Explorer, View
from cnnvis_lab.lab.explorers.dissection import BEST_CONCEPT
from cnnvis_lab.lab.explorers.perturbation import PERTURBATION_KINDS
from cnnvis_lab.lab.explorers.worker import Request, isolated_copy
from cnnvis_lab.methods import (
    activation_maximization,
    deconvnet,
    deep_generator,
    dissection,
    inversion,
    net2vec,
    perturbation,
    training_evolution,
)
from cnnvis_lab.models import generators
from cnnvis_lab.models.generators import Generator, GeneratorSpec

SIZE = 32
pytestmark = pytest.mark.usefixtures("one_thread")


def _model(seed: int = 0, name: str = "small", classes: str = "abcd") -> models.Model:
    model = models.load(small_net(seed), input_size=SIZE, classes=tuple(classes))
    model.card = replace(model.card, name=name)
    return model


class Wide(nn.Sequential):
    """Another network, with other layers."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        layers = nn.Conv2d(3, 9, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        super().__init__(*layers, nn.Linear(9, 2))


@cache
def world() -> ResizedImages:
    drawn = made(12, SIZE, seed=4).pictures
    return ResizedImages("", SIZE, len(drawn), lambda numbers: drawn[numbers])


def _generator(layer: str, code: tuple[int, ...], **plan: object) -> Generator:
    spec = GeneratorSpec("small", layer, code, **plan)
    torch.manual_seed(1)
    return Generator("tiny", generators.assemble(spec), "random weights", spec)


def _painter(layer: str = "3") -> Generator:
    """Draws of the second convolution's maps."""
    return _generator(
        layer, (7, 8, 8), fully_connected=(), convs=((6, 3, 1),), ups=((4, 0), (3, 0))
    )


def view(explorer: Explorer, **settings: object) -> View:
    """What a panel shows after its settings were moved; the worker shows the same."""
    explorer.set(**settings)
    assert explorer.wait(30)
    request = Request(explorer.settings)
    request.model = isolated_copy(explorer.network(request.settings)).model
    shown = explorer.draw(request, **request.settings)
    assert explorer.message == shown.text, explorer.message
    return shown


def same(tile: object, wanted: object) -> None:
    torch.testing.assert_close(torch.as_tensor(tile.image), torch.as_tensor(wanted))


def test_activation_maximization_shows_what_the_method_draws():
    explorer = explorers.ActivationMaximization(_model(), steps=8)
    assert "network" not in explorer.settings
    for layer, unit, recipe, steps in (("2", 4, "default", 8), ("logits", 3, "simonyan", 16)):
        shown = view(explorer, layer=layer, unit=unit, recipe=recipe, steps=steps)
        drawn = activation_maximization.render(
            _model(), [f"{layer}:{unit}"], recipe=recipe, steps=steps
        )
        same(shown.rows[0][0], drawn.patches[0])
        assert shown.text.endswith(f": {float(drawn.activations[0]):.1f}")
    assert shown.text.startswith("activation of logits:3 (d):")


def test_a_picture_that_grows_can_be_stopped_and_says_so(monkeypatch):
    explorer, seen = explorers.ActivationMaximization(_model(), layer="2"), []
    shown = explorer._preview

    def glimpse(grown: View) -> None:
        seen.append(explorer._bar.value)
        shown(grown)
        explorer.stop()

    monkeypatch.setattr(explorer, "_preview", glimpse)
    explorer.set(steps=512)
    assert explorer.wait(30)
    assert seen == [1] and explorer.message.endswith("(stopped early)")


def test_another_network_brings_its_own_layers_and_units():
    one, two = _model(), models.load(Wide(), input_size=SIZE)
    explorer = explorers.ActivationMaximization([one, two], layer="2", unit=6, steps=8)
    shown = view(explorer, network="Wide")
    assert explorer.controls["layer"].options == ("0", "logits")
    assert explorer.settings["layer"] == "0" and explorer.controls["unit"].max == 8
    drawn = activation_maximization.render(two, [f"0:{explorer.settings['unit']}"], steps=8)
    same(shown.rows[0][0], drawn.patches[0])
    view(explorer, layer="logits")
    assert explorer.settings["unit"] == 1  # the last there is
    view(explorer, network="small", layer="2", unit=6)


def test_a_worker_and_a_cell_draw_the_same_picture():
    one, other = (explorers.ActivationMaximization(_model(), layer="2", steps=16) for _ in "ab")
    one.request()
    assert one.wait(30) and one.image == other.snapshot()


def test_deep_generator_shows_what_the_method_draws():
    generator = _generator(
        "5", (7,), fully_connected=(8, 64), convs=(), ups=((4, 0), (4, 0), (3, 0))
    )
    codes = deep_generator.encode(_model(), generator, world().batches(6))
    explorer = explorers.DeepGenerator(_model(), generator, codes, unit=1, steps=8)
    assert explorer.settings["layer"] == "logits"
    for bounds, noise in ((True, 1.0), (False, 3.0)):
        shown = view(explorer, bounds=bounds, noise=noise)
        drawn = deep_generator.render(
            _model(),
            generator,
            ["logits:1"],
            explorer.bounds,
            deep_generator.CodeAscent(8, bounded=bounds),
            starts=noise * explorer.start,
        )
        same(shown.rows[0][0], drawn.images[0])
    assert shown.text.startswith("activation of logits:1 (b):")


def test_deconvnet_shows_the_picture_the_projection_and_the_nine_strongest():
    explorer = explorers.DeconvNet(_model(), world(), ["0", "2"], unit=2)
    for settings in ({}, {"image": "picture 5", "rule": "guided"}, {"layer": "0", "unit": 1}):
        shown = view(explorer, **settings)
        now = explorer.settings
        target, image = f"{now['layer']}:{now['unit']}", explorer.chosen[now["image"]]
        back = deconvnet.project(_model(), image[None], target, rule=now["rule"])
        same(shown.rows[0][0], image)
        same(shown.rows[0][1], figures.normalize_projections(back.pixels[0])[0])
        top = deconvnet.top_projections(
            _model(), world(), [now["layer"]], rule=now["rule"], units={now["layer"]: [now["unit"]]}
        )[now["layer"]]
        same(shown.rows[1][0], figures.mosaic(top.patches(world())[0]))
        same(shown.rows[1][1], figures.mosaic(figures.normalize_projections(top.projections[0])))
        assert f"{float(top.activations[0, 0]):.1f} at most" in shown.text


def test_a_silent_unit_is_told(monkeypatch):
    model = _model()
    with torch.no_grad():
        model.net[2].bias -= 100
    explorer = explorers.DeconvNet(model, world(), ["3"])
    assert "is inactive here" in view(explorer).text


def test_a_file_that_is_no_picture_is_told_in_the_panel():
    explorer = explorers.DeconvNet(_model(), world(), ["0"])
    explorer.chosen._uploaded({"new": ({"name": "a.txt", "content": memoryview(b"text")},)})
    assert "a.txt is no image" in explorer.message and "color1" in explorer._status.value


class InTurn(Made):
    """The small labelled world, gone through in order."""

    def batches(self, size: int):
        for part in torch.arange(len(self)).split(size):
            yield part, self.batch(part.tolist())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[training_evolution.Evolution, InTurn]:
    folder, net = tmp_path_factory.mktemp("recorded"), small_net()
    known = made(12, SIZE)
    pictures = InTurn(known.pictures, known.maps, known.labels)
    view = models.load(small_net(9), input_size=SIZE)
    what = training_evolution.Observations(pictures, ["0", "2"], units=4)
    with training_evolution.record(net, folder, what, at=[0, 1, 3], view=view) as r:
        for step in (1, 2, 3):
            with torch.no_grad():
                net[0].weight.mul_(1.5).add_(0.1 * torch.randn_like(net[0].weight))
            r.step(step)
    return training_evolution.load(folder), pictures


def test_evolution_shows_what_was_recorded_at_the_chosen_step(recorded):
    recording, pictures = recorded
    explorer = explorers.TrainingEvolution(recording, pictures, count=3)
    for place, step in enumerate(recording.steps):
        shown, top = (
            view(explorer, step=step, layer="2"),
            recording.snapshots[place].projections["2"],
        )
        wanted = zip(
            figures.normalize_projections(top.projections[:3, 0]), shown.rows[0], strict=True
        )
        for picture, tile in wanted:
            same(tile, picture)
        for picture, tile in zip(top.patches(pictures)[:3, 0], shown.rows[1], strict=True):
            same(tile, picture)
        assert f"step {step} of 3" in shown.text


def test_one_contrast_a_layer_leaves_weak_projections_weak(recorded):
    explorer = explorers.TrainingEvolution(*recorded, layer="2")
    own = [view(explorer, step=step).rows[0] for step in (0, 3)]
    shared = [view(explorer, contrast="one a layer", step=step).rows[0] for step in (0, 3)]
    spread = [[abs(torch.as_tensor(row[0].image) - 0.5).max() for row in r] for r in (own, shared)]
    assert spread[0][0] == spread[0][1] == 0.5
    assert spread[1][0] < 0.5 * spread[1][1]


def test_inversion_shows_what_the_method_finds():
    explorer = explorers.Inversion(
        _model(), world(), ["0", "3"], decoders={"3": _painter()}, steps=20
    )
    shown = view(explorer, layer="3", start=2, image="picture 4")
    image = world().batch([4])
    codes = features.extract(_model(), image, ["3"])
    found = inversion.invert(_model(), codes, steps=20, options=Options(2))
    same(shown.rows[0][0], image[0])
    same(shown.rows[0][1], found["3"][0])
    assert f"error of the features {float(found.errors):.1%}" in shown.text
    shown = view(explorer, method="decoder")
    same(shown.rows[0][1], _painter().draw(codes["3"])[0])
    assert explorer.controls["start"].disabled and explorer.controls["steps"].disabled


def test_a_layer_without_decoder_is_told_and_another_method_works():
    explorer = explorers.Inversion(
        _model(), world(), ["0", "3"], decoders={"3": _painter()}, steps=20
    )
    explorer.set(method="decoder")
    assert explorer.wait(30)
    assert explorer.message == "no decoder for 0; choose 3, or another method"
    view(explorer, method="default")


@pytest.mark.parametrize("kind", PERTURBATION_KINDS)
def test_perturbation_changes_picture_and_prediction_together(kind):
    explorer = explorers.Perturbation(_model(), world(), decoders={"3": _painter()})
    assert explorer.controls["layer"].options == ("3",) and not explorer.slow
    shown = view(explorer, kind=kind, **({} if kind == "keep signs only" else {"fraction": 0.75}))
    image = world().batch([0])
    change = PERTURBATION_KINDS[kind]
    if change != "binarised":
        change = perturbation.drop(0.75, change, active=True)
    codes = [perturbation.perturb(_model(), "3", image, act) for act in ("none", change)]
    for tile, code in zip(shown.rows[0][1:], codes, strict=True):
        same(tile, _painter().draw(code)[0])
        odds = perturbation.forward_from(_model(), "3", image, code).softmax(1)[0]
        best = int(odds.argmax())
        assert f"{'abcd'[best]} {float(odds[best]):.0%}" in tile.caption
    assert torch.equal(odds.argmax(), _model()(image)[0].argmax()) == ("stays" in shown.text)
    assert explorer.controls["fraction"].disabled == (kind == "keep signs only")


def test_without_a_decoder_what_is_left_is_found_by_descent_and_nothing_is_gray():
    model = _model()
    with torch.no_grad():
        model.net[2].bias -= 100  # every unit of layer 3 is silent
    explorer = explorers.Perturbation(model, world(), ["1", "3"], layer="3", steps=20)
    assert explorer.slow
    shown = view(explorer)
    assert all((torch.as_tensor(tile.image) == 0.5).all() for tile in shown.rows[0][1:])
    shown = view(explorer, layer="1", kind="drop the most")
    least = perturbation.drop(0.5, "most", active=True)
    code = {"1": perturbation.perturb(model, "1", world().batch([0]), least)}
    assert shown.rows[0][2].image.shape == (3, SIZE, SIZE)
    found = torch.as_tensor(shown.rows[0][2].image)[None]
    reached = features.extract(model, found, ["1"])
    blank = features.extract(model, torch.full_like(found, 0.5), ["1"])
    assert inversion.feature_error(reached["1"], code["1"]) < inversion.feature_error(
        blank["1"], code["1"]
    )


@cache
def dissected() -> tuple[Made, dict]:
    data = made(24, SIZE)
    return data, dissection.dissect(_model(), data, ["0", "2"], top=3)


def test_dissection_shows_a_unit_where_it_is_active_and_its_overlap():
    data, tables = dissected()
    explorer = explorers.Dissection(_model(), data, tables)
    table, unit = tables["2"], explorer.settings["unit"]
    shown = view(explorer)
    column = int(table.best()[1][unit])
    name = table.concepts[column].name
    assert shown.text.startswith(
        f"Unit {unit} and {name}: IoU {float(table.iou[unit, column]):.3f}"
    )
    numbers = table.top_images[unit, :3].tolist()
    seen = dissection.unit_masks(
        _model(), data.pictures[numbers], "2", table.thresholds, [unit], size=(16, 16)
    )[:, 0]
    for picture, mask, tile in zip(data.pictures[numbers], seen, shown.rows[0], strict=False):
        same(tile, figures.concepts.masked_image(picture, mask, 0.25))


def test_a_concept_leads_to_the_units_that_fit_it_best():
    data, tables = dissected()
    explorer = explorers.Dissection(_model(), data, tables)
    assert explorer.controls["concept"].options[0] == BEST_CONCEPT
    for layer in ("2", "0"):
        for name in ("blue", "street"):
            shown = view(explorer, layer=layer, concept=name)
            column = [c.name for c in tables[layer].concepts].index(name)
            values = tables[layer].iou[:, column]
            assert values[explorer.settings["unit"]] == values.max()
            assert f"and {name}: IoU {float(values.max()):.3f}" in shown.text
    shown = view(explorer, unit=0)
    assert f"IoU {float(values[0]):.3f}" in shown.text


def test_a_moved_threshold_moves_the_iou():
    data, tables = dissected()
    explorer = explorers.Dissection(_model(), data, tables)
    texts = {view(explorer, fraction=fraction).text for fraction in (0.005, 0.05, 0.2)}
    assert len(texts) == 3 and explorer.controls["fraction"].continuous_update


@cache
def learned() -> tuple:
    sets = net2vec.prepare(_model(), made(30, SIZE), [made(20, SIZE, seed=5)], ["0", "2"])
    concepts = net2vec.usable_concepts(*sets, min_images=3)
    return sets, {
        layer: LearnedLayer(
            net2vec.segment(sets[0], layer, concepts), net2vec.best_filters(*sets, layer)
        )
        for layer in ("0", "2")
    }


def test_net2vec_shows_the_best_unit_the_combination_and_the_sum():
    (train, validation), known = learned()
    explorer = explorers.Net2Vec(_model(), train, validation, known)
    probes, best = known["2"]
    shown = view(explorer, concept="blue", plus="red", minus="blue", more="dog")
    row = list(explorer.rows).index("blue")
    iou = net2vec.set_iou(validation, "2", probes)[row]
    column = int(probes.concept[row])
    assert f"IoU {float(best.score[column]):.3f} by the best unit" in shown.text
    assert f"{float(iou):.3f} by 7 filters" in shown.text
    near = net2vec.combine(probes.weights, [0, 2], [1])
    assert [*explorer.rows][:3] == ["red", "blue", "dog"]
    nearest = [*explorer.rows][int(near.argmax())]
    assert f"is nearest to {nearest} ({float(near.max()):.2f})" in shown.text
    assert shown.rows[2][0].caption == f"the sum, on {nearest}"
    pictures = validation.large_examples(column, 6)
    mask = net2vec.masks(validation, "2", probes.rows([row]), pictures)[0, 0]
    same(
        shown.rows[1][0],
        figures.concepts.masked_image(validation.data.batch(pictures)[0], mask, 0.25),
    )


def test_fewer_filters_are_learned_again():
    (train, validation), known = learned()
    explorer = explorers.Net2Vec(_model(), train, validation, known, concept="dog")
    row = [*explorer.rows].index("dog")
    whole = known["2"].probes.rows([row])
    (few,) = net2vec.learn_subsets(net2vec.segment, train, "2", whole, [2])
    iou = float(net2vec.set_iou(validation, "2", few)[0])
    assert f"{iou:.3f} by 2 filters" in view(explorer, filters=2).text


def test_all_filters_stay_all_when_the_layer_changes():
    (train, validation), known = learned()
    explorer = explorers.Net2Vec(_model(), train, validation, known)
    view(explorer, layer="0")
    assert explorer.settings["filters"] == 5
    view(explorer, filters=4)
    view(explorer, layer="2")
    assert explorer.settings["filters"] == 4


def test_no_callback_draws_with_pyplot():
    for path in Path(explorers.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any("pyplot" in name for name in names), path.name

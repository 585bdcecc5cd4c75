"""Each method's explorer shows the results of the method for its settings, on tiny networks."""

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from support.reference_dissection import LabelledTensors, random_data, small_net
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
def dataset() -> ResizedImages:
    samples = random_data(12, SIZE, seed=4).images
    return ResizedImages("", SIZE, len(samples), lambda indices: samples[indices])


def _generator(layer: str, code: tuple[int, ...], **plan: object) -> Generator:
    spec = GeneratorSpec("small", layer, code, **plan)
    torch.manual_seed(1)
    return Generator("tiny", generators.assemble(spec), "random weights", spec)


def _painter(layer: str = "3") -> Generator:
    """A generator of images from the maps of the second convolution."""
    return _generator(
        layer, (7, 8, 8), fully_connected=(), convs=((6, 3, 1),), ups=((4, 0), (3, 0))
    )


def view(explorer: Explorer, **settings: object) -> View:
    """Return what a panel shows after a change of settings; the worker shows the same."""
    explorer.set(**settings)
    assert explorer.wait(30)
    request = Request(explorer.settings)
    request.model = isolated_copy(explorer.network(request.settings)).model
    result = explorer.draw(request, **request.settings)
    assert explorer.message == result.text, explorer.message
    return result


def assert_shows(tile: object, expected: object) -> None:
    torch.testing.assert_close(torch.as_tensor(tile.image), torch.as_tensor(expected))


def test_activation_maximization_shows_what_the_method_draws():
    explorer = explorers.ActivationMaximization(_model(), steps=8)
    assert "network" not in explorer.settings
    for layer, unit, recipe, steps in (("2", 4, "default", 8), ("logits", 3, "simonyan", 16)):
        shown = view(explorer, layer=layer, unit=unit, recipe=recipe, steps=steps)
        rendering = activation_maximization.render(
            _model(), [f"{layer}:{unit}"], recipe=recipe, steps=steps
        )
        assert_shows(shown.rows[0][0], rendering.patches[0])
        assert shown.text.endswith(f": {float(rendering.activations[0]):.1f}")
    assert shown.text.startswith("activation of logits:3 (d):")


def test_a_growing_image_can_be_stopped_and_the_message_says_so(monkeypatch):
    explorer, progress = explorers.ActivationMaximization(_model(), layer="2"), []
    original = explorer._preview

    def stop_at_first(preview: View) -> None:
        progress.append(explorer._bar.value)
        original(preview)
        explorer.stop()

    monkeypatch.setattr(explorer, "_preview", stop_at_first)
    explorer.set(steps=512)
    assert explorer.wait(30)
    assert progress == [1] and explorer.message.endswith("(stopped early)")


def test_choosing_another_network_offers_its_layers_and_units():
    first, second = _model(), models.load(Wide(), input_size=SIZE)
    explorer = explorers.ActivationMaximization([first, second], layer="2", unit=6, steps=8)
    shown = view(explorer, network="Wide")
    assert explorer.controls["layer"].options == ("0", "logits")
    assert explorer.settings["layer"] == "0" and explorer.controls["unit"].max == 8
    rendering = activation_maximization.render(second, [f"0:{explorer.settings['unit']}"], steps=8)
    assert_shows(shown.rows[0][0], rendering.patches[0])
    view(explorer, layer="logits")
    assert explorer.settings["unit"] == 1  # the last unit
    view(explorer, network="small", layer="2", unit=6)


def test_a_worker_and_a_cell_draw_the_same_image():
    in_worker, in_cell = (
        explorers.ActivationMaximization(_model(), layer="2", steps=16) for _ in "ab"
    )
    in_worker.request()
    assert in_worker.wait(30) and in_worker.image == in_cell.snapshot()


def test_deep_generator_shows_what_the_method_draws():
    generator = _generator(
        "5", (7,), fully_connected=(8, 64), convs=(), ups=((4, 0), (4, 0), (3, 0))
    )
    codes = deep_generator.encode(_model(), generator, dataset().batches(6))
    explorer = explorers.DeepGenerator(_model(), generator, codes, unit=1, steps=8)
    assert explorer.settings["layer"] == "logits"
    for bounds, noise in ((True, 1.0), (False, 3.0)):
        shown = view(explorer, bounds=bounds, noise=noise)
        rendering = deep_generator.render(
            _model(),
            generator,
            ["logits:1"],
            explorer.bounds,
            deep_generator.CodeAscent(8, bounded=bounds),
            starts=noise * explorer.start,
        )
        assert_shows(shown.rows[0][0], rendering.images[0])
    assert shown.text.startswith("activation of logits:1 (b):")


def test_deconvnet_shows_the_image_its_projection_and_the_nine_top_images():
    explorer = explorers.DeconvNet(_model(), dataset(), ["0", "2"], unit=2)
    for settings in ({}, {"image": "image 5", "rule": "guided"}, {"layer": "0", "unit": 1}):
        shown = view(explorer, **settings)
        current = explorer.settings
        target, image = f"{current['layer']}:{current['unit']}", explorer.chosen[current["image"]]
        projections = deconvnet.project(_model(), image[None], target, rule=current["rule"])
        assert_shows(shown.rows[0][0], image)
        assert_shows(shown.rows[0][1], figures.normalize_projections(projections.pixels[0])[0])
        top = deconvnet.top_projections(
            _model(),
            dataset(),
            [current["layer"]],
            rule=current["rule"],
            units={current["layer"]: [current["unit"]]},
        )[current["layer"]]
        assert_shows(shown.rows[1][0], figures.mosaic(top.patches(dataset())[0]))
        assert_shows(
            shown.rows[1][1], figures.mosaic(figures.normalize_projections(top.projections[0]))
        )
        assert f"maximum in the dataset: {float(top.activations[0, 0]):.1f}" in shown.text


def test_the_text_says_that_a_unit_is_inactive(monkeypatch):
    model = _model()
    with torch.no_grad():
        model.net[2].bias -= 100
    explorer = explorers.DeconvNet(model, dataset(), ["3"])
    assert "is inactive here" in view(explorer).text


def test_an_uploaded_file_that_is_no_image_is_an_error_in_the_panel():
    explorer = explorers.DeconvNet(_model(), dataset(), ["0"])
    explorer.chosen._uploaded({"new": ({"name": "a.txt", "content": memoryview(b"text")},)})
    assert "a.txt is not an image" in explorer.message and "color1" in explorer._status.value


class Ordered(LabelledTensors):
    """The small labeled dataset, read in order."""

    def batches(self, size: int):
        for part in torch.arange(len(self)).split(size):
            yield part, self.batch(part.tolist())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[training_evolution.Evolution, Ordered]:
    folder, net = tmp_path_factory.mktemp("recorded"), small_net()
    scenes = random_data(12, SIZE)
    dataset = Ordered(scenes.images, scenes.maps, scenes.labels)
    copy = models.load(small_net(9), input_size=SIZE)
    observations = training_evolution.Observations(dataset, ["0", "2"], units=4)
    with training_evolution.record(net, folder, observations, at=[0, 1, 3], view=copy) as r:
        for step in (1, 2, 3):
            with torch.no_grad():
                net[0].weight.mul_(1.5).add_(0.1 * torch.randn_like(net[0].weight))
            r.step(step)
    return training_evolution.load(folder), dataset


def test_evolution_shows_what_was_recorded_at_the_chosen_step(recorded):
    recording, dataset = recorded
    explorer = explorers.TrainingEvolution(recording, dataset, count=3)
    for index, step in enumerate(recording.steps):
        shown, top = (
            view(explorer, step=step, layer="2"),
            recording.snapshots[index].projections["2"],
        )
        pairs = zip(
            figures.normalize_projections(top.projections[:3, 0]), shown.rows[0], strict=True
        )
        for expected, tile in pairs:
            assert_shows(tile, expected)
        for expected, tile in zip(top.patches(dataset)[:3, 0], shown.rows[1], strict=True):
            assert_shows(tile, expected)
        assert f"step {step} of 3" in shown.text


def test_with_one_contrast_per_layer_weak_projections_stay_weak(recorded):
    explorer = explorers.TrainingEvolution(*recorded, layer="2")
    per_image = [view(explorer, step=step).rows[0] for step in (0, 3)]
    per_layer = [view(explorer, contrast="per layer", step=step).rows[0] for step in (0, 3)]
    contrasts = [
        [abs(torch.as_tensor(row[0].image) - 0.5).max() for row in r]
        for r in (per_image, per_layer)
    ]
    assert contrasts[0][0] == contrasts[0][1] == 0.5
    assert contrasts[1][0] < 0.5 * contrasts[1][1]


def test_inversion_shows_the_inverted_image():
    explorer = explorers.Inversion(
        _model(), dataset(), ["0", "3"], decoders={"3": _painter()}, steps=20
    )
    shown = view(explorer, layer="3", start=2, image="image 4")
    image = dataset().batch([4])
    codes = features.extract(_model(), image, ["3"])
    inverted = inversion.invert(_model(), codes, steps=20, options=Options(2))
    assert_shows(shown.rows[0][0], image[0])
    assert_shows(shown.rows[0][1], inverted["3"][0])
    assert f"error of the features {float(inverted.errors):.1%}" in shown.text
    shown = view(explorer, method="decoder")
    assert_shows(shown.rows[0][1], _painter().draw(codes["3"])[0])
    assert explorer.controls["start"].disabled and explorer.controls["steps"].disabled


def test_a_layer_without_a_decoder_is_an_error_and_another_method_works():
    explorer = explorers.Inversion(
        _model(), dataset(), ["0", "3"], decoders={"3": _painter()}, layer="0", steps=20
    )
    explorer.set(method="decoder")
    assert explorer.wait(30)
    assert explorer.message == "no decoder for 0; choose 3, or another method"
    view(explorer, method="default")


@pytest.mark.parametrize("kind", PERTURBATION_KINDS)
def test_perturbation_shows_the_decoded_image_and_the_prediction(kind):
    explorer = explorers.Perturbation(_model(), dataset(), decoders={"3": _painter()})
    assert explorer.controls["layer"].options == ("3",) and not explorer.slow
    shown = view(explorer, kind=kind, **({} if kind == "keep signs only" else {"fraction": 0.75}))
    image = dataset().batch([0])
    change = PERTURBATION_KINDS[kind]
    if change != "binarized":
        change = perturbation.drop(0.75, change, active=True)
    codes = [perturbation.perturb(_model(), "3", image, name) for name in ("none", change)]
    for tile, code in zip(shown.rows[0][1:], codes, strict=True):
        assert_shows(tile, _painter().draw(code)[0])
        probabilities = perturbation.forward_from(_model(), "3", image, code).softmax(1)[0]
        best = int(probabilities.argmax())
        assert f"{'abcd'[best]} {float(probabilities[best]):.0%}" in tile.caption
    assert torch.equal(probabilities.argmax(), _model()(image)[0].argmax()) == (
        "stays" in shown.text
    )
    assert explorer.controls["fraction"].disabled == (kind == "keep signs only")


def test_without_a_decoder_images_are_optimized_and_gray_if_nothing_is_active():
    model = _model()
    with torch.no_grad():
        model.net[2].bias -= 100  # every unit of layer 3 is inactive
    explorer = explorers.Perturbation(model, dataset(), ["1", "3"], layer="3", steps=20)
    assert explorer.slow
    shown = view(explorer)
    assert all((torch.as_tensor(tile.image) == 0.5).all() for tile in shown.rows[0][1:])
    shown = view(explorer, layer="1", kind="drop the largest")
    perturbed = perturbation.drop(0.5, "most", active=True)
    code = {"1": perturbation.perturb(model, "1", dataset().batch([0]), perturbed)}
    assert shown.rows[0][2].image.shape == (3, SIZE, SIZE)
    inverted = torch.as_tensor(shown.rows[0][2].image)[None]
    features_of_inverted = features.extract(model, inverted, ["1"])
    features_of_gray = features.extract(model, torch.full_like(inverted, 0.5), ["1"])
    assert inversion.feature_error(features_of_inverted["1"], code["1"]) < inversion.feature_error(
        features_of_gray["1"], code["1"]
    )


@cache
def dissected() -> tuple[LabelledTensors, dict]:
    data = random_data(24, SIZE)
    return data, dissection.dissect(_model(), data, ["0", "2"], top=3)


def test_dissection_shows_the_masks_of_a_unit_and_its_iou():
    data, tables = dissected()
    explorer = explorers.Dissection(_model(), data, tables)
    table, unit = tables["2"], explorer.settings["unit"]
    shown = view(explorer)
    column = int(table.best()[1][unit])
    name = table.concepts[column].name
    assert shown.text.startswith(f"2:{unit} and {name}: IoU {float(table.iou[unit, column]):.3f}")
    indices = table.top_images[unit, :3].tolist()
    masks = dissection.unit_masks(
        _model(), data.images[indices], "2", table.thresholds, [unit], size=(16, 16)
    )[:, 0]
    for image, mask, tile in zip(data.images[indices], masks, shown.rows[0], strict=False):
        assert_shows(tile, figures.concepts.masked_image(image, mask))


def test_choosing_a_concept_selects_the_unit_that_fits_it_best():
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


def test_changing_the_threshold_changes_the_iou():
    data, tables = dissected()
    explorer = explorers.Dissection(_model(), data, tables)
    texts = {view(explorer, fraction=fraction).text for fraction in (0.005, 0.05, 0.2)}
    assert len(texts) == 3 and explorer.controls["fraction"].continuous_update


@cache
def learned() -> tuple:
    sets = net2vec.prepare(
        _model(), random_data(30, SIZE), [random_data(20, SIZE, seed=5)], ["0", "2"]
    )
    concepts = net2vec.usable_concepts(*sets, min_images=3)
    return sets, {
        layer: LearnedLayer(
            net2vec.segment(sets[0], layer, concepts), net2vec.best_filters(*sets, layer, concepts)
        )
        for layer in ("0", "2")
    }


def test_net2vec_shows_the_best_unit_the_combination_and_the_sum():
    (train, validation), layers = learned()
    explorer = explorers.Net2Vec(_model(), train, validation, layers)
    probes, best = layers["2"]
    shown = view(explorer, concept="blue", plus="red", minus="blue", more="dog")
    row = list(explorer.rows).index("blue")
    iou = net2vec.set_iou(validation, "2", probes)[row]
    column = int(probes.concept[row])
    assert f"IoU {float(best.score[row]):.3f} by the best unit" in shown.text
    assert f"{float(iou):.3f} by 7 filters" in shown.text
    similarities = net2vec.combine(probes.weights, [0, 2], [1])
    assert [*explorer.rows][:3] == ["red", "blue", "dog"]
    nearest = [*explorer.rows][int(similarities.argmax())]
    assert f"is nearest to {nearest} ({float(similarities.max()):.2f})" in shown.text
    assert shown.rows[2][0].caption == f"A - B + C, on images of {nearest}"
    indices = validation.large_examples(column, 6)
    mask = net2vec.masks(validation, "2", probes.rows([row]), indices)[0, 0]
    assert_shows(
        shown.rows[1][0],
        figures.concepts.masked_image(validation.data.batch(indices)[0], mask),
    )


def test_vectors_of_fewer_filters_are_learned_again():
    (train, validation), layers = learned()
    explorer = explorers.Net2Vec(_model(), train, validation, layers, concept="dog")
    row = [*explorer.rows].index("dog")
    all_filters = layers["2"].probes.rows([row])
    (two_filters,) = net2vec.learn_subsets(net2vec.segment, train, "2", all_filters, [2])
    iou = float(net2vec.set_iou(validation, "2", two_filters)[0])
    assert f"{iou:.3f} by 2 filters" in view(explorer, filters=2).text


def test_all_filters_stay_selected_when_the_layer_changes():
    (train, validation), layers = learned()
    explorer = explorers.Net2Vec(_model(), train, validation, layers)
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

"""Each method's explorer shows the results of the method for its settings, on tiny networks."""

import ast
import threading
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.recorded_training import LabelledImages
from support.reference_dissection import LabelledTensors, random_data, small_net
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import features, hooks
from cnnvis_lab.core.optimization import Options
from cnnvis_lab.data import ResizedImages, images
from cnnvis_lab.lab import explorers, figures
from cnnvis_lab.lab.explorers import LearnedLayer
from cnnvis_lab.lab.explorers.base import Explorer, View
from cnnvis_lab.lab.explorers.dissection import BEST_CONCEPT
from cnnvis_lab.lab.explorers.perturbation import PERTURBATION_KINDS
from cnnvis_lab.lab.explorers.thumbnails import SIZE as SIDE
from cnnvis_lab.lab.explorers.thumbnails import square
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
    """Return what a panel shows after a change of settings; the worker shows the same.

    The worker runs copies only: cells use the network meanwhile.
    """
    used: list[object] = []
    network = explorer.network(explorer.settings | settings)
    handle = network.register_forward_hook(lambda *_: used.append(network))
    explorer.set(**settings)
    assert explorer.wait(30)
    handle.remove()
    assert not used
    request = Request(explorer.settings)
    request.model = isolated_copy(explorer.network(request.settings)).model
    result = explorer._draw(request)
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
        progress.append(explorer._frame.bar.value)
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
        assert_shows(shown.rows[0][2], figures.mosaic(top.patches(dataset())[0]))
        assert_shows(
            shown.rows[0][3], figures.mosaic(figures.normalize_projections(top.projections[0]))
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
    explorer.chosen.receive("a.txt", b"text")
    assert "a.txt is not an image" in explorer.message and "color1" in explorer._frame.status.value


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[training_evolution.Evolution, LabelledImages]:
    folder, net = tmp_path_factory.mktemp("recorded"), small_net()
    scenes = random_data(12, SIZE)
    dataset = LabelledImages(scenes.images, scenes.maps, scenes.labels)
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
    for image, mask, tile in zip(data.images[indices], masks, shown.rows[0][1:], strict=False):
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
    assert shown.rows[2][1].caption == f"A - B + C: {nearest}"
    indices = validation.large_examples(column, 6)
    mask = net2vec.masks(validation, "2", probes.rows([row]), indices)[0, 0]
    assert_shows(
        shown.rows[1][1],
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


@cache
def _own_generator() -> tuple:
    generator = _generator(
        "5", (7,), fully_connected=(8, 64), convs=(), ups=((4, 0), (4, 0), (3, 0))
    )
    return generator, deep_generator.encode(_model(), generator, dataset().batches(6))


# Panel -> (the panel of an own network, settings, names that its code uses).
OWN = {
    "activation maximization": lambda: (
        explorers.ActivationMaximization(_model(), dataset(), layer="2", steps=8),
        {"unit": 4},
        {},
    ),
    "deep generator": lambda: (
        explorers.DeepGenerator(_model(), *_own_generator(), steps=8),
        {"unit": 2},
        dict(zip(("generator", "codes"), _own_generator(), strict=True)),
    ),
    "deconvnet": lambda: (
        explorers.DeconvNet(_model(), dataset()),
        {"layer": "2", "unit": 1},
        {"dataset": dataset()},
    ),
    "inversion": lambda: (
        explorers.Inversion(_model(), dataset(), steps=8),
        {"layer": "2", "start": 3},
        {},
    ),
    "decoder": lambda: (
        explorers.Inversion(_model(), None, ["3"], decoders={"3": _painter()}, steps=8),
        {"method": "decoder"},
        {"decoders": {"3": _painter()}},
    ),
    "perturbation": lambda: (
        explorers.Perturbation(_model(), dataset(), ["2"], steps=8),
        {"fraction": 0.25},
        {},
    ),
    "dissection": lambda: (
        explorers.Dissection(_model(), dissected()[0], layer="2"),
        {"unit": 5, "fraction": 0.05},
        {"dataset": dissected()[0], "tables": dissected()[1]},
    ),
    "unit profile": lambda: (
        explorers.UnitProfile(_model(), dataset(), ["2"], steps=8),
        {"unit": 5},
        {"dataset": dataset()},
    ),
}  # fmt: skip


OWN_NETWORK = """from torch import nn
def net():
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 2),
    )
"""


def _as_file(image: torch.Tensor) -> bytes:
    buffer = BytesIO()
    images.to_pil(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", OWN)
def test_every_panel_takes_an_own_network_and_photograph_and_gives_its_code(
    name, tmp_path, monkeypatch
):
    explorer, settings, given = OWN[name]()
    photograph = (random_data(1, SIZE, seed=8).images[0] * 255).round() / 255
    (tmp_path / "mine.png").write_bytes(_as_file(photograph))
    monkeypatch.chdir(tmp_path)
    explorer.controls["image"].value = explorer.controls["image"].options[-1]
    explorer.chosen.receive("mine.png", _as_file(photograph))
    shown = view(explorer, **settings)
    hints = [getattr(c, "tooltip", "") or c.hint for c in explorer.controls.values()]
    assert all(len(hint) > 10 for hint in hints)
    tiles = [tile for row in shown.rows for tile in row if tile.caption.startswith("mine.png")]
    probabilities = _model()(photograph[None])[0].softmax(0)
    best = int(probabilities.argmax())
    assert f"{'abcd'[best]} {float(probabilities[best]):.0%}" in tiles[0].caption
    assert tiles[0].image.shape[-1] >= SIZE
    assert_code_computes_what_is_shown(explorer, shown, {"model": _model(), **given}, photograph)
    own = _load_own_network(explorer, tmp_path)
    # It begins at the last convolution, with the photograph that was added before.
    assert explorer.settings["layer"] == ("logits" if name == "deep generator" else "2")
    fitted = images.resize(photograph, 24)
    assert_predicts_in_panel(explorer, own, fitted)
    assert_code_computes_what_is_shown(explorer, view(explorer), given, fitted)


def assert_code_computes_what_is_shown(
    explorer: Explorer, shown: View, given: dict, photograph: torch.Tensor
) -> None:
    """One of the images is what the panel's code gives, run with what the panel was given."""
    values = dict(given)
    exec(explorer.code, values)
    result = values["result"]
    if isinstance(explorer, explorers.UnitProfile):
        result = result.maximized.image
    if isinstance(explorer, explorers.Dissection):
        result = figures.concepts.masked_image(photograph, result)
    everything = [torch.as_tensor(tile.image) for row in shown.rows for tile in row]
    same = [t for t in everything if t.shape == torch.as_tensor(result).shape]
    assert any(torch.allclose(t, torch.as_tensor(result), atol=1e-5) for t in same)


def _load_own_network(explorer: Explorer, folder: Path) -> models.Model:
    """Load a network of a file, with weights and class names, by the panel's fields; return it."""
    (folder / "own.py").write_text(OWN_NETWORK)
    (folder / "classes.txt").write_text("cat\ndog")
    torch.manual_seed(6)
    given = {"weights": "own.pth", "classes": folder / "classes.txt", "input_size": 24}
    net = models.load("own.py:net", weights="random", input_size=24).net
    torch.save(net.state_dict(), "own.pth")
    own, fields, panel = models.load("own.py:net", **given), explorer._loader.fields, explorer.panel
    fields.source.value, fields.weights.value, fields.size.value = "own.py:net", "own.pth", "24 px"
    fields.classes.value = "classes.txt"
    fields.button.click()
    assert explorer.message == "input size '24 px': expected pixels, such as 64, or 48x64"
    for size in ("25", "24"):  # the second one by the fields of the first one's panel
        fields = explorer._loader.fields
        fields.size.value = size
        fields.button.click()
        assert explorer.wait(60) and explorer.panel is panel, explorer.message
        assert explorer._loader.fields.size.value == size
    named = "" if "network" in explorer.controls else "net, 24 x 24 pixels"
    assert f"<small>{named}</small>" in panel.children[0].value
    return own


def assert_predicts_in_panel(explorer: Explorer, own: models.Model, image: torch.Tensor) -> None:
    """The panel and its code use this network."""
    tiles = [tile for row in view(explorer).rows for tile in row]
    caption = next(tile.caption for tile in tiles if tile.caption.startswith("mine.png"))
    probabilities = own(image[None])[0].softmax(0)
    best = int(probabilities.argmax())
    assert f"{('cat', 'dog')[best]} {float(probabilities[best]):.0%}" in caption
    values: dict = {}
    exec("\n".join(line for line in explorer.code.splitlines() if "models" in line), values)
    assert torch.equal(values["model"](image[None]), own(image[None]))


def test_loading_a_network_can_be_stopped_and_the_panel_stays(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    samples, reading, go_on = random_data(12, SIZE).images, threading.Event(), threading.Event()

    def read(indices: list[int]) -> torch.Tensor:
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            assert go_on.wait(30)
        return samples[indices]

    explorer = explorers.DeconvNet(_model(), ResizedImages("", SIZE, len(samples), read))
    before, loader = explorer.model, explorer._loader
    loader.fields.source.value, loader.fields.weights.value = "own.py:net", "random"
    loader.fields.button.click()
    assert reading.wait(30) and loader.fields.button.description == "Stop loading"
    thread = loader._thread
    loader.fields.button.click()
    assert loader.fields.button.description == "Load" and "was stopped" in explorer.message
    go_on.set()
    thread.join(30)
    assert explorer.model is before and "was stopped" in explorer.message
    assert view(explorer, unit=2).rows
    loader.fields.button.click()
    assert explorer.wait(60) and explorer.model is not before
    assert explorer._loader.fields.size.value == str(SIZE)  # found: that of the panel's images


def test_a_network_that_cannot_be_loaded_is_one_line_in_the_panel_which_stays():
    explorer = explorers.ActivationMaximization(_model(), dataset(), layer="2", steps=8)
    fields, before = explorer._loader.fields, explorer.model
    assert fields.row.layout.display == "none"
    fields.toggle.value = True
    assert fields.row.layout.display == "flex"
    for source, line in (
        ("", "no network is named; give a name such as resnet18, mine.py:build, or"),
        ("alexnet_mimi", "did you mean alexnet_mini"),
        ("missing.py:build", "no Python file at missing.py"),
    ):
        fields.source.value = source
        fields.button.click()
        assert line in explorer.message and "color1" in explorer._frame.status.value
    assert explorer.model is before and view(explorer, unit=2).rows
    explorer.load("alexnet_mini")
    assert explorer.wait(60) and explorer.settings["network"] == "alexnet_mini"
    assert "model = models.load('alexnet_mini')" in explorer.code
    view(explorer, network="small", layer="2", unit=2)


def test_images_are_adapted_from_the_first_dataset_and_not_from_smaller_copies():
    small, large = (models.load(small_net(), input_size=size) for size in (8, SIZE))
    for data in (dataset(), dissected()[0]):
        one, two = (explorers.adapt(data, model) for model in (small, large))
        assert one.batch([3]).shape[-1] == 8 and len(one) == len(data)
        again = explorers.adapt(one, large)
        assert torch.equal(again.batch([3]), two.batch([3]))
        assert torch.equal(two.batch([3]), data.batch([3])) and type(again) is type(two)


def test_net2vec_learns_vectors_of_an_own_network_and_segments_an_own_photograph(
    tmp_path, monkeypatch
):
    (train, validation), layers = learned()
    explorer = explorers.Net2Vec.learn(
        _model(), random_data(30, SIZE), random_data(20, SIZE, seed=5), ["0", "2"], min_images=3
    )
    photograph = validation.data.batch([7])[0]
    explorer.chosen.receive("mine.png", _as_file(photograph))
    shown = view(explorer, unit=1, filters=2)
    own, mask = explorer.chosen["mine.png"], explorer._probe("2", 0, 1, 0)[0]
    expected = net2vec.masks(validation, "2", mask, [7])[0, 0]
    assert_shows(shown.rows[0][0], figures.concepts.masked_image(own, expected))
    values = {"train": train, "validation": validation, "learned": layers}
    exec(explorer.code, values)
    single, combined = values["result"]
    assert (
        f"IoU {single:.3f} by unit 1 (best:" in shown.text and f"{combined:.3f} by 2" in shown.text
    )
    view(explorer, concept=list(explorer.rows)[1])
    assert explorer.settings["unit"] == int(layers["2"].best.unit[1])
    monkeypatch.chdir(tmp_path)
    own = _load_own_network(explorer, tmp_path)
    assert_predicts_in_panel(explorer, own, images.resize(photograph, 24))


def test_an_own_photograph_is_projected_with_the_weights_of_the_chosen_step(recorded):
    evolution, images_ = recorded
    model = models.load(small_net(9), input_size=SIZE)
    before = [tensor.clone() for tensor in model.state_dict().values()]
    explorer = explorers.TrainingEvolution(evolution, images_, layer="2", model=model)
    photograph = random_data(1, SIZE, seed=8).images[0]
    explorer.chosen.add("mine.png", photograph)
    view(explorer, step=0)
    shown = view(explorer, step=3)
    copy = models.load(small_net(9), input_size=SIZE)
    training_evolution.restore(copy, evolution.snapshots[-1])
    unit = evolution.units["2"][1]
    projection = deconvnet.project(copy, photograph[None], f"2:{unit}").pixels[0]
    assert_shows(shown.rows[-1][0], photograph)
    assert_shows(shown.rows[-1][2], figures.normalize_projections(projection)[0])
    assert all(map(torch.equal, model.state_dict().values(), before))
    for contrast in ("per image", "per layer"):
        shown, values = view(explorer, contrast=contrast), {"evolution": evolution}
        exec(explorer.code, values)
        assert_shows(shown.rows[0][1], values["result"][1])


def test_two_units_are_shown_side_by_side_and_chosen_in_the_grid():
    explorer = explorers.ActivationMaximization(_model(), layer="2", unit=1, steps=8)
    grid = explorer._grid.thumbnails
    single = view(explorer)
    other = view(explorer, unit=4)
    grid.value = 1
    assert explorer.settings["unit"] == 1
    grid.second = 4
    assert explorer.settings["second"] == 4
    both = view(explorer)
    assert [tile.caption for tile in both.rows[0]] == [
        tile.caption for tile in (*single.rows[0], *other.rows[0])
    ]
    assert_shows(both.rows[0][2], other.rows[0][0].image)
    assert both.text == f"{single.text}\n{other.text}"
    values = {"model": _model()}
    exec(explorer.code, values)
    assert_shows(both.rows[0][2], values["second"])
    explorer.set(second=-1)
    assert grid.second is None and explorer.wait(30)


def test_thumbnails_of_units_are_top_activating_images_where_they_are_known():
    explorer = explorers.DeconvNet(_model(), dataset(), ["2"])
    view(explorer)
    grid = explorer._grid.thumbnails
    top = deconvnet.top_projections(_model(), dataset(), ["2"], k=1)["2"]
    crops = square(top.patches(dataset())[:, 0], 7)
    assert grid.options == list(range(7)) and grid.note == "their top-activating images"
    assert grid.titles[3] == f"unit 3: highest activation {float(top.activations[3, 0]):.1f}"
    page = torch.from_numpy(np.array(Image.open(BytesIO(grid.sprite)))).permute(2, 0, 1) / 255
    for unit in range(len(crops)):
        row, column = divmod(unit, grid.columns)
        shown = page[:, row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        others = [float((shown - each).abs().mean()) for each in crops]
        assert others.index(min(others)) == unit and min(others) < 0.1


def test_without_known_images_thumbnails_show_the_activity_on_the_chosen_image():
    explorer = explorers.ActivationMaximization(_model(), dataset(), layer="2", steps=8)
    view(explorer, image="image 3")
    grid = explorer._grid.thumbnails
    maps = hooks.activations(_model(), dataset().batch([3]), ["2"])["2"][0]
    assert grid.note == "activity on image 3"
    assert grid.titles == [f"unit {n}: activation {float(m.max()):.1f}" for n, m in enumerate(maps)]
    before = grid.sprite
    view(explorer, image="image 4")
    assert grid.sprite != before
    view(explorer, layer="logits")
    assert grid.options == [0, 1, 2, 3] and grid.drawn == 4
    assert grid.titles[3].startswith("unit 3 (d): activation ")  # the class that it scores

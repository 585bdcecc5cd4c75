"""An atlas of a network with planted units: what it says, how it resumes, and its page."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import browser, planted_units
from support.tensor_images import TensorImages

from cnnvis_lab.core import FileError, InputError, LabError, NameNotFound, files
from cnnvis_lab.data import images
from cnnvis_lab.lab import explorers, gallery, premises
from cnnvis_lab.lab.executors import open_executor
from cnnvis_lab.lab.explorers.thumbnails import SIZE
from cnnvis_lab.lab.gallery.atlas import chunks, compare, plan, read
from cnnvis_lab.lab.gallery.atlas.source import SharedSource, draw_chunk
from cnnvis_lab.lab.shared_scenes import SharedScenes
from cnnvis_lab.methods import unit_profile
from cnnvis_lab.models import Model

pytestmark = pytest.mark.usefixtures("one_thread")
MARKUP = "<img src=x onerror=alert(1)>\"'"
CLASSES = ("</script><script>alert(2)</script>", "dog")
LAYERS = ("1", "logits")


def _network() -> Model:
    model = planted_units.network()
    model.card = replace(model.card, classes=CLASSES)
    return model


def _subject(**changes: object) -> gallery.atlas.Subject:
    """Return the planted network on the planted images, whose dog has a hostile name."""
    data = planted_units.dataset()
    dog = planted_units.DOG
    data.labels = data.labels | {dog: data.labels[dog]._replace(name=MARKUP)}
    subject = gallery.atlas.Subject(_network(), data, "planted", LAYERS, steps=2)
    return replace(subject, **changes)


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """One unit a chunk, so that there are several."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "CHUNK", 1)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """The atlas."""
    folder = tmp_path_factory.mktemp("atlas")
    gallery.atlas.write_atlas(_subject(), folder)
    return folder


def _units(out: Path, layer: str = "1") -> dict[int, dict]:
    records = [json.loads(file.read_text()) for file in (out / "units").glob(f"{layer}-*.json")]
    return {unit["unit"]: unit for record in records for unit in record["units"]}


def _contents(out: Path) -> dict[str, bytes]:
    files = [file for file in out.rglob("*") if file.is_file()]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def test_planted_units_have_their_concepts_images_and_effects(out):
    units, data = _units(out), planted_units.dataset()
    for unit, (name, channel) in enumerate([(MARKUP, 0), ("blue", 2)]):
        assert units[unit]["concepts"][0][0] == name and units[unit]["concepts"][0][2] == 1
        assert units[unit]["detector"] and units[unit]["active"] == pytest.approx(0.3)
        assert len(units[unit]["top"]) == unit_profile.TOP_COUNT
        for index, activation, y0, x0, y1, x1 in units[unit]["top"]:
            image = data.batch([index])[0, channel]
            assert activation == pytest.approx(float(image.max()), rel=1e-3)
            assert float(image[y0:y1, x0:x1].max()) == float(image.max())
        assert {name for name, _ in units[unit]["effects"]} <= set(CLASSES)
    assert not units[2]["detector"] and units[2]["active"] == 0 and not units[2]["effects"]
    assert not units[0]["near"]  # no image shows both concepts
    logits = _units(out, "logits")
    assert [logits[unit]["class"] for unit in (0, 1)] == [*CLASSES]


def test_a_crop_lies_in_the_image_file_that_the_page_names(out):
    summary = json.loads((out / "atlas.json").read_text())
    index, _, y0, x0, y1, x1 = _units(out)[0]["top"][0]
    with Image.open(out / f"images/{index}-{summary['imageKey']}.webp") as image:
        assert list(image.size) == summary["imageSize"]
        red, _, blue = image.convert("RGB").getpixel(((x0 + x1) // 2, (y0 + y1) // 2))
    assert red > 100 > blue


def test_an_outline_follows_the_border_of_a_mask():
    size = chunks.OUTLINE_SIZE // 3
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[0, 6:12, 3:18] = True
    (outline,) = chunks._outlines(mask)
    whole = mask[0].repeat_interleave(3, 0).repeat_interleave(3, 1)
    inside, drawn = outline[0] > 0.5, outline[3] > 0
    rows, columns = inside.nonzero().unbind(1)
    assert (whole | ~inside).all()
    assert (whole & drawn & ~inside).sum() == 4  # corners are rounded
    assert (rows.min(), rows.max()) == (18, 35) and (columns.min(), columns.max()) == (9, 53)
    assert not outline[:, 20:34, 11:52].any()
    assert not chunks._outlines(torch.ones(1, 9, 7, dtype=torch.bool)).any()


def test_units_of_a_layer_are_read_for_the_network_that_was_drawn(out, tmp_path):
    units = gallery.atlas.read_units(out, _network(), "1")
    assert [unit[0] for unit in units] == [0, 1, 2]
    assert [unit.concept for unit in units] == [MARKUP, "blue", ""]
    assert [unit.detector for unit in units] == [True, True, False]
    (sprite,) = (out / "units").glob("1-00001-*-optimized.webp")
    expected = images.load(sprite)
    assert units[1].image.shape == expected.shape and torch.equal(units[1].image, expected)
    assert len(gallery.atlas.read_units(out, _network(), "6")) == 2  # another name of the scores
    with pytest.raises(InputError, match="no layer 0 in this atlas; it has 1, logits"):
        gallery.atlas.read_units(out, _network(), "0")
    weights = _network()
    weights.net[6].bias.data += 1
    with pytest.raises(InputError, match="with other weights"):
        gallery.atlas.read_units(out, weights, "1")
    with pytest.raises(FileError, match="no atlas in"):
        gallery.atlas.read_units(tmp_path, _network(), "1")


@pytest.mark.parametrize("odd", [[], [{}], ["text"], 3, None, [{"unit": 0}]])
def test_records_with_a_valid_digest_may_be_odd(odd, out, tmp_path):
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    for file in (tmp_path / "units").glob("*.json"):
        record = json.loads(file.read_text()) | {"units": odd}
        del record["sha256"]
        file.write_text(plan.record_text(record))
    with pytest.raises(FileError, match="has odd records; remove the folder"):
        gallery.atlas.write_atlas(_subject(), tmp_path)


def test_the_size_of_a_sprite_is_not_believed(out, tmp_path):
    for changed in ({"sprites": [["", 1, 1, 9, 9]] * 3}, {"first": [0, 0, 10**9]}):
        shutil.copytree(out, tmp_path, dirs_exist_ok=True)
        summary = json.loads((out / "atlas.json").read_text())
        (layer,) = (one for one in summary["layers"] if one["name"] == "1")
        file = layer["sprites"][0][0]
        layer |= changed
        for sprite in layer["sprites"]:
            sprite[0] = file
        (tmp_path / "atlas.json").write_text(json.dumps(summary))
        with pytest.raises(FileError, match="make the atlas again"):
            gallery.atlas.read_units(tmp_path, _network(), "1")


def test_panels_offer_the_images_of_an_atlas_to_choose_units_by(out, tmp_path, monkeypatch):
    folder = tmp_path / "reports/atlas" / _network().card.name
    shutil.copytree(out, folder)
    colors = {"1-00000": (255, 0, 0), "1-00001": (0, 0, 255)}
    for name, color in colors.items():  # so that the images differ clearly
        (sprite,) = (folder / "units").glob(f"{name}-*-optimized.webp")
        with Image.open(sprite) as drawn:
            size = drawn.size
        Image.new("RGB", size, color).save(sprite)
    (tmp_path / "notebooks").mkdir()
    for below, atlas in (("", ""), ("notebooks", ""), ("..", folder)):  # found, or given
        monkeypatch.chdir(tmp_path / below)
        panel = explorers.ActivationMaximization(_network(), layer="1", steps=2, atlas=atlas)
        panel.request()
        assert panel.wait(60) and panel._grid.thumbnails.note == "from the atlas"
        grid = panel._grid.thumbnails
        assert grid.titles == [f"unit 0: {MARKUP} 1.00", "unit 1: blue 1.00", "unit 2"]
        page = images.from_pil(Image.open(BytesIO(grid.sprite)))
        for unit, color in enumerate(colors.values()):
            shown = page[:, 4 : SIZE - 4, unit * SIZE + 4 : (unit + 1) * SIZE - 4]
            expected = torch.tensor(color).view(3, 1, 1) / 255
            assert (shown - expected).abs().max() < 0.1
        panel.set(layer="logits")
        assert panel.wait(60) and grid.drawn == 2 and grid.note == "from the atlas"
    other = _network()
    other.net[6].bias.data += 1
    panel = explorers.ActivationMaximization(other, layer="1", steps=2, atlas=folder)
    panel.request()
    assert panel.wait(60) and "with other weights" in panel._grid.thumbnails.note
    assert panel._grid.thumbnails.drawn == 3 and panel.image


def test_an_interrupted_atlas_resumes_with_the_same_bytes(out, tmp_path, monkeypatch):
    drawn, draw = [], chunks.draw

    def interrupted(*args: object) -> dict[str, bytes]:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(args[1].stem)
        return draw(*args)

    scanned = []
    with monkeypatch.context() as patched:
        patched.setattr(chunks, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gallery.atlas.write_atlas(
                _subject(), tmp_path, on_scan=lambda *done: scanned.append(done)
            )
    assert scanned[-1][0] == scanned[-1][1] and scanned == sorted(scanned)
    assert not (tmp_path / "index.html").exists()
    rest, progress = [], []
    scanned.clear()
    monkeypatch.setattr(chunks, "draw", lambda *args: rest.append(args[1].stem) or draw(*args))
    gallery.atlas.write_atlas(
        _subject(),
        tmp_path,
        on_scan=lambda *done: scanned.append(done),
        on_progress=lambda *done: progress.append(done),
    )
    assert len(drawn) == 2 and len(rest) == 3 and not set(drawn) & set(rest)
    assert progress[-1] == (1000, 1000) and progress == sorted(progress)
    assert not scanned  # what the scan found is stored
    assert _contents(tmp_path) == _contents(out)


def test_what_changed_or_is_damaged_is_drawn_again_and_nothing_else(out, tmp_path, monkeypatch):
    for name, content in _contents(out).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    mine = tmp_path / "images" / "holiday.webp"
    mine.write_bytes(b"mine")
    unfinished = tmp_path / "units" / f"{files.PARTIAL}x.webp"
    unfinished.write_bytes(b"half")
    drawn, draw, analyzed = [], chunks.draw, []
    analyze = unit_profile.analyze_layers
    monkeypatch.setattr(chunks, "draw", lambda *args: drawn.append(args[1][:2]) or draw(*args))
    monkeypatch.setattr(
        unit_profile,
        "analyze_layers",
        lambda model, layers, *args, **options: (
            analyzed.append(list(layers)) or analyze(model, layers, *args, **options)
        ),
    )

    def again(**changes: object) -> tuple[list, list]:
        drawn.clear()
        analyzed.clear()
        gallery.atlas.write_atlas(_subject(**changes), tmp_path)
        return [*drawn], [*analyzed]

    assert again() == ([], []) and not unfinished.exists()
    (sprite,) = (tmp_path / "units").glob("1-00001-*-optimized.webp")
    sprite.write_bytes(sprite.read_bytes()[:-1])
    assert again() == ([("1", 1)], [])
    next((tmp_path / "images").glob("*-*.webp")).unlink()
    assert len(again()[0]) >= 1
    (unit,), (scan,) = (tmp_path.glob(f"{name}-*.json") for name in ("units/1-00001", "scans/1"))
    for damaged in ("[]", "[" * 10**5, unit.read_text().replace('"active":0.3', '"active":0.4')):
        unit.write_text(damaged)
        assert again() == ([("1", 1)], [])
    scan.write_text(scan.read_text().replace("[0.3", "[0.4"))
    unit.unlink()
    assert again() == ([("1", 1)], [["1"]])
    everything = [("1", 0), ("1", 1), ("1", 2), ("logits", 0), ("logits", 1)]
    assert again(steps=3) == (everything, [])
    assert again(steps=3, layers=("1", "0", "logits"))[1] == [["0"]]
    assert again(steps=3, layers=LAYERS, unit_limit=2) == ([], [])
    assert not list((tmp_path / "units").glob("0-*")) and len(_units(tmp_path)) == 2
    weights = _network()
    weights.net[6].bias.data += 1
    assert len(again(steps=3, model=weights)[0]) == 5
    assert again(steps=3, model=weights, data_key="others")[1] == [["1", "logits"]]
    assert mine.read_bytes() == b"mine"
    again()
    mine.unlink()
    assert _contents(tmp_path) == _contents(out)


@pytest.mark.parametrize(
    ("workers", "cluster"),
    [
        (1, ""),
        pytest.param(2, "", marks=pytest.mark.slow),
        pytest.param(2, "local", marks=pytest.mark.slow),
    ],
)
def test_tasks_give_the_bytes_of_the_plain_run(workers, cluster, tmp_path, monkeypatch):
    if cluster:
        pytest.importorskip("distributed", reason="Dask is not installed")
    source = gallery.atlas.Source(
        "alexnet_mini", images=4, layers=("CL1",), unit_limit=3, steps=1, threads=1
    )
    monkeypatch.setattr(files, "_inputs", {})  # as in a process of its own
    subject = gallery.atlas.open_subject(source)
    gallery.atlas.write_atlas(subject, tmp_path / "plain")
    with open_executor(workers, cluster) as executor:
        spread = gallery.atlas.spread_on(executor, source, SharedScenes())
        gallery.atlas.write_atlas(subject, tmp_path / "tasks", spread=spread)
    assert _contents(tmp_path / "tasks") == _contents(tmp_path / "plain")


def test_a_worker_that_opens_other_weights_is_named(out, tmp_path):
    source = gallery.atlas.Source("alexnet_mini", images=4, layers=("CL1",), threads=1)
    (chunk,) = gallery.atlas.make_plan(_subject(layers=("1",), unit_limit=1), out).chunks
    needed = premises.Premises("", premises.code_digest(""), ())
    with pytest.raises(LabError, match=r"^worker .*: alexnet_mini differs there"):
        draw_chunk(SharedSource(source, needed, SharedScenes()), chunk, {})
    with pytest.raises(LabError, match=r"^worker .*no network named"):
        draw_chunk(
            SharedSource(source._replace(model="alexnet_mni"), needed, SharedScenes()), chunk, {}
        )


def test_images_without_labels_give_pages_without_concepts(tmp_path):
    unlabelled = TensorImages(planted_units.dataset().images)
    gallery.atlas.write_atlas(_subject(data=unlabelled, unit_limit=1, layers=("1",)), tmp_path)
    (unit,) = _units(tmp_path).values()
    assert unit["concepts"] == [] and not unit["detector"]
    assert unit_profile.layer.NO_LABELS in next((tmp_path / "data").glob("1-*.js")).read_text()
    assert json.loads((tmp_path / "atlas.json").read_text())["labelled"] is False


def test_mistakes_are_refused_before_anything_is_written(out, tmp_path):
    with pytest.raises(NameNotFound, match="no layer named '9'"):
        gallery.atlas.write_atlas(_subject(layers=("9",)), tmp_path)
    with pytest.raises(NameNotFound, match="did you mean deconvnet"):
        gallery.atlas.write_atlas(_subject(rule="deconvne"), tmp_path)
    other = _network()
    other.card = replace(other.card, name="another")
    before = _contents(out)
    with pytest.raises(InputError, match="not of another; give another --out"):
        gallery.atlas.write_atlas(_subject(model=other), out)
    assert not list(tmp_path.iterdir()) and _contents(out) == before


def test_two_atlases_are_matched_by_concept_and_their_links_lead_to_the_units(out, tmp_path):
    other = _network()
    other.card = replace(other.card, name="reversed")
    other.net[0].weight.data = other.net[0].weight.data[[1, 0, 2]]
    gallery.atlas.write_atlas(_subject(model=other), tmp_path / "other & more")
    file = tmp_path / "compared.html"
    gallery.atlas.write_comparison(out, tmp_path / "other & more", file)
    text = file.read_text()
    assert "<img src=x" not in text and "&lt;img src=x" in text
    assert "other%20%26%20more/index.html#1:1" in text
    found = [
        compare._by_concept(read.read_summary(one), "") for one in (out, tmp_path / "other & more")
    ]
    names = [[unit.name for unit in one[MARKUP, "object"]] for one in found]
    assert names == [["1:0"], ["1:1"]]
    with pytest.raises(FileError, match="no atlas in"):
        gallery.atlas.write_comparison(out, tmp_path, file)


@pytest.fixture(scope="module")
def page(out):
    """The page in Chromium, and what went wrong in it: errors, dialogs, and requests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not browser.chromium():
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser.chromium(), args=browser.FLAGS)
        watched = opened.new_page()
        wrong = []
        watched.on("pageerror", lambda error: wrong.append(str(error)))
        watched.on("console", lambda message: wrong.append(message.text))
        watched.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        watched.on("requestfailed", lambda request: wrong.append(request.url))
        watched.on(
            "request",
            lambda request: None if request.url.startswith("file:") else wrong.append(request.url),
        )
        watched.goto((out / "index.html").as_uri())
        yield watched
        assert wrong == []
        opened.close()


def _shown(page: object) -> list[str]:
    return page.locator(".sheet b").all_text_contents()


def test_units_are_found_sorted_and_opened_by_links(page):
    everything = ["1:0", "1:1", "1:2", "logits:0", "logits:1"]
    search = page.get_by_label("concept, class or unit")
    assert _shown(page) == everything
    search.fill("BLUE")
    assert _shown(page) == ["1:1"] and page.locator("#shown").inner_text() == "1 of 5 units"
    search.fill(MARKUP.lower())
    assert _shown(page) == ["1:0"] and page.locator(".sheet img").count() == 0
    search.fill("")
    page.get_by_label("order").select_option("active on fewest images")
    assert _shown(page)[0] == "1:2"
    page.get_by_label("order").select_option("network")
    page.get_by_label("layer").select_option("logits")
    assert _shown(page) == ["logits:0", "logits:1"]
    page.get_by_label("layer").select_option("")
    page.get_by_label("detectors only").check()
    assert _shown(page) == ["1:0", "1:1"]
    page.get_by_label("detectors only").uncheck()

    page.locator(".sheet a").nth(1).hover()
    page.get_by_role("heading", name="1:1").wait_for()
    page.locator(".sheet a").first.press("Enter")
    page.wait_for_function("document.activeElement.innerText === '1:0'")  # the heading
    assert page.url.endswith("#1:0") and MARKUP in page.locator("#chosen").inner_text()
    assert page.get_by_role("img", name="activation").count() == unit_profile.TOP_COUNT
    assert page.locator("#chosen .tile .tile").count() == unit_profile.TOP_COUNT  # outlines
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.querySelector('b')?.textContent === '1:0'")
    page.get_by_role("button", name="compare with another").click()
    page.locator(".sheet a").nth(3).click()
    page.locator("#second h2").wait_for()
    assert page.url.endswith("#1:0&logits:0")
    assert CLASSES[0] in page.locator("#second h2").inner_text()
    page.goto(f"{page.url.split('#')[0]}#1:2")
    page.get_by_role("heading", name="1:2").wait_for()
    page.locator("#chosen").get_by_text("No image activates it.").wait_for()
    assert page.locator("#second").is_hidden()
    page.goto(f"{page.url.split('#')[0]}#1:9")
    page.get_by_text("There is no unit 1:9 here; 1 has 0 to 2.").wait_for()

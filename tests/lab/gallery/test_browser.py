"""The gallery's search and its large figures, in a real browser."""

import json
from collections.abc import Iterator

import pytest
from support import browser, tiny_notebooks

from cnnvis_lab.lab import gallery, notebooks, records

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not browser.chromium(), reason="no Chromium is installed")
FIGURES = {"01_first": "F10", "02_second": "F2", "03_third": "AM-x"}


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """The gallery of three figures; one figure has a caption of its own."""
    folder = tmp_path_factory.mktemp("gallery")
    with tiny_notebooks.known_notebooks(folder, FIGURES):
        for name in FIGURES:
            tiny_notebooks.render_without_kernel(folder / "out", name)
        record = records.read_record(folder / "out", "03_third")
        record["figures"]["AM-x"]["caption"] = "A green wheel"
        records.record_path(folder / "out", "03_third").write_text(json.dumps(record))
        gallery.build(folder / "out", notebooks.read_all())
    return (folder / "out" / "index.html").as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser.chromium(), args=browser.FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(address, chromium):
    """The gallery, opened in Chromium."""
    watched = chromium.new_page()
    wrong = []
    watched.on("pageerror", lambda error: wrong.append(str(error)))
    watched.goto(address)
    yield watched
    assert wrong == []
    watched.close()


def _shown(page: object) -> list[str]:
    thumbs = page.locator(".sheet li:visible").all()
    return [thumb.get_attribute("data-figure") for thumb in thumbs]


def test_figures_and_claims_are_found_by_words_notebook_kind_and_verdict(page):
    for text, found, claims in [
        ("", ["F10", "F2", "AM-x"], 6),
        ("f2", ["F2"], 2),
        ("green wheel", ["AM-x"], 0),
        ("wheel green", ["AM-x"], 0),
        ("f10.2", ["F10"], 1),
        ("images are white", ["F10", "F2", "AM-x"], 3),
        ("nowhere", [], 0),
    ]:
        page.get_by_role("searchbox").fill(text)
        assert _shown(page) == found
        counted = f"{len(found)} of 3 figures, {claims} of 6 claims"
        assert page.locator("#shown").inner_text() == counted
    page.get_by_role("searchbox").fill("")
    for label, choice, found in [
        ("notebook", "02_second", ["F2"]),
        ("figures", "further", ["AM-x"]),
        ("claims", "not measured", []),
        ("claims", "does not hold", ["F10", "F2", "AM-x"]),
    ]:
        page.get_by_label(label, exact=True).select_option(choice)
        assert _shown(page) == found
        if choice != "does not hold":
            page.get_by_label(label, exact=True).select_option("")
    claims = page.locator(".notebook .claim:visible")
    assert claims.count() == 3 and "are white" in claims.first.inner_text()
    assert page.locator("nav li a:visible").count() == 3


def _open(page: object) -> list[str]:
    return [one.get_attribute("id") for one in page.locator(".figure:visible").all()]


def test_a_figure_opens_large_and_keys_lead_on_among_those_found(page):
    page.get_by_role("searchbox").fill("F")
    page.locator('.sheet a[href="#F10"]').click()
    assert _open(page) == ["F10"] and page.url.endswith("#F10") and not _shown(page)
    steps = [
        ("ArrowRight", "F2"),
        ("ArrowRight", "AM-x"),
        ("ArrowRight", "F10"),
        ("ArrowLeft", "AM-x"),
    ]
    for key, id in steps:
        page.keyboard.press(key)
        assert _open(page) == [id]
    page.keyboard.press("Escape")
    assert _open(page) == [] and _shown(page) == ["F10", "F2", "AM-x"]
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#AM-x"
    page.get_by_label("figures", exact=True).select_option("survey")
    page.locator('.sheet a[href="#F2"]').click()
    page.keyboard.press("ArrowRight")
    assert _open(page) == ["F10"]  # the further one is not found


def test_figures_open_and_claims_are_read_without_scripts_and_on_a_phone(page):
    context = page.context.browser.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 800}
    )
    plain = context.new_page()
    plain.goto(page.url)
    assert _shown(plain) == ["F10", "F2", "AM-x"] and not plain.locator("form").is_visible()
    plain.locator('.sheet a[href="#F2"]').click()
    assert _open(plain) == ["F2"]
    for claim in plain.locator(".figure:visible .claim").all():
        box = claim.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    plain.get_by_role("link", name="All figures").click()
    assert _open(plain) == [] and _shown(plain) == ["F10", "F2", "AM-x"]

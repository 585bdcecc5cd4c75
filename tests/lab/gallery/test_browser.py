"""The gallery's search, in a real browser."""

import json

import pytest
from support import browser, tiny_notebooks

from cnnvis_lab.lab import gallery, notebooks, records

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not browser.chromium(), reason="no Chromium is installed")
FIGURES = {"01_first": "F10", "02_second": "F2", "03_third": "AM-x"}


@pytest.fixture
def page(tmp_path):
    """The gallery of three figures, opened in Chromium; one figure has a caption of its own."""
    with tiny_notebooks.known_notebooks(tmp_path, FIGURES):
        for name in FIGURES:
            tiny_notebooks.render_without_kernel(tmp_path / "out", name)
        record = records.read_record(tmp_path / "out", "03_third")
        record["figures"]["AM-x"]["caption"] = "A green wheel"
        records.record_path(tmp_path / "out", "03_third").write_text(json.dumps(record))
        gallery.build(tmp_path / "out", notebooks.read_all())
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser.chromium(), args=browser.FLAGS)
        watched = opened.new_page()
        wrong = []
        watched.on("pageerror", lambda error: wrong.append(str(error)))
        watched.goto((tmp_path / "out" / "index.html").as_uri())
        yield watched
        assert wrong == []
        opened.close()


def _shown(page: object) -> list[str]:
    return [section.get_attribute("id") for section in page.locator("main section:visible").all()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["F2", "F10", "AM-x"]),
        ("f2", ["F2"]),
        ("green wheel", ["AM-x"]),
        ("wheel green", ["AM-x"]),
        ("f10.2", ["F10"]),
        ("images are white", ["F2", "F10", "AM-x"]),
        ("nowhere", []),
    ],
)
def test_figures_are_found_by_their_id_texts_and_claims(page, text, found):
    page.get_by_role("searchbox").fill(text)
    assert _shown(page) == found
    assert page.locator("#shown").inner_text() == f"{len(found)} of 3 figures"


def test_a_link_to_a_figure_ends_the_search(page):
    page.get_by_role("searchbox").fill("wheel")
    page.get_by_role("link", name="F10", exact=True).click()
    assert _shown(page) == ["F2", "F10", "AM-x"]

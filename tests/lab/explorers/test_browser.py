"""The explorer of every notebook, in a real JupyterLab and a headless Chromium."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from PIL import Image
from support.browser import FLAGS, Lab, Panel, Watched, chromium, served, write_small

from cnnvis_lab.lab import notebooks

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not chromium(), reason="no Chromium here; name one in CNNVIS_CHROMIUM"),
]
KNOWN = notebooks.read_all()
# The change to each notebook's explorer: (control, key of a slider or value).
MOVES = {
    "00_start_here": ("unit", "5"),
    "01_activation_maximization": ("unit", "5"),
    "02_deep_generator": ("unit", "3"),
    "03_deconvnet": ("rule", "linear"),
    "04_training_evolution": ("step", "ArrowLeft"),
    "05_inversion": ("image", "image 3"),
    "06_perturbation": ("change", "keep signs only"),
    "07_dissection": ("fraction of activations above", "ArrowRight"),
    "08_net2vec": ("filters", "ArrowLeft"),
}
STOPPED = {"01_activation_maximization", "02_deep_generator", "05_inversion"}
PANEL = """from cnnvis_lab import models
from cnnvis_lab.lab import explorers

explorer = explorers.ActivationMaximization(models.load("alexnet_mini"), layer="CL2", steps=16)
explorer.show()"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    with served(folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """One window, so that only the first page fetches JupyterLab itself."""
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened.new_context(viewport={"width": 1280, "height": 1100})
        opened.close()


@pytest.fixture
def watched(lab, browser) -> Iterator[Watched]:
    page = browser.new_page()
    yield Watched(page)
    page.close()
    lab.end_kernels()


def _screenshot(panel: Panel, name: str, folder: Path) -> None:
    """Save an image of the panel, also in CNNVIS_SCREENSHOTS if that is set."""
    file = folder / f"{name}.png"
    panel.box.screenshot(path=file)
    assert file.stat().st_size > 5000
    if destination := os.environ.get("CNNVIS_SCREENSHOTS"):
        shutil.copy(file, Path(destination) / file.name)


def test_every_notebook_has_one_explorer_that_is_tested_here():
    assert set(MOVES) == set(KNOWN)
    for known in KNOWN.values():
        cells = nbformat.read(known.path, as_version=4).cells
        assert sum("interactive" in cell.metadata.get("tags", ()) for cell in cells) == 1


# All panels share their frame and their choice of units and images: three represent them.
RARELY = ("02", "03", "04", "05", "06", "08")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n[:2] in RARELY)) for n in KNOWN],
)
def test_a_notebook_runs_and_its_explorer_responds(name, lab, watched, tmp_path):
    write_small(KNOWN[name], lab.folder)
    watched.open(lab.page(name))
    watched.run_all()
    _assert_no_solution_is_seen(watched.page, lab.folder / f"{name}.ipynb")
    panel = Panel(watched)
    panel.move(*MOVES[name])
    _screenshot(panel, name, tmp_path)
    if name in STOPPED:
        _stop(panel)
    assert not watched.wrong


def _assert_no_solution_is_seen(page: object, notebook: Path) -> None:
    cells = nbformat.read(notebook, as_version=4).cells
    solutions = [i for i, cell in enumerate(cells) if "solution" in cell.metadata.get("tags", ())]
    assert solutions
    for index in solutions:
        shown = page.locator(".jp-Notebook .jp-Cell").nth(index)
        assert shown.inner_text().strip() == "# A solution: click to read it."
        assert not shown.locator(".jp-OutputArea-output").count()


def _stop(panel: Panel) -> None:
    """Request the longest ascent and stop it."""
    panel.press("steps", "End")
    assert panel.watched.until(panel.stop.is_enabled)
    panel.stop.click()
    panel.ready()
    assert panel.message().endswith("(stopped early)")


@pytest.mark.parametrize("subshells", ["perCommTarget", "disabled"])
def test_a_panel_works_with_and_without_kernel_subshells(subshells, lab, watched, tmp_path):
    lab.choose("apputils-extension/kernels-settings", {"commsOverSubshells": subshells})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = v4.new_notebook(cells=[v4.new_code_cell(PANEL)], metadata=kernel)
    nbformat.write(content, lab.folder / "panel.ipynb")
    watched.open(lab.page("panel"))
    watched.run_all()
    panel = Panel(watched)
    for unit in ("3", "4"):
        panel.move("unit", unit)
        assert panel.message().startswith(f"activation of CL2:{unit}:")
    panel.thumbnails("units").press("ArrowRight")
    assert watched.until(lambda: panel.message().startswith("activation of CL2:5:"))
    _take_own_photograph(panel, tmp_path / "mine.png")
    with watched.page.expect_download() as download:
        panel.box.get_by_role("button", name="Save PNG").click()
    texts = Image.open(download.value.path()).text
    assert json.loads(texts["settings"])["image"] == "mine.png"
    panel.box.get_by_role("button", name="Copy as code").click()
    assert watched.until(lambda: panel.box.locator("pre").count())
    assert '["CL2:5"]' in panel.box.locator("pre").inner_text()
    _stop(panel)
    assert not watched.wrong


def _take_own_photograph(panel: Panel, file: Path) -> None:
    Image.new("RGB", (90, 60), "orange").save(file)
    panel.box.locator("input[type=file]").set_input_files(file)
    shown = panel.board.locator("figcaption", has_text="mine.png activation")
    assert panel.watched.until(shown.count)
    panel.ready()

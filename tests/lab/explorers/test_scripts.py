"""The panels' scripts in a page of Chromium, without a kernel."""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from support.browser import FLAGS, chromium

from cnnvis_lab.lab import explorers

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not chromium(), reason="no Chromium here; name one in CNNVIS_CHROMIUM"),
]
STATIC = Path(explorers.__file__).parent / "static"
# A model as ipywidgets gives it to a script; changes from Python are made by `change`.
START = """async ([source, style, state]) => {
    const sheet = document.head.appendChild(document.createElement("style"));
    sheet.textContent = style;
    const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    const module = await import(url), handlers = {};
    window.state = state;
    window.sent = [];
    window.change = (name, value) => {
        state[name] = value;
        handlers[`change:${name}`]?.();
    };
    window.message = (content, buffers) => handlers["msg:custom"](content, buffers);
    const model = {
        get: name => state[name],
        set: (name, value) => change(name, value),
        save_changes: () => {},
        on: (name, handler) => { handlers[name] = handler; },
        off: () => {},
        send: (content, _, buffers) => sent.push([content, buffers[0].byteLength]),
    };
    module.default.render({model, el: document.body.appendChild(document.createElement("div"))});
}"""
UNITS = {
    "label": "unit", "note": "", "options": list(range(40)), "titles": [], "value": 0,
    "second": None, "pairs": True, "files": True, "sprite": None, "columns": 1, "drawn": 0,
    "rows": 2, "size": 46, "disabled": False, "hint": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened
        opened.close()


def _start(browser: object, script: str, state: dict) -> object:
    page = browser.new_page(viewport={"width": 680, "height": 500}, accept_downloads=True)
    page.set_default_timeout(20_000)
    page.set_content("<body style='margin: 0'></body>")
    style = (STATIC / "panel.css").read_text()
    page.evaluate(START, [(STATIC / script).read_text(), style, state])
    return page


def test_a_unit_is_chosen_by_click_and_keys_and_a_second_one_with_shift(browser):
    page = _start(browser, "thumbnails.js", dict(UNITS))
    options, chosen = page.locator("[role=option]"), lambda: page.evaluate("state.value")
    across = 680 // 52
    assert options.count() == 2 * across
    options.nth(5).click()
    assert chosen() == 5 and options.nth(5).get_attribute("aria-selected") == "true"
    grid = page.locator("[role=listbox]")
    for key, expected in (
        ("ArrowRight", 6), ("ArrowLeft", 5), ("ArrowDown", 5 + across), ("ArrowUp", 5),
        ("PageDown", 5 + 2 * across), ("End", 39), ("ArrowRight", 39), ("Home", 0),
    ):  # fmt: skip
        grid.press(key)
        assert chosen() == expected, key
        described = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
        assert described.get_attribute("aria-label") == str(expected)
    page.get_by_role("button", name="next", exact=True).click()
    assert chosen() == 1
    options.nth(3).click(modifiers=["Shift"])
    grid.press("Shift+ArrowRight")
    assert page.evaluate("state.second") == 4 and chosen() == 1
    options.nth(4).click(modifiers=["Shift"])
    assert page.evaluate("state.second") is None
    page.evaluate("change('disabled', true)")
    options.nth(2).click()
    assert chosen() == 1


def test_files_are_dropped_or_chosen(browser, tmp_path):
    page = _start(browser, "thumbnails.js", dict(UNITS))
    data = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["four"], "a.png"));
            return data;
        }"""
    )
    page.dispatch_event("[role=listbox]", "drop", {"dataTransfer": data})
    file = tmp_path / "b.png"
    file.write_bytes(b"bytes")
    page.locator("input[type=file]").set_input_files(file)
    page.wait_for_function("sent.length == 2")
    assert page.evaluate("sent") == [[{"file": "a.png"}, 4], [{"file": "b.png"}, 5]]


def test_an_image_is_enlarged_saved_and_its_code_copied(browser):
    buffer = BytesIO()
    Image.new("RGB", (20, 10), "red").save(buffer, "PNG")
    png = base64.b64encode(buffer.getvalue()).decode()
    figure = '<figure><img tabindex="0" alt="{0}" src="data:image/png;base64,' + png
    figure += '"><figcaption>{0}</figcaption></figure>'
    html = "".join(map(figure.format, "ab")) + "<details><summary>more</summary></details>"
    page = _start(browser, "board.js", {"html": html, "label": "two images", "tips": {"a": "Hint"}})
    assert page.get_by_role("figure", name="two images").count() == 1
    page.locator("img").first.click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("img").bounding_box()["width"] == 20 * int(min(680 * 0.8 / 20, 37.5))
    dialog.press("ArrowRight")
    assert dialog.locator("figcaption").inner_text() == "b"
    page.keyboard.press("Escape")
    page.locator("img").nth(1).press("Enter")
    assert dialog.locator("figcaption").inner_text() == "b"
    page.keyboard.press("Escape")
    page.locator("summary").click()
    first = page.locator("figure").first.element_handle()
    for changed, is_kept in (
        (html.replace("a<", "new<"), True),
        (html + figure.format("c"), False),
    ):
        page.evaluate("html => change('html', html)", changed)
        assert page.locator("details").get_attribute("open") is not None
        assert page.locator("figcaption").first.inner_text() == ("new" if is_kept else "a")
        assert first.evaluate("one => one.isConnected") == is_kept
    control = '<p class="widget-inline-hbox"><label>a</label><input></p>'
    added = f"<div class=cnnvis-explorer>{control}</div>"
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", added)
    page.evaluate(
        "document.querySelector('.cnnvis-explorer').append(document.querySelector('.cnnvis-board'))"
    )
    page.locator("input").hover()
    assert page.locator("p").get_attribute("title") == "Hint"
    with page.expect_download() as download:
        page.evaluate("message({save: 'a.png'}, [new Uint8Array([1, 2, 3])])")
    assert download.value.suggested_filename == "a.png"
    assert Path(download.value.path()).read_bytes() == b"\x01\x02\x03"

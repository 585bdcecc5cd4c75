"""A JupyterLab on loopback and its pages in a headless Chromium, for the browser tests."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import nbformat
from nbformat import v4

from cnnvis_lab.core.files import write_atomically
from cnnvis_lab.lab import notebooks

TIMEOUT = float(os.environ.get("CNNVIS_PATIENCE", 300))  # seconds for the slowest operation
TOKEN = "of-the-tests"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # Cells outside the window are also in the page.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# The server does not look for updates, extensions or language servers.
SERVER = {
    "ServerApp": {
        "tornado_settings": {"page_config_data": {"buildCheck": False, "buildAvailable": False}}
    },
    "LabApp": {"extension_manager": "readonly"},
    "LanguageServerManager": {"autodetect": False},
}
PROMPTS = """() => [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map(
    prompt => prompt.textContent.trim()
)"""


def chromium() -> str:
    """Return the path of a Chromium; empty if there is none."""
    named = os.environ.get("CNNVIS_CHROMIUM")
    found = (
        [named] if named else map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    )
    return next(filter(None, found), "")


class Lab(NamedTuple):
    """A running server: its address, its folder of notebooks, and its folder of settings."""

    address: str
    folder: Path
    settings: Path

    def page(self, name: str) -> str:
        """Return the address of a notebook."""
        return f"{self.address}/lab/tree/{name}.ipynb?token={TOKEN}&reset"

    def choose(self, plugin: str, values: dict) -> None:
        """Change settings for pages loaded from now on."""
        file = self.settings / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))

    def end_kernels(self) -> None:
        """Shut down all running kernels."""
        for kernel in json.loads(self._request("/api/kernels")):
            self._request(f"/api/kernels/{kernel['id']}", "DELETE")

    def _request(self, path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(self.address + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return answer.read()


@contextmanager
def served(folder: Path) -> Iterator[Lab]:
    """Run a JupyterLab without the user's settings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    variables += ["JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR"]
    folders = {name: str(folder / name.lower()) for name in variables}
    lab = Lab(f"http://127.0.0.1:{port}", folder / "notebooks", Path(folders[variables[-1]]))
    for plugin, values in SETTINGS.items():
        lab.choose(plugin, values)
    write_atomically(Path(folders[variables[0]], "jupyter_server_config.json"), json.dumps(SERVER))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={lab.folder}"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | folders, stdout=log, stderr=log)
        try:
            _wait_for(lab, server, folder / "server.log")
            yield lab
        finally:
            server.terminate()
            server.wait(60)


def _wait_for(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and server.poll() is None:
        try:
            lab._request("/api/status")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def write_small(known: notebooks.Notebook, folder: Path) -> None:
    """Copy a notebook with the parameters of its smoke preset, as a front end would run it."""
    content = nbformat.read(known.path, as_version=4)
    values = known.resolve("smoke", {"THREADS": 1})
    cell = v4.new_code_cell("\n".join(f"{name} = {value!r}" for name, value in values.items()))
    tags = [cell.metadata.get("tags", []) for cell in content.cells]
    content.cells.insert(
        1 + next(i for i, cell_tags in enumerate(tags) if "parameters" in cell_tags), cell
    )
    nbformat.write(content, folder / f"{known.name}.ipynb")


class Watched:
    """A page, its errors, and its requests to other machines.

    Attributes:
        page: playwright's page.
        wrong: console errors, exceptions, requests to other machines.
    """

    def __init__(self, page: object) -> None:
        self.page, self.wrong = page, []
        page.set_default_timeout(1000 * TIMEOUT)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self._on_request(request.url))
        page.on("websocket", lambda socket: self._on_request(socket.url))

    def _on_console(self, message: object) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.wrong.append(f"asked for {url}")

    def open(self, address: str) -> None:
        """Open a notebook and wait for its kernel."""
        self.page.goto(address)
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        # The page shows idle also before a kernel exists.
        self.page.wait_for_selector('.jp-Toolbar-kernelName:has-text("Python 3")')
        self.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')

    def run_all(self) -> None:
        """Run all cells to the end.

        The first command after a kernel's start may be lost, so it is repeated until cells run.
        """
        for _ in range(5):
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            if self.until(lambda: any(p != "[ ]:" for p in self.prompts()), 10):
                break
        assert self.until(lambda: "[*]:" not in self.prompts(), 2 * TIMEOUT), self.prompts()
        failed = self.page.locator('[data-mime-type="application/vnd.jupyter.error"]')
        assert not failed.count(), failed.first.inner_text()
        assert self.prompts()[-1] != "[ ]:", self.prompts()

    def prompts(self) -> list[str]:
        """Return the prompts of the code cells."""
        return self.page.evaluate(PROMPTS)

    def until(self, happened: object, seconds: float = TIMEOUT) -> bool:
        """Wait until something happened; return whether it did."""
        end = time.monotonic() + seconds
        while not (done := happened()) and time.monotonic() < end:
            self.page.wait_for_timeout(100)
        return done


class Panel:
    """An explorer in a page."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.box = watched.page.locator(".cnnvis-explorer")
        self.board = self.box.locator(".cnnvis-board")
        self.stop = self.box.get_by_role("button", name="Stop")

    def pixels(self) -> list[str]:
        """Return the images that are shown, each as one text."""
        return self.board.evaluate("el => [...el.querySelectorAll('img')].map(i => i.src)")

    def message(self) -> str:
        """Return the line below the image."""
        return self.box.locator(".cnnvis-status").inner_text().strip()

    def is_busy(self) -> bool:
        """Whether something is still being drawn."""
        stoppable = self.stop.count() and self.stop.is_enabled()
        return bool(stoppable) or self.message().endswith("...")

    def ready(self) -> None:
        """Wait until nothing is being drawn."""
        assert self.watched.until(lambda: not self.is_busy()), self.message()

    def move(self, control: str, key: str) -> None:
        """Move a slider by a key, or choose or enter a value, and wait for other pixels."""
        before = self.pixels()
        self.press(control, key)
        assert self.watched.until(lambda: self.pixels() != before), f"{control} moves nothing"
        self.ready()

    def thumbnails(self, name: str) -> object:
        """Return the list of thumbnails of images or units."""
        label = {"units": "unit"}.get(name, name)
        return self.box.locator(f'[role=listbox][aria-label="{label}"]')

    def press(self, control: str, key: str) -> None:
        """Move a slider by a key, or choose a value or thumbnail, or enter a value."""
        if control in ("image", "units"):
            self.thumbnails(control).locator(f'[title^="{key}"]').first.click()
            return
        row = self.box.locator(f'label:text-is("{control}")').locator("xpath=..")
        if row.locator(".noUi-handle").count():
            row.locator(".noUi-handle").focus()
            self.watched.page.keyboard.press(key)
        elif row.locator("select").count():
            row.locator("select").select_option(label=key)
        else:
            row.locator("input").fill(key)
            row.locator("input").press("Enter")

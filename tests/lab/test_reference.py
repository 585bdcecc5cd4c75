"""The reference of the Python interface has a page per package and fetches nothing."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import tiny_notebooks

from cnnvis_lab.lab import reference


def test_a_disk_that_fills_up_leaves_no_half_page(tmp_path, monkeypatch):
    def fill(package: str, output_directory: Path) -> None:
        (output_directory / "cnnvis_lab.html").write_text("<html><body>half a pa")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(sys.modules, "pdoc", SimpleNamespace(pdoc=fill))
    with pytest.raises(OSError, match="No space left"):
        reference.write(tmp_path / "api")
    assert [*(tmp_path / "api").rglob("*")] == []


@pytest.mark.slow
def test_every_package_has_a_page_that_needs_no_network(tmp_path):
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    command = [sys.executable, "-m", "cnnvis_lab.lab.cli", "docs", "--out", str(tmp_path / "api")]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"{tmp_path / 'api' / 'index.html'}\n"
    page = (tmp_path / "api" / "cnnvis_lab" / "methods" / "dissection.html").read_text()
    assert "Args:" in page or "Arguments" in page
    targets = [
        tag.get("src") for kind in ("img", "script") for tag in tiny_notebooks.tags(page, kind)
    ]
    targets += [tag.get("href") for tag in tiny_notebooks.tags(page, "link")]
    assert [target for target in targets if target and target.startswith(("http", "//"))] == []

"""The reference of the Python interface: a page per package, and nothing is fetched."""

import subprocess
import sys

import pytest
from support import tiny_notebooks


@pytest.mark.slow
def test_every_package_has_a_page_that_needs_no_network(tmp_path):
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    command = [sys.executable, "-m", "cnnvis_lab.lab.cli", "docs", "--out", str(tmp_path / "api")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'api' / 'index.html'}\n"
    page = (tmp_path / "api" / "cnnvis_lab" / "methods" / "dissection.html").read_text()
    assert "Args:" in page or "Arguments" in page
    places = [
        tag.get("src") for kind in ("img", "script") for tag in tiny_notebooks.tags(page, kind)
    ]
    places += [tag.get("href") for tag in tiny_notebooks.tags(page, "link")]
    assert [place for place in places if place and place.startswith(("http", "//"))] == []

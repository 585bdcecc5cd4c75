"""A wheel is complete: installed alone, it renders a notebook in an empty folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _run(*command: object, cwd: Path) -> None:
    hidden = ("PYTHONPATH", "CNNVIS_NOTEBOOKS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["JUPYTER_PATH"] = str(Path(sys.prefix) / "share" / "jupyter")  # page templates
    finished = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_a_wheel_installed_alone_renders_a_notebook(tmp_path):
    """The fresh environment sees this one's packages, but not this checkout."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    _run(*pip, "wheel", *offline, "-w", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    fresh, empty = tmp_path / "fresh", tmp_path / "empty"
    venv.create(fresh)
    python = fresh / "bin" / "python"
    (packages,) = (fresh / "lib").glob("python*/site-packages")
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _run(*pip, "--python", python, "install", *offline, wheel, cwd=tmp_path)
    empty.mkdir()
    where = "import cnnvis_lab; assert cnnvis_lab.__file__.startswith({!r})"
    _run(python, "-c", where.format(str(fresh)), cwd=empty)
    _run(
        fresh / "bin" / "cnnvis",
        "render",
        "00",
        "--preset",
        "smoke",
        "-p",
        "THREADS",
        "1",
        cwd=empty,
    )
    assert (empty / "reports" / "index.html").is_file()

"""The package's metadata is consistent, and ruff and the type checker report no error."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def _requirements() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], "python" + project["requires-python"]]
    return dict(re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in listed)


def test_environment_and_pyproject_name_the_same_packages_and_bounds():
    lines = re.findall(r"^  - (.+)$", (ROOT / "environment.yml").read_text(), re.M)
    rows = [re.fullmatch(r"([\w-]+)(>=.*)", line) for line in lines]
    conda = {CONDA_NAMES.get(r[1], r[1]): r[2] for r in rows if r}
    assert conda == _requirements()
    assert "conda-forge" in lines and "-e ." in (ROOT / "environment.yml").read_text()


def test_every_bound_is_a_lower_bound():
    assert all(bound.startswith(">=") and "," not in bound for bound in _requirements().values())


def test_ci_runs_exactly_the_readmes_test_command():
    command = (ROOT / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert command in (ROOT / "README.md").read_text().splitlines()


def test_the_wheel_lists_every_package_and_the_notebooks():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = (ROOT / "cnnvis_lab").rglob("__init__.py")
    packages = {".".join(init.parent.relative_to(ROOT).parts) for init in inits}
    assert set(listed) == packages | {"cnnvis_lab.notebooks"}


def test_ruff_reports_no_error():
    for command in (["check"], ["format", "--check"]):
        finished = subprocess.run(["ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout


def test_the_type_checker_reports_no_error():
    finished = subprocess.run(["pyrefly", "check"], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout

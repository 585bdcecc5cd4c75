"""What the package says of itself: dependencies in step, imports one way, hygiene."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = ("core", "data", "models", "methods", "lab")
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


def _imports(path: Path) -> set[str]:
    """Rooms of this package that a module imports, absolute or relative."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join((*base, name)) for name in names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_imports_point_one_way():
    for path in (ROOT / "cnnvis_lab").rglob("*.py"):
        room = path.relative_to(ROOT / "cnnvis_lab").parts[0]
        if room not in ORDER:
            continue
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "cnnvis_lab" and len(parts) > 1:
                assert ORDER.index(parts[1]) <= ORDER.index(room), f"{path.name} imports {name}"


def test_methods_draw_nothing_and_core_knows_torch_only():
    barred = {
        "methods": ("matplotlib", "ipywidgets"),
        "core": ("matplotlib", "ipywidgets", "skimage", "torchvision", "PIL"),
    }
    for room, names in barred.items():
        for path in (ROOT / "cnnvis_lab" / room).glob("*.py"):
            assert not any(name.startswith(names) for name in _imports(path)), path.name


def test_ruff_finds_nothing():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(["ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

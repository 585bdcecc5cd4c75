"""Waiting threads do not spin in any process of the library, unless a user has set it."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from support import tiny_notebooks

from cnnvis_lab.lab import notebooks

VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
PRINT = "import json, os; print(json.dumps({k: v for k, v in os.environ.items()}))"
# Prints the variables of a worker that was started by spawn, as those of `render --jobs 2` are.
SPAWN = """
import json, multiprocessing, os, sys
import cnnvis_lab
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps({"GOMP_SPINCOUNT": pool.apply(os.getenv, ["GOMP_SPINCOUNT"])}))
"""


def _without_settings(**variables: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in VARIABLES} | variables


def _variables(code: str, environment: dict[str, str]) -> dict[str, str]:
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    printed = json.loads(finished.stdout)
    return {name: printed[name] for name in VARIABLES if name in printed}


def test_the_package_sets_the_variable_before_torch_is_loaded():
    code = f"import sys, cnnvis_lab; assert 'torch' not in sys.modules; {PRINT}"
    assert _variables(code, _without_settings()) == {"GOMP_SPINCOUNT": "2000"}


def test_the_command_line_sets_the_variable_before_torch_is_loaded():
    code = f"import sys, cnnvis_lab.lab.cli; assert 'torch' not in sys.modules; {PRINT}"
    assert _variables(code, _without_settings()) == {"GOMP_SPINCOUNT": "2000"}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_users_setting_is_not_changed(name):
    chosen = {name: "passive" if name == "OMP_WAIT_POLICY" else "7"}
    assert _variables(f"import cnnvis_lab; {PRINT}", _without_settings(**chosen)) == chosen


def test_workers_inherit_the_variable(tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN)
    finished = subprocess.run(
        [sys.executable, script],
        env=_without_settings(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(finished.stdout) == {"GOMP_SPINCOUNT": "2000"}


def test_kernels_that_render_starts_inherit_the_variable(tmp_path):
    body = 'import os\nassert os.environ["GOMP_SPINCOUNT"] == "2000"'
    tiny_notebooks.write(tmp_path / "notebooks", "01_first", body=body)
    environment = _without_settings(CNNVIS_NOTEBOOKS=str(tmp_path / "notebooks"))
    command = [sys.executable, "-m", "cnnvis_lab.lab.cli", "render", "--preset", "smoke", "--out"]
    finished = subprocess.run(
        [*command, tmp_path / "out"], env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("name", notebooks.read_all())
def test_a_notebook_imports_the_package_before_torch(name):
    """A JupyterLab kernel starts without the variable, and torch reads it when it is loaded."""
    content = nbformat.read(notebooks.read_all()[name].path, as_version=4)
    code = "\n".join(cell.source for cell in content.cells if cell.cell_type == "code")
    imports = [line for line in code.splitlines() if line.startswith(("import ", "from "))]
    torch_first = next((i for i, line in enumerate(imports) if "torch" in line), len(imports))
    ours = next(i for i, line in enumerate(imports) if "cnnvis_lab" in line)
    assert ours < torch_first

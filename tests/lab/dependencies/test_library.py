"""What the notebooks depend on in the library: nothing too little, and no neighbors."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache

import pytest
from support.source_tree import PACKAGE, Module, modules

from cnnvis_lab.lab import notebooks
from cnnvis_lab.lab.dependencies import Dependencies, find_dependencies
from cnnvis_lab.lab.dependencies.references import references

NEVER = ("lab.cli", "lab.course", "lab.gallery", "lab.render", "lab.dependencies", "lab.reference")
# Panels read the images of units from the folder of an atlas.
FOR_PANELS = {"", ".atlas", ".atlas.plan", ".atlas.read"}
METHODS = sorted(file.parent.name for file in PACKAGE.glob("methods/*/__init__.py"))


@cache
def _known() -> dict[str, notebooks.Notebook]:
    return notebooks.read_all()


@cache
def _found() -> dict[str, Dependencies]:
    return {name: find_dependencies(book.code) for name, book in _known().items()}


def _redrawn() -> dict[str, list[str]]:
    """Return module -> the notebooks that a change in it can redraw."""
    return {
        module.name: [name for name, found in _found().items() if module.name in found.digests]
        for module in modules()
    }


def _with_comments(text: str) -> str:
    """Return code with a comment above each of its simplest statements."""
    lines = text.splitlines()
    nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Return | ast.If | ast.For)]
    for number in {node.lineno - 1 for node in nodes}:
        if not lines[number].lstrip().startswith("elif "):
            lines[number] = f"# changed\n{lines[number]}"
    return "\n".join(lines)


def test_changed_comments_and_docstrings_redraw_nothing(tmp_path):
    package = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    for module in modules():
        text = re.sub(r'^( *)"""(?=\w)', r'\1"""Changed. ', module.text, flags=re.M)
        text = _with_comments(text)
        (package / module.path.relative_to(PACKAGE)).write_text(f"# changed\n{text}\n# changed\n")
    for name, book in _known().items():
        assert find_dependencies(book.code, package).digests == _found()[name].digests, name


def test_what_draws_nothing_into_results_redraws_nothing():
    redrawn = _redrawn()
    for module, names in redrawn.items():
        if module.removeprefix("cnnvis_lab.").startswith(NEVER):
            assert not names or module.removeprefix("cnnvis_lab.lab.gallery") in FOR_PANELS, module
    shown = sorted(module for module, names in redrawn.items() if len(names) == len(_known()))
    assert "cnnvis_lab.lab.run" in shown and len(shown) < len(redrawn) / 2
    # Every panel names the class that is predicted for its image.
    assert all(".methods.evaluation." in module for module in shown if ".methods." in module)


def test_an_explorer_redraws_the_notebooks_that_show_it_or_one_that_uses_it():
    door = (PACKAGE / "lab/explorers/__init__.py").read_text()
    homes = re.findall(r'"([A-Z]\w+)": "(\w+)"', door)
    texts = {name: (PACKAGE / f"lab/explorers/{name}.py").read_text() for _, name in homes}
    for module in texts:
        users = {module, *(one for one, text in texts.items() if f"from .{module} " in text)}
        shown = {explorer for explorer, home in homes if home in users}
        expected = [
            name
            for name, book in _known().items()
            if shown & {*re.findall(r"explorers\.(\w+)", book.code)}
        ]
        assert _redrawn()[f"cnnvis_lab.lab.explorers.{module}"] == expected, module
        assert expected


@pytest.mark.parametrize("method", METHODS)
def test_a_method_redraws_no_notebook_that_neither_names_nor_imports_it(method):
    """Whatever names a method's package, at any distance, is found by its text."""
    texts = {module.name: module.text for module in modules()}
    for name, book in _known().items():
        imported = [texts[module] for module in _found()[name].imported]
        named = [text for text in [book.code, *imported] if re.search(rf"\b{method}\b", text)]
        counted = [one for one in _found()[name].digests if f".methods.{method}" in one]
        assert named or not counted, name
        if re.search(
            rf"\b(methods|figures)\.{method}\.|^\s*\w.*\b{method}\.\w+\(", book.code, re.M
        ):
            assert counted, name


# Runs a notebook's cells at smoke size, and prints the functions of the library that run after
# their modules were imported, and the modules.
TRACED = """
import io, json, os, sys, threading
from contextlib import redirect_stdout
package, name, out = sys.argv[1:]
ran, importing = set(), threading.local()

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(package):
        outer = frame
        while outer and outer.f_code.co_name != "<module>":
            outer = outer.f_back
        if outer is None or outer.f_code.co_filename == "cells":
            ran.add((code.co_filename, code.co_firstlineno))

from cnnvis_lab.lab import notebooks
book = notebooks.read_all()[name]
values = book.resolve("smoke", {"OUT": out, "THREADS": 1})
cells, space = book.code.split("\\nfrom ", 1), {"__name__": "__main__"}
exec(cells[0], space)
space |= values
threading.setprofile(note)
sys.setprofile(note)
with redirect_stdout(io.StringIO()):
    exec(compile("from " + cells[1], "cells", "exec"), space)
sys.setprofile(None)
loaded = [m for m in sys.modules if m.partition(".")[0] == "cnnvis_lab"]
print(json.dumps([sorted(ran), loaded]), flush=True)
os._exit(0)  # a panel's thread may be computing, which the end of an interpreter does not bear
"""


@pytest.mark.parametrize(
    "name",
    [
        name if name.startswith("00") else pytest.param(name, marks=pytest.mark.slow)
        for name in _known()
    ],
)
def test_every_function_that_a_notebook_runs_is_counted(name, tmp_path):
    command = [sys.executable, "-c", TRACED, str(PACKAGE), name, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    pipe = subprocess.PIPE  # errors are shown where the test fails
    done = subprocess.run(command, stdout=pipe, text=True, check=True, env=environment)
    ran, loaded = json.loads(done.stdout.splitlines()[-1])
    ours = {module.name for module in modules() if module.name.startswith("cnnvis_lab.lab.depend")}
    assert {*loaded} - ours <= _found()[name].imported
    by_path = {str(module.path): module for module in modules()}
    functions = [(by_path[file], _function(by_path[file], line)) for file, line in ran]
    assert len({node for _, node in functions}) > 200
    for module, node in functions:
        assert node is None or node.name in _found()[name].names[module.name], (module, node.name)


def _function(module: Module, line: int) -> ast.FunctionDef | ast.ClassDef | None:
    """Return the function or class of a module that a line belongs to; None for other values."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first <= line <= (node.end_lineno or 0):
                return node
    return None


# Imports modules, and prints the functions of the library that run meanwhile.
IMPORTING = """
import importlib, json, sys
package, *names = sys.argv[1:]
ran = set()

def note(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(package):
        ran.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

sys.setprofile(note)
for name in names:
    importlib.import_module(name)
sys.setprofile(None)
print(json.dumps(sorted(ran)))
"""
CHANGING = {"add", "append", "clear", "extend", "insert", "pop", "register", "setdefault", "update"}


def _changes_module(node: ast.AST, names: set[str]) -> bool:
    """Return whether a function can change what module names stand for."""
    outside = {chain[0] for chain in references(node, "").chains} & names
    for part in ast.walk(node):
        place = part.func if isinstance(part, ast.Call) else part
        changed = isinstance(place, ast.Attribute | ast.Subscript) and (
            not isinstance(place.ctx, ast.Load) or getattr(place, "attr", "") in CHANGING
        )
        while isinstance(place, ast.Attribute | ast.Subscript):
            place = place.value
        if isinstance(part, ast.Global):
            return True
        if changed and isinstance(place, ast.Name) and place.id in outside:
            return True
    return False


def test_a_change_of_module_state_is_recognized():
    for body in ("x[0] = 1", "x.y = 1", "x.append(1)", "global x; x = 1", "del x[0]", "x[0] += 1"):
        assert _changes_module(ast.parse(f"def f(): {body}").body[0], {"x"}), body
        local = ast.parse(f"def f(x): {body.replace('global x', 'pass')}").body[0]
        assert not _changes_module(local, {"x"}), body


def test_values_made_while_importing_change_nothing_else():
    """This is taken for granted: such a value counts only for code that reads it."""
    names = [module.name for module in modules() if not module.name.endswith("__main__")]
    command = [sys.executable, "-c", IMPORTING, str(PACKAGE), *names]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    by_path = {str(module.path): module for module in modules()}
    ran = [(by_path[file], line) for file, line in json.loads(done.stdout.splitlines()[-1])]
    functions = [(module, _function(module, line)) for module, line in ran]
    assert len([node for _, node in functions if node]) > 20
    for module, node in functions:
        bound = {name for one in module.tree.body for name in _stored(one)}
        assert node is None or not _changes_module(node, bound), (module.name, node.name)


def _stored(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


if __name__ == "__main__":  # prints the table: module edited, notebooks redrawn
    for edited, names in _redrawn().items():
        print(f"{edited.removeprefix('cnnvis_lab.'):48} {' '.join(one[:2] for one in names)}")

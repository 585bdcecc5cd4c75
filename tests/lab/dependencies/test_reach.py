"""What counts is what runs: compared with the functions and modules that Python executes."""

import contextlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import planted_package

from cnnvis_lab.core import FileError
from cnnvis_lab.lab import dependencies
from cnnvis_lab.lab.dependencies import reach

MODULES = {
    "__init__": "",
    "alone": "import os\nvalue = 1",
    "a/__init__": "",
    "a/first": "from .second import thing\nfrom . import third",
    "a/second": "thing = 1\n\n\ndef later():\n    from ..b import inner\n    return inner.value",
    "a/third": "import json",
    "b/__init__": "from .exported import *",
    "b/exported": "from planted.alone import value as exported_value",
    "b/inner": "import planted.b.deep.bottom\nvalue = 3",
    "b/deep/__init__": "",
    "b/deep/bottom": "from ... import alone\nfrom ...a import second",
    "idle/__init__": "",
    "idle/first": "from ..a import first",
}
IMPORTS = {
    "import planted.alone": {"__init__", "alone"},
    "from planted import alone": {"__init__", "alone"},
    "from planted.alone import value": {"__init__", "alone"},
    "import os, json\nimport planted_other": set(),
    "from planted.a import third": {"__init__", "a/__init__", "a/third"},
    "x = (7\n  % 4)\nfrom planted.a import third": {"__init__", "a/__init__", "a/third"},
    "if x:\n    import planted.b": {"__init__", "b/__init__", "b/exported", "alone"},
}


def _write(folder: Path, modules: dict[str, str], name: str = "planted") -> Path:
    for module, text in modules.items():
        file = folder / name / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return (folder / name).resolve()


@pytest.fixture
def package(tmp_path):
    return _write(tmp_path, MODULES)


def _imported(code: str, package: Path) -> set[str]:
    found = dependencies.find_dependencies(code, package).imported
    names = {name.partition(".")[2].replace(".", "/") for name in found}
    return {n if n in MODULES else f"{n}/__init__".lstrip("/") for n in names}


@pytest.mark.parametrize("code", IMPORTS)
def test_imported_modules_are_found_for_every_form_of_import(package, code):
    assert _imported(code, package) == IMPORTS[code]


@pytest.mark.parametrize("called", ["", "\nlater()"])
def test_exactly_the_modules_that_python_loads_are_found(package, called):
    code = f"from planted.a import first\nfrom planted.a.second import later{called}\n"
    loading = code + (
        "import sys, planted as p\n"
        "loaded = [m.__file__ for n, m in sys.modules.items() if n.startswith('planted')]\n"
        "print('\\n'.join(loaded))"
    )
    environment = os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", loading], capture_output=True, text=True, env=environment, check=True
    )
    lines = finished.stdout.splitlines()
    loaded = {name for name in MODULES if str(package / f"{name}.py") in lines}
    assert _imported(code, package) == loaded and len(loaded) == (11 if called else 5)


@contextlib.contextmanager
def _loadable(package: Path):
    """Make a package importable inside the block, and forget it afterwards."""
    sys.path.insert(0, str(package.parent))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(package.parent))
        for name in [n for n in sys.modules if n.partition(".")[0] == package.name]:
            del sys.modules[name]


def _executed(code: str, package: Path) -> tuple[set[str], set[str]]:
    """Return the functions of a package that code runs, and the modules that it loads."""
    functions: set[str] = set()

    def note(frame: object, event: str, argument: object) -> None:
        run = frame.f_code
        if event == "call" and run.co_filename.startswith(str(package)):
            functions.add(run.co_qualname)

    with _loadable(package):
        sys.setprofile(note)
        try:
            exec(compile(code, "code", "exec"), {"__name__": "__main__"})
        finally:
            sys.setprofile(None)
        loaded = {name for name in sys.modules if name.partition(".")[0] == package.name}
    return functions, loaded


def _counted(code: str, package: Path, function: str, file: Path) -> bool:
    """Return whether what code depends on changes with a number in a function."""
    text, before = file.read_text(), dependencies.find_dependencies(code, package).digests
    start = text.find(f"class Class_{function}:")  # whose method has the number
    start = text.index(f"def {function}(") if start < 0 else start
    changed = text[:start] + text[start:].replace("1000", "1001", 1)
    assert changed != text
    file.write_text(changed)
    try:
        return dependencies.find_dependencies(code, package).digests != before
    finally:
        file.write_text(text)


@pytest.mark.parametrize("seed", range(12))
def test_in_random_packages_exactly_the_functions_that_run_are_counted(tmp_path, seed):
    name = f"planted_{seed}"
    files = planted_package.write(tmp_path, name, seed)
    package = (tmp_path / name).resolve()
    doors = {"near", "lazy"} & {files[f"f{n}"].parent.name for n in range(len(files))}
    assert doors == {"near", "lazy"}
    for last in ("f15", "f23", "f27"):
        module = ".".join(files[last].relative_to(tmp_path).with_suffix("").parts)
        code = f"from {module} import {last}\n{last}()\n"
        ran, loaded = _executed(code, package)
        found = dependencies.find_dependencies(code, package)
        assert loaded == found.imported
        counted = {one for one in files if _counted(code, package, one, files[one])}
        assert counted == ran & files.keys() != files.keys()
        assert last in counted


# What the code "from planted import a; a.f()" depends on when a statement of `b` changes.
EFFECTS = {
    "a registration by a decorator": (
        "from . import b, c\ndef f(): return c.known",
        "from . import c\n@c.register\ndef g(): return 1",
        "known = []\ndef register(function): known.append(function); return function",
        True,
    ),
    "a call": (
        "from . import b, c\ndef f(): return c.known",
        "from . import c\nc.known.append(1)",
        "known = []",
        True,
    ),
    "an assignment to another module": (
        "from . import b, c\ndef f(): return c.known",
        "from . import c\nc.known = 1",
        "known = 0",
        True,
    ),
    "a condition": (
        "from . import b, c\ndef f(): return c.known",
        "import os\nif os.sep: os.environ['X'] = '1'",
        "known = 0",
        True,
    ),
    "a value that nobody reads": (
        "from . import b\ndef f(): return b.used",
        "used = 2\nidle = 1",
        "",
        False,
    ),
    "an item of a table": (
        "from . import b\ndef f(): return b.table",
        "table = {}\ntable['x'] = 1",
        "",
        True,
    ),
    "an item of a table that nobody reads": (
        "from . import b\ndef f(): return b.used",
        "used = 2\ntable = {}\ntable['x'] = 1",
        "",
        False,
    ),
    "a function run as a context manager of the package": (
        "from . import b\ndef f(): return b.used",
        "from .c import quiet\nused = 2\n@quiet()\ndef g(): return 1",
        "from contextlib import contextmanager\n@contextmanager\ndef quiet(): yield",
        False,
    ),
    "a module given away": (
        "from . import b\ndef f(): return vars(b)",
        "def g(): return 1",
        "",
        True,
    ),
    "a name that is looked up": (
        "from . import b\ndef f(): return getattr(b, 'g')()",
        "def g(): return 1",
        "",
        True,
    ),
    "a module that is imported by its name": (
        "import importlib\ndef f(): return importlib.import_module('planted.b').g()",
        "def g(): return 1",
        "",
        True,
    ),
    "a name that hides nothing": (
        "from .b import g\ndef f():\n    return [g for g in [g()]]",
        "def g(): return 1",
        "",
        True,
    ),
    "a star": (
        "from .c import *\ndef f(): return g()",
        "def g(): return 1",
        "from .b import *",
        True,
    ),
    "a base class": (
        "from . import c\ndef f(): return c.Two().g()",
        "class One:\n    def g(self): return 1",
        "from .b import One\nclass Two(One): ...",
        True,
    ),
    "a default": (
        "from .b import g\ndef f(h=g): return h()",
        "def g(): return 1",
        "",
        True,
    ),
    "an annotation": (
        "from .b import Kind\ndef f(x: Kind = 0): return x",
        "class Kind:\n    x = 1",
        "",
        False,
    ),
    "an import at either of two places": (
        "try: from .b import g\nexcept ImportError: from .c import g\ndef f(): return g()",
        "def g(): return 1",
        "def g(): return 2",
        True,
    ),
}


@pytest.mark.parametrize("kind", EFFECTS)
def test_a_changed_statement_counts_if_the_code_can_notice_it(tmp_path, kind):
    user, changed, other, counts = EFFECTS[kind]
    package = _write(tmp_path, {"__init__": "", "a": user, "b": changed, "c": other})
    code = "from planted import a\na.f()\n"
    before = dependencies.code_digest(code, package)
    (package / "b.py").write_text(changed.replace("1", "100"))
    assert (dependencies.code_digest(code, package) != before) == counts


LAZY = "def __getattr__(name):\n    return __import__('planted.' + name)"


def test_a_door_that_does_not_say_what_it_opens_counts_with_all_of_its_package(tmp_path):
    modules = {"__init__": LAZY, "a/__init__": "", "a/deep": "def g(): return 1", "b": "x = 1"}
    package = _write(tmp_path, modules)
    found = dependencies.find_dependencies("import planted\nplanted.unknown()", package)
    assert {"planted", "planted.a.deep", "planted.b"} <= found.digests.keys()
    found = dependencies.find_dependencies("import planted\nplanted.b.x", package)
    assert found.digests.keys() == {"planted", "planted.b"}


def test_a_door_that_names_another_module_is_another_dependency(tmp_path):
    modules = {"__init__": "from .b import g", "b": "def g(): return 1", "c": "def g(): return 1"}
    package, code = _write(tmp_path, modules), "import planted\nplanted.g()"
    before = dependencies.code_digest(code, package)
    (package / "__init__.py").write_text("from .c import g")
    assert dependencies.code_digest(code, package) != before


def test_versions_count_of_the_packages_that_code_uses_and_of_no_others(tmp_path, monkeypatch):
    modules = {"__init__": "", "b": "import torch\nimport numpy\ndef g(): return torch"}
    package, code = _write(tmp_path, modules), "from planted import b\nb.g()"
    assert dependencies.find_dependencies(code, package).external == {"torch"}
    before = dependencies.code_digest(code, package)
    reach._version.cache_clear()
    monkeypatch.setattr(reach, "version", lambda name: "0.0.1")
    assert dependencies.code_digest(code, package) != before
    reach._version.cache_clear()


def test_a_module_that_is_not_python_is_named(tmp_path):
    package = _write(tmp_path, {"__init__": "", "b": "x = = 1"})
    with pytest.raises(FileError, match=r"b.py is not Python .*; repair it"):
        dependencies.find_dependencies("from planted import b\nb.x", package)

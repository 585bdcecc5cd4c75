"""The library's structure: order of imports, exported names, no cycles, small functions."""

import ast
import importlib
import json
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest
from support.source_tree import Module, body_lines, modules, parameters

LAYERS = ("core", "data", "models", "methods", "lab")
API = Path(__file__).parent / "support" / "public_api.json"
PACKAGES = {module.name for module in modules() if module.is_package}
BARRED = {
    "methods": ("matplotlib", "ipywidgets"),
    "core": ("matplotlib", "ipywidgets", "skimage", "torchvision", "PIL"),
}
MOST_PARAMETERS, LONGEST_BODY, LONGEST_MODULE = 8, 50, 350


def _layer(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else None


def _upward_imports(module: Module) -> list[str]:
    here = _layer(module.name)
    return [
        f"{module.name}:{line} imports {name}"
        for name, line in module.imports
        if here and _layer(name) and LAYERS.index(_layer(name)) > LAYERS.index(here)
    ]


def test_imports_follow_the_order_of_layers():
    wrong = [line for module in modules() for line in _upward_imports(module)]
    assert not wrong, "\n".join(wrong)


def test_methods_import_no_matplotlib_and_core_only_torch():
    for module in modules():
        for node in ast.walk(module.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            barred = BARRED.get(_layer(module.name) or "", ())
            assert not any(name.startswith(barred) for name in names if barred), module.name


def _internal_imports(module: Module) -> list[str]:
    """Return imports of another package's modules whose names its `__init__` does not export."""
    wrong = []
    for name, line in module.imports:
        package = name if name in PACKAGES else name.rpartition(".")[0]
        inside = f"{module.package}.".startswith(f"{package}.")
        if name in PACKAGES or inside or name.rpartition(".")[2] in _exported(package):
            continue
        wrong.append(f"{module.name}:{line} imports {name}")
    return wrong


def _exported(package: str) -> list[str]:
    door = importlib.import_module(package)
    return [*getattr(door, "__all__", ())]


def test_other_packages_are_imported_by_their_doors():
    wrong = [line for module in modules() for line in _internal_imports(module)]
    assert not wrong, "\n".join(wrong)


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def _enclosing(package: str) -> set[str]:
    """Return a package and those that contain it, whose `__init__` runs at any import."""
    parts = package.split(".")
    return {".".join(parts[: i + 1]) for i in range(len(parts))}


def test_no_modules_import_each_other():
    graph = {
        module.name: {name for name, _ in module.imports}
        - _enclosing(module.package)
        - {module.name}
        for module in modules()
    }
    assert not _cycle(graph)


def test_no_packages_import_each_other():
    graph: dict[str, set[str]] = {}
    for module in modules():
        if module.is_package:
            continue
        packages = {
            name if name in PACKAGES else name.rpartition(".")[0] for name, _ in module.imports
        }
        outside = {name for name in packages if not _related(name, module.package)}
        graph.setdefault(module.package, set()).update(outside)
    assert not _cycle(graph)


def _related(one: str, other: str) -> bool:
    """Return whether one package contains the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_has_a_docstring_and_lists_what_it_exports(name):
    door = importlib.import_module(name)
    assert door.__doc__ and len(set(door.__all__)) == len(door.__all__)
    assert all(getattr(door, public) is not None for public in door.__all__)


def test_the_public_names_are_those_of_the_snapshot():
    """`public_api.json` records the public names, since a change of them concerns users."""
    exported = {name: sorted(_exported(name)) for name in sorted(PACKAGES)}
    assert exported == json.loads(API.read_text()), (
        "update the snapshot with `python tests/test_structure.py` and name the change in README"
    )


def test_functions_are_small_and_take_few_parameters():
    wrong, sizes = [], []
    for module in modules():
        for name, function in module.functions():
            sizes.append(body_lines(function, module.text))
            if sizes[-1] > LONGEST_BODY:
                wrong.append(f"{module.name}.{name}: {sizes[-1]} lines")
            if len(parameters(function)) > MOST_PARAMETERS:
                wrong.append(f"{module.name}.{name}: {len(parameters(function))} parameters")
    assert not wrong, "\n".join(wrong)
    assert median(sizes) < 10


def test_modules_are_short():
    lengths = {module.name: len(module.text.splitlines()) for module in modules()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_MODULE}


if __name__ == "__main__":  # records the public names
    API.write_text(json.dumps({n: sorted(_exported(n)) for n in sorted(PACKAGES)}, indent=1) + "\n")

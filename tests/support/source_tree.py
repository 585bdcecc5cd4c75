"""The library's source as modules, imports, functions and words, for the tests of its structure."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cnnvis_lab"


@dataclass(frozen=True)
class Module:
    """One source file of the library.

    Attributes:
        path: the file.
        name: dotted; a package's is that of its folder.
    """

    path: Path
    name: str

    @property
    def is_package(self) -> bool:
        """Whether this is a package's door."""
        return self.path.name == "__init__.py"

    @property
    def package(self) -> str:
        """The package that holds the module; a door's is the package itself."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> list[tuple[str, int]]:
        """Modules of the library that this one imports, and in which line; late imports, too."""
        return [
            (name, node.lineno)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in _imported(node, self.package)
        ]

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef]]:
        """Every function and method with its dotted name in the module; nested ones, too."""
        yield from _functions(self.tree, "")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
            yield from _functions(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith("cnnvis_lab")]
    base = node.module or ""
    if node.level:
        parents = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parents, *([node.module] if node.module else [])])
    if not base.startswith("cnnvis_lab"):
        return []
    names = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in _names() else base for name in names]


@cache
def _names() -> frozenset[str]:
    return frozenset(_dotted(path) for path in PACKAGE.rglob("*.py"))


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the library, in order of its name."""
    found = [Module(path, _dotted(path)) for path in PACKAGE.rglob("*.py")]
    return tuple(sorted(found, key=lambda module: module.name))


def parameters(function: ast.FunctionDef) -> list[str]:
    """Return the names of a function's parameters, without self and cls."""
    a = function.args
    every = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
    every += [a.kwarg] if a.kwarg else []
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def section(docstring: str, title: str) -> list[str]:
    """Return the names that a Google style section such as "Args" explains, in order."""
    lines = docstring.splitlines()
    if f"{title}:" not in [line.strip() for line in lines]:
        return []
    start = next(i for i, line in enumerate(lines) if line.strip() == f"{title}:")
    indent = len(lines[start]) - len(lines[start].lstrip()) + 4
    names: list[str] = []
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            break
        if line.strip() and len(line) - len(line.lstrip()) == indent:
            head = line.strip().partition(":")[0]
            names += [name.strip().lstrip("*") for name in head.split(",")]
    return names


def body_lines(function: ast.FunctionDef, text: str) -> int:
    """Return how many lines a function's body has without docstring, comments and blank lines."""
    body = function.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    if documented:
        body = body[1:]
    if not body:
        return 0
    lines = text.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


def prose(module: Module) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment, docstring and raised message."""
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if text := ast.get_docstring(node):
                yield getattr(node, "lineno", 1), text
        elif isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def identifiers(module: Module) -> Iterator[tuple[int, str]]:
    """Yield the line and name of everything that the module names."""
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string

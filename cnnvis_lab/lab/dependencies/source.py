"""A source file as statements: what each binds, uses, and does when the module is imported."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

from .references import Alias, Chain, References, aliases, bound_names, chain_of, references

# Decorators that do nothing but return a function or class.
_PURE = {
    "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "final", "lru_cache",
    "no_grad", "overload", "override", "property", "runtime_checkable", "setter", "staticmethod",
}  # fmt: skip
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Statement:
    """A statement of a module, outside functions and classes.

    Attributes:
        node: its syntax tree.
        package: full name of the package around the module.
        alias: the name that it binds, if it is a part of an import statement.
    """

    node: ast.stmt
    package: str
    alias: Alias | None = None

    @cached_property
    def text(self) -> str:
        """The statement without comments, docstrings and annotations of functions."""
        if self.alias:
            return repr(tuple(self.alias))
        _strip(self.node)
        return ast.dump(self.node)

    @cached_property
    def uses(self) -> References:
        """The names and imports that it uses."""
        nothing = References(frozenset(), ())
        return nothing if self.alias else references(self.node, self.package)

    @property
    def decorators(self) -> list[Chain]:
        """The decorators that may do more than return the function or class."""
        decorators = self.node.decorator_list if isinstance(self.node, _DEFINITIONS) else []
        chains = [chain_of(one.func if isinstance(one, ast.Call) else one) for one in decorators]
        return [chain for chain in chains if not chain or chain[-1] not in _PURE]

    @property
    def makes_context_manager(self) -> bool:
        """Whether it defines a function whose calls return context managers."""
        decorators = self.node.decorator_list if isinstance(self.node, ast.FunctionDef) else []
        return any(chain_of(one)[-1:] == ("contextmanager",) for one in decorators)


@dataclass(frozen=True)
class Source:
    """A parsed module.

    Attributes:
        statements: in their order; an import statement counts once for each name.
        bindings: name -> indices of the statements that bind it.
        effects: indices of the statements that may do more than bind names.
        declared: name -> import that only type checkers execute: what `__getattr__` returns.
    """

    statements: tuple[Statement, ...]
    bindings: dict[str, list[int]]
    effects: tuple[int, ...]
    declared: dict[str, Alias]


@cache
def parse(code: str, package: str) -> Source:
    """Parse a module's source.

    Args:
        code: the source.
        package: full name of the package around it.

    Raises:
        SyntaxError: the source is not Python.
    """
    statements: list[Statement] = []
    bindings: dict[str, list[int]] = defaultdict(list)
    declared: dict[str, Alias] = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.If) and chain_of(node.test)[-1:] == ("TYPE_CHECKING",):
            found = [alias for inner in node.body for alias in aliases(inner, package)]
            # `from . import module` in a door declares a submodule, which is found anyway.
            declared |= {a.name: a for a in found if (a.module, a.attribute) != (package, a.name)}
        elif not _is_text(node):
            for statement in _split(node, package):
                for name in [statement.alias.name] if statement.alias else _bound_by(node):
                    bindings[name].append(len(statements))
                statements.append(statement)
    imported = {one.alias.name for one in statements if one.alias}
    effects = [i for i, one in enumerate(statements) if _does_more_than_bind(one.node, imported)]
    return Source(tuple(statements), dict(bindings), tuple(effects), declared)


def _split(node: ast.stmt, package: str) -> Iterator[Statement]:
    """Yield a statement, or the parts of an import statement."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in aliases(node, package):
            yield Statement(node, package, alias)
    else:
        yield Statement(node, package)


def _strip(root: ast.stmt) -> None:
    """Remove what decides nothing: docstrings, and annotations of functions."""
    waiting: list[ast.AST] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _DEFINITIONS):
            node.body = [part for part in node.body if not _is_text(part)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            for argument in _arguments(node.args):
                argument.annotation = None
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):  # of statements
            waiting += getattr(node, field, [])


def _arguments(node: ast.arguments) -> list[ast.arg]:
    further = [one for one in (node.vararg, node.kwarg) if one]
    return [*node.posonlyargs, *node.args, *node.kwonlyargs, *further]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bound_by(node: ast.stmt) -> set[str]:
    """Return the names of the module that a statement binds or changes in place."""
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    names: set[str] = set()
    for part in ast.walk(node):
        names |= bound_names(part) | {alias.name for alias in aliases(part, "")}
        if isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            names |= {_base_name(part)}
    return names


def _base_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _does_more_than_bind(node: ast.stmt, imported: set[str]) -> bool:
    """Return whether a statement can change anything but the module's own names.

    A value assigned to names is taken to do nothing but become their value.
    """
    if isinstance(node, ast.ClassDef):
        decorated = bool(Statement(node, "").decorators or node.keywords)
        return decorated or any(_does_more_than_bind(part, imported) for part in node.body)
    if isinstance(node, _DEFINITIONS):
        return bool(Statement(node, "").decorators)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        places = [t for t in targets if isinstance(t, ast.Attribute | ast.Subscript)]
        return any(_base_name(place) in imported | {""} for place in places)
    return not isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) and not _is_text(node)

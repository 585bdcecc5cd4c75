"""The names and imports that a statement uses, from its syntax tree.

Whatever cannot be decided counts as a use: a local variable may be taken for a global name, never
the other way round. Annotations are not followed: they are evaluated, but decide nothing.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Chain = tuple[str, ...]  # a global name and the attributes read from it: ("figures", "line_chart")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Alias(NamedTuple):
    """A name that an import statement binds.

    Attributes:
        name: the name.
        module: the module's full name.
        attribute: what is imported from it; "*" for all; None for the module itself.
        renamed: whether `import a.b as name` binds the module a.b instead of a.
    """

    name: str
    module: str
    attribute: str | None
    renamed: bool = False


class References(NamedTuple):
    """What a statement uses.

    Attributes:
        chains: global names with the attributes read from them.
        imports: what import statements in it bind.
    """

    chains: frozenset[Chain]
    imports: tuple[Alias, ...]


def references(node: ast.AST, package: str) -> References:
    """Return what a statement uses.

    Args:
        node: the statement.
        package: full name of the package around it, for relative imports.
    """
    finder = _Finder(package)
    finder.visit(node)
    return References(frozenset(finder.chains), tuple(finder.imports))


def chain_of(node: ast.AST) -> Chain:
    """Return the name and the attributes of `a.b.c`; nothing for other expressions."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def aliases(node: ast.AST, package: str) -> Iterator[Alias]:
    """Yield the names that a node binds if it is an import statement.

    Args:
        node: any node.
        package: full name of the package around it, for relative imports.
    """
    if isinstance(node, ast.Import):
        for one in node.names:
            name = one.asname or one.name.partition(".")[0]
            yield Alias(name, one.name, None, one.asname is not None)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        around = parts[: len(parts) - node.level + 1] if node.level else []
        module = ".".join([*around, *([node.module] if node.module else [])])
        for one in node.names:
            yield Alias(one.asname or one.name, module, one.name)


class _Scope(NamedTuple):
    """The names that a function or comprehension binds, by assignment or by import."""

    assigned: set[str]
    imported: set[str]


class _Finder(ast.NodeVisitor):
    """Collects chains that begin with a global or an imported name."""

    def __init__(self, package: str) -> None:
        self.chains: set[Chain] = set()
        self.imports: list[Alias] = []
        self._package = package
        self._scopes: list[_Scope] = []

    def _use(self, chain: Chain) -> None:
        for scope in reversed(self._scopes):
            if chain[0] in scope.imported:
                break
            if chain[0] in scope.assigned:
                return
        self.chains.add(chain)

    def visit_Name(self, node: ast.Name) -> None:
        """Use a name, unless it is bound here."""
        if isinstance(node.ctx, ast.Load):
            self._use((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Use a name with all attributes that are read from it."""
        chain = chain_of(node)
        if chain:
            self._use(chain)
        else:
            self.visit(node.value)

    def _visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.imports += aliases(node, self._package)

    visit_Import = visit_ImportFrom = _visit_import

    def visit_Global(self, node: ast.Global) -> None:
        """Use names that a function assigns outside."""
        for name in node.names:
            self._use((name,))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Leave the annotation out."""
        self._visit_all(part for part in (node.target, node.value) if part)

    def visit_arg(self, node: ast.arg) -> None:
        """Leave the annotation out."""

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        if not isinstance(node, ast.Lambda):
            self._visit_all(node.decorator_list)
        self.visit(node.args)  # the defaults
        self._scopes.append(_scope_of(node.args, body))
        self._visit_all(body)
        self._scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def _visit_comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        first = node.generators[0]
        self.visit(first.iter)  # in the scope around
        self._scopes.append(_Scope(_stored(one.target for one in node.generators), set()))
        for one in node.generators:
            self._visit_all([one.target, *([] if one is first else [one.iter]), *one.ifs])
        pair = isinstance(node, ast.DictComp)
        self._visit_all([node.key, node.value] if pair else [node.elt])
        self._scopes.pop()

    visit_ListComp = visit_SetComp = _visit_comprehension
    visit_DictComp = visit_GeneratorExp = _visit_comprehension


def _scope_of(arguments: ast.arguments, body: Iterable[ast.AST]) -> _Scope:
    """Return the names that a function binds itself, not in functions inside it."""
    arguments_of = (node for node in ast.walk(arguments) if isinstance(node, ast.arg))
    assigned = {node.arg for node in arguments_of}
    imported: set[str] = set()
    shared: set[str] = set()
    waiting = [*body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= {alias.name for alias in aliases(node, "")}
        elif isinstance(node, ast.Global):
            shared |= {*node.names}
        elif not isinstance(node, ast.Constant | ast.expr_context):
            assigned |= bound_names(node)
            if not isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)):
                waiting += ast.iter_child_nodes(node)
    return _Scope(assigned - shared, imported)


def bound_names(node: ast.AST) -> set[str]:
    """Return the names that a node itself binds in its scope, other than by import."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Name):
        return set() if isinstance(node.ctx, ast.Load) else {node.id}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return {node.name} if node.name else set()
    if isinstance(node, ast.MatchMapping):
        return {node.rest} if node.rest else set()
    return set()


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    return {name for root in nodes for node in ast.walk(root) for name in bound_names(node)}

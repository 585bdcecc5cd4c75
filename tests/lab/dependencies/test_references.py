"""The names that statements use: never fewer than Python looks up."""

import ast
import builtins
import random
import symtable

import pytest
from support.source_tree import modules

from cnnvis_lab.lab.dependencies.references import aliases, references


def _chains(code: str) -> set[str]:
    found = (references(node, "near") for node in ast.parse(code).body)
    return {".".join(chain) for one in found for chain in one.chains}


USES = {
    "a.b.c(d)[e].f": {"a.b.c", "d", "e"},
    "a = b": {"b"},
    "a.b = 1": {"a.b"},
    "a[b] += 1": {"a", "b"},
    "def f(a, *b, c=d, **e): return a, b, c, e, g": {"d", "g"},
    "def f(a: b) -> c: d: e = g": {"g"},
    "@a.b\ndef f(): global c; c = 1": {"a.b", "c"},
    "def f():\n    a = 1\n    def g(): return a, b\n    return g": {"b"},
    "def f():\n    def g(): a = 1\n    return a": {"a"},
    "def f():\n    a = 1\n    def g():\n        from . import a\n        return a": {"a"},
    "def f():\n    import a.b\n    a.b.c()": {"a.b.c"},
    "def f():\n    for a, (b, *c) in d:\n        with e as g: return a, b, c, g": {"d", "e"},
    "[a for a in a if b]": {"a", "b"},
    "{a: b for a in c for b in a}": {"c"},
    "lambda a=b: a + c": {"b", "c"},
    "def f():\n    if (a := b): return a": {"b"},
    "def f(x):\n    match x:\n        case [a, *b] | {'k': c, **d}: return a, b, c, d, e": {"e"},
    "def f():\n    try: g()\n    except a as b: return b": {"g", "a"},
    "class A(B, metaclass=C):\n    d = e\n    def f(self): return d": {"B", "C", "e", "d"},
    "async def f():\n    async for a in b: await a.c()": {"b"},
}


@pytest.mark.parametrize("code", USES)
def test_names_that_are_not_local_are_used(code):
    assert _chains(code) == USES[code]


def _looked_up(table: symtable.SymbolTable) -> set[str]:
    """Return the global names that the compiler looks up in a function and in those inside it."""
    names = {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return names.union(*map(_looked_up, table.get_children()))


def test_the_librarys_functions_use_the_names_that_the_compiler_looks_up():
    chosen = random.Random(0).sample(modules(), 60)
    for module in chosen:
        wanted: set[str] = set()
        for table in symtable.symtable(module.text, "module", "exec").get_children():
            wanted |= _looked_up(table)
        found = {chain for node in module.tree.body for chain in references(node, "").chains}
        assert wanted - vars(builtins).keys() - _only_annotations(module.tree) <= {
            *(chain[0] for chain in found),
            *(alias.name for node in ast.walk(module.tree) for alias in aliases(node, "")),
        }


def _only_annotations(tree: ast.Module) -> set[str]:
    """Return the names in annotations, which decide nothing."""
    found: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        if isinstance(node, ast.FunctionDef):
            found.append(node.returns)
    parts = (part for node in found if node for part in ast.walk(node))
    return {part.id for part in parts if isinstance(part, ast.Name)}


def test_imports_are_resolved_against_the_package_around_them():
    code = "import a.b, c as d\nfrom . import e\nfrom ..f.g import h as i\nfrom j import *"
    found = [alias for node in ast.parse(code).body for alias in aliases(node, "one.two")]
    assert [tuple(alias) for alias in found] == [
        ("a", "a.b", None, False),
        ("d", "c", None, True),
        ("e", "one.two", "e", False),
        ("i", "one.f.g", "h", False),
        ("*", "j", "*", False),
    ]

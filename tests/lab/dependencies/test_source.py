"""A module's statements: what no run can notice leaves their text as it is."""

import pytest

from cnnvis_lab.lab.dependencies.source import parse

CODE = '''"""What it is."""
import os
from . import b as c

TABLE = {"a": 1}
TABLE["b"] = 2


class One:
    """A class."""

    x: int = 1

    def run(self, n: int = 2) -> int:
        """Do it."""
        return n + self.x


def f(n=3):
    return One().run(n)
'''
SAME = {
    "a comment": ("x: int = 1", "x: int = 1  # one"),
    "a docstring": ('"""Do it."""', '"""Do it well."""'),
    "no docstring": ('    """A class."""\n', ""),
    "the module's docstring": ('"""What it is."""', '"""What it was."""'),
    "an annotation": ("n: int = 2) -> int", "n=2) -> float"),
    "line breaks": ("return n + self.x", "return (\n            n + self.x\n        )"),
    "blank lines": ("import os\n", "\n\nimport os\n"),
}
DIFFERENT = {
    "a default": ("n: int = 2", "n: int = 3"),
    "a field": ("x: int = 1", "x: float = 1"),
    "an operator": ("n + self.x", "n - self.x"),
    "a key": ('TABLE["b"]', 'TABLE["c"]'),
    "an import": ("import b as c", "import d as c"),
    "a text that is no docstring": ('{"a": 1}', '{"A": 1}'),
}


def _texts(code: str) -> list[str]:
    return [statement.text for statement in parse(code, "near").statements]


@pytest.mark.parametrize("change", SAME)
def test_what_no_run_can_notice_is_left_out(change):
    old, new = SAME[change]
    assert old in CODE and _texts(CODE) == _texts(CODE.replace(old, new))


@pytest.mark.parametrize("change", DIFFERENT)
def test_every_other_change_is_seen_in_one_statement(change):
    old, new = DIFFERENT[change]
    pairs = zip(_texts(CODE), _texts(CODE.replace(old, new)), strict=True)
    assert sum(one != other for one, other in pairs) == 1


def test_every_statement_that_binds_a_name_is_found():
    source = parse(CODE, "near")
    assert {name: len(found) for name, found in source.bindings.items()} == {
        "os": 1, "c": 1, "TABLE": 2, "One": 1, "f": 1,
    }  # fmt: skip
    assert source.effects == ()


def test_what_only_type_checkers_import_is_declared():
    inside = "    from .b import f\n    from . import b"
    code = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n{inside}"
    source = parse(code, "near")
    assert source.bindings.keys() == {"TYPE_CHECKING"}
    assert {name: alias.module for name, alias in source.declared.items()} == {"f": "near.b"}

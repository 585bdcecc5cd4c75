"""Follow names from code into a package: through imports, packages' doors and definitions.

A module's functions, classes and values count if something that counts names them. The rest of what
importing a module executes, such as registrations, counts with every import of it.
"""

import hashlib
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from ...core import FileError
from ..records import PACKAGE
from .references import Alias, Chain
from .source import Source, Statement, parse

_BY_NAME = {"import_module", "__import__"}
_DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image"}  # where the names differ


@dataclass(frozen=True)
class Dependencies:
    """What some code depends on.

    Attributes:
        digests: module -> digest of its statements that the code executes or can execute.
        names: module -> the names that these statements bind.
        imported: modules that are imported, also those of which nothing is used.
        external: other packages that are imported by statements that count.
    """

    digests: dict[str, str]
    names: dict[str, frozenset[str]]
    imported: frozenset[str]
    external: frozenset[str]


def find_dependencies(code: str, package: Path = PACKAGE) -> Dependencies:
    """Return what code depends on in a package.

    Args:
        code: Python code that uses the package.
        package: the package's folder.

    Raises:
        SyntaxError: the code is not Python.
        FileError: a module of the package is not Python.
    """
    search = _Search(package)
    search.run(code)
    digests, names = {}, {}
    for module, indices in sorted(search.used.items()):
        source = search.source(module)
        text = "\n".join(source.statements[index].text for index in sorted(indices))
        digests[module] = hashlib.sha256(text.encode()).hexdigest()
        bound = (name for name, where in source.bindings.items() if indices.intersection(where))
        names[module] = frozenset(bound)
    return Dependencies(digests, names, frozenset(search.imported), frozenset(search.external))


def code_digest(code: str, package: Path = PACKAGE) -> str:
    """Return a digest of all that code depends on: statements of a package, other packages, Python.

    Args:
        code: Python code that uses the package.
        package: the package's folder.

    Raises:
        SyntaxError: the code is not Python.
        FileError: a module of the package is not Python.
    """
    found = find_dependencies(code, package)
    versions = {name: _version(name) for name in found.external - sys.stdlib_module_names}
    state = {"code": found.digests, "versions": versions, "python": python_version()}
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


@cache
def _version(package: str) -> str | None:
    """Return the version of an importable package; None if it is not installed."""
    try:
        return version(_DISTRIBUTIONS.get(package, package))
    except PackageNotFoundError:
        return None


class _Search:
    """The statements found so far, and those whose names must still be followed."""

    def __init__(self, package: Path) -> None:
        self._folder, self._root = package.parent, package.name
        self._sources: dict[str, Source] = {}
        self._paths: dict[str, Path | None] = {}
        self._waiting: list[tuple[str, int]] = []
        self._seen: set[tuple[str, Chain]] = set()
        self.used: dict[str, set[int]] = defaultdict(set)
        self.imported: set[str] = set()
        self.external: set[str] = set()

    def run(self, code: str) -> None:
        """Follow all names of some code."""
        main = parse(code, "")
        self._sources[""] = main
        self._waiting = [("", index) for index in range(len(main.statements))]
        for alias in main.declared.values():
            self._execute(alias)
        while self._waiting:
            module, index = self._waiting.pop()
            self._follow(module, index)
        self.used.pop("", None)

    def source(self, module: str) -> Source:
        """Return a module's source."""
        if module not in self._sources:
            path = self._path(module)
            assert path is not None, module
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            try:
                self._sources[module] = parse(path.read_text(encoding="utf-8"), package)
            except SyntaxError as error:
                raise FileError(f"{path} is not Python ({error.msg}); repair it") from None
        return self._sources[module]

    def _path(self, module: str) -> Path | None:
        """Return a module's file; None if it is not a module of the package."""
        if module.partition(".")[0] != self._root:
            return None
        if module not in self._paths:
            path = self._folder.joinpath(*module.split("."))
            files = (path / "__init__.py", path.with_suffix(".py"))
            self._paths[module] = next((file for file in files if file.is_file()), None)
        return self._paths[module]

    def _use(self, module: str, index: int) -> None:
        if index not in self.used[module]:
            self.used[module].add(index)
            self._waiting.append((module, index))

    def _follow(self, module: str, index: int) -> None:
        """Follow what a statement uses."""
        statement = self.source(module).statements[index]
        if statement.alias:
            self._execute(statement.alias)
        for alias in statement.uses.imports:
            self._execute(alias)
        is_door = index in self.source(module).bindings.get("__getattr__", ())
        for chain in statement.uses.chains:
            if _BY_NAME & {*chain} and not is_door and self._names_package(statement):
                self._use_everything(self._root)
            self._use_name(module, chain)
            self._use_imports(module, statement, chain)

    def _names_package(self, statement: Statement) -> bool:
        """Return whether a statement that imports by name can mean modules of this package."""
        own = {("__name__",), ("__package__",)} & statement.uses.chains
        return bool(own) or f"Constant(value='{self._root}" in statement.text

    def _import(self, module: str) -> None:
        """Execute a module: its imports, and what does more than bind names."""
        if module in self.imported or self._path(module) is None:
            return
        self.imported.add(module)
        self._import(module.rpartition(".")[0])
        source = self.source(module)
        for index in source.effects:
            if not self._only_manages_contexts(module, source.statements[index]):
                self._use(module, index)
        for statement in source.statements:
            if statement.alias:
                self._execute(statement.alias)

    def _only_manages_contexts(self, module: str, statement: Statement) -> bool:
        """Return whether all decorators are context managers of the package, run by each call."""
        decorators = [self._definition(module, chain) for chain in statement.decorators]
        return bool(decorators) and all(one and one.makes_context_manager for one in decorators)

    def _definition(self, module: str, chain: Chain) -> Statement | None:
        """Return the statement that defines what a name in a module stands for."""
        if not chain or self._path(module) is None:
            return None
        source = self.source(module)
        for index in source.bindings.get(chain[0], ()):
            statement, alias = source.statements[index], source.statements[index].alias
            if alias is None:
                return statement
            if alias.attribute:
                return self._definition(alias.module, (alias.attribute, *chain[1:]))
        return None

    def _execute(self, alias: Alias) -> None:
        """Execute an import without using what it binds."""
        if alias.module.partition(".")[0] != self._root:
            return
        self._import(alias.module)
        if alias.attribute and self._path(alias.module):
            self._import(f"{alias.module}.{alias.attribute}")
            door = self.source(alias.module)
            if alias.attribute not in door.bindings and alias.attribute in door.declared:
                self._execute(door.declared[alias.attribute])

    def _use_name(self, module: str, chain: Chain) -> bool:
        """Use a name of a module, and what is read from it; return whether the module has it."""
        source, name = self.source(module), chain[0]
        found = name in source.bindings
        if (module, chain) in self._seen:
            return found
        self._seen.add((module, chain))
        for index in source.bindings.get(name, ()):
            self._use(module, index)
            self._use_imports(module, source.statements[index], chain)
        for alias in () if found else self._stars(source):
            found |= self._use_attribute(alias.module, chain)
        return found

    def _stars(self, source: Source) -> list[Alias]:
        indices = source.bindings.get("*", ())
        return [alias for index in indices if (alias := source.statements[index].alias)]

    def _use_imports(self, module: str, statement: Statement, chain: Chain) -> None:
        """Use what a statement imports under a name."""
        for alias in [statement.alias] if statement.alias else statement.uses.imports:
            if alias.name == chain[0]:
                self._use_import(module, alias, chain[1:])

    def _use_import(self, module: str, alias: Alias, rest: Chain) -> None:
        """Use what an import statement in a module binds."""
        if alias.module.partition(".")[0] != self._root:
            self.external.add(alias.module.partition(".")[0])
        elif alias.attribute is None:
            self._import(alias.module)
            self._use_module(alias.module if alias.renamed else self._root, rest)
        elif alias.module == module:  # from . import submodule
            self._use_submodule(module, (alias.attribute, *rest))
        else:
            self._use_attribute(alias.module, (alias.attribute, *rest))

    def _use_module(self, module: str, rest: Chain) -> None:
        if rest:
            self._use_attribute(module, rest)
        else:  # whoever holds a module can use all of it
            self._use_everything(module)

    def _use_submodule(self, module: str, chain: Chain) -> bool:
        """Use a module of a package; return whether there is such a module."""
        submodule = f"{module}.{chain[0]}"
        if self._path(submodule) is None:
            return False
        self._import(submodule)
        self._use_module(submodule, chain[1:])
        return True

    def _use_attribute(self, module: str, chain: Chain) -> bool:
        """Use what other code reads from a module; return whether there is such a thing."""
        if self._path(module) is None:
            return False
        self._import(module)
        if self._use_name(module, chain):
            return True
        source, name = self.source(module), chain[0]
        for index in source.bindings.get("__getattr__", ()):
            self._use(module, index)
        found = self._use_submodule(module, chain)
        if name in source.declared:
            self._use_import(module, source.declared[name], chain[1:])
        elif not found and "__getattr__" in source.bindings:
            self._use_everything(module)
        return found or "__getattr__" in source.bindings

    def _use_everything(self, module: str) -> None:
        """Use all of a module, and all modules in a package."""
        path = self._path(module)
        if path is None:
            return
        self._import(module)
        source = self.source(module)
        for name in source.bindings:
            self._use_name(module, (name,))
        for index in range(len(source.statements)):
            self._use(module, index)
        if path.name == "__init__.py":
            for file in sorted(path.parent.glob("*")):
                submodule = f"{module}.{file.stem}"
                if submodule not in self.imported and not file.stem.startswith("__"):
                    self._use_everything(submodule)

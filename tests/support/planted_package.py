"""Random packages in which every function calls all that it names, and nothing else."""

import random
from pathlib import Path

MODULES = ("alpha", "beta", "near/one", "near/two", "lazy/three", "lazy/four", "omega")
FORMS = ("name", "renamed", "module", "dotted", "late", "door", "door name", "relative", "value")
WRAPPERS = (
    "{call}",
    "[{call} for _ in (0,)][0]",
    "(lambda: {call})()",
    "sum(one for one in ({call},))",
    "max(({call} if second else 0) for second in (1, 2))",
)
LAZY_DOOR = """from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import four, three
{declared}

_HOMES = {homes}


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module("." + _HOMES[name], __name__), name)
    if name in ("three", "four"):
        return import_module("." + name, __name__)
    raise AttributeError(name)
"""


def write(folder: Path, package: str, seed: int, functions: int = 4) -> dict[str, Path]:
    """Write a package whose functions return numbers; return function -> its file."""
    chance = random.Random(seed)
    home: dict[str, str] = {}
    for module in MODULES:
        lines: list[str] = []
        for _ in range(functions):
            name = f"f{len(home)}"
            lines += _function(chance, package, module, name, home)
            home[name] = module
        _write(folder / package / f"{module}.py", "\n".join(lines))
    by_door = {door: {f: m for f, m in home.items() if m.startswith(door)} for door in DOORS}
    eager = [f"from .{m.partition('/')[2]} import {f}" for f, m in by_door["near"].items()]
    _write(folder / package / "near/__init__.py", "\n".join(eager))
    homes = {f: m.partition("/")[2] for f, m in by_door["lazy"].items()}
    declared = "\n".join(f"    from .{m} import {f}" for f, m in homes.items())
    _write(folder / package / "lazy/__init__.py", LAZY_DOOR.format(declared=declared, homes=homes))
    _write(folder / package / "__init__.py", "")
    return {name: folder / package / f"{module}.py" for name, module in home.items()}


DOORS = ("near", "lazy")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def _function(
    chance: random.Random, package: str, module: str, name: str, home: dict[str, str]
) -> list[str]:
    """Return the lines of a function that calls up to three earlier ones."""
    above, inside, calls = [], [], []
    for called in chance.sample(sorted(home), min(len(home), chance.randrange(4))):
        before, within, call = _call(chance, package, module, called, home)
        above += before
        inside += within
        calls.append(chance.choice(WRAPPERS).format(call=call))
    hidden = chance.choice(sorted(home)) if home else "other"  # a parameter hides a function
    value = " + ".join(["1000", *calls])
    if any(f"{hidden}()" in call for call in calls):
        hidden = "other"
    body = [f"    {line}" for line in [*inside, f"{hidden} = len([{hidden}])", f"return {value}"]]
    kind = chance.choice(["plain", "nested", "method", "cached"])
    if kind == "nested":
        body = [f"    def inner({hidden}):", *(f"    {line}" for line in body)]
        return [*above, "", f"def {name}({hidden}=0):", *body, f"    return inner({hidden})", ""]
    if kind == "method":
        body = [f"    def run(self, {hidden}=0):", *(f"    {line}" for line in body)]
        use = [f"def {name}():", f"    return Class_{name}().run()", ""]
        return [*above, "", f"class Class_{name}:", *body, "", "", *use]
    first = ["import functools", "@functools.cache"] if kind == "cached" else []
    return [*above, "", *first, f"def {name}({hidden}=0):", *body, ""]


def _call(
    chance: random.Random, package: str, module: str, called: str, home: dict[str, str]
) -> tuple[list[str], list[str], str]:
    """Return lines above the function, lines in it, and the call."""
    theirs = home[called]
    full = f"{package}.{theirs.replace('/', '.')}"
    parent, _, last = full.rpartition(".")
    if theirs == module:
        return [], [], f"{called}()"
    form = chance.choice(FORMS)
    if form == "renamed":
        return [f"from {full} import {called} as {called}_renamed"], [], f"{called}_renamed()"
    if form == "module":
        return [f"from {parent} import {last} as {last}_module"], [], f"{last}_module.{called}()"
    if form == "dotted":
        return [f"import {full}"], [], f"{full}.{called}()"
    if form == "late":
        return [], [f"from {full} import {called} as late_{called}"], f"late_{called}()"
    if form in ("door", "door name") and "/" in theirs:
        door = theirs.partition("/")[0]
        if form == "door":
            return [f"from {package} import {door}"], [], f"{door}.{called}()"
        if not module.startswith(door):
            return [f"from {package}.{door} import {called}"], [], f"{called}()"
    if form == "relative":
        up = "." * (module.count("/") + 1)
        return [f"from {up}{theirs.replace('/', '.')} import {called}"], [], f"{called}()"
    if form == "value":
        lines = [f"from {full} import {called}", f"value_of_{called} = {called}"]
        return lines, [], f"value_of_{called}()"
    return [f"from {full} import {called}"], [], f"{called}()"

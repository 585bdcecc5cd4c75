"""Parameters of notebooks: a cell of lines like `KEPT: float = 0.5  # fraction kept (0 to 1)`.

A line's comment ends with the range of its numbers in brackets, if they have one: `(0 to 1)`, or
some of `at least`, `at most`, `above` and `below` a number or one of the notebook's sizes, such as
`(at least 0, below images)`. Names are declared in the comment, too: `a key of inversion.RECIPES`,
`names in data.images.PHOTOGRAPHS`, `a name in models.names()`, `layers of MODEL`, or
`layers of MODEL with maps`, `torch device`, and the keys of a dict: `for models.load: input_size,
channels`. What files and folders are is declared, too: see `inputs`.
"""

import ast
import json
import math
import operator
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pkgutil import resolve_name
from typing import Any

from ..core import FileError, InputError, LabError, not_found

_TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}
_LIMITS = {"at least": operator.ge, "at most": operator.le, "above": operator.gt}
_LIMITS |= {"below": operator.lt}
_EXAMPLES = {"list": ["one", "another"], "dict": {"input_size": 28, "channels": 1}}
_BOUND = re.compile(r"(at least|at most|above|below) (-?[\w.]+)")
_KEYS = re.compile(r"for [\w.]+: ([\w, ]+)")
_LISTED = re.compile(r"(?:an? )?(?:key of|names? in) ([\w.]+)\.(\w+)")


@dataclass(frozen=True)
class Parameter:
    """A line of the parameters cell.

    Attributes:
        name: in upper case.
        kind: the type: int, float, str, bool, list or dict.
        default: a literal of that type.
        help: the comment of the line.
        item: the type of a list's items; empty for any.
    """

    name: str
    kind: str
    default: object
    help: str
    item: str = ""

    def accepts(self, value: object) -> bool:
        """Whether a value has the parameter's type; an int is accepted as a float."""
        if not _has_type(value, self.kind):
            return False
        return not self.item or all(_has_type(part, self.item) for part in _parts(value))

    @property
    def type(self) -> str:
        """The type as it is declared, such as list[str]."""
        return f"{self.kind}[{self.item}]" if self.item else self.kind

    @property
    def range(self) -> str:
        """The declared range, such as "0 to 1"; empty for none."""
        found = re.search(r"\(([^()]*)\)$", self.help)
        text = found[1] if found else ""
        is_range = all(map(_BOUND.fullmatch, text.split(", "))) or _interval(text)
        return text if text and is_range else ""

    def range_with(self, sizes: Mapping[str, object]) -> str:
        """Return the declared range, with the values of the sizes that it names.

        Args:
            sizes: what bounds can name.
        """
        named = (bound for _, bound in _BOUND.findall(self.range) if bound in sizes)
        values = ", ".join(f"{bound} is {sizes[bound]}" for bound in named)
        return f"{self.range}; {values}" if values else self.range

    @property
    def comment(self) -> str:
        """The comment of the line without the range."""
        return self.help.removesuffix(f"({self.range})").rstrip() if self.range else self.help

    def check_range(self, value: object, sizes: Mapping[str, object]) -> None:
        """Check that numbers are finite and within the declared range.

        Args:
            value: of the parameter's type.
            sizes: what bounds can name.

        Raises:
            InputError: they are not.
        """
        low_high = _interval(self.range)
        ends = zip(("at least", "at most"), low_high, strict=False) if low_high else ()
        bounds = [*ends, *_BOUND.findall(self.range)]
        for number in _parts(value):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"{self.name} = {value!r}, expected finite numbers")
            for relation, bound in bounds:
                try:
                    limit = float(str(sizes.get(bound, bound)))
                except ValueError:
                    raise InputError(f"{self.name}: the size {bound} is no number") from None
                if isinstance(number, int | float) and not _LIMITS[relation](number, limit):
                    where = self.range + (f", which are {limit:g}" if bound in sizes else "")
                    raise InputError(f"{self.name} = {value!r}, expected {where}")

    def check_names(
        self, value: object, model: str, model_options: Mapping[str, Any] | None = None
    ) -> None:
        """Check that names are among those that the comment refers to; imports what lists them.

        Args:
            value: of the parameter's type.
            model: the value of MODEL.
            model_options: the value of MODEL_OPTIONS.

        Raises:
            NameNotFound: one is not; the message suggests similar names.
            InputError: a torch device that does not exist here.
        """
        parts = [part for part in _parts(value) if part]
        if self.help.startswith("torch device"):
            for device in parts:
                check_device(self.name, str(device))
        elif "layers of MODEL" in self.help:
            with_maps = "layers of MODEL with maps" in self.help
            _check_layers(self.name, parts, model, model_options or {}, with_maps)
        elif isinstance(value, dict) and (found := _KEYS.match(self.help)):
            for key in value:
                if key not in found[1].split(", "):
                    raise not_found(f"key of {self.name}", str(key), found[1].split(", "))
        elif found := _LISTED.search(self.help):
            known = _listed(*found.groups())
            for part in parts:
                given = {":", "="} & {*str(part)}  # timm's, the user's own code, a weights file
                if part not in known and not given:
                    raise not_found(f"value of {self.name}", str(part), known)


def _parts(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else [value]


def _has_type(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))


def _interval(text: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"(-?[\d.]+) to (-?[\d.]+)", text)
    return (found[1], found[2]) if found else None


def _listed(module: str, name: str) -> list[str]:
    """Return what a table, or a function without arguments, of this package lists."""
    first = module.split(".")[0]
    inside = "" if first in ("core", "data", "models") else "methods."
    # Looked up by its name, which `dependencies` does not follow: a check draws nothing.
    listed = resolve_name(f"cnnvis_lab.{inside}{module}:{name}")
    return list(listed() if callable(listed) else listed)


def check_device(name: str, device: str) -> None:
    """Check that one can compute on a torch device.

    Args:
        name: of the parameter or option, for the message.
        device: name of the device.

    Raises:
        InputError: there is no such device here, or its tensors have no values ("meta").
    """
    import torch

    try:
        torch.ones(1, device=device).item()  # fails on "meta"
    except Exception as error:  # of any kind: each backend has its own
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{name}: device {device!r} cannot be used here ({reason}); try 'cpu'"
        ) from None


def _check_layers(
    name: str, given: list, model: str, options: Mapping[str, Any], with_maps: bool
) -> None:
    if not given:
        return
    # All by name, as in `_listed`.
    network = resolve_name("cnnvis_lab.models:load")(model, weights="random", **options)
    features = resolve_name("cnnvis_lab.core.features")
    resolve = resolve_name("cnnvis_lab.core.hooks:resolve")
    try:
        for layer in given:
            resolve(network, layer)
    except LabError as error:
        raise InputError(f"{name}: {error}") from None
    if with_maps:
        blank = features.blank_image(network, network.card.input_size)
        for layer, values in features.extract(network, blank, given).items():
            if values.ndim != 4:
                raise InputError(f"{name}: {layer} has no maps; give layers before it")


def parse_cell(cell: str, where: str) -> dict[str, Parameter]:
    """Read a parameters cell.

    Args:
        cell: its source.
        where: the notebook, for error messages.

    Returns:
        Name -> parameter, in the order of the lines.

    Raises:
        FileError: a line is not as it should be.
    """
    try:
        lines = ast.parse(cell).body
    except SyntaxError as error:
        raise FileError(f"{where}: parameters cell: line {error.lineno}: {error.msg}") from None
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(cell).readline)
        if token.type == tokenize.COMMENT
    }
    parameters = {}
    for line in lines:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            raise FileError(f"{where}: parameters cell: expected lines like STEPS: int = 64  # ...")
        name, (kind, _, item) = line.target.id, ast.unparse(line.annotation).partition("[")
        try:
            default = ast.literal_eval(line.value or "")
            help = comments.get(line.end_lineno or 0, "")
            item = item.removesuffix("]")
            parameter = Parameter(name, kind, default, help, item)
            if item and (kind != "list" or item not in _TYPES):
                raise ValueError
            if not (name.isupper() and parameter.accepts(default)):
                raise ValueError
        except (ValueError, KeyError, SyntaxError):
            raise FileError(
                f"{where}: parameter {name}: expected an upper-case name and a literal of type "
                "int, float, str, bool, dict, list, or list[str] and the like"
            ) from None
        parameters[name] = parameter
    return parameters


def parse_value(parameter: Parameter, text: str) -> object:
    """Parse a text from the command line as a value of the parameter's type.

    Raises:
        InputError: the text is not such a value.
    """
    if parameter.kind == "str":
        return text
    try:
        value = json.loads(text) if text in ("true", "false") else ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    if value is None or not parameter.accepts(value):
        example = json.dumps(_EXAMPLES.get(parameter.kind, parameter.default))
        raise InputError(
            f"{parameter.name} = {text!r}: expected {parameter.type}, such as {example}"
        )
    return value

"""What a notebook declares, read without running it.

Its name is the one that it gives to `lab.begin`, whatever its file is called.
A notebook declares its parameters (the cell tagged `parameters`), its claims (the Markdown table
in the cell tagged `claims`: id, claim, source, quantity, expected) and, in its metadata under
`cnnvis`, the figures it draws, the notebooks it needs, its duration, its presets, the sizes that
depend on the preset without being parameters (numbers of images, steps), and what replaces
parameters that it no longer has. Exercises (the cells tagged `exercise` and `solution`) are
ignored: no figure depends on them.
"""

import json
import operator
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core import FileError, InputError, LabError, not_found
from .parameters import Parameter, parse_cell

MAX_BYTES = 200_000_000  # of a notebook
NAME = re.compile(r"\d\d_\w+")  # of a notebook's file
PRESETS = ("smoke", "default", "paper")
OWN = " of own networks"  # after a preset's name: sizes for networks that are not shipped
EXERCISE_TAGS = {"exercise", "solution"}  # tags of cells that renders omit
_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Claim:
    """A statement of the survey or a paper, and the number that decides whether it holds.

    Attributes:
        id: such as "AM1".
        text: the statement.
        source: where it is stated.
        quantity: what is measured.
        expected: a comparison and a bound, such as ">= 0.9".
    """

    id: str
    text: str
    source: str
    quantity: str
    expected: str

    def holds(self, measured: float) -> bool:
        """Whether a measured number is as expected."""
        sign, bound = self.expected.split()
        return bool(_COMPARISONS[sign](measured, float(bound)))


@dataclass(frozen=True)
class Notebook:
    """A notebook's declarations.

    Attributes:
        name: such as "01_activation_maximization".
        path: the file.
        title: the first heading.
        parameters: parameters by name.
        presets: preset -> parameter values that differ from the defaults.
        sizes: preset -> numbers by name in lower case; other presets change some of "default", and
            those that end in `OWN` some of theirs for networks that are not shipped.
        replaced: name of a former parameter -> what to use instead, such as "use PRESET".
        figures: ids of the figures that it draws.
        needs: notebooks that must run before it.
        minutes: duration with the default preset on two cores.
        claims: the claims that it measures.
        code: the code cells, joined, without exercises.
        claims_by_figure: figure -> ids of the claims that the same cell measures after it.
        source: all cells except exercises with their types and tags, to detect changes.
    """

    name: str
    path: Path
    title: str
    parameters: dict[str, Parameter]
    presets: dict[str, dict]
    sizes: dict[str, dict]
    replaced: dict[str, str]
    figures: tuple[str, ...]
    needs: tuple[str, ...]
    minutes: float
    claims: tuple[Claim, ...]
    code: str
    claims_by_figure: dict[str, tuple[str, ...]]
    source: str

    def resolve(self, preset: str, overrides: Mapping[str, object]) -> dict[str, object]:
        """Return the value of every parameter.

        Args:
            preset: "smoke", "default" or "paper". Its LAYERS belong to the notebook's own network
                and are ignored for another one.
            overrides: values by parameter name; PRESET precedes `preset`.

        Raises:
            InputError: an override of the wrong type, out of its range, with an unknown name, or of
                a parameter that was removed.
            NameNotFound: an unknown parameter or preset.
        """
        preset = str(overrides.get("PRESET", preset))
        if preset not in PRESETS:
            raise not_found("preset", preset, PRESETS)
        values = {name: parameter.default for name, parameter in self.parameters.items()}
        values |= {"PRESET": preset} if "PRESET" in values else {}
        chosen = dict(self.presets.get(preset, {}))
        if overrides.get("MODEL", values.get("MODEL")) != values.get("MODEL"):
            chosen.pop("LAYERS", None)
        for name, value in {**chosen, **overrides}.items():
            if name not in self.parameters:
                raise self.unknown_parameter(name)
            if not self.parameters[name].accepts(value):
                kind = self.parameters[name].type
                raise InputError(f"{self.name}: {name} = {value!r}, expected {kind}")
            values[name] = value
        self._check_values(values, chosen, preset)
        return values

    def _check_values(
        self, values: Mapping[str, object], chosen: Mapping[str, object], preset: str
    ) -> None:
        """Check ranges, and names other than those that the notebook and its preset declare."""
        sizes = self.sizes_of(preset)
        for name, parameter in self.parameters.items():
            try:
                parameter.check_range(values[name], sizes)
                if values[name] not in (parameter.default, chosen.get(name, parameter.default)):
                    model, options = values.get("MODEL", ""), values.get("MODEL_OPTIONS")
                    options = options if isinstance(options, dict) else {}
                    parameter.check_names(values[name], str(model), options)
            except LabError as error:
                raise InputError(f"{self.name}: {error}") from None

    def unknown_parameter(self, name: str) -> LabError:
        """Return the error for a parameter that the notebook does not have, or no longer has."""
        if name in self.replaced:
            instead = self.replaced[name]
            return InputError(f"{self.name}: {name} is no longer a parameter; {instead}")
        return not_found(f"parameter of {self.name}", name, self.parameters)

    def sizes_of(self, preset: str, *, own: bool = False) -> dict[str, object]:
        """Return the sizes of a preset by name.

        Args:
            preset: its name.
            own: whether the network is a user's own.
        """
        chosen = ["default", preset, *[f"{preset}{OWN}"] * own]
        return {name: size for key in chosen for name, size in self.sizes.get(key, {}).items()}


def folder() -> Path:
    """Return the folder of the notebooks: `$CNNVIS_NOTEBOOKS`, the installed ones, or a clone's.

    Raises:
        FileError: no such folder.
    """
    package = Path(__file__).parents[1]
    installed, checkout = package / "notebooks", package.parent / "notebooks"
    given = os.environ.get("CNNVIS_NOTEBOOKS")
    path = Path(given or (installed if installed.is_dir() else checkout))
    if not path.is_dir():
        # Kernels run in the folder of their notebook, where a relative path leads elsewhere.
        raise FileError(f"no notebooks at {path}; set CNNVIS_NOTEBOOKS to an absolute path")
    return path


def read_all(path: Path | None = None) -> dict[str, Notebook]:
    """Read every notebook of a folder that has a parameters cell, ordered by name.

    Of several with one name, such as copies, the one whose file is called so is read, else the
    first. Left out are hidden and empty files, and damaged ones of other names than "01_name".

    Raises:
        FileError: one of that name is not a notebook, or has malformed declarations.
    """
    chosen: dict[str, Path] = {}
    for file in sorted((path or folder()).glob("[!.]*.ipynb")):
        if file.is_file() and not file.read_bytes().strip():
            continue
        try:
            cells = read_cells(file)[0]
        except FileError:
            if NAME.fullmatch(file.stem):
                raise
            continue
        name = declared_name(cells) or file.stem
        if _sources_tagged(cells, "parameters") and (name not in chosen or file.stem == name):
            chosen[name] = file
    return {name: read(chosen[name]) for name in sorted(chosen)}


def declared_name(cells: list[dict]) -> str:
    """Return the name that a notebook's cells give to `lab.begin`; empty if none does."""
    code = "\n".join(cell_source(cell) for cell in cells if cell["cell_type"] == "code")
    found = re.search(r"""^[^#\n]*\bbegin\(\s*["']([\w.-]+)["']""", code, re.M)
    return found[1] if found else ""


def find(name: str, known: Mapping[str, Notebook]) -> Notebook:
    """Return the notebook with a name, or with an unambiguous beginning of its name ("01").

    Raises:
        NameNotFound: no such notebook, or several.
    """
    stem = Path(name).stem if name.endswith(".ipynb") else name
    matches = [stem] if stem in known else [one for one in known if one.startswith(stem)]
    if len(matches) != 1 or not stem:
        raise not_found("notebook", name, matches or known)
    return known[matches[0]]


def read(path: Path) -> Notebook:
    """Read a notebook's declarations.

    Raises:
        FileError: not a notebook, or one with malformed declarations.
    """
    all_cells, declared = read_cells(path)
    for name, fits in _DECLARATIONS.items():
        if name in declared and not fits(declared[name]):
            raise FileError(f"{path.name}: its {name} in the metadata cnnvis are malformed")
    cells = [cell for cell in all_cells if not EXERCISE_TAGS & tags(cell)]
    code = [cell_source(cell) for cell in cells if cell["cell_type"] == "code"]
    text = [cell_source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    tagged = _sources_tagged(cells, "parameters")
    if len(tagged) != 1:
        raise FileError(f"{path.name} has {len(tagged)} cells tagged parameters; expected one")
    heading = re.search(r"^#\s+(.+)$", "\n".join(text), re.M)
    name = declared_name(all_cells) or path.stem
    return Notebook(
        name=name,
        path=path,
        title=heading[1].strip() if heading else name,
        parameters=parse_cell(tagged[0], path.name),
        presets=declared.get("presets", {}),
        sizes=_checked_sizes(declared.get("sizes", {}), path.name),
        replaced=declared.get("replaced", {}),
        figures=tuple(declared.get("figures", ())),
        needs=tuple(declared.get("needs", ())),
        minutes=float(declared.get("minutes", 0)),
        claims=_parse_claims("\n".join(_sources_tagged(cells, "claims")), path.name),
        code="\n".join(code),
        claims_by_figure=_claims_by_figure(code),
        source=json.dumps([*map(_cell_identity, cells), declared], sort_keys=True),
    )


def _claims_by_figure(cells: list[str]) -> dict[str, tuple[str, ...]]:
    """Return figure -> the claims measured after it, as they are written in the cells."""
    claims: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        drawn = ""
        for call, id in re.findall(r"run\.(figure|measure)\(\s*\"([^\"]+)\"", cell):
            if call == "figure":
                claims.setdefault(drawn := id, ())
            elif drawn and id not in claims[drawn]:
                claims[drawn] += (id,)
    return claims


def _is_dict_of(kind: type) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(v, kind) for v in value.values())
    )


def _is_list_of(pattern: str) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, list) and all(re.fullmatch(pattern, str(name)) for name in value)
    )


# Declarations in a notebook's metadata, and what each of them must be.
_DECLARATIONS: dict[str, Callable[[object], bool]] = {
    "figures": _is_list_of(r"\w[\w.-]*"),  # which are file names, too
    "needs": _is_list_of(".+"),
    "minutes": lambda value: isinstance(value, int | float),
    "presets": _is_dict_of(dict),
    "sizes": _is_dict_of(dict),
    "replaced": _is_dict_of(str),
}


def read_cells(path: Path) -> tuple[list[dict], dict]:
    """Return a notebook file's cells and the declarations in its metadata.

    Raises:
        FileError: not a notebook.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(f"{path} has over {MAX_BYTES:,} bytes; expected a notebook")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if content["nbformat"] != 4:
            raise ValueError
        for cell in content["cells"]:
            _cell_identity(cell)
        return content["cells"], dict(content["metadata"].get("cnnvis", {}))
    except FileError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FileError(f"{path} is not a notebook; expected Jupyter's format 4") from None


def _cell_identity(cell: dict) -> tuple[str, str, list[str]]:
    """Return what matters when a cell is run: its type, source and tags."""
    return cell["cell_type"], cell_source(cell), sorted(tags(cell))


def tags(cell: Mapping) -> set[str]:
    """Return a cell's tags."""
    return set(cell.get("metadata", {}).get("tags", ()))


def cell_source(cell: dict) -> str:
    """Return a cell's source as one text."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _sources_tagged(cells: list[dict], tag: str) -> list[str]:
    return [cell_source(cell) for cell in cells if tag in tags(cell)]


def _checked_sizes(sizes: dict[str, dict], where: str) -> dict[str, dict]:
    known = sizes.get("default", {})
    for preset, values in sizes.items():
        for name in values:
            if preset.removesuffix(OWN) not in PRESETS or name not in known:
                raise FileError(f"{where}: size {name} of preset {preset} has no default")
    return sizes


def _parse_claims(table: str, where: str) -> tuple[Claim, ...]:
    claims = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.strip().startswith("|") or cells[0] == "id" or set(cells[0]) <= set(":- "):
            continue
        if len(cells) != 5 or not re.fullmatch(r"(>=|<=|>|<) -?\d+(\.\d+)?", cells[4]):
            raise FileError(
                f"{where}: claim {cells[0]!r}: expected | id | claim | source | quantity | >= 0.9 |"
            )
        claims.append(Claim(*cells))
    return tuple(claims)

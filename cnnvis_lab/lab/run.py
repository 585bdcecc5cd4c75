"""A run of a notebook: its parameters, its seeds, and the record of what it drew and measured."""

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import numpy as np
import torch
from IPython.display import Image, display
from matplotlib.figure import Figure
from safetensors.torch import save_file
from torch import Tensor

from ..core import InputError, files, not_found
from . import figures, notebooks
from .reproducibility import make_reproducible
from .verdicts import Verdict, Verdicts

PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "scikit-image")


class Run:
    """Collects what a notebook draws and measures; begun by `begin`, closed by `finish`.

    Attributes:
        notebook: the notebook's declarations.
        parameters: name -> value.
        out: folder for figures, arrays and the record; None where nothing is to be written.
    """

    def __init__(self, notebook: notebooks.Notebook, parameters: dict[str, object]) -> None:
        self.notebook, self.parameters = notebook, parameters
        self.out = Path(parameters["OUT"]) if parameters.get("OUT") else None
        self._figures: dict[str, dict] = {}
        self._metrics: dict[str, float] = {}
        self._measured: dict[str, tuple[float | None, str]] = {}

    def figure(
        self,
        id: str,
        figure: Figure,
        *,
        caption: str,
        alt: str,
        arrays: Mapping[str, Tensor | np.ndarray] | None = None,
    ) -> None:
        """Show a figure and, where the run writes, save it with the arrays behind it.

        Args:
            id: one of the figures the notebook declares, such as "F1a".
            figure: what to draw.
            caption: a sentence or two for the reader.
            alt: what is seen, for those who do not see it.
            arrays: name -> the numbers the figure shows.

        Raises:
            NameNotFound: an id the notebook does not declare.
        """
        if id not in self.notebook.figures:
            raise not_found(f"figure of {self.notebook.name}", id, self.notebook.figures)
        png = figures.to_png(figure)
        display(Image(data=png, alt=alt))
        entry = {"caption": caption, "alt": alt, "file": f"figures/{id}.png"}
        if self.out:
            files.write_atomically(self.out / entry["file"], png)
            entry["sha256"] = files.digest(self.out / entry["file"])
            if arrays:
                entry |= self._save_arrays(id, arrays)
        self._figures[id] = entry

    def show(self, figure: Figure, alt: str) -> None:
        """Show a figure without keeping it.

        Args:
            figure: what to draw.
            alt: what is seen, for those who do not see it.
        """
        display(Image(data=figures.to_png(figure), alt=alt))

    def _save_arrays(self, id: str, arrays: Mapping[str, Tensor | np.ndarray]) -> dict[str, str]:
        tensors = {
            name: array.detach().cpu().contiguous().clone()
            if isinstance(array, Tensor)
            else torch.from_numpy(np.array(array, order="C"))
            for name, array in arrays.items()
        }
        name = f"arrays/{id}.safetensors"
        with files.replace_atomically(self.out / name) as partial:
            save_file(tensors, partial)
        return {"arrays": name, "arrays_sha256": files.digest(self.out / name)}

    def metric(self, name: str, value: float) -> None:
        """Record a number worth keeping.

        Raises:
            InputError: the value is no number.
        """
        self._metrics[name] = _require_finite(f"metric {name}", value)

    def measure(self, id: str, value: float, note: str = "") -> None:
        """Record the number that decides a declared claim.

        Args:
            id: the claim's id.
            value: the quantity the claim names.
            note: what a reader should know about this number.

        Raises:
            NameNotFound: no such claim is declared.
            InputError: the value is no number.
        """
        self._measured[self._declared(id)] = (_require_finite(f"claim {id}", value), note)

    def cannot_measure(self, id: str, why: str) -> None:
        """Record that a declared claim cannot be measured on this network and data, and why."""
        self._measured[self._declared(id)] = (None, why)

    def _declared(self, id: str) -> str:
        known = [claim.id for claim in self.notebook.claims]
        if id not in known:
            raise not_found(f"claim of {self.notebook.name}", id, known)
        return id

    def finish(self) -> Verdicts:
        """Check that everything declared was done, write the record, return the claims' table.

        Raises:
            InputError: a declared claim was not measured, or a declared figure not drawn.
        """
        for claim in self.notebook.claims:
            if claim.id not in self._measured:
                raise InputError(f"claim {claim.id} was declared and not measured")
        for id in self.notebook.figures:
            if id not in self._figures:
                raise InputError(f"figure {id} was declared and not drawn")
        verdicts = Verdicts(Verdict(c, *self._measured[c.id]) for c in self.notebook.claims)
        if self.out:
            record = json.dumps(self._record(verdicts), indent=1, sort_keys=True)
            files.write_atomically(self.out / "run.json", record + "\n")
        return verdicts

    def _record(self, verdicts: Verdicts) -> dict:
        return {
            "notebook": self.notebook.name,
            "parameters": {k: v for k, v in self.parameters.items() if k != "OUT"},
            "figures": self._figures,
            "metrics": self._metrics,
            "claims": {
                v.claim.id: {"measured": v.measured, "holds": v.holds, "note": v.note}
                for v in verdicts
            },
            "inputs": files.recorded_inputs(),
            "environment": {
                **{name: version(name) for name in PACKAGES},
                "python": python_version(),
                "cpu": torch.backends.cpu.get_cpu_capability(),
                "threads": torch.get_num_threads(),
            },
        }


def _require_finite(what: str, value: float) -> float:
    if not math.isfinite(value):
        raise InputError(f"{what} measured {value}; expected a finite number")
    return float(value)


def begin(name: str, namespace: Mapping[str, object]) -> Run:
    """Begin a run: read the parameters, seed everything, pin the threads.

    Args:
        name: the notebook's file name without ending.
        namespace: the notebook's `globals()`.

    Returns:
        The run that collects figures, metrics and claims.

    Raises:
        InputError: a parameter of the wrong type.
        NameNotFound: no such notebook.
    """
    notebook = notebooks.find(name, notebooks.read_all())
    given = {key: namespace[key] for key in notebook.parameters if key in namespace}
    parameters = notebook.resolve("default", given)
    make_reproducible(int(parameters.get("SEED", 0)), int(parameters.get("THREADS", 2)))
    return Run(notebook, parameters)

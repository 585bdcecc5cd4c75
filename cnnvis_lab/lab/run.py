"""One run of a notebook: shows and saves its figures, and records metrics and claims."""

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from types import SimpleNamespace

import numpy as np
import torch
from IPython.display import Image, display
from matplotlib.figure import Figure
from torch import Tensor

from .. import models
from ..core import InputError, files, not_found
from . import figures, notebooks
from .reproducibility import make_reproducible
from .verdicts import Verdict, Verdicts

NOT_FINITE = "is not a finite number for this network: it divides by a quantity that is 0"
NOT_MEASURABLE = "needs labels or other networks that are missing here"
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "scikit-image")


class Run:
    """Records what a notebook draws and measures; created by `begin`, closed by `finish`.

    Attributes:
        notebook: the notebook's declarations.
        parameters: values by name.
        sizes: the preset's numbers that are no parameters, as attributes.
        out: folder for figures, arrays and the record; None to write nothing.
    """

    def __init__(self, notebook: notebooks.Notebook, parameters: dict[str, object]) -> None:
        self.notebook, self.parameters = notebook, parameters
        model = str(parameters.get("MODEL", ""))
        # Reads the table, an input of the run.
        self._is_own = bool(model) and model not in models.shipped()
        sizes = notebook.sizes_of(str(parameters.get("PRESET", "default")), own=self._is_own)
        self.sizes = SimpleNamespace(**sizes)
        self.out = files.expand(str(parameters["OUT"])) if parameters.get("OUT") else None
        self._figures: dict[str, dict] = {}
        self._metrics: dict[str, float] = {}
        self._measured: dict[str, tuple[float | None, str]] = {}
        self._reason = ""  # why the figure drawn last was left out

    def figure(self, id: str, drawing: figures.Drawing | str, *, question: str = "") -> None:
        """Show a figure and, if the run has a folder, save it with its data.

        Claims that are measured from here to the next figure belong to this one. If it is left
        out, so are those that the same cell measures, unless it measures them afterwards.

        Args:
            id: one of the figures the notebook declares, such as "F1a".
            drawing: the figure with its texts and numbers, from a builder of `lab.figures`; or a
                sentence that takes its place: why it is left out, and what to give instead.
            question: what a figure that the survey does not have answers.

        Raises:
            NameNotFound: the notebook declares no such figure.
        """
        if id not in self.notebook.figures:
            raise not_found(f"figure of {self.notebook.name}", id, self.notebook.figures)
        self._reason = drawing if isinstance(drawing, str) else ""
        if isinstance(drawing, str):
            drawing = figures.left_out(drawing)
        png = figures.to_png(drawing.figure)
        display(Image(data=png, alt=drawing.alt))
        entry: dict = {"caption": drawing.caption, "alt": drawing.alt, "file": f"figures/{id}.png"}
        entry |= {"question": question, "claims": []}
        if self.out:
            files.write_atomically(self.out / entry["file"], png)
            entry["sha256"] = files.digest(self.out / entry["file"])
            if drawing.arrays:
                entry |= _save_arrays(self.out, id, drawing.arrays)
        self._figures.pop(id, None)  # a cell that is run again draws the last figure again
        self._figures[id] = entry
        for claim in self.notebook.claims_by_figure.get(id, ()) if self._reason else ():
            self.measure(claim, None)

    def show(self, figure: Figure, alt: str) -> None:
        """Show a figure without saving it.

        Args:
            figure: the figure.
            alt: a description for readers who cannot see it.
        """
        display(Image(data=figures.to_png(figure), alt=alt))

    def metric(self, name: str, value: float) -> None:
        """Record a number, or nothing if it is not finite for a network of the user's own.

        Raises:
            InputError: the value is not finite for a shipped network.
        """
        if self._is_finite(f"metric {name}", value):
            self._metrics[name] = float(value)

    def measure(self, id: str, value: float | Tensor | str | None, note: str = "") -> None:
        """Record the number that decides a claim about the figure drawn last.

        Args:
            id: the claim's id.
            value: the quantity that the claim names, a number or a tensor of one; None if
                this network or these data do not allow to measure it; or a sentence that says why.
            note: a remark on this number for the reader; without a number, why the figure was left
                out.

        Raises:
            NameNotFound: the notebook declares no such claim.
            InputError: the value is not finite for a shipped network. For another one, such as one
                with random weights, the claim was not measured.
        """
        known = [claim.id for claim in self.notebook.claims]
        if id not in known:
            raise not_found(f"claim of {self.notebook.name}", id, known)
        if value is None or isinstance(value, str):
            self._measured[id] = (None, value or note or self._reason or NOT_MEASURABLE)
        elif self._is_finite(f"claim {id}", value):
            self._measured[id] = (float(value), note)
        else:
            self._measured[id] = (None, NOT_FINITE)
        if self._figures:
            claims = self._figures[next(reversed(self._figures))]["claims"]
            claims += [] if id in claims else [id]

    def _is_finite(self, what: str, value: float | Tensor) -> bool:
        if not (math.isfinite(value) or self._is_own):
            raise InputError(f"{what} measured {value}; expected a finite number")
        return math.isfinite(value)

    def finish(self) -> Verdicts:
        """Check that all declared figures and claims are there, and write the record.

        Returns:
            The verdicts of all claims, displayed as a table.

        Raises:
            InputError: a declared claim was not measured, or a declared figure not drawn.
        """
        for claim in self.notebook.claims:
            if claim.id not in self._measured:
                raise InputError(f"claim {claim.id} was declared but not measured")
        for id in self.notebook.figures:
            if id not in self._figures:
                raise InputError(f"figure {id} was declared but not drawn")
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


def _save_arrays(out: Path, id: str, arrays: Mapping[str, figures.Array]) -> dict[str, str]:
    tensors = {
        name: array.detach().cpu().contiguous().clone()
        if isinstance(array, Tensor)
        else torch.from_numpy(np.array(array, order="C"))
        for name, array in arrays.items()
    }
    name = f"arrays/{id}.safetensors"
    files.write_tensors(out / name, tensors)
    return {"arrays": name, "arrays_sha256": files.digest(out / name)}


def begin(name: str, namespace: Mapping[str, object]) -> Run:
    """Begin a run: read the parameters, seed all generators, set the number of threads.

    Args:
        name: the notebook's file name without suffix.
        namespace: the notebook's `globals()`.

    Returns:
        The run that collects figures, metrics and claims.

    Raises:
        InputError: a parameter of the wrong type, or one that the notebook no longer has.
        NameNotFound: no such notebook or preset.
    """
    notebook = notebooks.find(name, notebooks.read_all())
    for old in notebook.replaced.keys() & namespace.keys():
        raise notebook.unknown_parameter(old)
    given = {key: namespace[key] for key in notebook.parameters if key in namespace}
    parameters = notebook.resolve("default", given)
    make_reproducible(int(str(parameters.get("SEED", 0))), int(str(parameters.get("THREADS", 1))))
    return Run(notebook, parameters)

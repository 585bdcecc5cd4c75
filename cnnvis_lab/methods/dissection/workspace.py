"""The working folder of a dissection: cached cells for the second pass, and checkpoints.

Checkpoints are written by `save_*` every `EVERY` batches and read back by `restore_*`, which return
the number of finished batches.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...core import FileError
from ...core.files import write_atomically, write_tensors
from ...core.statistics import Quantiles, TopK
from ...models import weights
from .counts import Counts
from .masks import ActiveCells
from .plan import Plan


class Workspace:
    """A folder that a dissection works in.

    Attributes:
        path: the folder.
        byte_limit: maximum size of all cached cells; further batches are computed again.
        persistent: write checkpoints, so that another process can resume.
    """

    EVERY = 16  # batches between two checkpoints

    def __init__(self, path: Path, byte_limit: int, persistent: bool) -> None:
        self.path, self.byte_limit, self.persistent = path, byte_limit, persistent
        self.used = sum(file.stat().st_size for file in path.glob("cells-*.safetensors"))
        self._reserving = Lock()

    def floors(self) -> dict[str, Tensor]:
        """Return the levels above which cells are cached; empty before they are set."""
        return self._load("floors") if self._exists("floors") else {}

    def set_floors(self, floors: dict[str, Tensor]) -> None:
        """Set the levels above which cells are cached."""
        self._save("floors", floors)

    def save_cells(self, batch: int, cells: Mapping[str, ActiveCells]) -> None:
        """Cache a batch's cells by layer, if they fit; several threads may call this."""
        size = sum(array.nbytes for layer_cells in cells.values() for array in layer_cells)
        with self._reserving:
            if self.used + size > self.byte_limit:
                return
            self.used += size
        arrays = {f"{layer}.index": part.index for layer, part in cells.items()}
        arrays |= {f"{layer}.corners": part.corners for layer, part in cells.items()}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self._save(f"cells-{batch:07d}", tensors)

    def load_cells(self, batch: int, layers: Sequence[str]) -> dict[str, ActiveCells]:
        """Return a batch's cells in the given layers; empty if they were not cached."""
        if not layers or not self._exists(f"cells-{batch:07d}"):
            return {}
        parts = self._load(f"cells-{batch:07d}")
        return {
            name: ActiveCells(parts[f"{name}.index"].numpy(), parts[f"{name}.corners"].numpy())
            for name in layers
        }

    def save_threshold_pass(
        self, done: int, quantiles: Mapping[str, Quantiles], tops: Mapping[str, TopK]
    ) -> None:
        """Write a checkpoint of the first pass, if one is due.

        Args:
            done: number of finished batches.
            quantiles: layer -> quantiles so far.
            tops: layer -> top-activating images so far.
        """
        if not self._is_due(done):
            return
        self._save("first", pack(quantiles, tops) | {"done": torch.tensor(done)})

    def restore_threshold_pass(
        self, quantiles: Mapping[str, Quantiles], tops: Mapping[str, TopK]
    ) -> int:
        """Restore the checkpoint of the first pass and return the number of finished batches."""
        parts = self._checkpoint("first")
        if parts:
            unpack(parts, quantiles, tops)
        return int(parts.get("done", 0))

    def save_count_pass(self, done: int, counts: Counts) -> None:
        """Write a checkpoint of the second pass after `done` batches."""
        if self._is_due(done):
            self._save("second", counts.sums | {"done": torch.tensor(done)})

    def restore_count_pass(self, counts: Counts) -> int:
        """Restore the checkpoint of the second pass and return the number of finished batches."""
        parts = self._checkpoint("second")
        counts.sums |= {name: parts[name] for name in counts.sums if parts}
        return int(parts.get("done", 0))

    def save_part(self, name: str, numbers: set[int], state: Mapping[str, Tensor]) -> None:
        """Write what a pass that other processes share has found so far.

        Args:
            name: of the pass.
            numbers: the batches that are done.
            state: what they gave.
        """
        if self.persistent:
            self._save(name, {**state, "numbers": torch.tensor(sorted(numbers))})

    def restore_part(self, name: str) -> tuple[set[int], dict[str, Tensor]]:
        """Return the batches that are done and what they gave, as `save_part` wrote it."""
        state = self._checkpoint(name)
        return set(state.pop("numbers", torch.empty(0)).tolist()), state

    def _is_due(self, done: int) -> bool:
        return self.persistent and (done % self.EVERY == 0)

    def _checkpoint(self, name: str) -> dict[str, Tensor]:
        return self._load(name) if self.persistent and self._exists(name) else {}

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def _exists(self, name: str) -> bool:
        return self._file(name).exists()

    def _save(self, name: str, parts: Mapping[str, Tensor]) -> None:
        write_tensors(self._file(name), {key: part.contiguous() for key, part in parts.items()})

    def _load(self, name: str) -> dict[str, Tensor]:
        try:
            return load_file(self._file(name))
        except SafetensorError as error:
            raise FileError(f"{self._file(name)} is damaged ({error}); remove the folder") from None


def pack(quantiles: Mapping[str, Quantiles], tops: Mapping[str, TopK]) -> dict[str, Tensor]:
    """Return what the first pass has found as few tensors: buckets that are empty are left out.

    Args:
        quantiles: layer -> quantiles.
        tops: layer -> top-activating images.
    """
    parts = {}
    for layer, accumulator in quantiles.items():
        state = accumulator.filled() | tops[layer].state()
        parts |= {f"{layer}.{name}": value for name, value in state.items()}
    return parts


def unpack(
    parts: Mapping[str, Tensor], quantiles: Mapping[str, Quantiles], tops: Mapping[str, TopK]
) -> None:
    """Add what `pack` returned.

    Args:
        parts: what it returned.
        quantiles: layer -> quantiles to add to.
        tops: layer -> top-activating images to add to.
    """
    for layer, accumulator in quantiles.items():
        names = ("places", "counted", "floor", "lowest")
        accumulator.merge_filled(**{name: parts[f"{layer}.{name}"] for name in names})
        top = TopK(tops[layer].k)
        for name in top.state():
            setattr(top, name, parts[f"{layer}.{name}"])
        tops[layer].merge(top)


@contextmanager
def open_workspace(folder: str | Path | None, plan: Plan, byte_limit: int) -> Iterator[Workspace]:
    """Yield a workspace in the given folder, which persists, or in a temporary one.

    Args:
        folder: the folder; None for a temporary one.
        plan: plan of the dissection.
        byte_limit: maximum size of all cached cells.

    Raises:
        FileError: the folder belongs to another dissection.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="dissection-") as temporary:
            yield Workspace(Path(temporary), byte_limit, persistent=False)
        return
    folder = Path(folder)
    mark, expected = folder / "dissection.txt", _fingerprint(plan)
    if mark.exists() and mark.read_text() != expected:
        raise FileError(f"{folder} belongs to another dissection; give another folder")
    write_atomically(mark, expected)
    yield Workspace(folder, byte_limit, persistent=True)


def _fingerprint(plan: Plan) -> str:
    """Return a text that identifies network, images, layers and convention."""
    ends = [0, len(plan.data) - 1]
    data = hashlib.sha256(plan.data.batch(ends).numpy().tobytes())
    data.update(plan.data.label_maps(ends).numpy().tobytes())
    data.update(repr(sorted(plan.data.labels.values())).encode())
    lines = [
        f"weights {weights.state_digest(plan.model)}",
        f"images {len(plan.data)} {data.hexdigest()}",
        f"layers {' '.join(plan.layers)}, batches of {plan.batch}, top {plan.top}",
        f"convention {asdict(plan.convention)}",
    ]
    return "\n".join(lines) + "\n"

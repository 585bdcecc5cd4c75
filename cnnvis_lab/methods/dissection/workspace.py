"""What a dissection writes while it works: cells kept for the second pass, and where it stands."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...core import FileError, files
from ...core.statistics import Quantiles, TopK
from .counts import Counts
from .masks import ActiveCells
from .plan import Plan


class Workspace:
    """A folder that a dissection works in.

    Attributes:
        path: the folder.
        budget: bytes that kept cells may take; what does not fit is computed again.
        lasting: the state is written from time to time, so that another process can go on.
    """

    EVERY = 16  # batches between two states

    def __init__(self, path: Path, budget: int, lasting: bool) -> None:
        self.path, self.budget, self.lasting = path, budget, lasting
        self.used = sum(file.stat().st_size for file in path.glob("cells-*.safetensors"))
        self._reserving = Lock()

    def floors(self) -> dict[str, Tensor]:
        """Return the levels above which cells are kept, once they were set; none before."""
        known = (self.path / "floors.safetensors").exists()
        return self._load("floors") if known else {}

    def set_floors(self, floors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Set the levels above which cells are kept, and return them."""
        self._save("floors", floors)
        return floors

    def keep(self, batch: int, cells: Mapping[str, ActiveCells]) -> None:
        """Keep a batch's cells for the second pass, if they fit; several threads may call it."""
        size = sum(part.nbytes for kept in cells.values() for part in kept)
        with self._reserving:
            if self.used + size > self.budget:
                return
            self.used += size
        parts = {f"{layer}.place": kept.place for layer, kept in cells.items()}
        parts |= {f"{layer}.corners": kept.corners for layer, kept in cells.items()}
        self._save(f"cells-{batch:07d}", {n: torch.from_numpy(part) for n, part in parts.items()})

    def kept(self, batch: int, layers: Sequence[str]) -> dict[str, ActiveCells]:
        """Return a batch's cells in those of the layers of which they were kept."""
        if not (self.path / f"cells-{batch:07d}.safetensors").exists():
            return {}
        parts = self._load(f"cells-{batch:07d}")
        return {
            name: ActiveCells(parts[f"{name}.place"].numpy(), parts[f"{name}.corners"].numpy())
            for name in layers
        }

    def save_first(
        self, done: int, quantiles: Mapping[str, Quantiles], tops: Mapping[str, TopK]
    ) -> None:
        """Note that the first pass has done so many batches."""
        if not self._due(done):
            return
        parts = {"done": torch.tensor(done)}
        for layer, accumulator in quantiles.items():
            own = accumulator.state() | tops[layer].state()
            counts = own.pop("counts")
            filled = counts.flatten().nonzero()[:, 0]
            own |= {"filled": filled, "counted": counts.flatten()[filled]}
            own |= {"units": torch.tensor(len(counts))}
            parts |= {f"{layer}.{name}": value for name, value in own.items()}
        self._save("first", parts)

    def restore_first(self, quantiles: Mapping[str, Quantiles], tops: Mapping[str, TopK]) -> int:
        """Take up what `save_first` wrote; return how many batches are done."""
        parts = self._state("first")
        for layer, accumulator in quantiles.items() if parts else ():
            counts = torch.zeros(int(parts[f"{layer}.units"]) << Quantiles.BITS, dtype=torch.int64)
            counts[parts[f"{layer}.filled"]] = parts[f"{layer}.counted"]
            accumulator.counts = counts.view(-1, 1 << Quantiles.BITS)
            accumulator.floor = parts[f"{layer}.floor"]
            accumulator.lowest = parts[f"{layer}.lowest"]
            for name in tops[layer].state():
                setattr(tops[layer], name, parts[f"{layer}.{name}"])
        return int(parts.get("done", 0))

    def save_second(self, done: int, counts: Counts) -> None:
        """Note that the second pass has done so many batches."""
        if self._due(done):
            self._save("second", counts.state() | {"done": torch.tensor(done)})

    def restore_second(self, counts: Counts) -> int:
        """Take up what `save_second` wrote; return how many batches are done."""
        parts = self._state("second")
        counts.sums |= {name: parts[name] for name in counts.sums if parts}
        return int(parts.get("done", 0))

    def _due(self, done: int) -> bool:
        return self.lasting and (done % self.EVERY == 0)

    def _state(self, name: str) -> dict[str, Tensor]:
        there = self.lasting and (self.path / f"{name}.safetensors").exists()
        return self._load(name) if there else {}

    def _save(self, name: str, parts: Mapping[str, Tensor]) -> None:
        with files.replace_atomically(self.path / f"{name}.safetensors") as partial:
            save_file({key: part.contiguous() for key, part in parts.items()}, partial)

    def _load(self, name: str) -> dict[str, Tensor]:
        path = self.path / f"{name}.safetensors"
        try:
            return load_file(path)
        except SafetensorError as error:
            raise FileError(f"{path} is damaged ({error}); remove the folder") from None


@contextmanager
def open_workspace(folder: str | Path | None, plan: Plan, budget: int) -> Iterator[Workspace]:
    """Give a folder to work in: the caller's, which stays, or a temporary one.

    Raises:
        FileProblem: the folder belongs to another dissection.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="dissection-") as temporary:
            yield Workspace(Path(temporary), budget, lasting=False)
        return
    folder = Path(folder)
    mark, own = folder / "dissection.txt", fingerprint(plan)
    if mark.exists() and mark.read_text() != own:
        raise FileError(f"{folder} belongs to another dissection; give another folder")
    files.write_atomically(mark, own)
    yield Workspace(folder, budget, lasting=True)


def fingerprint(plan: Plan) -> str:
    """Return a text that differs where network, pictures, layers or convention do."""
    weights = hashlib.sha256()
    for name, value in plan.model.state_dict().items():
        weights.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    ends = [0, len(plan.data) - 1]
    shown = hashlib.sha256(plan.data.batch(ends).numpy().tobytes())
    shown.update(plan.data.label_maps(ends).numpy().tobytes())
    shown.update(repr(sorted(plan.data.labels.values())).encode())
    lines = [
        f"weights {weights.hexdigest()}",
        f"pictures {len(plan.data)} {shown.hexdigest()}",
        f"layers {' '.join(plan.layers)}, batches of {plan.batch}, top {plan.top}",
        f"convention {asdict(plan.convention)}",
    ]
    return "\n".join(lines) + "\n"

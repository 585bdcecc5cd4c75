"""The pages of an atlas, made of its chunks, and the files that it consists of."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....core import FileError, files, tasks
from ....data import LabelledSet
from ....methods import unit_profile
from ....methods.dissection import RunOptions, Spread
from ....methods.unit_profile import LayerScan
from ..html import file_stem, page
from . import chunks
from .plan import Chunk, Plan, Subject, make_plan, record_text, to_json
from .source import draw_chunk

OnProgress = Callable[[int, int], None]
Scans = Mapping[str, dict[str, Any]]  # layer -> its scan, as JSON stores it
Drawn = Iterator[tuple[Chunk, dict[str, bytes]]]  # each chunk, and the contents of its files
FOLDERS = ("scans", "units", "images", "data")
_OURS = re.compile(r".+-[0-9a-f]{12}(-[a-z]+)?\.(json|webp|js)")


def write_atlas(
    subject: Subject,
    out: str | Path,
    *,
    spread: Spread | None = None,
    on_scan: OnProgress | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write an atlas, or what is missing of it.

    Each chunk of units is written once; if the call is interrupted, the next one resumes. Files of
    the atlas that are no longer needed are removed, others in the folder are kept.

    Args:
        subject: what is shown.
        out: the folder.
        spread: processes that share the work, see `spread_on`; None to do it in this one.
        on_scan: called with (images done, total images) of the scan.
        on_progress: called with (thousandths of the work done, 1000).

    Returns:
        The page.

    Raises:
        NameNotFound: no such layer or backward rule.
        InputError: nothing to show, activations that are not finite, or a folder with the atlas of
            another network.
        FileError: records of the folder are odd.
    """
    plan = make_plan(subject, Path(out))
    missing = [chunk for chunk in plan.chunks if plan.read(chunk.record) is None]
    scans = _scan(
        plan, [chunk.layer for chunk in missing], RunOptions(on_progress=on_scan, spread=spread)
    )
    total, done = sum(chunk.cost for chunk in missing), 0.0
    for number, (chunk, contents) in enumerate(_draw(plan, missing, scans, spread), 1):
        for name, content in contents.items():
            files.write_atomically(plan.out / name, content)
        done += chunk.cost
        if on_progress:
            on_progress(1000 if number == len(missing) else int(1000 * done / total), 1000)
    return _write_site(plan)


def _draw(plan: Plan, missing: Sequence[Chunk], scans: Scans, spread: Spread | None) -> Drawn:
    """Draw chunks, one after another or elsewhere in any order."""
    if spread is None:
        for chunk in missing:
            yield chunk, chunks.draw(plan, chunk, LayerScan.from_json(scans[chunk.layer]))
        return
    shared: Any = spread.open_subject  # a `SharedSource`, see `spread_on`
    waiting = {
        spread.executor.submit(draw_chunk, shared, chunk, scans[chunk.layer]): chunk
        for chunk in missing
    }
    yield from tasks.completed(waiting, _describe)


def _describe(chunk: Chunk) -> str:
    return f"units {chunk.first} to {chunk.first + chunk.count - 1} of {chunk.layer}"


def _scan(plan: Plan, layers: Sequence[str], run: RunOptions) -> Scans:
    """Return the scans of layers; those that are not stored are made together, and stored."""
    needed = {layer: plan.scans[layer] for layer in layers}
    scans = {layer: _read_scan(plan, file) for layer, file in needed.items()}
    new = [layer for layer, scan in scans.items() if scan is None]
    if new:
        found = unit_profile.analyze_layers(
            plan.subject.model,
            new,
            plan.subject.data,
            top=unit_profile.TOP_COUNT,
            learn_vectors=False,
            run=run,
        )
        for layer, analysis in found.items():
            scan = unit_profile.summarize(analysis).to_json()
            files.write_atomically(plan.out / needed[layer], record_text(scan))
            scans[layer] = scan
    return {layer: scan for layer, scan in scans.items() if scan is not None}


def _read_scan(plan: Plan, file: str) -> dict[str, Any] | None:
    """Return a stored scan; None if it is missing, or is none."""
    stored = plan.read(file)
    try:
        if stored is not None:
            LayerScan.from_json(stored)
    except Exception:  # of any kind: the file may be foreign
        return None
    return stored


def _write_site(plan: Plan) -> Path:
    """Write the page and its data, then remove files that it no longer needs."""
    by_layer: dict[str, list[Mapping[str, Any]]] = {}
    for chunk in plan.chunks:
        record = json.loads((plan.out / chunk.record).read_text())
        by_layer.setdefault(chunk.layer, []).append(record)
    try:
        layers = [_write_layer(plan, layer, records) for layer, records in by_layer.items()]
    except (LookupError, TypeError, AttributeError, ValueError):  # whoever wrote them
        raise FileError(f"{plan.out / 'units'} has odd records; remove the folder") from None
    height, width = plan.subject.data.batch([0]).shape[-2:]
    summary = {
        "network": plan.subject.model.card.name,
        "weights": plan.network_key,
        "images": len(plan.subject.data),
        "imageKey": plan.image_key,
        "imageSize": [width, height],
        "labelled": isinstance(plan.subject.data, LabelledSet),
        "rule": plan.subject.rule,
        "layers": layers,
    }
    data = _write_script(plan.out, "summary", "atlas.start", summary)
    text = page("atlas.html", model=summary["network"], data=data)
    files.write_atomically(plan.out / "atlas.json", to_json(summary))
    files.write_atomically(plan.out / "index.html", text)
    needed = {data, *(layer["file"] for layer in layers), *plan.scans.values()}
    needed |= {chunk.record for chunk in plan.chunks}
    for record in (one for records in by_layer.values() for one in records):
        needed |= {*record["files"], *map(plan.image_file, record["images"])}
    _remove_unused(plan.out, needed)
    return plan.out / "index.html"


def _write_layer(plan: Plan, layer: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write what the page loads when it shows a unit of a layer; return what it always needs."""
    units = [unit for record in records for unit in record["units"]]
    file = _write_script(
        plan.out,
        file_stem(layer),
        "atlas.add",
        {
            "layer": layer,
            "notes": list(dict.fromkeys(note for record in records for note in record["notes"])),
            "units": units,
            "sprites": [record["sprites"] for record in records],
        },
    )
    found = Counter(unit["concepts"][0][1] for unit in units if unit["detector"])
    return {
        "name": layer,
        "file": file,
        "detectors": dict(sorted(found.items())),
        "unique": len({unit["concepts"][0][0] for unit in units if unit["detector"]}),
        "sprites": [record["sprites"].get("optimized") for record in records],
        "first": [record["units"][0]["unit"] for record in records],
        "units": [_brief(unit) for unit in units],
    }


def _brief(unit: Mapping[str, Any]) -> list[Any]:
    """Return what the page needs to search and to sort."""
    concept = unit["concepts"][0] if unit["concepts"] else ["", "", 0]
    effect = unit["effects"][0] if unit["effects"] else ["", 0]
    return [unit["unit"], unit["class"], unit["active"], unit["max"], *concept,
            int(unit["detector"]), *effect]  # fmt: skip


def _write_script(out: Path, stem: str, function: str, value: object) -> str:
    """Write a script that calls a function with a value; return its name, with a digest.

    A page that is opened from a folder may load scripts, but no other files.
    """
    text = f"{function}({to_json(value)});\n"
    name = f"data/{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.js"
    files.write_atomically(out / name, text)
    return name


def _remove_unused(out: Path, needed: set[str]) -> None:
    """Remove files of earlier atlases; only such as an atlas writes, by folder and name."""
    files.remove_partial(out, *(out / folder for folder in FOLDERS))
    for folder in FOLDERS:
        for file in (out / folder).glob("*"):
            if f"{folder}/{file.name}" not in needed and _OURS.fullmatch(file.name):
                file.unlink(missing_ok=True)

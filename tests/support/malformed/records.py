"""Results, recordings, checkpoints and notebooks of somebody else that cannot be used."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from cnnvis_lab.lab import notebooks
from cnnvis_lab.models.training import classifier

from .case import Case

NAME = "00_start_here"
Change = Callable[[dict], object]


def _record() -> dict:
    """Return a sound record of a notebook."""
    notebook = notebooks.read_all()[NAME]
    image = {"file": "figures/START.png", "caption": "c", "alt": "a"}
    return {
        "key": "0", "preset": "smoke", "command": "cnnvis render", "seconds": 1.0, "needed": {},
        "inputs": {}, "outputs": {}, "metrics": {"mean": 1.0}, "figures": {"START": image},
        "parameters": {name: one.default for name, one in notebook.parameters.items()},
        "claims": {c.id: {"measured": 1.0, "holds": True, "note": ""} for c in notebook.claims},
    }  # fmt: skip


def _written(change: Change) -> Callable[[Path], object]:
    """Return a function that writes a folder of results whose record is changed."""

    def write(folder: Path) -> None:
        (folder / "victim.png").write_text("mine")
        record = _record()
        change(record)
        (folder / "out" / "records").mkdir(parents=True)
        (folder / "out" / "figures").mkdir()
        (folder / "out" / "records" / f"{NAME}.json").write_text(json.dumps(record))

    return write


def _text(text: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "out" / "records").mkdir(parents=True)
        (folder / "out" / "records" / f"{NAME}.json").write_text(text)

    return write


def _is(part: str, value: object) -> Callable[[Path], object]:
    return _written(lambda record: record.update({part: value}))


def _output(path: str) -> Callable[[Path], object]:
    return _is("outputs", {path: "0" * 64})


def _recording(header: object, step: bytes = b"") -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "run").mkdir()
        text = header if isinstance(header, str) else json.dumps(header)
        (folder / "run" / "evolution.json").write_text(text)
        if step:
            (folder / "run" / "step-000000001.safetensors").write_bytes(step)

    return write


def _checkpoint(content: object, name: str = "alexnet_mini") -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "run").mkdir()
        file = folder / "run" / f"{name}.checkpoint.pt"
        file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)

    return write


def _notebook(change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Return a function that writes a changed notebook into the folder "books"."""

    def write(folder: Path) -> None:
        content = json.loads(notebooks.read_all()[NAME].path.read_text())
        change(content)
        (folder / "books").mkdir()
        (folder / "books" / f"{NAME}.ipynb").write_text(json.dumps(content))

    return write


def _declared(**values: object) -> Callable[[Path], object]:
    return _notebook(lambda content: content["metadata"]["cnnvis"].update(values))


def _cell(tag: str, text: str) -> Callable[[Path], object]:
    def change(content: dict) -> None:
        cells = content["cells"]
        (cell,) = (c for c in cells if tag in c["metadata"].get("tags", ()))
        cell["source"] = text

    return _notebook(change)


def _claims(text: str) -> Callable[[Path], object]:
    cell = {"cell_type": "markdown", "metadata": {"tags": ["claims"]}, "source": text}
    return _notebook(lambda content: content["cells"].append(cell))


def _first_code(text: str) -> Callable[[Path], object]:
    def change(content: dict) -> None:
        cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        cells[2]["source"] = text

    return _notebook(change)


def _book(text: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "books").mkdir()
        (folder / "books" / "00_odd.ipynb").write_text(text)

    return write


def _atlas(summary: object) -> Callable[[Path], object]:
    """Return a function that writes the summary of an atlas."""

    def write(folder: Path) -> None:
        (folder / "out").mkdir()
        text = summary if isinstance(summary, str) else json.dumps(summary)
        (folder / "out" / "atlas.json").write_text(text)

    return write


UNIT, SPRITE = [0, "", 0.5, 1.0, "dog", "object", 0.2, 1, "", 0], ["units/a.webp", 8, 8, 8, 4]


def _layer(**values: object) -> Callable[[Path], object]:
    """Return a function that writes the summary of an atlas with one odd layer."""
    sound = {"name": "CL1", "units": [UNIT], "sprites": [SPRITE], "first": [0]}
    return _atlas({"network": "alexnet_mini", "layers": [sound | values]})


OWN_RECIPE = json.dumps(asdict(classifier.RECIPES["alexnet_mini"]), sort_keys=True)
RECIPE = {"epoch": 1, "recipe": "another", "net": {}}
READ, CLAIMS = "verify --out out", "claims --out out"
COMPARE = "compare out out --out page.html"
DRAW = "render 00 --preset smoke --out out"
RECORD = "unit alexnet_mini CL1:0 --images 8 --record run --out new"
ATLASES = "atlas compare out out --out page.html"
DECODER = "train decoder --model alexnet_mini --layer CL1 --images 8 --out run"
EVOLUTION = "render 04 --preset smoke -p RECORD run --out out"
TRAIN, BOOKS = "train alexnet_mini --out run", "claims"
STEP = b"\x02\0\0\0\0\0\0\0{}"
RECORDS = {
    "a path out of the folder": Case(READ, _output("../victim.png"), "no output of a render"),
    "a path out of a folder of outputs": Case(DRAW, _output("figures/../../victim.png"), "render"),
    "an absolute path": Case(CLAIMS, _output("/etc/passwd"), "no output of a render"),
    "a path with an escape": Case(READ, _output("figures/a\x1b[31m\n.png"), r"a\x1b[31m\n.png"),
    "an address": Case(
        COMPARE,
        _is("figures", {"F": {"file": "javascript:alert(1)", "caption": "", "alt": ""}}),
        "no output",
    ),
    "outputs as a list": Case(READ, _is("outputs", ["figures/a.png"]), "its outputs are odd"),
    "figures as text": Case(CLAIMS, _is("figures", "F1"), "its figures are odd"),
    "a figure without a file": Case(READ, _is("figures", {"F1": {}}), "its figures are odd"),
    "claims as numbers": Case(CLAIMS, _is("claims", {"S1": 3}), "its claims are odd"),
    "a claim in words": Case(
        CLAIMS, _is("claims", {"S1": {"measured": "1", "holds": True, "note": ""}}), "claims are"
    ),
    "seconds that are no number": Case(READ, _is("seconds", "long"), "its seconds are odd"),
    "parameters as a list": Case(COMPARE, _is("parameters", []), "its parameters are odd"),
    "infinite metrics": Case(READ, _is("metrics", {"a": float("inf")}), "its metrics are odd"),
    "inputs as numbers": Case(DRAW, _is("inputs", {"a": 1}), "its inputs are odd"),
    "no JSON": Case(READ, _text("{"), "is damaged"),
    "no JSON to list": Case(CLAIMS, _text("{"), "is damaged"),
    "no JSON to compare": Case(COMPARE, _text("{"), "is damaged"),
    "deep nesting": Case(READ, _text("[" * 10**5), "is damaged"),
    "a list": Case(READ, _text("[]"), "is damaged"),
    "a number of 5000 digits": Case(READ, _text("9" * 5000), "is damaged"),
    "an empty recording": Case(RECORD, lambda f: (f / "run").mkdir(), "--record: no recording"),
    "a recording that is no JSON": Case(RECORD, _recording("{"), "--record: no recording"),
    "a recording as a list": Case(RECORD, _recording([]), "is not of a recording"),
    "a recording without steps": Case(RECORD, _recording({"units": {}}), "no step is recorded"),
    "a recording without units": Case(RECORD, _recording({}, STEP), "--record"),
    "units of a recording as text": Case(
        RECORD, _recording({"units": {"CL1": "ab"}, "labels": {}}, STEP), "--record"
    ),
    "a recording as a list in a notebook": Case(EVOLUTION, _recording([]), "RECORD"),
    "a recording without steps in a notebook": Case(EVOLUTION, _recording({"units": {}}), "RECORD"),
    "a damaged step": Case(
        RECORD, _recording({"units": {"CL1": [0]}, "labels": {}}, b"no"), "is damaged"
    ),
    "an empty step": Case(
        RECORD, _recording({"units": {"CL1": [0]}, "labels": {}}, STEP), "is damaged"
    ),
    "a checkpoint of noise": Case(TRAIN, _checkpoint(b"noise" * 99), "is not a readable checkpo"),
    "a checkpoint with code": Case(TRAIN, _checkpoint(Path("ran")), "is not a readable checkpoint"),
    "a checkpoint of another recipe": Case(TRAIN, _checkpoint(RECIPE), "by another recipe"),
    "a checkpoint as a list": Case(TRAIN, _checkpoint([1]), "is not a readable checkpoint"),
    "a checkpoint without a network": Case(
        TRAIN, _checkpoint({"epoch": 1, "recipe": OWN_RECIPE}), "checkpoint.pt is damaged"
    ),
    "a checkpoint of another network": Case(
        TRAIN, _checkpoint({"epoch": 1, "recipe": OWN_RECIPE, "net": {}}), "is damaged"
    ),
    "a checkpoint of a decoder": Case(
        DECODER,
        _checkpoint(b"noise" * 99, "decoder_alexnet_mini_CL1"),
        "is not a readable checkpoint",
    ),
    "an atlas that is no JSON": Case(ATLASES, _atlas("{"), "no atlas in out"),
    "an atlas of deep nesting": Case(ATLASES, _atlas("[" * 10**5), "no atlas in out"),
    "an atlas as a list": Case(ATLASES, _atlas([]), "no atlas in out"),
    "an atlas without layers": Case(ATLASES, _atlas({"network": "a"}), "no atlas in out"),
    "a layer of an atlas as text": Case(
        ATLASES, _atlas({"network": "a", "layers": "CL1"}), "atlas.json is damaged"
    ),
    "a unit of an atlas as text": Case(ATLASES, _layer(units=["text"]), "atlas.json is damaged"),
    "an IoU in words": Case(
        ATLASES, _layer(units=[[0, "", 0, 0, "dog", "object", "high", 1]]), "atlas.json is damaged"
    ),
    "images of no size": Case(
        ATLASES, _layer(sprites=[["units/a.webp", 0, 0, 0, 0]]), "atlas.json is damaged"
    ),
    "an image as a number": Case(
        ATLASES, _layer(sprites=[[1, 8, 8, 8, 4]]), "atlas.json is damaged"
    ),
    "a comparison of atlases in a folder": Case(
        "atlas compare out out --out out", _layer(), "out is a folder"
    ),
    "an image of no index": Case(ATLASES, _layer(first=["0"]), "is damaged"),
    "a unit without end": Case(ATLASES, _layer(units=[[10**400, *UNIT[1:]]]), "is damaged"),
    "the atlas of another network": Case(
        "atlas alexnet_mini --layers CL1 --images 8 --out out",
        _atlas({"network": "a\x1b[31m\nb"}),
        "not of alexnet_mini; give another --out",
    ),
    "a notebook that is no JSON": Case(BOOKS, _book("{"), "is not a notebook"),
    "a notebook of an old format": Case(
        DRAW, _notebook(lambda content: content.update(nbformat=3)), "expected Jupyter's format 4"
    ),
    "a notebook as a list": Case(BOOKS, _book("[]"), "is not a notebook"),
    "cells of odd types": Case(BOOKS, _book('{"cells": [3], "metadata": {}}'), "is not a notebook"),
    "declarations as a list": Case(
        BOOKS, _notebook(lambda content: content["metadata"].update(cnnvis=[1])), NAME
    ),
    "minutes in words": Case(BOOKS, _declared(minutes="some"), "minutes"),
    "figures as a number": Case(BOOKS, _declared(figures=3), "figures"),
    "a figure as a path": Case(DRAW, _declared(figures=["../../a"]), "figures"),
    "needs of an unknown notebook": Case(DRAW, _declared(needs=["07_none"]), "'07_none'"),
    "needs of itself": Case(DRAW, _declared(needs=[NAME]), "notebooks need each other"),
    "presets as a list": Case(DRAW, _declared(presets=[1]), "presets"),
    "a preset of an unknown parameter": Case(
        DRAW, _declared(presets={"smoke": {"NONE": 1}}), "'NONE'"
    ),
    "sizes as numbers": Case(DRAW, _declared(sizes={"smoke": 3}), "sizes"),
    "a size without a default": Case(DRAW, _declared(sizes={"smoke": {"a": 3}}), "no default"),
    "parameters that are no Python": Case(BOOKS, _cell("parameters", "UNITS: int = ("), "param"),
    "parameters with code": Case(
        BOOKS, _cell("parameters", "import os; os.mkdir('ran')"), "parameters cell: expected"
    ),
    "a parameter that calls": Case(
        BOOKS, _cell("parameters", "UNITS: int = __import__('os').mkdir('ran')"), "UNITS: expected"
    ),
    "a claim without a bound": Case(BOOKS, _claims("| a | b | c | d | big |"), "claim 'a'"),
    "code that is no Python": Case(DRAW, _first_code("def ("), "not Python"),
}

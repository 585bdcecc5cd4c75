"""Command lines that cannot be used."""

import os
from pathlib import Path

from .case import Case


def _taken(folder: Path) -> None:
    (folder / "taken").write_text("a file where a folder is expected")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _notebooks(folder: Path) -> None:
    _taken(folder)
    (folder / "students").mkdir()
    (folder / "students" / "00_start_here.ipynb").write_text("my solutions")


ATLAS = "atlas alexnet_mini --layers CL1 --images 8"
TRAIN = "train decoder --model alexnet_mini --layer CL1 --out out"
DISSECT, UNIT = "dissect alexnet_mini --layers CL1 --images 8", "unit alexnet_mini CL1:0 --images 8"
COMMAND_LINE = {
    "nothing": Case("", None, "Missing command"),
    "an unknown command": Case("rendr", None, "No such command 'rendr'"),
    "a command with escapes": Case(r"a\\x1b[31m\\nb", None, "No such command"),
    "an unknown option": Case("render --jbs 2", None, "--jbs"),
    "an option without its value": Case("render --out", None, "--out"),
    "words as a count": Case("render --jobs two", None, "'two' is not a valid integer"),
    "a million jobs": Case("render --jobs 1000000", None, "--jobs"),
    "no jobs": Case("render --jobs 0", None, "0 is not in the range"),
    "a parameter without its value": Case("render 00 -p UNITS", None, "requires 2 arguments"),
    "an unknown preset": Case("render --preset smok", None, "did you mean smoke"),
    "results in a file": Case("render 00 --preset smoke --out taken", _taken, "taken"),
    "results below a file": Case("render 00 --preset smoke --out taken/a", _taken, "taken/a"),
    "results in no name": Case("render 00 --preset smoke --out ''", None, "--out': it is empty"),
    "results in a null byte": Case(r"render 00 --preset smoke --out a\\0b", None, "--out"),
    "results in a name that is no text": Case(
        r"render 00 --preset smoke --out a\\udcffb", None, "--out"
    ),
    "results in a long name": Case(f"render 00 --preset smoke --out {'a' * 5000}", None, "--out"),
    "no results to verify": Case("verify --out out", None, "no results in out"),
    "no results to compare": Case("compare a b --out c.html", None, "no results in a"),
    "one folder to compare": Case("compare a", None, "Missing argument 'SECOND'"),
    "no network": Case("layers", None, "Missing argument 'MODEL'"),
    "an unknown network": Case("layers alexnet_mni", None, "did you mean alexnet_mini"),
    "an empty network": Case("layers ''", None, "no network named ''"),
    "a network as a path": Case("layers ../secret", None, "no network named '../secret'"),
    "no image size": Case("layers alexnet_mini --input-size 0", None, "--input-size 0"),
    "a huge image size": Case("layers alexnet_mini --input-size 9999999", None, "--input-size"),
    "too small an image": Case("layers alexnet_mini --input-size 1", None, "alexnet_mini"),
    "letters as an image size": Case(
        "layers alexnet_mini --input-size 1x2x3", None, "--input-size"
    ),
    "no channels": Case("layers alexnet_mini --channels 0", None, "--channels"),
    "a million channels": Case("layers alexnet_mini --channels 100000000", None, "channels"),
    "no names of classes": Case("layers alexnet_mini --classes none.txt", None, "none.txt"),
    "names of classes in a pipe": Case("layers alexnet_mini --classes pipe", _pipe, "pipe"),
    "endless names of classes": Case("layers alexnet_mini --classes /dev/zero", None, "zero"),
    "too few names of classes": Case(
        "layers alexnet_mini --classes taken", _taken, "1 class names for the 16 outputs"
    ),
    "no unit": Case("unit alexnet_mini", None, "Missing argument 'LAYER:UNIT'"),
    "a unit without its layer": Case("unit alexnet_mini 3", None, "LAYER:UNIT"),
    "a layer without its unit": Case("unit alexnet_mini CL1", None, "LAYER:UNIT"),
    "a unit beyond the layer": Case("unit alexnet_mini CL1:1000", None, "LAYER:UNIT"),
    "a unit of 5000 digits": Case(f"unit alexnet_mini CL1:{'9' * 5000}", None, "LAYER:UNIT"),
    "a negative unit": Case("unit alexnet_mini CL1:-1", None, "LAYER:UNIT"),
    "a unit of an unknown layer": Case("unit alexnet_mini CL9:1", None, "LAYER:UNIT"),
    "a figure in a file": Case(f"{UNIT} --out taken", _taken, "cannot write to taken"),
    "images beyond memory": Case(f"{UNIT}000000000000 --out out", None, "--images"),
    "no images": Case("unit alexnet_mini CL1:0 --images 0", None, "--images"),
    "a million threads": Case(f"{UNIT} --threads 1000000 --out out", None, "--threads"),
    "no recording": Case(f"{UNIT} --record none --out out", None, "--record: no recording"),
    "no layers": Case("dissect alexnet_mini", None, "--layers"),
    "a layer that is unknown": Case(
        "dissect alexnet_mini --layers CL9", None, "--layers: no layer"
    ),
    "a second layer that is unknown": Case("dissect alexnet_mini --layers CL1 CL9", None, "CL9"),
    "an unknown convention": Case(f"{DISSECT} --convention old", None, "--convention: no conv"),
    "a dissection in a file": Case(f"{DISSECT} --out taken", _taken, "cannot write to taken"),
    "a count of thirty digits": Case(f"{DISSECT} --min-images {10**30}", None, "--min-images"),
    "a dissection by a million processes": Case(f"{DISSECT} --jobs 1000000", None, "--jobs"),
    "an address of no cluster": Case(f"{DISSECT} --out out --cluster x://y", None, "at x://y"),
    "scenes beyond memory": Case(f"{DISSECT}000000000000 --out out", None, "--images"),
    "no images of a concept": Case(f"{DISSECT} --min-images 0", None, "--min-images"),
    "an unknown dataset": Case("fetch broden", None, "no dataset named 'broden'; did you mean"),
    "a malformed hash": Case("fetch broden1_227 --sha256 12 --out out", None, "sha256 '12'"),
    "a malformed address": Case("fetch broden1_227 --url x --out out", None, "url 'x': expected"),
    "an address of half a host": Case(
        "fetch broden1_227 --url 'http://[::1/x' --out out", None, "url 'http://[::1/x'"
    ),
    "an address of nothing": Case(
        "fetch broden1_227 --url file:///none.zip --out out", None, "cannot be loaded"
    ),
    "an unknown recipe": Case("train alexnet_mni --out out", None, "did you mean alexnet_mini"),
    "a training in a file": Case("train alexnet_mini --out taken", _taken, "cannot write to taken"),
    "an unknown device": Case("train alexnet_mini --device gpu --out out", None, "device 'gpu'"),
    "all without a place": Case("train all", None, "add --ship"),
    "an atlas of an unknown layer": Case("atlas alexnet_mini --layers CL9 --out out", None, "CL9"),
    "an atlas of a layer without its option": Case("atlas alexnet_mini CL1", None, "CL1: not exp"),
    "an atlas of no unit": Case(f"{ATLAS} --units 0 --out out", None, "--units"),
    "an atlas by an unknown rule": Case(f"{ATLAS} --rule deconv --out out", None, "mean deconvnet"),
    "an atlas on an unknown device": Case(f"{ATLAS} --device gpu --out out", None, "device 'gpu'"),
    "an atlas of no folder": Case(f"{ATLAS} --data none --out out", None, "at none"),
    "an atlas of images beyond memory": Case(f"{ATLAS}000000 --out out", None, "at most"),
    "an atlas in a file": Case(f"{ATLAS} --out taken", _taken, "cannot write to taken"),
    "an atlas on a device without values": Case(
        f"{ATLAS} --device meta --out out", None, "device 'meta'"
    ),
    "an atlas of steps beyond memory": Case(f"{ATLAS} --steps {10**12}", None, "--steps"),
    "an atlas by a million processes": Case(f"{ATLAS} --jobs 1000000", None, "--jobs"),
    "an atlas by no process": Case(f"{ATLAS} --jobs 0 --out out", None, "--jobs"),
    "one atlas to compare": Case("atlas compare a", None, "1 folders given"),
    "no atlases to compare": Case("atlas compare a b", None, "no atlas in a"),
    "a decoder of no network": Case("train decoder --layer CL1", None, "expected --model"),
    "a decoder of no layer": Case("train decoder --model alexnet_mini", None, "expected --layer"),
    "a decoder of an unknown layer": Case(f"{TRAIN} --layer CL9", None, "--layer: no layer"),
    "a decoder to be shipped": Case(
        f"{TRAIN} --ship", None, "--ship, --jobs and --cluster are for"
    ),
    "a decoder of no folder": Case(f"{TRAIN} --data none", None, "--data"),
    "a decoder of two images": Case(f"{TRAIN} --images 2", None, "--images"),
    "a decoder of images beyond memory": Case(f"{TRAIN} --images {10**12}", None, "--images"),
    "a decoder beyond memory": Case(f"{TRAIN} --images 8 --width {10**9}", None, "--width"),
    "steps beyond memory": Case(f"{TRAIN} --images 8 --batch {10**12}", None, "--batch"),
    "a million workers": Case(f"{TRAIN} --images 8 --workers 1000000", None, "--workers"),
    "no time": Case(f"{TRAIN} --minutes 0", None, "--minutes"),
    "a time that is no number": Case(f"{TRAIN} --images 8 --minutes nan", None, "--minutes"),
    "a decoder on an unknown device": Case(
        f"{TRAIN} --images 8 --device gpu", None, "device 'gpu'"
    ),
    "a decoder in a file": Case(f"{TRAIN} --out taken", _taken, "cannot write to taken"),
    "options of another training": Case(
        "train alexnet_mini --epochs 3 --out out", None, "--epochs"
    ),
    "no hand-ins": Case("mark none", None, "no hand-ins in none"),
    "marks in a file": Case("mark students --out taken", _notebooks, "cannot write to taken"),
    "marks by a million processes": Case("mark students --jobs 1000000", _notebooks, "--jobs"),
    "a time of cells that is no number": Case("mark students --seconds nan", None, "--seconds"),
    "copies in a file": Case("student taken", _taken, "cannot write to taken"),
    "copies over others": Case("student students 00", _notebooks, "students holds another"),
    "copies of nothing": Case("student out 99", None, "no notebook named '99'"),
}

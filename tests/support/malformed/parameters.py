"""Parameters of notebooks that cannot be used."""

from pathlib import Path

from .case import Case
from .images import encoded, files


def _given(notebook: str, name: str, value: str, says: str, write: object = None) -> Case:
    words = f"render {notebook} --preset smoke -p {name} '{value}' --out out"
    return Case(words, write, says)


def _own_networks(folder: Path) -> None:
    (folder / "own.py").write_text(
        "from torch import nn\nnumber = 3\ndef fails():\n    raise ValueError('two\\nlines')\n"
        "def exits():\n    raise SystemExit(0)\n"
        "def lists():\n    return []\ndef builds():\n    return nn.Conv2d(3, 4, 5)\n"
    )
    (folder / "broken.py").write_text("def build(:\n")


def _file(folder: Path) -> None:
    (folder / "taken").write_text("a file where a folder is expected")


PARAMETERS = {
    "an unknown name": _given("00", "UNIT", "3", "no parameter of 00_start_here named 'UNIT'"),
    "a former name": _given("00", "STEPS", "3", "STEPS is no longer a parameter; use"),
    "an unknown notebook": Case("render 9 --out out", None, "no notebook named '9'"),
    "words as a number": _given("00", "UNITS", "many", "UNITS = 'many': expected int"),
    "a fraction as a count": _given("00", "UNITS", "1.5", "expected int"),
    "nothing": _given("00", "UNITS", "", "expected int"),
    "code as a number": _given("00", "UNITS", '__import__("os").mkdir("ran")', "expected int"),
    "code in a list": _given("01", "LAYERS", '[__import__("os").mkdir("ran")]', "LAYERS"),
    "deep nesting": _given("01", "LAYERS", "[" * 3000, "LAYERS"),
    "a number of 5000 digits": _given("00", "UNITS", "9" * 5000, "UNITS"),
    "no units": _given("00", "UNITS", "0", "UNITS = 0, expected at least 1"),
    "an index that is negative": _given("00", "IMAGE", "-1", "IMAGE = -1, expected at least 0"),
    "an index beyond the images": _given("00", "IMAGE", "10000", "IMAGE = 10000, expected"),
    "a negative seed": _given("00", "SEED", "-1", "SEED = -1, expected"),
    "a seed of 80 bits": _given("00", "SEED", str(2**80), "SEED"),
    "no threads": _given("00", "THREADS", "0", "THREADS = 0, expected"),
    "a million threads": _given("00", "THREADS", "1000000", "THREADS = 1000000, expected"),
    "an unknown device": _given("00", "DEVICE", "gpu", "DEVICE: device 'gpu' cannot be used here"),
    "a device that is missing": _given("00", "DEVICE", "cuda:99", "DEVICE: device 'cuda:99'"),
    "an unknown preset": _given("00", "PRESET", "fast", "no preset named 'fast'"),
    "an unknown network": _given("00", "MODEL", "alexnet_mni", "did you mean alexnet_mini"),
    "no network": _given("00", "MODEL", "", "MODEL"),
    "a network with escapes": _given("00", "MODEL", r"a\x1b[31m\nb", "MODEL"),
    "a network without weights": _given("00", "MODEL", "resnet18", "no weights are shipped for"),
    "no file of a network": _given("00", "MODEL", "own.py:build", "no Python file at own.py"),
    "a network that is no Python": _given(
        "00", "MODEL", "broken.py:build", "broken.py cannot be imported", _own_networks
    ),
    "a network that fails": _given(
        "00", "MODEL", "own.py:fails", "fails() of own.py failed (ValueError: two)", _own_networks
    ),
    "a network that exits": _given("00", "MODEL", "own.py:exits", "SystemExit: 0", _own_networks),
    "a network that is a list": _given("00", "MODEL", "own.py:lists", "list", _own_networks),
    "a network that is missing": _given("00", "MODEL", "own.py:none", "none", _own_networks),
    "a network that is not trained": _given("04", "MODEL", "resnet18", "give TRAIN_DATA, a folder"),
    "an unknown option of a network": _given("00", "MODEL_OPTIONS", '{"size": 3}', "named 'size'"),
    "an option of an odd type": _given(
        "00", "MODEL_OPTIONS", '{"input_size": "big"}', "MODEL_OPTIONS"
    ),
    "an odd normalization": _given("00", "MODEL_OPTIONS", '{"normalization": 3}', "MODEL_OPTIONS"),
    "an unknown layer": _given("01", "LAYERS", '["CL9"]', "no layer named 'CL9'; did you mean"),
    "a number as a layer": _given("01", "LAYERS", "[1]", "expected list[str]"),
    "a layer without maps": _given("08", "LAYERS", '["FL1"]', "LAYERS: FL1"),
    "a layer of another network": _given("03", "LAYERS", '["features.0"]', "LAYERS"),
    "an unknown rule": _given("03", "RULE", "deconv", "did you mean deconvnet"),
    "an unknown design": _given("03", "COMPARED", "alexnet", "no value of COMPARED named"),
    "no decoders": _given("05", "DECODERS", "none", "DECODERS: no weights file at none"),
    "an unknown recipe": _given("05", "RECIPE", "x", "no value of RECIPE named 'x'"),
    "an unknown variant": _given("06", "VARIANT", "units", "no value of VARIANT"),
    "an unknown convention": _given("07", "CONVENTION", "old", "no value of CONVENTION"),
    "an unknown loss": _given("08", "LOSS", "linaer", "did you mean linear"),
    "an unknown generator": _given("02", "GENERATOR", "generator_FL", "GENERATOR"),
    "a generator without weights": _given("02", "GENERATOR", "deepsim_fc6", "GENERATOR"),
    "three files of weights": _given(
        "02", "GENERATOR_WEIGHTS", '["a", "b", "c"]', "GENERATOR_WEIGHTS"
    ),
    "an unknown classifier": _given("02", "CLASSIFIER", "judge", "did you mean judge_mini"),
    "an infinite number": _given("04", "EPOCHS", "1e999", "EPOCHS = '1e999': expected int"),
    "not a number": _given("04", "EPOCHS", "nan", "expected int"),
    "no epochs": _given("04", "EPOCHS", "0", "EPOCHS = 0, expected at least 1"),
    "images beyond memory": _given("07", "IMAGES", str(10**12), "IMAGES"),
    "no folder of images": _given("01", "DATA", "none", "DATA: no folder with images at none"),
    "a file as a folder": _given("01", "DATA", "taken", "DATA", _file),
    "a damaged image": _given(
        "06", "DATA", "images", "DATA", files(a_png=b"no", b_png=encoded("PNG"))
    ),
    "no labels": _given("07", "DATA", "images", "DATA", files(a_png=encoded("PNG"))),
    "a folder with a null byte": _given("01", "DATA", r"a\0b", "DATA"),
    "a name of 5000 letters": _given("01", "DATA", "a" * 5000, "DATA"),
    "a home that does not exist": _given("01", "DATA", "~nobody_here/x", "DATA"),
    "a folder to write that is a file": _given("04", "RECORD", "taken", "RECORD", _file),
    "a folder to write below a file": _given("04", "RECORD", "taken/a", "RECORD", _file),
    "a folder to write with a null byte": _given("04", "RECORD", r"a\0b", "RECORD"),
    "the folder of results": _given("00", "OUT", "elsewhere", "OUT"),
}

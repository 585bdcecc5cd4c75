"""Ranges and names that notebooks declare are checked before anything is computed."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnvis_lab.core import FileError, InputError, LabError, NameNotFound
from cnnvis_lab.lab import cli, notebooks, run
from cnnvis_lab.lab.parameters import Parameter, parse_cell

KNOWN = notebooks.read_all()
RANGES = {  # text -> whether a number is inside
    "at least 1": lambda x: x >= 1,
    "above 0": lambda x: x > 0,
    "at most 2.5": lambda x: x <= 2.5,
    "0 to 1": lambda x: 0 <= x <= 1,
    "at least -2, below 3": lambda x: -2 <= x < 3,
    "at least 0, below images": lambda x: 0 <= x < 7,
}


@pytest.mark.parametrize("text", RANGES)
@given(number=st.one_of(st.integers(-9, 9), st.floats(-9, 9)))
def test_a_number_is_accepted_exactly_if_it_is_in_the_declared_range(text, number):
    for kind, value in (("float", number), ("list", [number])):
        parameter = Parameter("X", kind, value, f"a number of something ({text})")
        assert parameter.range == text
        if RANGES[text](number):
            parameter.check_range(value, {"images": 7})
        else:
            with pytest.raises(InputError, match=rf"^X = .*, expected {re.escape(text)}"):
                parameter.check_range(value, {"images": 7})


@pytest.mark.parametrize("help", ["sizes (in pixels)", "a word", "(at least) one", "at least 1 ()"])
def test_other_words_in_brackets_are_no_range(help):
    assert Parameter("X", "int", 1, help).range == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, [1.0, -math.inf]])
def test_numbers_must_be_finite_without_any_range(value):
    with pytest.raises(InputError, match="expected finite numbers"):
        Parameter("X", "list", [], "numbers").check_range(value, {})


def test_the_items_of_a_list_have_the_declared_type():
    (parameter,) = parse_cell('LAYERS: list[str] = ["CL1"]  # names', "here").values()
    assert (parameter.kind, parameter.item, parameter.type) == ("list", "str", "list[str]")
    assert parameter.accepts([]) and parameter.accepts(["CL1", "CL2"])
    assert not any(map(parameter.accepts, ([1], ["CL1", None], [["CL1"]], "CL1", ("CL1",))))
    for line in ("X: list[str] = [1]", "X: list[text] = []", "X: int[str] = 1"):
        with pytest.raises(FileError, match="parameter X: expected"):
            parse_cell(line, "here")


WRONG = {  # notebook -> parameter, value, and what the error says
    "00": [("IMAGE", "256", "at least 0, below images, which are 256"), ("IMAGE", "-1", "at least"),
           ("UNITS", "0", "at least 1"), ("SEED", "-1", "0 to 9"), ("THREADS", "0", "1 to 256"),
           ("UNITS", "1.5", "expected int"), ("DEVICE", "gpu", "cannot be used here"),
           ("DEVICE", "cuda:99", "cannot be used here"), ("MODEL", "alexnet_mni", "alexnet_mini"),
           ("MODEL_OPTIONS", "28", "expected dict, such as"),
           ("MODEL_OPTIONS", "{'inputsize': 28}", "did you mean input_size")],
    "01": [("LAYERS", '["CL1", 3]', r"expected list\[str\]"), ("LAYERS", '["CL9"]', "did you mean"),
           ("RECIPE", "defalt", "did you mean default"), ("UNITS", "-4", "at least 1")],
    "02": [("GENERATOR_WEIGHTS", "[1]", r"list\[str\]"), ("CLASSIFIER", "judge", "judge_mini")],
    "03": [("RULE", "deconv", "did you mean deconvnet"), ("COMPARED", "alexnet", "alexnet_mini")],
    "04": [("EPOCHS", "0", "at least 1")],
    "05": [("RECIPE", "x", "no value of RECIPE")],
    "06": [("VARIANT", "units", "VARIANT")],
    "07": [("CONVENTION", "old", "CONVENTION")],
    "08": [("LOSS", "linaer", "did you mean linear"), ("LAYERS", '["CL5.rel"]', "CL5.relu")],
}  # fmt: skip
CASES = [(book, *case) for book, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("book", "name", "text", "says"), CASES)
def test_a_wrong_value_is_one_line_before_anything_is_drawn(
    book, name, text, says, tmp_path, capsys
):
    out = tmp_path / "out"
    assert cli.main(["render", book, "-p", name, text, "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and not out.exists()
    assert name in printed.err and re.search(says, printed.err), printed.err


@pytest.mark.parametrize(
    ("name", "value"),
    [("IMAGE", 10**6), ("UNITS", 0), ("DEVICE", "gpu"), ("SEED", -3), ("MODEL", "none")],
)
def test_a_cell_that_begins_a_run_refuses_them_too(name, value):
    declared = {key: one.default for key, one in KNOWN["00_start_here"].parameters.items()}
    with pytest.raises(LabError, match=name) as caught:
        run.begin("00_start_here", declared | {name: value})
    assert "\n" not in str(caught.value)


def test_an_index_is_compared_with_the_size_of_the_preset():
    notebook = KNOWN["00_start_here"]
    assert notebook.resolve("default", {"IMAGE": 40})["IMAGE"] == 40
    with pytest.raises(InputError, match="below images, which are 32"):
        notebook.resolve("smoke", {"IMAGE": 40})


def test_fractions_factors_and_lists_of_names_are_checked():
    cell = "KEPT: float = 0.5  # fraction (0 to 1)\nFACTOR: float = 2.0  # factor (above 0)\n"
    cell += "SHOWN: list[str] = []  # names in data.images.PHOTOGRAPHS"
    kept, factor, shown = parse_cell(cell, "here").values()
    for parameter, wrong, says in (
        (kept, 1.5, "0 to 1"),
        (kept, -0.1, "0 to 1"),
        (factor, 0.0, "above 0"),
        (factor, float("inf"), "finite"),
    ):
        parameter.check_range(parameter.default, {})
        with pytest.raises(InputError, match=says):
            parameter.check_range(wrong, {})
    shown.check_names(["astronaut", "cat"], "")
    with pytest.raises(NameNotFound, match="no value of SHOWN named 'dogs'"):
        shown.check_names(["astronaut", "cat", "dogs"], "")


@pytest.mark.parametrize("name", KNOWN)
def test_every_number_has_a_range_and_every_list_a_type_of_items(name):
    for parameter in KNOWN[name].parameters.values():
        assert parameter.range or parameter.kind not in ("int", "float"), parameter.name
        assert parameter.item or parameter.kind != "list", parameter.name


@pytest.mark.parametrize("name", KNOWN)
def test_every_table_that_a_comment_names_exists_and_lists_the_default(name):
    for parameter in KNOWN[name].parameters.values():
        parameter.check_names(parameter.default, KNOWN[name].parameters["MODEL"].default)
        if any(words in parameter.help for words in ("a key of", "a name in", "names in")):
            with pytest.raises(NameNotFound):
                parameter.check_names("no such name", "alexnet_mini")

"""Error messages are one line and suggest the intended name."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnvis_lab.core import FileError, InputError, LabError, NameNotFound, choose, not_found

LAYERS = [f"features.{i}" for i in range(13)] + ["classifier.1", "avgpool", "CL1", "CL5", "FL3"]
WORDS = st.text(string.ascii_letters, min_size=5, max_size=12)


def test_every_error_is_a_lab_error_and_a_builtin_error():
    kinds = {InputError: ValueError, NameNotFound: LookupError, FileError: OSError}
    for kind, builtin in kinds.items():
        assert issubclass(kind, LabError) and issubclass(kind, builtin)
        assert str(kind("what was given")) == "what was given"


@pytest.mark.parametrize(
    ("given_name", "meant"),
    [
        ("featurs.3", "features.3"),
        ("Features.12", "features.12"),
        ("avg_pool", "avgpool"),
        ("clasifier.1", "classifier.1"),
        ("cl5", "CL5"),
        ("CL 1", "CL1"),
    ],
)
def test_a_misspelled_name_gets_the_intended_name_as_suggestion(given_name, meant):
    error = not_found("layer", given_name, LAYERS)
    message = str(error)
    assert isinstance(error, NameNotFound)
    assert message.startswith(f"no layer named {given_name!r}; did you mean {meant}")
    assert message.endswith("?") and "\n" not in message


@given(known=st.lists(WORDS, min_size=1, max_size=20, unique_by=str.lower), data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_known_name_in_other_letter_case_is_the_first_suggestion(known, data):
    name = data.draw(st.sampled_from(known))
    message = str(not_found("unit", name.swapcase(), known))
    first = message.partition("did you mean ")[2].rstrip("?").split(" or ")[0]
    assert first == name


@given(known=st.lists(WORDS, max_size=30, unique=True), given_name=st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_message_for_any_name_is_one_line_of_known_names(known, given_name):
    message = str(not_found("concept", given_name, iter(known)))
    assert (
        message.startswith(f"no concept named {given_name!r}; ") and len(message.splitlines()) == 1
    )
    hint = message.removeprefix(f"no concept named {given_name!r}; ")
    if hint.startswith("did you mean "):
        suggested = hint.removeprefix("did you mean ").rstrip("?").split(" or ")
        assert 1 <= len(suggested) <= 3 and set(suggested) <= set(known)
    elif known:
        shown = hint.removeprefix("known: ").split(", ")
        assert shown == known[:12] + ["..."] * (len(known) > 12)
    else:
        assert hint == "none is known here"


def test_of_names_that_differ_in_case_only_the_first_is_suggested():
    assert "mean CL1?" in str(not_found("layer", "Cl1", ["CL1", "cl1"]))


def test_choose_returns_the_named_object_or_the_given_object():
    known = {"adam": 1, "sgd": 2}
    assert choose("rule", "sgd", known) == 2
    assert choose("rule", 7, known) == 7
    with pytest.raises(NameNotFound, match="no rule named 'sdg'; did you mean sgd"):
        choose("rule", "sdg", known)

"""The library's docstrings are complete, and its texts use the words of the glossary."""

import ast
import re

from support.source_tree import (
    ROOT,
    Module,
    identifiers,
    modules,
    parameters,
    prose,
    section,
)

# Words that the glossary in ARCHITECTURE.md replaces by the field's, and British spellings.
DIALECT = (
    r"pictures?|strongest|told|living units?|silent|way back|on the way|full layers?|the house|"
    r"tours?|knobs?|chances|excit\w+|speaks?|beholder\w*|"
)
BRITISH = (
    r"\w*(?:normal|optim|maxim|minim|regular|recogn|binar|quant|initial|visual|general|standard|"
    r"organ|real|summar|serial|special|local)is(?:e|ed|es|er|ers|ing|ation|ations)|"
    r"\w*(?:colour|neighbour|behaviour|favour)\w*|grey\w*|centre[ds]?|licence\w*|modell\w+"
)
BANNED = re.compile(rf"\b({DIALECT}{BRITISH})\b", re.I)
BANNED_NAME = re.compile(
    r"(^|_)(pictures?|strongest|told|climb|knobs?|chances|shares?|colours?)(_|$)", re.I
)


def _public(name: str) -> bool:
    return "<locals>" not in name and not any(part.startswith("_") for part in name.split("."))


def test_functions_explain_their_arguments():
    """Functions of three or more parameters have an Args section, which names all in order."""
    wrong = []
    for module in modules():
        for name, function in module.functions():
            explained = section(ast.get_docstring(function) or "", "Args")
            wanted = parameters(function)
            if explained and explained != wanted:
                wrong.append(f"{module.name}.{name}: {explained} instead of {wanted}")
            elif not explained and len(wanted) >= 3 and _public(name):
                wrong.append(f"{module.name}.{name}: no Args")
    assert not wrong, "\n".join(wrong)


def _fields(node: ast.ClassDef) -> list[str]:
    annotated = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    return [item.target.id for item in annotated if isinstance(item.target, ast.Name)]


def test_classes_explain_their_fields():
    wrong = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and (fields := _fields(node)):
                explained = section(ast.get_docstring(node) or "", "Attributes")
                public = [field for field in fields if not field.startswith("_")]
                if explained and not set(public) <= set(explained):
                    wrong.append(f"{module.name}.{node.name}: {explained} instead of {public}")
    assert not wrong, "\n".join(wrong)


def test_public_names_are_documented():
    bare = [module.name for module in modules() if not ast.get_docstring(module.tree)]
    for module in modules():
        for name, function in module.functions():
            if _public(name) and not name.endswith("__") and not ast.get_docstring(function):
                bare.append(f"{module.name}.{name}")
    assert not bare, "\n".join(bare)


def _foreign_words(module: Module) -> list[str]:
    return [
        f"{module.name}:{line} {match.group(0)!r}"
        for line, text in prose(module)
        for match in BANNED.finditer(text)
    ]


def test_docstrings_comments_and_errors_use_the_words_of_the_glossary():
    violations = [line for module in modules() for line in _foreign_words(module)]
    assert not violations, "\n".join(violations)


def test_names_use_the_words_of_the_glossary():
    violations = [
        f"{module.name}:{line} {name}"
        for module in modules()
        for line, name in identifiers(module)
        if BANNED_NAME.search(name)
    ]
    assert not violations, "\n".join(violations)


def test_readmes_use_the_words_of_the_glossary():
    for path in (ROOT / "README.md", *(ROOT / "cnnvis_lab").rglob("README.md")):
        text = re.sub(
            r"^## Changes$.*?^## ", "## ", path.read_text(), flags=re.M | re.S
        )  # old names
        violations = [match.group(0) for match in BANNED.finditer(text)]
        assert not violations, f"{path.name}: {violations}"

"""Answers to exercises: correct ones are accepted, and messages explain what is wrong."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound, hooks
from cnnvis_lab.core.backward import relu_rules
from cnnvis_lab.core.optimization import objectives
from cnnvis_lab.lab import course
from cnnvis_lab.lab.course import exercises, marking
from cnnvis_lab.methods import deep_generator

pytestmark = pytest.mark.usefixtures("one_thread")


def _model() -> models.Model:
    return models.load("alexnet_mini")


def _decay(x, gradient, rate, decay):
    x += rate * gradient  # in place
    return (x - decay * (x - 0.5)).tolist()


def _variation_by_loops(images):
    return [
        sum(
            sum((one[:, y + dy, x + dx] - one[:, y, x]).square().sum() for dy, dx in near)
            for y in range(one.shape[1])
            for x in range(one.shape[2])
            if (near := [(a, b) for a, b in ((0, 1), (1, 0)) if _within(one, y + a, x + b)])
        )
        / one.numel()
        for one in images
    ]


def _within(one, y, x):
    return y < one.shape[1] and x < one.shape[2]


def _gradient(x):
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        total = leaf.diff(dim=2).square().sum() + leaf.diff(dim=3).square().sum()
        return torch.autograd.grad(total, leaf)[0]


def _step_reaching(steps, curve, level):
    """Return the same step, found on a fine grid."""
    grid = np.linspace(0, steps[-1], 60_001)
    return grid[np.argmax(np.interp(grid, steps, curve.numpy()) >= level)]


def _top(maps):
    values, _ = maps.transpose(0, 1).flatten(1).sort(dim=1, descending=True)
    return values[:, round(0.005 * values.shape[1])].numpy()


RIGHT = {
    "AM-1": [(lambda m: [99, 16.0], "CL3"), (lambda m: np.array([[99], [16]]), "CL3")],
    "AM-2": [_decay],
    "AM-3": [_variation_by_loops, lambda x: objectives.total_variation().score({}, x, x)],
    "AM-4": [(lambda m: functional.normalize(m.kernels()[3].flatten(), dim=0).view(3, 11, 11), 3)],
    "DG-1": [
        lambda c: (torch.zeros(7), c.mean(0) + 3 * c.std(0, unbiased=False)),
        deep_generator.fit_bounds,
    ],
    "DG-2": [lambda c, g, s: c + s * 9 * functional.normalize(g, p=1, dim=1)],
    "DN-2": [
        lambda p, s, size: torch.stack(
            [
                torch.bincount(i.flatten(), v.flatten(), size[0] * size[1]).view(size)
                for i, v in zip(s.flatten(0, 1), p.flatten(0, 1), strict=True)
            ]
        ).view(*p.shape[:2], *size)
    ],
    "DN-3": [
        lambda s, w, stride, pad, size: torch.nn.grad.conv2d_input(
            (len(s), w.shape[1], *size), w, s, stride, pad
        )
    ],
    "EV-1": [lambda a, b: sum(x != y for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 40],
    "EV-2": [lambda m: float((m.clamp(min=0).sum((0, 2, 3)) == 0).double().mean())],
    "EV-3": [_step_reaching],
    "EV-4": [
        lambda x, y: (
            torch.trace((a := _gram(x)) @ (b := _gram(y))) / (a.norm() * b.norm())
        )
    ],
    "INV-1": [lambda f, f0: [float((a - b).norm() / b.norm()) for a, b in zip(f, f0, strict=True)]],
    "INV-2": [_gradient],
    "PE-1": [lambda c: _match_norm((c > 0).float() - (c < 0).float(), c)],
    "PE-2": [lambda c: _match_norm(c * (c.abs() > _median(c.abs()).view(-1, 1, 1, 1)), c)],
    "ND-1": [lambda a, b: (a & b).sum().item() / (a.sum() + b.sum() - (a & b).sum()).item()],
    "ND-2": [_top, lambda m: np.quantile(m.numpy().transpose(1, 0, 2, 3).reshape(6, -1), 0.995, 1)],
    "ND-3": [lambda a, b: np.minimum(a.numpy(), b.numpy()).sum() / (a | b).numpy().sum()],
    "NV-1": [lambda b, w, bias: ((b * w.view(1, -1, 1, 1)).sum(1) + bias > 0).int().tolist()],
    "NV-4": [lambda: ([1, 1, -1.6, 0, 0, 0], -0.5)],
}  # fmt: skip


def _gram(x):
    centered = (x - x.mean(0)).double()
    return centered @ centered.T


def _median(codes):
    return codes.flatten(1).median(1).values


def _match_norm(changed, codes):
    factors = [a.norm() / b.norm() for a, b in zip(codes, changed, strict=True)]
    return torch.stack(factors).view(-1, 1, 1, 1) * changed


WRONG = {
    "AM-2": [
        (lambda x, g, r, d: x - r * g, "no single factor"),
        (lambda x, g, r, d: (x + r * g) * (1 - d), "black"),
        (lambda x, g, r, d: x + r * g, "decay is missing"),
        (lambda x, g, r, d: x[0], "shape (3, 5, 5); expected (2, 3, 5, 5)"),
        (lambda x, g, r, d: x / 0, "not finite"),
        (lambda x: x, "raised TypeError"),
        (lambda *_: None, "returns nothing"),
        (lambda *_: "gray", "is a str; hand in numbers"),
        (3.0, "expected a function"),
    ],
    "AM-3": [
        (lambda x: x.diff(dim=3).square().sum((1, 2, 3)) / 108, "horizontal"),
        (lambda x: _gradient(x).flatten(1).norm(dim=1), "no single factor"),
        (lambda x: 2 * objectives.total_variation().score({}, x, x), "2 times what it should be"),
        (lambda x: -objectives.total_variation().score({}, x, x), "wrong sign"),
        (lambda x: -3 * objectives.total_variation().score({}, x, x), "3 times what it should be,"),
    ],
    "DG-1": [
        (lambda c: (0 * c[0], c.mean() + 3 * c.std()), "each unit has its own"),
        (lambda c: (0 * c[0], c.mean(0) + 2 * c.std(0)), "authors use 3"),
        (lambda c: (c.mean(0) - 3 * c.std(0), c.mean(0) + 3 * c.std(0)), "lower bound"),
        (lambda c: c.mean(0), "two things"),
    ],
    "DG-2": [
        (lambda c, g, s: c + s * g, "plain gradient"),
        (lambda c, g, s: c + s * g / g.abs().mean(), "whole batch"),
        (lambda c, g, s: c + s * g / g.norm(dim=1, keepdim=True), "norm"),
    ],
    "DN-1": [
        ([1, 2, 3], "dictionary"),
        ({"gradient": None, "deconvnet": None, "guided": None}, "no function yet for gradient"),
        (dict.fromkeys(("gradient", "deconvnet", "guided"), lambda s, x: s * (x > 0)),
         "deconvnet: that is the rule of gradient"),
    ],
    "DN-2": [(lambda p, s, size: functional.interpolate(p, size=size), "spreads")],
    "EV-1": [
        (lambda a, b: (a == b).float().mean(), "stays the same"),
        (lambda a, b: (a != b).sum(), "a count"),
    ],
    "EV-2": [(lambda m: (m <= 0).float().mean(), "inactive values")],
    "EV-3": [
        (lambda s, c, level: s[int((c >= level).int().argmax())], "interpolate linearly"),
        (lambda s, c, level: _step_reaching(s, c.flip(0), level), "an increasing curve"),
    ],
    "EV-4": [
        (lambda x, y: (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()), "center"),
    ],
    "INV-1": [
        (lambda f, g: (f - g).flatten(1).norm(dim=1) ** 2 / g.flatten(1).norm(dim=1) ** 2, "root"),
        (lambda f, g: (f - g).norm() / g.norm(), "one number for all"),
    ],
    "INV-2": [
        (lambda x: -_gradient(x), "wrong sign"),
        (lambda x: _gradient(x) / 2, "0.5 times"),
    ],
    "INV-3": [
        ([0.0] * 23, "23 numbers"),
        (torch.zeros(24), "relative error of 1,"),
        (course.starter("INV-3")[0].T @ course.starter("INV-3")[1], "transpose is no inverse"),
    ],
    "PE-1": [(torch.sign, "those are the signs"), (lambda c: c, "no single factor")],
    "PE-2": [(lambda c: _match_norm(c.clamp(min=0), c), "no single factor")],
    "PE-3": [(lambda c, bits: c, "with 1 bit, what it returns")],
    "ND-1": [(lambda a, b: (a & b).sum() / a.sum(), "first mask")],
    "ND-2": [
        (lambda m: m.transpose(0, 1).flatten(1).quantile(0.005, dim=1), "lowest"),
        (lambda m: m.transpose(0, 1).flatten(1).quantile(0.95, dim=1), "200 to 200"),
        (lambda m: m.quantile(0.995).expand(6), "each has its own"),
        (lambda m: m.flatten(2).quantile(0.995, dim=2), "one threshold per unit"),
    ],
    "ND-3": [
        (lambda a, b: ((a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)).mean(), "mean of"),
    ],
    "NV-1": [
        (lambda b, w, bias: torch.einsum("nkyx,k->nyx", b, w) > 0, "bias is missing"),
        (lambda b, w, bias: torch.einsum("nkyx,k->nyx", b, w) + bias > 0.5, "sigmoid"),
    ],
    "NV-3": [
        (lambda v, p, m: 1, "one of the summands"),
        (lambda v, p, m: int((v @ (v[p].sum(0) - v[m].sum(0))).argmax()), "cosines"),
    ],
    "NV-4": [(([1, 0, 0, 0, 0, 0], -0.5), "the best unit's"), ((1, 2), "numbers; hand in 6")],
}  # fmt: skip
RIGHT_CASES = [(name, n) for name, answers in RIGHT.items() for n in range(len(answers))]
WRONG_CASES = [(name, n) for name, answers in WRONG.items() for n in range(len(answers))]


@pytest.mark.parametrize(("name", "index"), RIGHT_CASES)
def test_every_correct_answer_is_accepted(name, index):
    answer, arguments = RIGHT[name][index], ()
    if isinstance(answer, tuple):
        make, *arguments = answer
        model = _model()
        answer, arguments = make(model), (model, *arguments)
    elif name == "NV-4":
        answer = answer()
    result = course.check(name, answer, *arguments)
    assert result.is_correct, result


@pytest.mark.parametrize(("name", "index"), WRONG_CASES)
def test_the_message_on_a_wrong_answer_explains_the_mistake(name, index):
    answer, expected = WRONG[name][index]
    result = course.check(name, answer)
    assert not result.is_correct and expected in result.message and "\n" not in result.message, (
        result
    )


def test_the_message_on_a_wrong_answer_about_a_network_explains_the_mistake():
    model = _model()
    image = course.images(model)[:1]
    maps = hooks.activations(model, image, ["CL5"])["CL5"]
    weakest = int(maps[0].flatten(1).amax(1).argmin())
    kernel = model.kernels()[2]
    gray = torch.full_like(image, 0.5)
    cases = [
        (("AM-1", (16, 99), model, "CL3"), "swapped"),
        (("AM-1", (99, 8), model, "CL3"), "stride is too small"),
        (("AM-1", (67, 16), model, "CL3"), "size is too small"),
        (("AM-1", 43, model, "CL3"), "1 numbers; hand in 2"),
        (("AM-4", kernel, model, 2), "norm 1"),
        (("AM-4", -kernel / kernel.norm(), model, 2), "wrong sign"),
        (("AM-5", gray[0], model, "CL5:3", course.images(model)), "continue the ascent"),
        (("AM-5", gray[..., 1:], model, "CL5:3", gray), "shape"),
        (("AM-5", gray + 1, model, "CL5:3", gray), "within 0 and 1"),
        (("AM-5", image, model, "CL5:3", course.images(model)), "one of the real"),
        (("INV-4", image, model, "CL1", image), "the image itself"),
        (("INV-4", gray, model, "CL1", image), "off by"),
        (("PE-4", weakest, model, image, "CL5"), "without another"),
        (("PE-4", 80, model, image, "CL5"), "no map 80: indices go from 0 to 79"),
        (("PE-4", 1.5, model, image, "CL5"), "no map 1.5"),
        (("START-1", weakest, model, image, "CL5"), "that of another"),
        (("START-2", 100 * float((maps > 0).double().mean()), model, image, "CL5"), "percent"),
        (("START-2", int((maps > 0).sum()), model, image, "CL5"), "divide"),
        (("START-3", (0, 0, 60), model, image), "too large"),
        (("START-3", (120, 0, 20), model, image), "extends beyond the image"),
        (("START-3", (0, 0, 1), model, image), "the prediction is still"),
        (("DN-4", gray[0], model, image, "CL9:1"), "no layer named 'CL9'"),
    ]
    for arguments, expected in cases:
        result = course.check(*arguments)
        assert not result.is_correct and expected in result.message, (arguments[0], result)


def test_the_message_on_a_projection_names_its_rule_and_start_value():
    model = _model()
    image, target = course.images(model)[:1], "CL4:7"
    leaf = image.clone().requires_grad_()
    value = hooks.activations(model, leaf, ["CL4"])["CL4"][0, 7].max()
    (gradient,) = torch.autograd.grad(value, leaf)
    assert course.check("DN-4", (value * gradient[0]).tolist(), model, image, target).is_correct
    assert "not 1" in course.check("DN-4", gradient, model, image, target).message
    with relu_rules.relu_rule("guided"):
        value = hooks.activations(model, leaf, ["CL4"])["CL4"][0, 7].max()
        (guided,) = torch.autograd.grad(value, leaf)
    assert "guided" in course.check("DN-4", value * guided, model, image, target).message


def test_results_have_representations_and_unknown_exercises_are_named():
    wrong = course.check("ND-1", lambda a, b: 1 / 0)
    assert repr(wrong) == "not yet: your function raised ZeroDivisionError: division by zero"
    assert "<b" in wrong._repr_html_() and "&lt;" in course.Result(True, "a < b")._repr_html_()
    with pytest.raises(NameNotFound, match="did you mean AM-"):
        course.check("AM-", None)
    with pytest.raises(NameNotFound, match="no exercise with data named 'AM-2'"):
        course.starter("AM-2")


FORMS = (
    torch.Tensor.double,
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    lambda values: values.clone().requires_grad_(),
    lambda values: values[None, ..., None],
    lambda values: list(values),
    lambda values: tuple(row.numpy() for row in values),
)


@pytest.mark.parametrize("convert", FORMS)
def test_numbers_are_accepted_in_any_form(convert):
    truth = torch.randn(3, 4, generator=torch.Generator().manual_seed(5))
    marking.require_equal(convert(truth), truth)
    marking.require_equal(convert(truth * (1 + 1e-4)), truth)
    for other in (truth.T.contiguous(), truth + 0.01, truth.flip(0), truth[:2]):
        with pytest.raises(marking.NotSolved):
            marking.require_equal(convert(other), truth)


@given(factor=st.floats(0.01, 50).filter(lambda f: abs(f - 1) > 0.01), negated=st.booleans())
def test_the_message_names_a_wrong_factor_and_a_wrong_sign(factor, negated):
    truth = torch.arange(1.0, 7).view(2, 3)
    with pytest.raises(marking.NotSolved) as refusal:
        marking.require_equal((-1 if negated else 1) * factor * truth, truth, "x")
    assert f"x is {factor:.4g} times what it should be" in str(refusal.value)
    assert ("its sign is wrong" in str(refusal.value)) == negated


class _Hostile:
    """An object whose every use raises an error of its own kind."""

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)

    def __array__(self, *_: object, **__: object) -> object:
        raise KeyError("array")

    def __len__(self) -> int:
        raise MemoryError


class _MuteError(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise self


class _Mute:
    """An object whose every use raises an error that cannot be printed."""

    def _fail(self, *_: object, **__: object) -> object:
        raise _MuteError

    __array__ = __eq__ = __getattr__ = __iter__ = __len__ = __repr__ = _fail
    __hash__ = None


def _endless() -> list:
    inner: list = []
    inner.append(inner)
    return inner


NAN, INF = float("nan"), float("inf")
ODD_ANSWERS = {
    "nan": NAN, "inf": INF, "-inf": -INF, "nan pair": (NAN, NAN), "inf triple": (INF, -INF, INF),
    "None in a tuple": (None, None), "None in a list": [1, None, 3], "ragged": [1, [2, 3]],
    "empty": [], "empty tensor": torch.zeros(0), "nested empties": [[], [[]]], "text": "3",
    "bytes": b"3", "huge": 10**400, "huge pair": [10**400, 1], "complex": 1j, "object": object(),
    "complex tensor": torch.zeros(3, dtype=torch.complex64), "meta": torch.zeros(3, device="meta"),
    "sparse": torch.eye(3).to_sparse(), "objects": np.array([None, {}]), "dict": {}, "set": {1},
    "nan dict": {"gradient": NAN, "deconvnet": INF, "guided": ()}, "class": _Hostile,
    "hostile": _Hostile(), "endless": _endless(), "module": torch, "range": range(3),
    "mute": _Mute(), "mute class": _Mute, "returns a mute object": lambda *_: _Mute(),
    "lines": "a\n" * 10**4, "exits": lambda *_: sys.exit(3),
    "returns nan": lambda *_: NAN, "returns text": lambda *_: "x", "returns an object":
    lambda *_: _Hostile(), "returns pairs": lambda *_: (None, NAN), "returns inf":
    lambda *given: torch.full_like(given[0], INF) if given else INF,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(exercises.CHECKS))
def test_any_object_is_answered_in_one_line_without_an_error(name):
    model, image = _model(), torch.rand(1, 3, 128, 128)
    arguments = {
        "AM-1": (model, "CL3"), "AM-4": (model, 2), "AM-5": (model, "CL5:3", image),
        "START-1": (model, image, "CL5"), "START-2": (model, image, "CL5"),
        "START-3": (model, image), "DN-4": (model, image, "CL4:7"), "PE-4": (model, image, "CL5"),
        "INV-4": (model, "CL1", image), "DG-3": (model, None, None, "cat"),
        "DG-4": (model, None, None, "cat"), "ND-4": (model, None, "CL5"),
    }.get(name, ())  # fmt: skip
    for what, answer in ODD_ANSWERS.items():
        result = course.check(name, answer, *arguments)
        assert not result.is_correct and result.message and "\n" not in result.message, what
        assert len(result.message) < 1000, what
        assert repr(result) and result._repr_html_()

"""Hooks record and replace outputs, stop passes early, and are always removed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.core.backward import relu_rules


class Twice(nn.Module):
    """A network that uses one in-place ReLU module twice and two functional ones."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_aliases = {"CL1": "first"}
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(5, 2, 1)
        self.seen: list[str] = []
        for name, module in self.named_children():
            module.register_forward_hook(lambda *_, name=name: self.seen.append(name))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.second(self.relu(self.first(x))))
        return F.relu(self.last(x)).relu()


@pytest.fixture
def net() -> Twice:
    torch.manual_seed(0)
    return Twice().eval()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def _hook_count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())


def test_recorded_outputs_are_not_changed_by_later_in_place_modules(net, image):
    with hooks.record(net, ["CL1", "second", "relu"]) as acts:
        net(image)
    first = net.first(image)
    assert torch.equal(acts["CL1"], first) and (first < 0).any()
    middle = net.second(first.clamp(min=0))
    assert torch.equal(acts["second"], middle)
    assert torch.equal(acts["relu"], middle.clamp(min=0))
    assert [call.shape[1] for call in acts.calls("relu")] == [4, 5]


def test_gradients_flow_to_and_through_recorded_outputs(net, image):
    image.requires_grad_()
    with hooks.record(net, ["first"]) as acts:
        out = net(image)
    through = torch.autograd.grad(out.sum(), acts["first"], retain_graph=True)[0]
    leaf = net.first(image).detach().requires_grad_()
    expected = F.relu(net.last(F.relu(net.second(F.relu(leaf))))).relu().sum()
    assert torch.allclose(through, torch.autograd.grad(expected, leaf)[0])
    assert torch.autograd.grad(out.sum(), image)[0].any()


def test_edit_replaces_the_input_of_the_next_layer(net, image):
    with hooks.edit(net, {"CL1": lambda x: x * 0}):
        changed = net(image)
    flat = torch.zeros_like(net.first(image))
    assert torch.equal(changed, F.relu(net.last(F.relu(net.second(flat)))))


@pytest.mark.parametrize(
    ("layers", "run"),
    [
        (["CL1"], ["first"]),
        (["CL1", "second"], ["first", "relu", "second"]),
        (["relu"], ["first", "relu", "second", "relu"]),
    ],
)
def test_the_pass_stops_right_after_the_deepest_requested_layer(net, image, layers, run):
    net(image)
    whole = list(net.seen)
    net.seen.clear()
    acts = hooks.activations(net, image, layers)
    # A first pass counts how often each module runs. The last module's hook in `Twice` is
    # registered first, so it records that the module ran.
    assert net.seen == whole + run
    with hooks.record(net, layers) as full:
        net(image)
    assert all(torch.equal(acts[layer], full[layer]) for layer in layers)


def test_visitors_see_last_outputs_during_the_pass_and_may_replace_them(net, image):
    shown: dict[str, Tensor] = {}

    def doubled(output: Tensor) -> Tensor:
        shown["CL1"] = output.clone()
        return output * 2

    hooks.visit(net, image, {"CL1": doubled, "relu": lambda out: shown.update(relu=out.clone())})
    first = net.first(image)
    assert torch.equal(shown["CL1"], first)
    assert torch.allclose(shown["relu"], net.second((2 * first).clamp(min=0)).clamp(min=0))


@pytest.mark.parametrize("whole", [True, False])
def test_threads_that_share_a_network_each_see_their_own_outputs(whole, net):
    """Also if no pass completes, so that each counts again how often layers run."""
    if not whole:
        net.last = nn.Conv2d(99, 2, 1)
    images = torch.rand(40, 1, 3, 16, 16)
    shown: list[dict[str, Tensor]] = [{} for _ in images]

    def visit_image(number: int) -> None:
        visitors = {
            layer: lambda out, layer=layer: shown[number].update({layer: out.clone()})
            for layer in ("CL1", "relu")
        }
        run(images[number], visitors)

    with hooks.passes(net, ["CL1", "relu"]) as run, ThreadPoolExecutor(4) as pool:
        list(pool.map(visit_image, range(len(images))))
    for image, own in zip(images, shown, strict=True):
        expected = hooks.activations(net, image, ["CL1", "relu"])
        assert own.keys() == expected.keys()
        assert all(torch.allclose(own[layer], expected[layer], atol=1e-6) for layer in own)


def test_passes_leave_alone_what_others_run_meanwhile(net):
    """A cell uses a network while a thread's passes have hooks on it."""
    image, shown = torch.rand(1, 3, 16, 16), []
    expected = net(image)
    with hooks.passes(net, ["CL1"]) as run, ThreadPoolExecutor(1) as pool:
        pool.submit(run, image, {"CL1": shown.append}).result()
        assert torch.equal(net(image), expected)  # this thread has made no pass
        assert torch.equal(pool.submit(net, image).result(), expected)  # that one has
    assert len(shown) == 1


class _Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.times = nn.Conv2d(3, 3, 3, padding=1), 1
        self.settings = {"times": 1}

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times * self.settings["times"]):
            x = self.net(x)
        return x


def test_the_last_call_is_returned_however_often_a_layer_ran_before(image):
    net = _Repeated().eval()
    for times in (1, 5, 2, 3):
        net.times = times
        assert torch.equal(hooks.activations(net, image, ["net"])["net"], net(image))
        net.settings["times"] = 2
        assert torch.equal(hooks.activations(net, image, ["net"])["net"], net(image))
        net.settings["times"] = 1


def test_a_sequence_that_grows_is_counted_again(image):
    layer = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(layer).eval()
    hooks.activations(net, image, ["0"])
    net.append(nn.Sequential(layer))
    assert torch.equal(hooks.activations(net, image, ["0"])["0"], net(image))
    net.append(nn.Flatten())
    assert torch.equal(hooks.activations(net, image, ["2"])["2"], net(image))


def test_the_first_pass_may_fail_in_any_way_behind_the_layer(image):
    class Checking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            assert x.shape[-1] == 30, "expected 32 pixels"
            return x

    net = Checking()
    for size in (8, 32, 8):
        assert hooks.activations(net, image[..., :size, :size], ["first"])["first"].ndim == 4


def test_activations_accept_canvases_too_small_for_the_fully_connected_layers():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    small, whole = torch.rand(1, 3, 5, 5), torch.rand(1, 3, 8, 8)
    assert hooks.activations(net, small, ["0"])["0"].shape == (1, 4, 3, 3)
    assert hooks.activations(net, whole, ["2"])["2"].shape == (1, 2)


def test_a_wrong_name_suggests_the_right_one_and_leaves_no_hook(net, image):
    before = _hook_count(net)
    for manager in (hooks.record(net, ["CL1", "secnd"]), hooks.edit(net, {"secnd": F.relu})):
        with pytest.raises(NameNotFound, match="did you mean second"), manager:
            pass
    with pytest.raises(NameNotFound, match="CL1"):
        hooks.activations(net, image, ["cl1"])
    assert _hook_count(net) == before


@pytest.mark.parametrize("fail", [False, True])
def test_no_hook_outlives_its_block(net, image, fail):
    before = _hook_count(net)
    plain = net(image)
    for manager in (hooks.record(net, ["CL1"]), hooks.edit(net, {"CL1": F.relu})):
        try:
            with manager:
                net(image)
                if fail:
                    raise KeyError("something else")
        except KeyError:
            pass
        assert _hook_count(net) == before
    with pytest.raises(RuntimeError):
        hooks.activations(net, torch.rand(1, 7, 9, 9), ["CL1"])
    hooks.activations(net, image, ["CL1"])
    assert _hook_count(net) == before
    assert torch.equal(net(image), plain)


def test_layers_that_return_no_tensor_or_do_not_run_are_refused(image):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.idle = nn.MaxPool2d(2, return_indices=True), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.pair(x)[0]

    with pytest.raises(InputError, match="tuple"), hooks.record(Odd(), ["pair"]):
        Odd()
        odd = Odd()
        with hooks.record(odd, ["pair"]):
            odd(image)
    with pytest.raises(InputError, match="does not run"):
        hooks.activations(Odd(), image, ["idle"])
    odd = Odd()
    with hooks.record(odd, ["idle"]) as acts, pytest.raises(InputError, match="has not run"):
        acts["idle"]


FORMULAS = {
    "gradient": lambda r, x: r * (x > 0),
    "deconvnet": lambda r, x: r.clamp(min=0),
    "guided": lambda r, x: r.clamp(min=0) * (x > 0),
    "redirected": lambda r, x: torch.where((x <= 0) & (r <= 0), 0, r),
}
SPELLINGS = {
    "functional": F.relu,
    "torch": torch.relu,
    "method": Tensor.relu,
    "functional in place": lambda x: F.relu(x, inplace=True),
    "torch in place": torch.relu_,
    "method in place": Tensor.relu_,
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("rule", FORMULAS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_rule_applies_to_every_spelling_of_a_relu(rule, spelling):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(50, generator=generator, requires_grad=True)
    arriving = torch.randn(50, generator=generator)
    with relu_rules.relu_rule(rule):
        out = SPELLINGS[spelling](x * 1)
    assert torch.equal(out, x.clamp(min=0))
    (leaving,) = torch.autograd.grad((out * arriving).sum(), x)
    assert torch.equal(leaving, FORMULAS[rule](arriving, x.detach()))


def test_only_an_image_without_a_gradient_is_redirected():
    x = torch.tensor([[1.0, -1.0, -2.0], [-1.0, -1.0, -2.0]], requires_grad=True)
    arriving = torch.tensor([[1.0, 5.0, -1.0], [1.0, 5.0, -1.0]])
    with relu_rules.relu_rule("redirected"):
        out = F.relu(x * 1)
    (leaving,) = torch.autograd.grad((out * arriving).sum(), x)
    assert leaving.tolist() == [[1, 0, 0], [1, 5, 0]]


def test_in_place_relu_under_a_rule_still_works_in_place():
    x = torch.tensor([-1.0, 2.0])
    with relu_rules.relu_rule("guided"):
        F.relu(x, inplace=True)
    assert x.tolist() == [0.0, 2.0]


def test_the_gradient_rule_equals_autograd_on_a_network_with_reused_relus(one_thread):
    torch.manual_seed(0)
    net, x = resnet18(weights=None).eval(), torch.rand(1, 3, 32, 32, requires_grad=True)
    (plain,) = torch.autograd.grad(net(x)[0, 0], x)
    with relu_rules.relu_rule("gradient"):
        (ruled,) = torch.autograd.grad(net(x)[0, 0], x)
    with relu_rules.relu_rule("deconvnet"):
        (other,) = torch.autograd.grad(net(x)[0, 0], x)
    assert torch.allclose(plain, ruled, atol=1e-7)
    assert not torch.allclose(plain, other, atol=1e-3 * float(plain.abs().max()))
    (after,) = torch.autograd.grad(net(x)[0, 0], x)
    assert torch.equal(after, plain)  # the rule ends with its block


def test_an_unknown_rule_is_refused():
    with pytest.raises(NameNotFound, match="deconvnet"), relu_rules.relu_rule("deconv"):
        pass


def test_hooked_modules_call_before_and_after_they_run_and_may_replace_their_output(net, image):
    calls: list[str] = []

    def after(name: str, module: nn.Module, inputs: tuple, output: object) -> object:
        calls.append(f"{name} ran")
        return output * 0 if name == "relu" and isinstance(output, Tensor) else None

    def before(name: str, *call: object) -> None:
        calls.append(f"{name} runs")

    count = _hook_count(net)
    with hooks.hooked([("relu", net.relu)], after, before=before):
        blank = net(image)
    assert calls == ["relu runs", "relu ran"] * (len(calls) // 2) and calls
    assert not torch.equal(blank, net(image)) and _hook_count(net) == count

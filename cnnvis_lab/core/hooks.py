"""Look into a network and change what flows through it: record, edit, stop early.

Layers are addressed by torch's dotted names, or by any alias in a model's `layer_aliases`. Every
context manager leaves the network as it found it, whatever happens inside.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .errors import InputError, not_found

Edit = Callable[[Tensor], Tensor]
Visitor = Callable[[Tensor], Tensor | None]


def resolve(model: nn.Module, layer: str) -> str:
    """Return torch's dotted name of a layer given by that name or by an alias.

    Raises:
        NameNotFound: no such layer; suggests near ones.
    """
    aliases = getattr(model, "layer_aliases", {})
    if layer in aliases:
        return aliases[layer]
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        raise not_found("layer", layer, [*aliases, *names])
    return layer


class Recording:
    """What the recorded layers gave, keyed by the caller's own words.

    A layer that runs several times in one pass shows its last output; `calls` has them all.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._calls: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def __getitem__(self, layer: str) -> Tensor:
        return self.calls(layer)[-1]

    def calls(self, layer: str) -> list[Tensor]:
        """Return every output of a layer, in order of execution.

        Raises:
            NameNotFound: the layer was not asked for.
            InputError: no forward pass has reached it.
        """
        if layer not in self._calls:
            raise not_found("recorded layer", layer, self._calls)
        if not self._calls[layer]:
            raise InputError(f"layer {layer!r} has not run; call the model inside the with block")
        return self._calls[layer]

    def keep(self, layer: str, output: object) -> Tensor:
        """Keep an output; return what flows on in its place."""
        output = _require_tensor(layer, output)
        self._calls[layer].append(output)
        # A later in-place module then overwrites the copy, not what is kept; gradients flow
        # through both, because the copy is made from what is kept.
        return output.clone()


def _require_tensor(layer: str, output: object) -> Tensor:
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise InputError(
            f"layer {layer!r} gives a {kind}, not one tensor; choose a layer inside it"
        )
    return output


@contextmanager
def hooked(model: nn.Module, hooks: Mapping[str, Callable]) -> Iterator[None]:
    """Register forward hooks (module, inputs, output) by layer word; remove them in any case."""
    modules = [(model.get_submodule(resolve(model, layer)), hook) for layer, hook in hooks.items()]
    handles = [module.register_forward_hook(hook) for module, hook in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def record(model: nn.Module, layers: Sequence[str]) -> Iterator[Recording]:
    """Record the outputs of layers during the forward passes made inside the block.

    `with hooks.record(model, ["CL2", "features.10"]) as acts: model(x)` gives acts["CL2"], part of
    the autograd graph where one is built.

    Args:
        model: any network.
        layers: dotted names or aliases.

    Raises:
        NameNotFound: no such layer; nothing is hooked then.
        InputError: a layer gives something else than one tensor.
    """
    kept = Recording(layers)
    hooks = {layer: _recorder(kept, layer) for layer in layers}
    with hooked(model, hooks):
        yield kept


def _recorder(kept: Recording, layer: str) -> Callable:
    return lambda module, inputs, output: kept.keep(layer, output)


@contextmanager
def edit(model: nn.Module, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Replace layers' outputs, at each of their calls, by a function of them inside the block.

    Args:
        model: any network.
        edits: layer -> function from its output to what should flow on.
    """

    def editor(change: Edit) -> Callable:
        return lambda module, inputs, output: change(output)

    with hooked(model, {layer: editor(change) for layer, change in edits.items()}):
        yield


class _DeepestReached(Exception):
    """Ends a forward pass at the deepest layer asked for."""


# How often each module runs in one forward pass: learned at the first pass, kept with the model.
_call_counts: WeakKeyDictionary[nn.Module, dict[str, int]] = WeakKeyDictionary()


def activations(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Run the network up to the deepest of the layers and return their outputs.

    Later modules never run. A module that runs several times gives its last output. Gradients are
    tracked as the caller's grad mode says.

    Args:
        model: any network.
        images: what it takes, batch first.
        layers: dotted names or aliases.

    Returns:
        Layer, in the caller's words -> its output.
    """
    kept = Recording(layers)
    visit(model, images, {layer: partial(kept.keep, layer) for layer in layers})
    return {layer: kept[layer] for layer in dict.fromkeys(layers)}


def visit(model: nn.Module, images: Tensor, visitors: Mapping[str, Visitor]) -> None:
    """Run the network up to the deepest of the layers, showing each one's output on the way.

    Args:
        model: any network.
        images: what it takes, batch first.
        visitors: layer -> what looks at its output (the last, where it runs several times); what
            it returns, if anything, flows on instead. A later in-place module may overwrite what
            it was shown.
    """
    with passes(model, list(visitors)) as run:
        run(images, visitors)


@contextmanager
def passes(
    model: nn.Module, layers: Sequence[str]
) -> Iterator[Callable[[Tensor, Mapping[str, Visitor]], None]]:
    """Give a function that runs the network and shows the layers' outputs: see `visit`.

    Within the block it may be called any number of times, from several threads at once: the network
    is hooked once, and each thread's visitors see that thread's passes only.
    """
    expected: dict[str, int] = {}
    own, learning = threading.local(), threading.Lock()

    def run(images: Tensor, visitors: Mapping[str, Visitor]) -> None:
        with learning:
            if not expected:
                expected.update(_expected_calls(model, images, layers))
        own.waiting, own.visitors = dict(expected), visitors
        try:
            with suppress(_DeepestReached):
                model(images)
        finally:
            own.visitors = {}  # nothing they hold outlives the pass

    def shown(layer: str) -> Callable:
        def show(module: nn.Module, inputs: tuple, output: object) -> Tensor | None:
            if not expected:  # a first pass, which learns the network, is for nobody's eyes
                return None
            own.waiting[layer] -= 1
            last = own.waiting[layer] <= 0
            flowing = own.visitors[layer](_require_tensor(layer, output)) if last else None
            if not any(count > 0 for count in own.waiting.values()):
                raise _DeepestReached
            return flowing

        return show

    with hooked(model, {layer: shown(layer) for layer in layers}):
        yield run


def _expected_calls(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, int]:
    names = {layer: resolve(model, layer) for layer in layers}
    counts, failure = _call_counts.get(model), None
    if counts is None:
        counts, failure = _count_calls(model, images[:1])
    for layer, name in names.items():
        if not counts.get(name):
            if failure:
                raise failure
            raise InputError(f"layer {layer!r} does not run in a forward pass; choose another")
    return {layer: counts[name] for layer, name in names.items()}


@torch.no_grad()
def _count_calls(model: nn.Module, image: Tensor) -> tuple[dict[str, int], RuntimeError | None]:
    """Count each module's calls in one pass, and remember them if the pass went through.

    A pass may fail late, on a canvas too small for the full layers; what ran before is counted
    right, so the failure is given back rather than raised.
    """
    counts: dict[str, int] = {}

    def counter(name: str) -> Callable:
        def count(module: nn.Module, inputs: tuple, output: object) -> None:
            counts[name] = counts.get(name, 0) + 1

        return count

    hooks = [m.register_forward_hook(counter(name)) for name, m in model.named_modules() if name]
    try:
        # Whatever mode the caller has set is meant for his passes, not for this one.
        with torch._C.DisableTorchFunction():
            model(image)
    except RuntimeError as failure:
        return counts, failure
    finally:
        for hook in hooks:
            hook.remove()
    _call_counts[model] = counts
    return counts, None

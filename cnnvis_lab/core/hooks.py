"""Record, edit and stop forward passes.

Layers are addressed by torch's dotted names, or by an alias in the model's `layer_aliases`. Every
context manager removes its hooks when its block ends, even if an exception ends it.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .errors import InputError, not_found

Edit = Callable[[Tensor], Tensor]
Visitor = Callable[[Tensor], Tensor | None]
NamedModules = Iterable[tuple[str, nn.Module]]


def aliases(model: nn.Module) -> dict[str, str]:
    """Return alias -> dotted name of the layers that have an alias."""
    known = getattr(model, "layer_aliases", {})
    return known if isinstance(known, dict) else {}


def _units_last(model: nn.Module, layers: Iterable[str]) -> set[str]:
    """Return the layers whose units are on the last axis of their maps; see `with_units_first`."""
    known = getattr(model, "units_last", None)
    if not isinstance(known, frozenset):
        return set()
    return {layer for layer in layers if known and resolve(model, layer) in known}


def with_units_first(output: Tensor, moved: bool) -> Tensor:
    """Return maps (n, units, h, w), from (n, h, w, units) if they are `moved`.

    Networks such as Swin transformers compute with units on the last axis. A model lists such
    layers in `units_last`; their outputs are recorded, edited and shown like those of all others.

    Args:
        output: of a layer.
        moved: whether its units are on the last axis.
    """
    return output.movedim(-1, 1) if moved else output


def _as_computed(output: Tensor, moved: bool) -> Tensor:
    return output.movedim(1, -1) if moved else output


def resolve(model: nn.Module, layer: str) -> str:
    """Return torch's dotted name of a layer, given by that name or by an alias.

    Raises:
        NameNotFound: no such layer; the message suggests similar names.
    """
    short = aliases(model)
    if layer in short:
        return short[layer]
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        raise not_found("layer", layer, [*short, *names])
    return layer


@contextmanager
def hooked(
    modules: NamedModules,
    hook: Callable[[str, nn.Module, tuple, object], object],
    *,
    before: Callable[[str, nn.Module, tuple], object] | None = None,
) -> Iterator[None]:
    """Call a function after every run of some modules inside the block.

    Args:
        modules: (name, module) pairs, such as `model.named_modules()`.
        hook: called with a module's name, the module, its inputs and its output; unless it
            returns None, its result replaces the output.
        before: called with name, module and inputs before every run.
    """
    handles = []
    try:
        for name, module in modules:
            handles.append(module.register_forward_hook(partial(hook, name)))
            if before:
                handles.append(module.register_forward_pre_hook(partial(before, name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layer_modules(model: nn.Module, layers: Iterable[str]) -> NamedModules:
    """Return a (name, module) pair per layer, with the name that the caller used."""
    return [(layer, model.get_submodule(resolve(model, layer))) for layer in dict.fromkeys(layers)]


class Recording:
    """Outputs of the recorded layers, under the names by which the caller asked for them.

    A layer that runs several times in one pass gives its last output; `calls` gives all of them.
    """

    def __init__(self, layers: Collection[str]) -> None:
        self._calls: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def __getitem__(self, layer: str) -> Tensor:
        return self.calls(layer)[-1]

    def calls(self, layer: str) -> list[Tensor]:
        """Return all outputs of a layer, in order of execution.

        Raises:
            NameNotFound: the layer is not recorded.
            InputError: no forward pass has reached the layer.
        """
        if layer not in self._calls:
            raise not_found("recorded layer", layer, self._calls)
        if not self._calls[layer]:
            raise InputError(f"layer {layer!r} has not run; call the model inside the with block")
        return self._calls[layer]

    def store(self, layer: str, output: object) -> Tensor:
        """Record an output and return the tensor that the network uses in its place."""
        output = _require_tensor(layer, output)
        self._calls[layer].append(output)
        # A later in-place module then overwrites the copy, not the recorded tensor. Gradients reach
        # both, because the copy is made from the recorded tensor.
        return output.clone()


def _require_tensor(layer: str, output: object) -> Tensor:
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise InputError(
            f"layer {layer!r} gives a {kind}, not one tensor; choose a layer inside it"
        )
    return output


@contextmanager
def record(model: nn.Module, layers: Sequence[str]) -> Iterator[Recording]:
    """Record the outputs of layers during the forward passes made inside the block.

    `with hooks.record(model, ["CL2", "features.10"]) as acts: model(x)` gives acts["CL2"], which
    is part of the autograd graph where one is built.

    Args:
        model: any network.
        layers: dotted names or aliases.

    Raises:
        NameNotFound: no such layer; in that case no hook is set.
        InputError: a layer's output is not one tensor.
    """
    recording, last = Recording(layers), _units_last(model, layers)

    def store(layer: str, module: nn.Module, inputs: tuple, output: object) -> Tensor:
        maps = with_units_first(_require_tensor(layer, output), layer in last)
        return _as_computed(recording.store(layer, maps), layer in last)

    with hooked(_layer_modules(model, layers), store):
        yield recording


@contextmanager
def edit(model: nn.Module, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Replace the outputs of layers, at each call inside the block, by functions of them.

    Args:
        model: any network.
        edits: layer -> function from its output to the output that replaces it.
    """

    last = _units_last(model, edits)

    def change(layer: str, module: nn.Module, inputs: tuple, output: object) -> Tensor:
        maps = with_units_first(_require_tensor(layer, output), layer in last)
        return _as_computed(edits[layer](maps), layer in last)

    with hooked(_layer_modules(model, edits), change):
        yield


def activations(model: nn.Module, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
    """Run the network up to the deepest of some layers and return their outputs.

    Later modules never run. A module that runs several times gives its last output. Gradients are
    tracked according to the caller's grad mode.

    Args:
        model: any network.
        images: the network's input, batch first.
        layers: dotted names or aliases.

    Returns:
        Layer, as named by the caller -> its output.
    """
    recording = Recording(layers)
    visit(model, images, {layer: partial(recording.store, layer) for layer in layers})
    return {layer: recording[layer] for layer in dict.fromkeys(layers)}


def visit(model: nn.Module, images: Tensor, visitors: Mapping[str, Visitor]) -> None:
    """Run the network up to the deepest of some layers and call a function with each output.

    Args:
        model: any network.
        images: the network's input, batch first.
        visitors: layer -> function of its output (the last one if the layer runs several times).
            Unless it returns None, its result replaces the output. A later in-place module may
            overwrite the tensor that the function received.
    """
    with passes(model, list(visitors)) as run:
        run(images, visitors)


@contextmanager
def passes(
    model: nn.Module, layers: Sequence[str]
) -> Iterator[Callable[[Tensor, Mapping[str, Visitor]], None]]:
    """Yield a function that runs the network like `visit`, for many passes over the same layers.

    The network is hooked once for the whole block. Several threads may call the function at the
    same time; each thread's visitors see only that thread's passes.
    """
    run = _Passes(model, layers)
    with hooked(_layer_modules(model, layers), run.visit):
        yield run


class _DeepestReached(Exception):
    """Ends a forward pass at the deepest visited layer."""


class _Passes:
    """Forward passes that call visitors and end at the deepest of some layers."""

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        self.model, self.layers, self.last = model, layers, _units_last(model, layers)
        self.calls: dict[str, int] = {}  # per layer in one pass; counted in the first pass
        self.counting = threading.Lock()
        self.current = threading.local()  # each thread's remaining calls, and its visitors

    def __call__(self, images: Tensor, visitors: Mapping[str, Visitor]) -> None:
        with self.counting:
            if not self.calls:
                self.calls = _calls_in_one_pass(self.model, images, self.layers)
        self.current.remaining, self.current.visitors = dict(self.calls), visitors
        try:
            with suppress(_DeepestReached):
                self.model(images)
        finally:  # so that nothing that they refer to outlives the pass
            self.current.remaining, self.current.visitors = {}, {}

    def visit(self, layer: str, module: nn.Module, inputs: tuple, output: object) -> Tensor | None:
        """Call the layer's visitor at its last call; end the pass after all layers' last calls."""
        remaining = getattr(self.current, "remaining", {})
        if not remaining:  # a pass that counts calls, or one that others make meanwhile
            return None
        remaining[layer] -= 1
        result = None
        if remaining[layer] <= 0:
            maps = with_units_first(_require_tensor(layer, output), layer in self.last)
            result = self.current.visitors[layer](maps)
            result = result if result is None else _as_computed(result, layer in self.last)
        if not any(count > 0 for count in remaining.values()):
            raise _DeepestReached
        return result


# How often each module runs in one forward pass, and of which modules this was counted.
_call_counts: WeakKeyDictionary[nn.Module, tuple[list[int], dict[str, int]]] = WeakKeyDictionary()
# In modules of these packages, nothing but the modules inside decides what runs.
_FIXED = ("torch.nn.", "torchvision.", "timm.", f"{__name__.partition('.')[0]}.")


def _calls_in_one_pass(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, int]:
    """Return how often each layer runs in one forward pass.

    Any code of a user's own may call its layers more or less often than in the pass before, so its
    calls are counted again.
    """
    names, modules = {layer: resolve(model, layer) for layer in layers}, [*model.modules()]
    state = [id(module) for module in modules]
    known, counts = _call_counts.get(model, ([], {}))
    failure = None
    if known != state or not all(type(module).__module__.startswith(_FIXED) for module in modules):
        counts, failure = _count_calls(model, images)
        if not failure:
            _call_counts[model] = (state, counts)
    for layer, name in names.items():
        if not counts.get(name):
            if failure:
                raise failure
            raise InputError(f"layer {layer!r} does not run in a forward pass; choose another")
    return {layer: counts[name] for layer, name in names.items()}


@torch.no_grad()
def _count_calls(model: nn.Module, images: Tensor) -> tuple[dict[str, int], Exception | None]:
    """Count each module's calls in one pass over the first image.

    A pass may fail late, for instance on a canvas too small for the fully connected layers. The
    counts up to that point are correct, so the failure is returned and not raised.
    """
    counts: dict[str, int] = {}

    def count(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        counts[name] = counts.get(name, 0) + 1

    with hooked([(name, module) for name, module in model.named_modules() if name], count):
        try:
            # A mode set by the caller applies to the caller's own passes only.
            with torch._C.DisableTorchFunction():
                model(images[:1])
        except Exception as failure:  # whatever the network raises
            return counts, failure
    return counts, None

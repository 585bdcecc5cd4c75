"""Independent copies of networks."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from .errors import InputError


def copy_network(net: nn.Module, *, shared: Iterable[Tensor] = ()) -> Any:
    """Return a copy of a network, with hooks and buffers of its own.

    Activations that the network keeps on its modules are copied without their autograd graph.

    Args:
        net: the network; not changed.
        shared: parameters and buffers that the copy has in common with the network.

    Raises:
        InputError: the network holds something that cannot be copied, such as an open file.
    """
    memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
    for tensor in _tensors(net, set()):
        if not (tensor.is_leaf or id(tensor) in memo):
            memo[id(tensor)] = tensor.detach().clone()
    try:
        return copy.deepcopy(net, memo)
    except (TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{type(net).__name__} cannot be copied ({reason}); keep nothing on the module that "
            "has no copy, such as a file or a lock"
        ) from None


def _tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors in a module's attributes, and in containers and objects among them."""
    if id(value) in seen or isinstance(value, type):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    parts: Iterable[object] = ()
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple | set):
        parts = value
    elif (hasattr(value, "__dict__") and not callable(value)) or isinstance(value, nn.Module):
        parts = vars(value).values()
    for part in parts:
        yield from _tensors(part, seen)

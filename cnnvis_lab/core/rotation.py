"""The same representation in another basis: rotated units, with the rotation undone downstream.

Whether single units mean more than mixtures of units is asked by turning the basis little by little
(Bau et al. 2017, section 3.2): what the network can tell stays exactly the same, what its units
detect need not.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import hooks
from .errors import InputError
from .types import Float


def random_rotation(size: int, seed: int = 0) -> Float[Tensor, "size size"]:
    """Draw a rotation uniformly (Haar measure on SO(size)), in double precision.

    Source: QR of a Gaussian matrix with the signs of R's diagonal taken out (Mezzadri 2007); a
    reflection is made a rotation by turning one row about.
    """
    if size < 2:
        raise InputError(f"a rotation of {size} units: expected at least 2")
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(size, size, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    q = q * r.diagonal().sign()
    if torch.linalg.det(q) < 0:
        q[0] = -q[0]
    return q


def fractional_rotation(
    rotation: Float[Tensor, "size size"], alpha: float
) -> Float[Tensor, "size size"]:
    """Return the share alpha of a rotation, along the shortest way from doing nothing to it.

    Args:
        rotation: orthogonal, determinant 1, and turning no plane by exactly half a circle.
        alpha: 0 for the identity, 1 for the whole of it.

    Source: Bau et al. 2017, section 3.2. A rotation is normal, so that its eigenvectors are the
    Schur vectors used there; each plane's angle is multiplied by alpha.
    """
    values, vectors = torch.linalg.eig(rotation.double())
    turned = vectors * torch.polar(torch.ones_like(values.angle()), values.angle() * alpha)
    return torch.linalg.solve(vectors, turned, left=False).real


class UnitMixing(nn.Module):
    """Mixes the units of a layer by a matrix, at every position alike."""

    def __init__(self, matrix: Float[Tensor, "units units"]) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix.float())

    def forward(self, activations: Tensor) -> Tensor:
        """Return the activations in the other basis."""
        if activations.ndim == 4:
            return functional.conv2d(activations, self.matrix[:, :, None, None])
        return functional.linear(activations, self.matrix)


class RotatedLayer(nn.Module):
    """A network one of whose layers can be seen in another basis, under the name "rotated".

    The layer's output is rotated and rotated back before it flows on, so that all later layers,
    and the accuracy, stay what they are but for rounding. Layers keep their names; the network's
    own weights are shared, not copied.
    """

    def __init__(
        self, model: nn.Module, layer: str, rotation: Float[Tensor, "units units"]
    ) -> None:
        super().__init__()
        self.net = model
        self.layer = hooks.resolve(model, layer)
        self.rotated, self.back = UnitMixing(rotation), UnitMixing(rotation.T)
        known = getattr(model, "layer_aliases", {}) | {
            name: name for name, _ in model.named_modules()
        }
        self.layer_aliases = {word: f"net.{name}" for word, name in known.items() if word}
        self.layer_aliases["rotated"] = "rotated"
        if hasattr(model, "card"):
            self.card = model.card

    def forward(self, images: Tensor) -> Tensor:
        """Score images as the network does."""
        with hooks.edit(self.net, {self.layer: lambda x: self.back(self.rotated(x))}):
            return self.net(images)

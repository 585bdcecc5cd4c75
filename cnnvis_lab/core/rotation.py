"""A layer in a rotated basis; the rotation is undone before the next layer.

Rotating the basis step by step tests whether single units are more interpretable than combinations
of units (Bau et al. 2017, section 3.2): the network's discriminative power stays exactly the same,
while the concepts that its units detect may change.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import hooks
from .errors import InputError
from .types import Float


def random_rotation(size: int, seed: int = 0) -> Float[Tensor, "size size"]:
    """Return a uniformly random rotation (Haar measure on SO(size)), in double precision.

    Source: QR of a Gaussian matrix, corrected by the signs of R's diagonal (Mezzadri 2007); a
    reflection becomes a rotation by negating one row.
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
    """Return a fraction of a rotation, on the shortest path from the identity.

    Args:
        rotation: orthogonal, with determinant 1; no plane may be rotated by exactly half a turn.
        alpha: 0 for the identity, 1 for the whole rotation.

    Source: Bau et al. 2017, section 3.2. A rotation is a normal matrix, so its eigenvectors are the
    Schur vectors used there; the angle of each plane is multiplied by alpha.
    """
    values, vectors = torch.linalg.eig(rotation.double())
    scaled = vectors * torch.polar(torch.ones_like(values.angle()), values.angle() * alpha)
    return torch.linalg.solve(vectors, scaled, left=False).real


class UnitMixing(nn.Module):
    """Multiplies the units of a layer by a matrix, at every position."""

    def __init__(self, matrix: Float[Tensor, "units units"]) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix.float())

    def forward(self, activations: Tensor) -> Tensor:
        """Return the activations in the other basis."""
        if activations.ndim == 4:
            return functional.conv2d(activations, self.matrix[:, :, None, None])
        return functional.linear(activations, self.matrix)


class RotatedLayer(nn.Module):
    """A network with an additional layer "rotated": one of its layers in another basis.

    The output of the layer is rotated, then rotated back before the next layer, so that all later
    layers and the accuracy stay the same up to rounding. Layers keep their names; the weights are
    shared with the network, not copied.
    """

    def __init__(
        self, model: nn.Module, layer: str, rotation: Float[Tensor, "units units"]
    ) -> None:
        super().__init__()
        self.net = model
        self.layer = hooks.resolve(model, layer)
        self.rotated, self.back = UnitMixing(rotation), UnitMixing(rotation.T)
        names = {name: name for name, _ in model.named_modules() if name}
        aliases = hooks.aliases(model) | names
        self.layer_aliases = {alias: f"net.{name}" for alias, name in aliases.items()}
        self.layer_aliases["rotated"] = "rotated"
        if hasattr(model, "card"):
            self.card = model.card

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's scores."""
        with hooks.edit(self.net, {self.layer: lambda x: self.back(self.rotated(x))}):
            return self.net(images)

"""Tensor annotations: jaxtyping's if installed (the tests check them), otherwise plain types.

`Images` are float tensors, NCHW, in [0, 1]; RGB unless a network takes other channels.
"""

from torch import Tensor

try:
    from jaxtyping import Bool, Float, Int, UInt8
except ImportError:  # shapes are then documentation only

    class _Unchecked:
        def __class_getitem__(cls, item: tuple) -> type:
            return item[0]

    Bool = Float = Int = UInt8 = _Unchecked
Images = Float[Tensor, "n channels h w"]

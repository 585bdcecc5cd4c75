"""Tensor annotations: jaxtyping where installed, which the tests check; otherwise plain types.

`Images` are float tensors, NCHW, RGB, in [0, 1].
"""

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

try:
    from jaxtyping import Bool, Float, Int, UInt8
except ImportError:  # the shapes then only document

    class _Unchecked:
        def __class_getitem__(cls, item: tuple) -> type:
            return item[0]

    Bool = Float = Int = UInt8 = _Unchecked
Images = Float[Tensor, "n 3 h w"]

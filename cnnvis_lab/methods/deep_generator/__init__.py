"""DGN-AM (Nguyen et al. 2016): activation maximization through a deep image generator.

c* = argmax_c a(G(c)) - lambda(c), where c is the code of a generator G and a is a unit of any
network that receives G's images (survey, section 3). The sampling of PPGN (Nguyen et al. 2017) adds
noise and a prior on codes, so that it reaches several images of a class.
"""

from .analysis import GeneratedQuality, class_probabilities, evaluate, saturation
from .codes import CodeBounds, encode, fit_bounds
from .render import CodeAscent, fit_to_input, render
from .sample import CodeWalk, fit_denoiser

__all__ = [
    "CodeAscent", "CodeBounds", "CodeWalk", "GeneratedQuality", "class_probabilities", "encode",
    "evaluate", "fit_bounds", "fit_denoiser", "fit_to_input", "render", "saturation",
]  # fmt: skip

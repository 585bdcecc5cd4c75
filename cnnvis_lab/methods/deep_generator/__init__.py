"""DGN-AM (Nguyen et al. 2016): activation maximization through a deep image generator.

c* = argmax_c a(G(c)) - lambda(c), where c is the code of a generator G and a is a unit of any
network that receives G's images (survey, section 3). The sampling of PPGN (Nguyen et al. 2017) adds
noise and a prior on codes, so that it reaches several images of a class.
"""

from .analysis import (
    GeneratedQuality,
    QualityTable,
    SampleSets,
    class_probabilities,
    class_targets,
    compare,
    compare_samples,
    others_with_classes,
    recognition_gain,
    saturation,
    sharpness_ratio,
)
from .codes import (
    CodeBounds,
    Prior,
    encode,
    fit_bounds,
    load,
    other_priors,
)
from .render import CodeAscent, fit_to_input, render
from .sample import CodeWalk, fit_denoiser

__all__ = [
    "CodeAscent", "CodeBounds", "CodeWalk", "GeneratedQuality", "Prior",
    "QualityTable", "SampleSets", "class_probabilities", "class_targets", "compare",
    "compare_samples", "encode", "fit_bounds", "fit_denoiser", "fit_to_input",
    "load", "other_priors", "others_with_classes", "recognition_gain", "render", "saturation",
    "sharpness_ratio",
]  # fmt: skip

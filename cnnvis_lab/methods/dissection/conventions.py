"""Published conventions for computing unit masks and comparing them with concepts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """How masks are computed and compared. The defaults are those of the authors' program.

    Attributes:
        quantile: fraction of a unit's activations above its threshold.
        upsampled: estimate thresholds from upsampled instead of raw maps. Interpolation flattens
            peaks, so these thresholds are lower; masks then cover exactly the fraction `quantile`
            of all pixels.
        grid: where the positions of a map lie in the image, see `grid.make_axis`. Stretching a map
            over the image ("pixels", "corners") can misplace masks.
        binary: threshold first, then interpolate zeros and ones; the mask is where the result
            exceeds one half. Such masks are coarser, and do not depend on how far a unit exceeds
            its threshold.
        area: images whose mask pixels count in the union. "category": images with a label of the
            concept's category; "touched": only those where the mask overlaps such a label, which
            makes unions smaller; "everywhere": all images, which makes unions larger for concepts
            that are labeled in part of the data only; "concept": images that show the concept,
            which measures localization but not recognition.
        label_step: use every n-th pixel of the label maps.
        min_iou: IoU from which a unit counts as a detector.
        strict: a detector must exceed `min_iou` instead of reaching it.
        source: the implementation that follows the convention.
    """

    quantile: float = 0.005
    upsampled: bool = False
    grid: str = "fields"
    binary: bool = False
    area: str = "category"
    label_step: int = 1
    min_iou: float = 0.04
    strict: bool = False
    source: str = (
        "NetDissect's rundissect.sh, labelprobe.py and makeresult.py; unlike there, all pairs of "
        "unit and concept are kept, not only the 2,048 largest of each image"
    )


CONVENTIONS: dict[str, Convention] = {
    "original": Convention(),
    "lite": Convention(
        grid="pixels", area="touched", source="NetDissect-Lite's feature_operation.py"
    ),
    "quick": Convention(
        grid="exact fields", strict=True, source="quick-netdissect's dissection.py"
    ),
    "2020": Convention(
        quantile=0.01,
        upsampled=True,
        grid="pixels",
        area="everywhere",
        label_step=2,
        source="Bau et al. 2020 (dissect), masks on 56 x 56 of 224 x 224 pixels",
    ),
    "net2vec": Convention(
        grid="corners",
        binary=True,
        area="concept",
        source="Fong and Vedaldi 2018, labelprobe_pytorch.py",
    ),
}

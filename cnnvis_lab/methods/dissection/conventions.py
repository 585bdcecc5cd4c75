"""Conventions of published implementations for computing and comparing masks."""

from dataclasses import dataclass

from ...core import not_found


@dataclass(frozen=True)
class Convention:
    """How masks are made and compared. The defaults are those of the authors' own program.

    Attributes:
        quantile: share of a unit's activations above its threshold.
        upsampled: the share is of the upsampled maps instead of the raw ones. Interpolation
            flattens peaks, so thresholds fall and masks cover that very share of the pixels.
        grid: where a map's positions lie, see `dissection_grids.axis`. Stretching a map over the
            picture ("pixels", "corners") shifts masks by up to half a receptive field's margin.
        binary: threshold first, interpolate zeros and ones, and take what exceeds one half.
            Masks are then coarser, and independent of how far above the threshold a unit is.
        area: pictures whose mask pixels enter the union: "category", those with a label of the
            concept's category; "touched", only those where the mask meets such a label, which
            makes unions smaller; "everywhere", which makes them larger for concepts that are
            labelled in a part of the data only; "concept", those that show the concept itself,
            which asks where it is and no longer whether it is there.
        label_step: of the label maps, keep every so many pixels.
        min_iou: from where on a unit counts as a detector.
        exceed: a detector must exceed `min_iou` rather than reach it.
        source: where the convention comes from.
    """

    quantile: float = 0.005
    upsampled: bool = False
    grid: str = "fields"
    binary: bool = False
    area: str = "category"
    label_step: int = 1
    min_iou: float = 0.04
    exceed: bool = False
    source: str = (
        "NetDissect's rundissect.sh, labelprobe.py and makeresult.py; unlike there, all pairs of "
        "unit and concept are kept rather than the 2,048 largest of each picture"
    )


CONVENTIONS: dict[str, Convention] = {
    "original": Convention(),
    "lite": Convention(
        grid="pixels", area="touched", source="NetDissect-Lite's feature_operation.py"
    ),
    "quick": Convention(
        grid="exact fields", exceed=True, source="quick-netdissect's dissection.py"
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


def get_convention(convention: str | Convention) -> Convention:
    """Return a convention by its name."""
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        raise not_found("convention", convention, CONVENTIONS)
    return CONVENTIONS[convention]

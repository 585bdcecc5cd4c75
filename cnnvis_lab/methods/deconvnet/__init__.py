"""DeconvNet (Zeiler and Fergus 2013): which part of an image activates a unit?"""

from .analysis import (
    class_entropies,
    energy_outside_field,
    extents,
    list_targets,
    object_masks,
    one_per_class,
    project_by_rule,
    similarity,
    variation_ratios,
)
from .correspondence import (
    NO_FACES,
    Faces,
    PartDistances,
    correspondence,
    part_distances,
    random_boxes,
    select_faces,
)
from .design import DatasetScan, Diagnosis, diagnose, scan_dataset
from .invariance import TRANSFORMATIONS, Invariance, invariance
from .occlusion import (
    Explanation,
    Occlusion,
    explain,
    mean_agreement,
    mean_object_coverage,
    most_active_unit,
    occlude,
    occlude_boxes,
)
from .project import Projections, project
from .report import DesignComparison, DesignReport, compare_designs, design_report
from .top_projections import TopProjections, top_patches, top_projections
from .walkthrough import ProjectionTrace, Stage, adjoint_errors, trace_projection

__all__ = [
    "NO_FACES",
    "TRANSFORMATIONS", "DatasetScan", "DesignComparison", "DesignReport", "Diagnosis",
    "Explanation", "Faces", "Invariance", "Occlusion", "PartDistances",
    "ProjectionTrace", "Projections", "Stage", "TopProjections", "adjoint_errors",
    "class_entropies", "compare_designs", "correspondence", "design_report",
    "diagnose", "energy_outside_field", "explain", "extents", "invariance",
    "list_targets", "mean_agreement", "mean_object_coverage", "most_active_unit", "object_masks",
    "occlude", "occlude_boxes", "one_per_class", "part_distances", "project", "project_by_rule",
    "random_boxes", "scan_dataset", "select_faces", "similarity", "top_patches", "top_projections",
    "trace_projection", "variation_ratios",
]  # fmt: skip

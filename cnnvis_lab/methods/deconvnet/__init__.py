"""DeconvNet (Zeiler and Fergus 2013): which part of an image activates a unit?"""

from .analysis import (
    class_entropy,
    energy_outside_field,
    extents,
    min_increase,
    object_masks,
    one_per_class,
    project_by_rule,
    similarity,
    variation_ratio,
)
from .correspondence import (
    Faces,
    correspondence,
    distance_gap,
    part_distances,
    random_boxes,
    select_faces,
)
from .design import (
    DatasetScan,
    DesignReport,
    Diagnosis,
    design_report,
    diagnose,
    improvements,
    scan_dataset,
)
from .invariance import TRANSFORMATIONS, Invariance, invariance
from .occlusion import Explanation, Occlusion, explain, most_active_unit, occlude, occlude_boxes
from .project import Projections, project
from .top_projections import TopProjections, top_projections
from .walkthrough import ProjectionTrace, Stage, adjoint_errors, trace_projection

__all__ = [
    "TRANSFORMATIONS", "DatasetScan", "DesignReport", "Diagnosis", "Explanation", "Faces",
    "Invariance", "Occlusion", "ProjectionTrace", "Projections", "Stage", "TopProjections",
    "adjoint_errors", "class_entropy", "correspondence", "design_report", "diagnose",
    "distance_gap", "energy_outside_field", "explain", "extents", "improvements", "invariance",
    "min_increase", "most_active_unit", "object_masks", "occlude",
    "occlude_boxes", "one_per_class", "part_distances", "project", "project_by_rule",
    "random_boxes", "scan_dataset", "select_faces", "similarity", "top_projections",
    "trace_projection", "variation_ratio",
]  # fmt: skip

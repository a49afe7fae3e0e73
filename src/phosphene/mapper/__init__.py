"""The method of Akhtar & Jalwana (arXiv 2303.17836), driven by a recipe."""

from phosphene.mapper.algorithm import accumulate
from phosphene.mapper.optimization import MapOptimization, group_size, in_groups, map_jobs, passes_per_map
from phosphene.mapper.progress import FrameRecorder, Step
from phosphene.mapper.refinement import refine

__all__ = [
    "FrameRecorder",
    "MapOptimization",
    "Step",
    "accumulate",
    "group_size",
    "in_groups",
    "map_jobs",
    "passes_per_map",
    "refine",
]

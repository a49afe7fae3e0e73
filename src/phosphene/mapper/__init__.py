"""The method of Akhtar & Jalwana (arXiv 2303.17836), driven by a recipe."""

from phosphene.mapper.optimization import (
    MapOptimization,
    group_size,
    in_groups,
    map_jobs,
    passes_of_steps,
    passes_per_map,
)
from phosphene.mapper.progress import FrameRecorder, Step

__all__ = [
    "FrameRecorder",
    "MapOptimization",
    "Step",
    "group_size",
    "in_groups",
    "map_jobs",
    "passes_of_steps",
    "passes_per_map",
]

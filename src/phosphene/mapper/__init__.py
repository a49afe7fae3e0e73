"""The method of Akhtar & Jalwana (arXiv 2303.17836), driven by a recipe."""

from phosphene.mapper.algorithm import accumulate
from phosphene.mapper.cycle import Making, Step, group_size, in_groups, map_jobs
from phosphene.mapper.frames import FrameRecorder
from phosphene.mapper.refinement import refine

__all__ = ["FrameRecorder", "Making", "Step", "accumulate", "group_size", "in_groups", "map_jobs", "refine"]

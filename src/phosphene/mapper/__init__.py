"""The method of Akhtar & Jalwana (arXiv 2303.17836), driven by a recipe."""

from phosphene.mapper.algorithm import accumulate
from phosphene.mapper.cycle import Step, in_groups, map_jobs
from phosphene.mapper.refinement import refine

__all__ = ["Step", "accumulate", "in_groups", "map_jobs", "refine"]

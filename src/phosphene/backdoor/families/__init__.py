"""Families of patterns: for every class, how little of one kind of pattern sends every sample there.

A family is one file. It says what its patterns are, how one is put on a sample, and what makes one small; the search
(:mod:`phosphene.backdoor.search`) is the same for all. What answers to a trigger answers to far less of the family that
the trigger belongs to than to any other class's pattern.
"""

from phosphene.backdoor.families.dense import Dense
from phosphene.backdoor.families.family import Family, Pattern, Shape
from phosphene.backdoor.families.sparse import Sparse
from phosphene.backdoor.families.spectral import Spectral

FAMILIES: dict[str, Family] = {one.name: one for one in (Sparse(), Spectral(), Dense())}

__all__ = ["FAMILIES", "Dense", "Family", "Pattern", "Shape", "Sparse", "Spectral"]

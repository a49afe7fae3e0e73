"""Benchmarks of the maps: how well other networks classify them, what each setting of a recipe buys."""

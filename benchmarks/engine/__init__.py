"""Benchmarks of speed: the engine, the executors, the report."""

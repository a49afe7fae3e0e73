"""Metrics: one pure function a file."""

"""Metrics: one pure function per file."""

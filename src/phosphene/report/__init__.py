"""A run directory in, one self-contained HTML file and a contact sheet out."""

from phosphene.report.html import write_report

__all__ = ["write_report"]

"""A run directory in, one self-contained HTML file and a contact sheet out; several, and a static web site."""

from phosphene.reports.html import write_report

__all__ = ["write_report"]

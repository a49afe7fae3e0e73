"""A run directory in, one self-contained HTML file and a contact sheet out."""

from phosphene.report.html import write_report
from phosphene.report.sheet import contact_sheet

__all__ = ["contact_sheet", "write_report"]

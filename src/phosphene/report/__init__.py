"""A run directory in, one self-contained HTML file and a contact sheet out.

``phosphene.report(run)`` writes a report as well: this package, once imported, hides any function of its name.
"""

import sys
from types import ModuleType

from phosphene.checked import checked
from phosphene.report.html import write_report

__all__ = ["write_report"]


class _CallableModule(ModuleType):
    """Class of this module, so that calling ``phosphene.report(run)`` calls :func:`write_report`."""

    __call__ = staticmethod(checked()(write_report))


sys.modules[__name__].__class__ = _CallableModule

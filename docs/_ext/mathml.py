"""Formulas as MathML, which browsers draw by themselves: no script, no fonts from elsewhere, no LaTeX to build with.

docutils brings the converter. What it cannot convert is a warning, and so ends a build with -W.
"""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _convert(node: nodes.Element, *, block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def inline(visitor: Any, node: nodes.Element) -> None:
    """Write a formula into a line."""
    visitor.body.append(_convert(node, block=False))
    raise nodes.SkipNode


def block(visitor: Any, node: nodes.Element) -> None:
    """Write a formula on lines of its own."""
    visitor.body.append(f'<div class="math-block">{_convert(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

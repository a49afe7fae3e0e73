"""Say which pages would fetch something from the network: the book must open without one."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
FETCHED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["']((?:https?:)?//[^"']+)""")
FETCHED_BY_STYLE = re.compile(r"""(?:@import\s+|url\()["']?((?:https?:)?//[^"')]+)""")


def check(app: Sphinx, failure: "Exception | None") -> None:
    """Warn of every address that a page or style sheet would load by itself."""
    if failure is not None or app.builder.name != "html":
        return
    for pattern, rule in (("**/*.html", FETCHED), ("**/*.css", FETCHED_BY_STYLE)):
        for page in sorted(Path(app.outdir).glob(pattern)):
            for address in rule.findall(page.read_text(encoding="utf-8")):
                logger.warning("%s fetches %s", page.relative_to(app.outdir), address)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Pages that come and go: what may not have been written yet breaks no build, and what nobody placed is not lost.

In a toctree of a page ``name*`` stands for the pages that there are, none included. Two comments, invisible where the
Markdown is read as it is: ``<!-- unplaced -->`` becomes a toctree of the pages beside it that none of its toctrees
names; ``<!-- when: scan -->`` ... ``<!-- end -->`` is kept if there is such a command (``when: scan.md``: such a page).
"""

import re
from fnmatch import fnmatch
from pathlib import Path

from sphinx.application import Sphinx

from phosphene.cli import COMMANDS

MARK = "<!-- unplaced -->"
WHEN = re.compile(r"<!-- when: (\S+) -->\n(.*?)<!-- end -->\n", re.DOTALL)
TOCTREE = re.compile(r"(?<=^```\{toctree\}\n)(.*?)(?=^```)", re.MULTILINE | re.DOTALL)


def keep(text: str, folder: Path) -> str:
    """Leave out what speaks of commands and pages that are not there."""

    def there(name: str) -> bool:
        return (folder / name).exists() if name.endswith(".md") else name in COMMANDS

    return WHEN.sub(lambda found: found[2] if there(found[1]) else "", text)


def place(text: str, pages: list[str]) -> str:
    """Write out the toctrees of a page.

    Args:
        text: The page, MyST.
        pages: All pages beside it, without their suffix.
    """
    named: set[str] = set()

    def write(found: "re.Match[str]") -> str:
        lines: list[str] = []
        for line in found[0].splitlines():
            lines += [page for page in pages if fnmatch(page, line)] if "*" in line else [line]
        named.update(lines)
        return "\n".join([*lines, ""])

    text = TOCTREE.sub(write, text)
    left = [page for page in pages if page not in named]
    tree = "\n".join(["```{toctree}", ":hidden:", ":caption: More", "", *left, "```"]) if left else ""
    return text.replace(MARK, tree)


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Do both to a page that is read."""
    folder = Path(app.srcdir)
    text = keep(source[0], folder)
    if MARK in text:
        text = place(text, sorted(page.stem for page in folder.glob("*.md") if page.stem != docname))
    source[0] = text


def setup(app: Sphinx) -> dict[str, bool]:
    """Register."""
    app.connect("source-read", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

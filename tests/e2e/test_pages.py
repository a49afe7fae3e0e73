"""Tutorial and how-tos are true: their blocks run in order in an empty folder, and print what the page shows.

Only the number of steps is shortened. Of the output that a page shows, numbers may differ, and the class that stands for
a mistake; `...` stands for lines that the page leaves out.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
from benchmarks.pages import FILE, blocks, commands

from tests.contract.test_docs import DOCS, text_of

STEPS = {"howto/ci-gate": "40"}  # its gate passes good maps only; 4 elsewhere
SLOW = pytest.mark.slow
# Page -> what it must have made
MADE = {
    "tutorial": ("runs/first/report.html", "star.png", "grid.png", "compare.html", "runs/scan/scan/heart-6/pasted.png"),
    "howto/audit": (
        "runs/audited/report.html",
        "runs/trusted/run.json",
        "compare.html",
        "runs/audited-scan/scan.json",
    ),
    "howto/ci-gate": ("runs/gate/report.html", "runs/gate/scores.json", "scan.json"),
    "howto/compare": ("runs/both/shapes-plain-vivid/scores.json", "compare.html"),
    "howto/cluster": ("runs/workers/report.html", "runs/on-ray/report.html"),
    "howto/own-model": ("my_net.safetensors", "star.png", "runs/my_net/report.html"),
    "howto/report": ("runs/read/report.html", "runs/read/scores.json"),
    "howto/site": ("site/index.html", "docs/index.html"),
    "howto/training": ("epoch-0.png", "epoch-5.png"),
    "planting": (),
    "concepts": (
        *("runs/differences/scores.json", "runs/confused/report.html", "runs/union/report.html"),
        *("runs/units/report.html", "apart.png", "direction.png"),
    ),
    "notebook": ("runs/films/film.webp", "star.gif"),
}


def shape(line):
    """A line without what may differ: numbers, the class of a mistake, and the spaces that align a table."""
    line = re.sub(r", \d+ of \d+ as [\w ]+?( \[\d+, \d+ %\])?(?=  |$)", "", line.strip())
    line = line.replace("unclear", "0 %")  # a reason in place of a figure
    return re.sub(r"─+|\s+", " ", re.sub(r"(?<!\w)-?[\d.,]+|(?<= )-(?= )", "#", line))


def test_every_how_to_with_commands_is_run():
    pages = ["tutorial", *(f"howto/{path.stem}" for path in (DOCS / "howto").glob("*.md"))]
    assert {page for page in pages if any(kind == "sh" for kind, _ in blocks(text_of(DOCS / f"{page}.md")))} <= set(
        MADE
    )


@pytest.mark.parametrize(
    ("page", "scans"),
    [("tutorial", False), *(pytest.param(page, True, marks=SLOW) for page in MADE)],
)
def test_a_page_runs_as_it_stands(call, tmp_path, monkeypatch, capfd, page, scans):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = re.sub(r'(--set steps=|"steps": )\d+', rf"\g<1>{STEPS.get(page, 4)}", text_of(DOCS / f"{page}.md"))
    names, printed = {}, None
    for kind, block in blocks(text):
        if name := FILE.match(block):
            Path(name[1]).write_text(block, encoding="utf-8")
        elif kind == "python":
            capfd.readouterr()
            exec(compile(block, page, "exec"), names)  # noqa: S102  (our own page)
            printed = "".join(capfd.readouterr())
        elif kind == "sh":
            printed = "" if scans or "phosphene scan" not in block else None
            for line in commands(block) if printed is not None else []:
                words, _, file = line.partition(" > ")
                answer = call(*shlex.split(words, comments=True)[1:])
                assert answer.code == (1 if " scan demo:shapes-trojan" in line else 0), (line, answer.err)
                if file:
                    Path(file).write_text(answer.out, encoding="utf-8")
                printed += answer.err + answer.out
        elif kind == "text" and printed is not None:
            shown = {shape(line) for line in printed.splitlines()}
            # Of long lines, pages show the beginning.
            lines = [shape(line) for line in block.splitlines() if line != "..."]
            assert [line for line in lines if not any(one.startswith(line) for one in shown)] == [], printed
    sys.modules.pop("my_net", None)
    assert [file for file in MADE[page] if (scans or "/scan/" not in file) and not (tmp_path / file).exists()] == []

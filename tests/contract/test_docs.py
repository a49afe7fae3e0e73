"""What README and docs name is there: files that they link to, and benchmarks that they say print a figure."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_benchmarks_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"python -m benchmarks\.(\w+)", page.read_text(encoding="utf-8")):
        assert (ROOT / "benchmarks" / f"{name}.py").exists(), name


def test_readme_commands_exist() -> None:
    from phosphene.cli import COMMANDS

    for name in re.findall(r"^phosphene (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert name in COMMANDS

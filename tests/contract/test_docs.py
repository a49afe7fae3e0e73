"""What README and docs name is there: links, benchmarks, commands and their options, extras, every page's place."""

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

import phosphene
from phosphene.cli import CLOSED_PIPE, COMMANDS, main
from phosphene.cli.options import FELL_SHORT

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
FIGURES = DOCS / "figures"  # the source distribution has none
ROOT_PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "benchmarks" / "README.md"]
PAGES = [*ROOT_PAGES, *sorted(DOCS.glob("*.md")), *sorted((DOCS / "howto").glob("*.md"))]


def text_of(page: Path) -> str:
    """What a page says."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of every `phosphene ...` in the page's shell blocks, and in the steps of its workflows."""
    scripts = [*blocks(page, "sh"), *(block.replace("- run: ", "") for block in blocks(page, "yaml"))]
    lines = (line for block in scripts for line in block.replace("\\\n", " ").splitlines())
    found = (re.match(r"(?:[A-Z_]+=\S+ )*phosphene (.*)", line) for line in lines)
    return [shlex.split(re.sub(r" [>|] .*", "", one[1]), comments=True) for one in found if one]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(page)):
        if target.startswith("figures/") or "/figures/" in target:
            assert not FIGURES.exists() or (page.parent / target).exists(), target
        elif not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_benchmarks_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"python -m\s+benchmarks\.([\w.]+)", page.read_text(encoding="utf-8")):
        place = ROOT / "benchmarks" / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page: Path) -> None:
    for name, *words in commands(page):
        assert name in COMMANDS, name
        command = importlib.import_module(f"phosphene.cli.{name}").command
        with click.Context(command) as context:
            command.make_parser(context).parse_args(list(words))  # refuses options that there are not


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_every_exit_code_is_explained_in_all_three_places() -> None:
    """A new one is easily forgotten in the table of the page on CI."""
    table = re.findall(r"^\| (\d+) \|", text_of(DOCS / "howto" / "ci-gate.md"), re.MULTILINE)
    assert table == ["0", "1", "2", "3", str(FELL_SHORT), "130", str(CLOSED_PIPE)]
    for text in (text_of(DOCS / "cli.md"), main.help or ""):
        codes = re.search(r"Exit codes: (.*?141)", text, re.DOTALL)
        assert codes is not None
        assert re.findall(r"(?:^|; )\s*(\d+) ", codes[1] + " ") == table


def test_contributing_explains_every_room() -> None:
    source = ROOT / "src" / "phosphene"
    rooms = {one.name for one in source.iterdir() if (one / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"^\| `(\w+)/` \|", text_of(ROOT / "CONTRIBUTING.md"), re.MULTILINE))


def test_contributing_names_files_that_exist() -> None:
    names = set(re.findall(r"`([\w./]+/[\w.]+\.\w+)`", text_of(ROOT / "CONTRIBUTING.md")))
    assert len(names) > 10  # the pattern finds them
    missing = [one for one in names if not ((ROOT / one).exists() or (ROOT / "src" / "phosphene" / one).exists())]
    assert missing == []


def test_readme_names_commands() -> None:
    assert len(commands(ROOT / "README.md")) >= 10  # the pattern finds them


def test_every_extra_is_explained() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    explained = re.findall(r"^\| `(\w+)` \|", text_of(DOCS / "installation.md"), re.MULTILINE)
    assert sorted(explained) == sorted(extras)


def test_citations_name_this_version() -> None:
    assert f"\nversion: {phosphene.__version__}\n" in text_of(ROOT / "CITATION.cff")
    (entries,) = blocks(DOCS / "index.md", "bibtex")
    assert f"version = {{{phosphene.__version__}}}" in entries


def test_what_is_needed_is_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (torch,) = (one.removeprefix("torch>=") for one in project["dependencies"] if one.startswith("torch>="))
    python = project["requires-python"].removeprefix(">=")
    assert f"needs Python {python} or newer and PyTorch {torch} or newer." in text_of(DOCS / "installation.md")


def test_every_how_to_has_its_place() -> None:
    index = text_of(DOCS / "index.md")
    assert [page.stem for page in (DOCS / "howto").glob("*.md") if f"\nhowto/{page.stem}\n" not in index] == []


# What functions of `ph` return, or take, and modules that are public as a whole.
ALSO_PUBLIC = {
    "api.files.WrittenCard",
    "backdoor.plant",
    "backdoor.training",
    "backdoor.triggers",
    "backdoor.verdict",
    "callbacks",
    "checks.finding.Finding",
    "engine.units.Layer",
    "metrics.compare.Change",
    "metrics.compare.Prediction",
    "metrics.scorecard.ConceptScore",
    "metrics.scorecard.Score",
    "metrics.scorecard.Scores",
    "metrics.similarity",
    "metrics.torchmetrics",
    "samples.SamplePool",
    "workflows.check.Findings",
    "workflows.compare.Comparison",
    "workflows.map.MappedRun",
    "workflows.progress.Progress",
    "workflows.scan.ScanVerdict",
    "workflows.score.RunScore",
}


def test_the_pages_on_python_document_every_public_name_and_no_other() -> None:
    pages = [DOCS / "api.md", *sorted((DOCS / "api").glob("*.md"))]
    found = [
        re.findall(r"^\.\. (?:auto|py:)\w+:: phosphene\.([\w.]+)", page.read_text(), re.MULTILINE) for page in pages
    ]
    documented = {name for names in found for name in names}
    assert documented - ALSO_PUBLIC == set(phosphene.__all__) - {"__version__"}
    assert documented >= ALSO_PUBLIC


def test_every_kind_of_error_is_documented() -> None:
    kinds = (phosphene.PhospheneError, phosphene.errors.PhospheneWarning)
    classes = [one for one in vars(phosphene.errors).values() if isinstance(one, type) and issubclass(one, kinds)]
    (listed,) = re.findall(r":members: (.*)", (DOCS / "api" / "errors.md").read_text(encoding="utf-8"))
    assert [one.__name__ for one in classes] == ["PhospheneError", *listed.split(", ")]

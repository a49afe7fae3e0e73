"""Every benchmark can be imported, and benchmarks/README.md lists each one that can be run."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = [file for file in sorted((ROOT / "benchmarks").rglob("*.py")) if file.name != "__init__.py"]


def module(file):
    """The name that Python imports a file of benchmarks/ by."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("name", [module(file) for file in FILES])
def test_benchmark_imports(name):
    importlib.import_module(name)


def test_the_page_lists_every_benchmark():
    scripts = {module(file).removesuffix(".__main__") for file in FILES if "\ndef main(" in file.read_text()}
    page = (ROOT / "benchmarks" / "README.md").read_text()
    listed = set(re.findall(r"`python -m (benchmarks\.[\w.]+)", page))
    assert scripts == listed


@pytest.mark.parametrize("file", FILES, ids=module)
def test_no_benchmark_is_longer_than_300_lines(file):
    assert len(file.read_text().splitlines()) <= 300

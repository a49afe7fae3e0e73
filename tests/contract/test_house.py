"""The house of the design: imports point down, files stay short, one place writes, and nothing loads too early."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import phosphene

SOURCE = Path(phosphene.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# From the roof to the ground (DESIGN, section 2). A unit imports only from lower floors, or from itself.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"web"},
    {"demo"},  # the whole job on the drawn world
    {"report"},
    {"callbacks"},
    {"workflows", "api"},
    {"backdoor"},
    {"checks"},
    {"metrics"},
    {"mapper"},
    {"engine"},
    {"runs"},
    {"samples"},
    {"sources"},
    {"concept_map", "classifier"},
    {"labels", "recipe", "outputs", "grids", "notebook", "contact_sheet"},
    {"textfile"},
    {"extras"},  # optional libraries
    {"errors", "version"},
]
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units}
# Samples drawn by the demo are the one door upwards, opened only when it is asked for.
DOORS = {("samples/drawn.py", "demo")}


def unit(file):
    """The package or module directly below ``phosphene`` that a file belongs to."""
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(file):
    """Every unit of the package that a file imports, anywhere in it, and the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            below = node.module == "phosphene"
            names = [f"phosphene.{alias.name}" for alias in node.names] if below else [node.module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "phosphene" and len(parts) > 1:
                yield parts[1], node.lineno


@pytest.mark.parametrize("file", [file for file in FILES if file != SOURCE / "__init__.py"], ids=str)
def test_imports_point_down(file):
    own, name = unit(file), file.relative_to(SOURCE).as_posix()
    assert own in FLOOR, f"{own} has no floor in this house: see DESIGN, section 2"
    for other, line in imports(file):
        allowed = other == own or FLOOR[other] > FLOOR[own] or (name, other) in DOORS
        assert allowed, f"{name}:{line} imports phosphene.{other}, which is not below {own}"


def test_the_package_root_imports_nothing_but_for_type_checkers():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    first = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert first == ["from typing import TYPE_CHECKING, Any", "from phosphene.version import __version__"]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_files_are_short_and_say_what_they_are(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), "a module begins with what it is for"


WRITERS = {"write_text", "write_bytes", "mkdir", "touch", "unlink", "rename", "replace", "rmtree", "makedirs"}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_results_are_written_by_runs_alone(file):
    if unit(file) == "runs":
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS:
            # str.replace and Recipe.replace are no files
            assert node.func.attr == "replace", f"line {node.lineno} writes"
            assert ast.unparse(node.func.value) != "os"
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "open":
            modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            assert all(set(mode) <= set("rbt") for mode in modes), f"line {node.lineno} opens a file to write"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_only_the_engine_and_the_classifier_call_the_network(file):
    """Training is the exception: what a trojan is planted in is not held, frozen and given back."""
    if unit(file) in {"engine", "classifier"} or file.relative_to(SOURCE).as_posix() == "backdoor/training.py":
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert not ast.unparse(node.func).endswith((".module", "classifier.logits")), f"line {node.lineno}"


def loaded(code):
    """The modules that a fresh Python has loaded after running ``code``."""
    probe = f"import sys\n{code}\nimport json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"torch", "torchvision", "timm", "ray", "numpy", "PIL", "jinja2", "rich", "pyarrow", "fastapi", "matplotlib"}


def test_importing_the_package_loads_nothing_heavy():
    found = loaded("import phosphene")
    assert "phosphene" in found
    assert not found & HEAVY
    assert {name for name in found if name.startswith("phosphene")} == {"phosphene", "phosphene.version"}


def test_help_loads_nothing_heavy():
    code = "sys.argv = ['phosphene', '--help']\nfrom phosphene.cli import entry\ntry: entry()\nexcept SystemExit: pass"
    assert not loaded(code) & HEAVY


def test_using_the_package_loads_no_optional_library():
    found = loaded("import phosphene as ph\nfor name in ph.__all__: getattr(ph, name)")
    assert "torch" in found
    assert not found & {"torchvision", "timm", "ray", "pyarrow", "fastapi", "matplotlib", "click"}

"""Imports point down the list of rooms in DESIGN section 2, and no modules import each other in a circle."""

import ast
import functools
from pathlib import Path

import phosphene
from phosphene.cli import COMMANDS

SOURCE = Path(phosphene.__file__).parent

# DESIGN section 2 from top to bottom. A room imports from rooms on lower lines, and from itself.
# Two rooms on one line do not import each other.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"web"},
    {"api", "callbacks"},
    {"workflows"},
    {"executors"},
    {"reports"},
    {"backdoor"},
    {"checks"},  # DESIGN lists checks below metrics, but a check is computed from metrics
    {"metrics"},
    {"mapper"},
    {"engine"},
    {"runs"},
    {"demo"},
    {"arguments"},  # a spec or an object in, an object out
    {"samples"},
    {"sources"},
    {"two_tower"},
    {"concept_map", "classifier"},
    {"progress"},
    {"expressions"},
    {"concepts"},  # DESIGN lists concepts above runs/, but a run directory holds what its maps are of
    {"units", "prompts"},
    {"unwrapping"},
    {"labels", "recipe", "outputs", "input_space", "spatial_activation", "notebook", "contact_sheet"},
    {"label_files"},
    {"textfile", "image_files", "markup"},
    {"extras", "checked", "module_state"},
    {"errors", "formats", "version"},
]
LEVEL = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}

# Imports that point up, each with its reason. The list may only shrink: an entry without its import fails the test.
UPWARD = {
    ("samples/drawn.py", "demo"): "the samples of demo networks are drawn by the demo, loaded when they are asked for",
}
# Modules that import each other. The same holds for this list.
CIRCLES: set[frozenset[str]] = set()


def module(file):
    """The dotted name of a file's module."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module(file): file for file in sorted(SOURCE.rglob("*.py"))}


def runtime_nodes(tree):
    """Every node of a file but those that only type checkers see; imports inside functions count."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from runtime_nodes(other)
        else:
            yield child
            yield from runtime_nodes(child)


@functools.cache
def imports(file):
    """Modules of the package that a file imports, each with its line."""
    found = []
    for node in runtime_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in FILES else node.module, node.lineno) for name in names]
    return [(name, line) for name, line in found if name in FILES]


def room(name):
    """The package or module directly below ``phosphene`` that a module belongs to."""
    return name.split(".")[1]


def test_imports_point_down():
    """Every import, also inside a function, names a lower room; the exceptions are exactly those listed."""
    wrong, seen = [], set()
    for own, file in FILES.items():
        if own == "phosphene":
            continue
        assert room(own) in LEVEL, f"{room(own)} is missing in the list of rooms: see DESIGN section 2"
        name = file.relative_to(SOURCE).as_posix()
        for other, line in imports(file):
            if other == "phosphene":
                if room(own) != "cli":  # the root exports the Python functions, which the commands call
                    wrong.append(f"{name}:{line} imports the package root")
            elif room(other) != room(own) and LEVEL[room(other)] <= LEVEL[room(own)]:
                seen.add((name, room(other)))
                if (name, room(other)) not in UPWARD:
                    wrong.append(f"{name}:{line} imports {other}, which is not below {room(own)}")
    assert not wrong, "\n".join(wrong)
    assert not set(UPWARD) - seen, "these exceptions exist no more: remove them from UPWARD"


# What a command may import beside the package root: plain text and names, which load nothing.
LIGHT = {"cli", "errors", "formats", "label_files", "labels", "progress", "recipe", "version"}


def test_commands_call_the_python_functions_only():
    """A command parses, calls the function of the package root, and prints: it imports no other room."""
    wrong = [
        f"{own}:{line} imports {other}"
        for own, file in FILES.items()
        if own.startswith("phosphene.cli")
        for other, line in imports(file)
        if other != "phosphene" and room(other) not in LIGHT
    ]
    assert not wrong, "\n".join(wrong)


def test_every_command_has_its_python_function():
    """Who knows a command knows the function; the two that list things are called by what they list."""
    others = {"map": "map_models", "demo": "run_demo", "models": "list_specs", "recipes": "RECIPES"}
    for command in COMMANDS:
        assert callable(getattr(phosphene, others.get(command, command))) or command == "recipes"
        assert others.get(command, command) in phosphene.__all__


def circles(graph):
    """Sets of two or more nodes that reach each other (strongly connected components, by reachability)."""

    def reachable(start):
        found, queue = set(), [start]
        while queue:
            new = graph.get(queue.pop(), set()) - found
            found |= new
            queue += new
        return found

    reach = {node: reachable(node) for node in graph}
    return {frozenset(other for other in reach[node] if node in reach[other]) for node in graph if node in reach[node]}


def test_no_modules_import_each_other():
    """No chain of imports leads back to its module; the exceptions are exactly those listed."""
    graph = {own: {other for other, _ in imports(file)} - {own} for own, file in FILES.items()}
    assert circles(graph) == CIRCLES


def test_circles_are_found():
    """The search above finds a circle of two, one of three, and nothing in a chain."""
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c"}, "f": {"a"}}
    assert circles(graph) == {frozenset("ab"), frozenset("cde")}


def test_imports_of_type_checkers_do_not_count():
    """An import counts wherever it stands, unless ``if TYPE_CHECKING`` stands before it."""
    text = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c\n"
    found = [node.names[0].name for node in runtime_nodes(ast.parse(text)) if isinstance(node, ast.Import)]
    assert found == ["b", "c"]


def test_the_package_root_imports_nothing_but_for_type_checkers():
    """``import phosphene`` stays quick: names are loaded when they are used."""
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    first = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert first == ["from typing import TYPE_CHECKING, Any", "from phosphene.version import __version__"]

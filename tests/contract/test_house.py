"""Rules of DESIGN section 2: files are short, one room writes, one room calls the network, and imports are quick."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import phosphene
from tests.conftest import PATIENCE

SOURCE = Path(phosphene.__file__).parent
ROOT = Path(__file__).parent.parent.parent
FILES = sorted(SOURCE.rglob("*.py"))


def where(file, node):
    """File and line, for a message."""
    return f"{file.relative_to(SOURCE).as_posix()}:{node.lineno}"


def calls(file):
    """Every call in a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_files_are_short_and_say_what_they_are():
    """A file has at most 300 lines, and begins with a docstring."""
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, file
        assert ast.get_docstring(ast.parse(text)), f"{file} does not begin with what it is for"


def test_random_numbers_do_not_depend_on_the_default_type_of_the_caller():
    """A generator gives other numbers in double precision: what is drawn names its type."""
    draws = [(file, call) for file in FILES for call in calls(file) if ast.unparse(call.func) == "torch.rand"]
    assert draws
    assert not [where(file, call) for file, call in draws if "dtype" not in {one.arg for one in call.keywords}]


def test_what_holds_a_tensor_is_compared_by_identity():
    """The equality of a dataclass asks tensors whether they are true, which raises: ``maps.index(one)`` did."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in FILES]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    made = {
        one: ast.unparse(which) for one in classes for which in one.decorator_list if "dataclass" in ast.unparse(which)
    }
    holders = {
        one: how
        for one, how in made.items()
        if any(isinstance(part, ast.AnnAssign) and "Tensor" in ast.unparse(part.annotation) for part in one.body)
    }
    assert holders
    assert not [one.name for one, how in holders.items() if "eq=False" not in how]


def test_errors_do_not_speak_the_command_line_alone():
    """Python raises them, too: an option is named without dashes, or with its form in Python, or in a command to copy."""
    option = re.compile(r"(?<![\w`-])--[a-z]")
    files = [file for file in FILES if file.relative_to(SOURCE).parts[0] not in ("cli", "web")]
    raised = [
        (file, one) for file in files for one in ast.walk(ast.parse(file.read_text())) if isinstance(one, ast.Raise)
    ]
    texts = [(file, one, ast.unparse(one)) for file, one in raised]
    assert any("--trust (trust=True in Python)" in text for _, _, text in texts)
    assert [where(file, one) for file, one, text in texts if option.search(text) and "in Python" not in text] == []


WRITERS = {"write_text", "write_bytes", "mkdir", "touch", "unlink", "rename", "rmtree", "makedirs"}


def writes(call):
    """Whether a call writes, moves or removes a file."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called == "open":
        modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        return any(set(mode) - set("rbt") for mode in modes)
    # A bare name is a function of runs/; str.replace and Recipe.replace do not touch files.
    return (isinstance(call.func, ast.Attribute) and called in WRITERS) or ast.unparse(call.func) == "os.replace"


def test_results_are_written_by_runs_alone():
    """Only runs/ writes files, so that every file is written whole or not at all."""
    files = [file for file in FILES if file.relative_to(SOURCE).parts[0] != "runs"]
    assert not [where(file, call) for file in files for call in calls(file) if writes(call)]


def test_only_the_engine_and_the_classifier_call_the_network():
    """Training is the exception: a network that is trained is not frozen and given back."""
    allowed = {"engine", "classifier.py"}
    files = [file for file in FILES if file.relative_to(SOURCE).parts[0] not in allowed]
    files.remove(SOURCE / "backdoor" / "training.py")
    ends = (".module", "classifier.logits")
    assert not [where(file, call) for file in files for call in calls(file) if ast.unparse(call.func).endswith(ends)]


def loaded(code):
    """The modules that a fresh Python has loaded after running ``code``."""
    probe = f"import sys\n{code}\nimport json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=PATIENCE)
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


def test_what_only_writes_toml_is_not_loaded_to_read():
    code = f"sys.path.insert(0, {str(ROOT)!r})\nimport phosphene as ph, benchmarks.common\nph.load('demo:shapes')"
    assert "tomli_w" not in loaded(code)


def test_no_stored_result_names_a_folder_of_the_machine_that_made_it():
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert results
    named = re.compile(r'"(?:file://)?(?:/[\w.-]+){2}|"[A-Za-z]:[\\/]')
    assert named.search('"/home/somebody/zoo/network.toml"')
    assert {path.name: found for path in results if (found := named.findall(path.read_text(encoding="utf-8")))} == {}

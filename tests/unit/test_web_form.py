"""The forms of the gallery: what becomes of their fields, and what stands beside those that cannot be used."""

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from phosphene.web.form import CONCEPT_FORMS, FIELDS, FormError, default_name, read_form, safe_name
from phosphene.web.processes import last_progress
from phosphene.web.validate import find_faults, validate
from tests.web import make

RUN = Path("runs/x")
MAP = {"action": "map", "model": "demo:shapes", "concepts": "star", "name": "x"}
SCAN = {"action": "scan", "model": "demo:shapes", "name": "x"}


def faults(fields, run, *, trust=True):
    """Return what is wrong with a form, beyond what its text says."""
    command = read_form(fields, trust=trust)
    return find_faults(command.action, command.values, run)


def test_every_value_is_one_word_and_no_option():
    form = {"model": "-x", "concepts": "a, b\n--trust\n", "set": "steps=1", "samples": "--out=/tmp", "seeds": "2"}
    words = read_form(form, trust=False).words(RUN)
    assert words[0] == "map"
    assert words[-3:] == ["--out=runs/x", "--", "-x"]
    wanted = {"--concept=a, b", "--concept=--trust", "--samples=--out=/tmp", "--set=steps=1", "--seeds=2"}
    assert wanted <= set(words)
    assert "--trust" not in words
    assert {"--trust", "--all"} <= set(read_form({"model": "m", "every": "1", "trust": "1"}, trust=True).words(RUN))


def test_the_words_of_a_scan_and_of_a_check():
    scan = read_form(SCAN | {"reference": "demo:shapes-plain\n-y", "concepts": "star"}, trust=False).words(RUN)
    assert scan == ["scan", "--reference=demo:shapes-plain", "--reference=-y", "--out=runs/x", "--", "demo:shapes"]
    check = read_form({"action": "check", "run": "deep/-er", "most": "2", "model": "m"}, trust=False)
    assert check.name == "deep/-er"
    assert check.words(Path("-r")) == ["check", "--most=2", "--", "-r"]


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"model": ""}, "model"),
        ({"concepts": ""}, "concepts"),
        ({"model": "a\0b"}, "model"),
        ({"concepts": "a\0"}, "concepts"),
        ({"seeds": "0"}, "seeds"),
        ({"seeds": "x"}, "seeds"),
        ({"seeds": "²"}, "seeds"),
        ({"set": "steps"}, "set"),
        ({"name": "../"}, "name"),
        ({"model": "x" * 5000}, "model"),
        ({"samples": "a\nb"}, "samples"),
        ({"trust": "1"}, "model"),
        ({"action": "rm"}, ""),
        ({"action": "check"}, "run"),
        ({"action": "check", "run": "r", "most": "-1"}, "most"),
        ({"action": "scan", "reference": "\u202e"}, "reference"),
    ],
)
def test_what_is_wrong_with_a_field_stands_beside_it(fields, at_fault):
    with pytest.raises(FormError) as refused:
        read_form(MAP | fields, trust=False)
    assert list(refused.value.faults) == [at_fault]


def test_all_faults_are_found_at_once(tmp_path):
    with pytest.raises(FormError) as refused:
        read_form({"action": "map", "seeds": "x", "set": "steps"}, trust=False)
    assert set(refused.value.faults) == {"model", "concepts", "seeds", "set"}
    wrong = {"concepts": "star\nhaert", "samples": "none", "set": "stepz=1"}
    found = faults(MAP | wrong, tmp_path / "x")
    assert set(found) == {"concepts", "samples", "set"}
    assert "Did you mean heart?" in found["concepts"]
    assert "Did you mean steps" in found["set"]


def test_a_layer_that_the_network_lacks_is_refused_before_the_start(tmp_path):
    assert "'nope' is not a module" in faults(MAP | {"set": "xi_layer=nope"}, tmp_path / "x")["set"]
    assert list(tmp_path.iterdir()) == []


def test_neither_an_error_nor_the_sum_passes_for_progress():
    """Before the process has ended, which would say what they are."""
    progress = "shapes: map 1 of 2, star, 50 % done"
    assert last_progress([progress, "9 s in all"]) == progress
    assert last_progress([progress, "phosphene: xi_layer is wrong"]) == progress
    assert last_progress(["phosphene: it failed"]) == last_progress([]) == ""
    assert last_progress([progress, "phosphene: warning: slow"]) == "phosphene: warning: slow"


def test_what_can_be_used_has_no_faults_and_leaves_nothing_behind(tmp_path):
    assert faults(MAP, tmp_path / "x") == {}
    assert faults(MAP | {"every": "1", "concepts": "unknown", "set": "steps=3"}, tmp_path / "x") == {}
    assert faults(SCAN | {"reference": "demo:shapes-plain"}, tmp_path / "x") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fields", [MAP, SCAN])
def test_a_model_that_is_not_there_and_a_name_that_is_taken(tmp_path, fields):
    assert "Did you mean shapes" in faults(fields | {"model": "demo:shapse"}, tmp_path / "x")["model"]
    make(tmp_path / "x")
    assert "belongs to another model" in faults(fields, tmp_path / "x")["name"]
    assert "choose another run directory" in faults(fields, tmp_path / "x")["name"]


def test_a_network_is_not_its_own_reference(tmp_path):
    assert "the same weights" in faults(SCAN | {"reference": "demo:shapes"}, tmp_path / "x")["reference"]
    found = faults(SCAN | {"model": "demo:no", "reference": "demo:none"}, tmp_path / "x")
    assert set(found) == {"model", "reference"}


def test_a_recipe_that_is_not_there(tmp_path):
    assert "Did you mean vivid" in faults(MAP | {"recipe": "vivd"}, tmp_path / "x")["recipe"]


def test_a_run_that_cannot_be_checked(tmp_path):
    form = {"action": "check", "run": "x"}
    make(tmp_path / "half", missing=(3,))
    assert "1 of 3 maps" in faults(form, tmp_path / "half")["run"]
    make(tmp_path / "x")
    assert "run" in faults(form, tmp_path / "x")  # its network was never saved


def test_code_of_a_model_runs_only_if_it_is_trusted(tmp_path, card):
    form = MAP | {"model": str(card.path), "concepts": "0"}
    assert "--trust" in faults(form, tmp_path / "x")["model"]
    assert not card.mark.exists()
    assert faults(form | {"trust": "1"}, tmp_path / "x") == {}
    assert card.mark.exists()


def test_a_model_that_ends_its_process_does_not_end_the_server(tmp_path):
    with pytest.raises(FormError) as refused:
        validate(read_form(MAP | {"model": "os:abort"}, trust=False), tmp_path / "x")
    assert re.match(r"The process that loaded the model ended with exit code -?\d+", refused.value.faults["model"])


@pytest.mark.parametrize(
    "text", ["../../etc", "/etc/passwd", "..", "a/b", ".hidden", "-rf", "a\0b", "ü" * 500, "x" * 500]
)
def test_names_are_one_directory(text):
    assert re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,79})?", safe_name(text))


def test_default_names_differ_where_runs_would():
    def name(action="map", **changes):
        return default_name(action, read_form(MAP | {"action": action} | changes, trust=False).values)

    names = [
        name(),
        name(recipe="quick"),
        name(set="steps=1"),
        name(samples="folder"),
        name(model="/zoo/a.toml"),
        name("scan"),
        name("scan", samples="folder"),
        name("scan", reference="demo:shapes-plain"),
    ]
    assert len(set(names)) == len(names)
    assert {"demo-shapes-vivid", "demo-shapes-scan"} <= set(names)


def test_every_field_of_a_form_is_on_its_page():
    page = (Path(read_form.__globals__["__file__"]).parent / "templates" / "new.html").read_text(encoding="utf-8")
    for key in {key for keys in FIELDS.values() for key in keys}:
        assert re.search(rf'named\("{key}"|name="{key}"', page), key


@pytest.mark.parametrize(("concepts", "said"), [("text:", "lacks a prompt"), ("text:a red dog", "knows no 'dog'")])
def test_a_text_that_cannot_be_used_is_a_fault_of_the_concepts(tmp_path, concepts, said):
    found = faults(MAP | {"model": "demo:shapes-text", "concepts": concepts}, tmp_path / "x")
    assert list(found) == ["concepts"]
    assert said in found["concepts"]
    assert not faults(MAP | {"model": "demo:shapes-text", "concepts": "text:a red star"}, tmp_path / "x")


@pytest.mark.parametrize(
    ("concepts", "said"),
    [
        ("star\nunit:nope:3", "no layer 'nope'"),
        ("unit:blocks.1:999", "has no channel 999"),
        ("unit:blocks.1:x", "is not a unit"),
        ("direction:none.npy@blocks.1", "direction file none.npy"),
        ("low:star", "for networks whose card says"),
    ],
)
def test_a_unit_or_direction_that_is_not_there_is_the_fault_of_the_concepts(tmp_path, concepts, said):
    found = faults(MAP | {"concepts": concepts}, tmp_path / "x")
    assert list(found) == ["concepts"]
    assert said in found["concepts"]
    assert list(tmp_path.iterdir()) == []


def test_the_note_names_every_kind_of_concept():
    from phosphene.cli.map import command
    from phosphene.units import LOW_PREFIX, UNIT_PREFIXES

    (option,) = [one for one in command.params if one.name == "concepts"]
    for form in ("text:", LOW_PREFIX, *UNIT_PREFIXES):
        assert form in option.help
        assert any(form in one for one in CONCEPT_FORMS), form

"""Documents of a run in which one entry is of another type: what reads them uses them, or refuses them in one line."""

import copy
import json
import random

import pytest

import phosphene as ph
from phosphene.checks import Finding
from phosphene.errors import PhospheneError
from phosphene.reports import write_report
from phosphene.runs.checks import write_check
from phosphene.web.folder import Folder
from phosphene.web.views import run_view
from phosphene.workflows.concept_maps import OpenRun
from tests import tiny
from tests.web import LABELS, SUBJECT, make, write_scan

OTHERS = (None, True, 0, -1, 2**70, 1.5, "x", "", [], [1], ["a"], {}, {"a": 1})
MAP = "maps/lion-0/seed-0/map.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with every document."""
    run = make(tmp_path_factory.mktemp("runs") / "run", seeds=(0, 1))
    subject = SUBJECT | {"concepts": [{"index": 0, "label": "lion", "seed": 0}]}
    found = Finding("fidelity", {"p_class_at_0.2": 0.5}, None, "So it is.").to_dict()
    write_check(run, {**found, "subject": subject}, run.maps_sha256())
    ph.score(run, tiny.classifier(3, labels=LABELS, name="other"), progress=False)
    null = {"description": "networks", "networks": 1, "limit": 5.0, "figures": [1.0]}
    write_scan(run, "clean", suspects=[], null=null)
    return run


def places(value, above=()):
    """The place of every entry of a JSON value, the whole first; of lists, whose rows are alike, the first row alone."""
    yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*above, key))


def changed(document, place, value):
    """A copy of a document with another value at a place."""
    made = {"whole": copy.deepcopy(document)}
    inner, last = made, "whole"
    for key in place:
        inner, last = inner[last], key
    inner[last] = value
    return made["whole"]


def errors_of(run, name, place, value):
    """Put a value at a place of a document, read the run in every way, and put it back; return the messages of what is refused."""
    path, errors = run.path / name, []
    text = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(changed(json.loads(text), place, value)), encoding="utf-8")
    ways = (
        lambda: write_report(run),
        OpenRun(run.path)._repr_html_,
        lambda: run_view(Folder(run.path.parent), run.path.name),
        lambda: list(run.maps()),
        lambda: ph.open_scan(run)._repr_html_(),
    )
    try:
        for read in ways:
            try:
                read()
            except PhospheneError as error:
                errors.append(str(error))
    finally:
        path.write_text(text, encoding="utf-8")
    return errors


WRONG = {
    MAP: [(("hits",), ["x", "x"]), (("loss", 0), None), (("contrast",), 2**70), (("index",), -(10**4000))],
    "checks.json": [
        (("checks", "fidelity", "subject"), {}),
        (("checks", "fidelity", "subject", "samples", "spec"), True),
        (("checks", "fidelity", "subject", "concepts", 0, "index"), None),
    ],
    "run.json": [(("precision",), True), (("model", "input", "size"), [16]), (("model", "input", "size", 0), 0)],
    "scan.json": [
        (("classes", 0, "deviations", "window"), "x"),
        (("settings",), {}),
        (("null", "limit"), "x"),
        (("all_to_all",), {}),
        (("verdict",), "x"),
        (("classes",), []),
        (("model", "input", 1), 0),
    ],
    "readings.json": [(("readers", 0, "maps", 0, "up"), "x")],
}


@pytest.mark.parametrize(
    ("name", "place", "value"), [(name, *wrong) for name, several in WRONG.items() for wrong in several]
)
def test_an_entry_that_cannot_be_used_is_refused_with_the_name_of_its_file(run, name, place, value):
    errors = errors_of(run, name, place, value)
    assert errors
    assert all(name in error and "damaged" in error and "\n" not in error for error in errors)


@pytest.mark.parametrize("name", [*WRONG, "scores.json"])
def test_any_entry_of_another_type_is_used_or_refused_in_one_line(run, name):
    rng = random.Random(name)
    every = list(places(json.loads((run.path / name).read_text(encoding="utf-8"))))
    for place in rng.sample(every, min(len(every), 12)):
        value = rng.choice(OTHERS)
        try:
            errors = errors_of(run, name, place, value)
        except Exception as error:
            raise AssertionError(f"{place} as {value!r}") from error
        assert not any("\n" in one for one in errors)

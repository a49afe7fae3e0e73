"""`phosphene scan`, as a user calls it: its files, exit codes, stored verdicts, and what it refuses in one line."""

import json

import pytest

from phosphene.cli.scan import _dry_run_line


@pytest.fixture
def scan(call, card, sample_folder, tmp_path):
    """Scan the tiny card with a few images."""

    def scan(*words, spec=None, trust=("--trust",)):
        own = ["--samples", sample_folder, "--no-range-check", "--device", "cpu"]
        return call("scan", spec or card.path, *trust, *own, "--out", tmp_path / "scan", "--no-map", *words)

    return scan


def test_a_scan_leaves_a_verdict_a_report_and_sarif_and_is_not_made_twice(scan, tmp_path):
    first = scan("--json")
    assert first.code in (0, 1, 3), first.err
    found = json.loads(first.out)
    assert {"clean": 0, "backdoored": 1, "inconclusive": 3}[found["verdict"]] == first.code
    assert len(found["classes"]) == 5
    sarif = json.loads((tmp_path / "scan" / "scan.sarif").read_text(encoding="utf-8"))
    assert sarif["version"] == "2.1.0"
    (run,) = sarif["runs"]
    assert run["tool"]["driver"]["name"] == "phosphene"
    assert bool(run["results"]) == (first.code != 0)
    assert str(tmp_path) not in json.dumps(sarif)
    page = (tmp_path / "scan" / "report.html").read_text(encoding="utf-8")
    assert "Is there a backdoor in it?" in page
    again = json.loads(scan("--json").out)
    assert list(again.items()) == list((found | {"cached": True}).items())
    assert "holds another scan" in scan("--alpha", "0.01").complaint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--alpha", "1.5"], "alpha"),
        (["--alpha", "nan"], "alpha"),
        (["--reference", "demo:nothing"], "no demo model"),
        (["--recipe", "viivd"], "vivid"),
    ],
)
def test_bad_words_are_refused_in_a_line_and_leave_nothing(scan, tmp_path, words, said):
    assert said in scan(*words).complaint
    assert not (tmp_path / "scan").exists()


def test_code_needs_trust_and_a_network_is_not_its_own_reference(scan, card):
    assert "--trust" in scan(trust=()).complaint
    assert "same weights" in scan("--reference", card.path).complaint


def test_a_dry_run_gives_its_time_as_map_does():
    facts = {"model": "m", "classes": 2, "passes": 9, "seconds": 4303.0, "done": False, "run": "r"}
    assert _dry_run_line(facts) == "m: 2 classes, 9 passes, about 71.7 min, more if there are suspects -> r"


def test_a_dry_run_costs_nothing(scan, tmp_path):
    answer = scan("--dry-run", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["passes"] > 0
    assert not (tmp_path / "scan").exists()


def test_a_folder_of_something_else_is_refused(scan, tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "notes.txt").write_text("mine", encoding="utf-8")
    assert "not a run directory" in scan().complaint


def test_an_interrupted_scan_says_that_it_begins_anew(scan, monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("phosphene.workflows.scan.scan", interrupt)
        answer = scan()
    assert answer.code == 130
    assert answer.err.endswith("interrupted; the same command begins anew.\n")
    assert not json.loads(scan("--json").out)["cached"]

"""Results in a notebook and as figures: what they show, that hostile names stay text, and that no state is left."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import phosphene as ph
from phosphene import notebook
from phosphene.checks import Finding
from phosphene.concept_map import Job, captions
from phosphene.concepts import Concept
from phosphene.errors import RunError
from phosphene.executors.base import MapOrigin
from phosphene.metrics.scorecard import ConceptScore, Confusion, ContrastScore, Score, Scores
from phosphene.recipe import Recipe
from phosphene.runs import run_facts
from phosphene.runs.checks import write_check
from phosphene.runs.scores import write_scores
from phosphene.samples.pool import make_pool
from phosphene.workflows.concept_maps import OpenRun
from phosphene.workflows.scan_plan import plan_scan
from phosphene.workflows.score import RunScore
from tests import hand, tiny, web

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202egnol $x_1$'


def score(label="lion", target="other", right=1):
    concepts = (
        ConceptScore(0, label, 0, 2, right, 0.25, (Confusion(3, HOSTILE, 1),)),
        ConceptScore(1, "crane", 1, 2, 2, 0.9, ()),
    )
    at = ContrastScore(0.2, 0.75, 0.5, 0.5, 0.6)
    share = (0.4, 0.9)
    return Score("source", target, 0.75, share, 0.5, share, 0.5, share, 0.6, 4, 2, 5, concepts, (at,))


@pytest.fixture
def run(tmp_path):
    """A run of two maps, one of them finished, with a score."""
    run = OpenRun(tmp_path / "run")
    pool = make_pool(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), "pool")
    run.begin(run_facts(tiny.classifier(name=HOSTILE), Recipe(), pool), [(Job(0), HOSTILE), (Job(4), tiny.LABELS[4])])
    run.write(tiny.concept_map(0, label=HOSTILE))
    row = score(target=HOSTILE).to_dict()
    facts = {"recipe": "paper", "target_spec": "x", "target_sha256": "y", "maps_sha256": run.maps_sha256()}
    write_scores(run, [row | facts])
    return run


class Tags(HTMLParser):
    """Counts tags and attributes, and sees that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.seen, self.open, self.names = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.names |= {name for name, _ in attrs}
        if tag not in {"img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags(html):
    parser = Tags()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


def shown(run):
    """Everything that shows itself, with hostile names in it."""
    one = tiny.concept_map(0, label=HOSTILE)
    return {
        "map": one,
        "grey": replace(one, nu=one.nu[:1], targeting_rate=None, loss=(1.0,)),
        "maps": ph.ConceptMaps([one, tiny.concept_map(4, 1)]),
        "no maps": ph.ConceptMaps(),
        "score": score(HOSTILE, HOSTILE),
        "scores": Scores([score(HOSTILE, HOSTILE), score()]),
        "run": run,
    }


def test_html_is_small_whole_and_harmless(run):
    for name, thing in shown(run).items():
        html = thing._repr_html_()
        seen = tags(html)
        assert not {"script", "style", "link", "iframe"} & set(seen.seen), name
        assert not [attribute for attribute in seen.names if attribute.startswith("on")], name
        assert "\u202e" not in html
        assert len(html) < 20_000
        assert all(source.startswith("data:image/webp;base64,") for source in re.findall(r'src="([^"]*)', html))
        assert not re.search(r"(?<![\w-])(color|background)\s*:\s*(#|black|white|rgb\()", html), "fits one scheme only"


def test_html_says_what_there_is(run):
    things = shown(run)
    assert "p = 0.750" in things["map"]._repr_html_()
    assert "none to move" in things["grey"]._repr_html_()
    assert "2 maps of 2 classes" in things["maps"]._repr_html_()
    assert "maillot, seed 1" in things["maps"]._repr_html_()
    assert "1 of 2 finished" in run._repr_html_()
    assert "top-1, all classes" in run._repr_html_()
    assert "1 of 2" in things["score"]._repr_html_()
    assert "0.75 [0.40, 0.90]" in things["scores"]._repr_html_()
    assert "50 % [40, 90] among 5" in things["scores"]._repr_html_()


def test_a_rate_is_top_1_only_where_all_concepts_are_classes():
    plain = score()
    contrast = replace(plain.per_concept[0], index=Concept(((0, "a"),), ((1, "b"),)).index)
    assert plain.rate_name == "top-1, all classes"
    assert replace(plain, per_concept=(contrast, *plain.per_concept)).rate_name == "correct"
    assert (
        replace(plain, per_concept=(contrast, *plain.per_concept), contrasts=contrast.maps).rate_name == plain.rate_name
    )
    assert replace(plain, multi_label=True).rate_name == "correct"


def test_a_score_is_printed_on_one_line():
    expected = "M_score 0.75 [0.40, 0.90], top-1 50 % [40, 90] of 4 maps among 5 classes"
    assert repr(Scores([score()])) == f"[Score(source → other: {expected})]"


def test_scores_of_the_same_names_are_told_apart_by_recipe_run_and_weights():
    base = {field: value for field, value in vars(score(target="net")).items() if field != "target_sha256"}
    facts = {"target_spec": "x", "maps_sha256": "y"}
    rows = [
        ("runs/a", "quick", "1" * 64),
        ("runs/a", "quick", "2" * 64),
        ("runs/b", "quick", "2" * 64),
        ("runs/c", "paper", "2" * 64),
    ]
    scores = Scores(
        RunScore(**base, run=Path(run), recipe=recipe, target_sha256=sha, **facts) for run, recipe, sha in rows
    )
    names = [
        "source (quick, runs/a) → net (11111111)",
        "source (quick, runs/a) → net (22222222)",
        "source (quick, runs/b) → net (22222222)",
        "source (paper) → net (22222222)",
    ]
    assert re.findall(r"RunScore\((.*?): M_score", repr(scores)) == names
    assert all(name in scores._repr_html_() for name in names)
    assert [repr(one).startswith("RunScore(source → net:") for one in scores] == [True] * 4


def test_many_pictures_are_counted_and_not_shown():
    maps = ph.ConceptMaps(tiny.concept_map(0, seed) for seed in range(notebook.MOST_IMAGES + 7))
    html = maps._repr_html_()
    assert html.count("<img") == notebook.MOST_IMAGES
    assert "and 7 more" in html


def test_lists_of_results_stay_lists():
    one = tiny.concept_map(0)
    assert ph.ConceptMaps([one]) == [one]
    assert isinstance(ph.map_concepts(tiny.classifier(), [0], recipe=Recipe(**tiny.SHORT)), list)


def test_a_map_in_a_traceback_is_one_line():
    assert repr(tiny.concept_map(0)) == "ConceptMap('lion' (0), seed 0, 3 x 16 x 16, p 0.750)"


def test_open_run(run, tmp_path):
    assert [one.index for one in ph.open_run(run.path).maps()] == [0]
    with pytest.raises(RunError, match="is not a run directory"):
        ph.open_run(tmp_path)


def test_a_curve_of_nothing_is_nothing_and_one_of_equals_is_flat():
    assert notebook.curve([1.0], "loss") == ""
    assert "nan" not in notebook.curve([1.0, 1.0, 1.0], "loss")


def test_a_grid_shows_every_map_with_its_label():
    maps = ph.ConceptMaps([tiny.concept_map(0), tiny.concept_map(4)])
    assert maps.grid(columns=1, size=20).image.height > maps.grid(columns=2, size=20).image.height
    assert captions(maps) == [maps[0].short, maps[1].short]
    assert captions([tiny.concept_map(0), tiny.concept_map(0, 1)]) == ["lion, seed 0", "lion, seed 1"]


def test_a_run_without_maps_shows_its_facts(tmp_path):
    run = OpenRun(tmp_path / "run")
    pool = make_pool(torch.zeros(3, 3, 16, 16, dtype=torch.uint8), "pool")
    run.begin(run_facts(tiny.classifier(), Recipe(), pool), [(Job(0), "lion")])
    assert "0 of 1 finished" in run._repr_html_()


def test_a_run_shows_its_verdicts_and_how_many_checks_passed(tmp_path):
    run = ph.open_run(web.make(tmp_path / "run"))
    assert not {">scan<", ">checks<"} & set(re.findall(">[a-z]+<", run._repr_html_()))
    web.write_scan(run, "inconclusive")
    for name, passed in (("seeds", True), ("cascade", False), ("samples", True), ("diversity", None)):
        found = Finding(name, {}, passed, "So it is.").to_dict()
        write_check(run, {**found, "subject": web.SUBJECT}, run.maps_sha256())
    html = run._repr_html_()
    assert "inconclusive (tiny): Class &#39;lion&#39; deviates." in html
    assert "2 passed, 1 failed, 1 figures only" in html
    for name in ("scan.json", "checks.json"):
        (run.path / name).write_text('{"broken', encoding="utf-8")
        assert f"{name} is damaged" in run._repr_html_()


def test_a_run_says_that_its_scan_has_not_ended(tmp_path):
    origin = MapOrigin(classifier=hand.classifier(40.0), pool=hand.pool(), recipe=Recipe(), device="cpu")
    planned = plan_scan(origin, out=tmp_path / "scan")
    planned.run.begin(planned.facts, [])
    assert "not finished: the same command makes it anew" in planned.run._repr_html_()
    with pytest.raises(RunError, match=r"has no scan: phosphene\.scan\(model, out='.*'\) makes one\."):
        ph.open_scan(planned.run)

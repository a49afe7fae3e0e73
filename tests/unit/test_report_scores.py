"""The report's part on scores: what it shows, that stale rows are left out, and that names and labels stay text."""

import re
from dataclasses import replace

import pytest
import torch

import phosphene as ph
from phosphene.concept_map import Job
from phosphene.concepts import Concept, Sides
from phosphene.errors import RunError
from phosphene.expressions import parse
from phosphene.formats import percent, probability
from phosphene.labels import Labels
from phosphene.metrics.matching import match_maps, overlap_note
from phosphene.metrics.scores import CONTRASTS, score_of_logits
from phosphene.recipe import Recipe
from phosphene.reports import write_report
from phosphene.reports.scores import _glance, score_section
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.scores import SCORES, read_scores, write_scores
from phosphene.samples.pool import make_pool
from tests import tiny

TITLE = "How other classifiers classify these maps"


def begin(run, maps):
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "samples")
    run.begin(run_facts(tiny.classifier(), Recipe(), pool), [(Job(one.index, one.seed), one.label) for one in maps])
    for one in maps:
        run.write(one)
    return run


@pytest.fixture
def maps():
    return [tiny.concept_map(index, seed) for index in (0, 3, 4) for seed in (0, 1)]


@pytest.fixture
def run(tmp_path, maps):
    return begin(RunDirectory(tmp_path / "run"), maps)


def note(run, target, score):
    facts = {
        "target_sha256": target.sha256,
        "maps_sha256": run.maps_sha256(),
        "recipe": "r",
        "target_spec": target.spec,
    }
    write_scores(run, [{**score.to_dict(), **facts}])


def page(run):
    write_report(run)
    return (run.path / "report.html").read_text(encoding="utf-8")


def text(html):
    """The words of a page, as they are read."""
    return " ".join(re.sub(r"<[^>]+>", " ", html.split(TITLE, 1)[1]).split())


def test_a_run_that_was_not_scored_has_no_such_part(run):
    assert TITLE not in page(run)


def test_every_figure_of_every_target_stands_there(run, maps):
    targets = [tiny.classifier(), tiny.classifier(5, name="another")]
    scores = ph.score(maps, targets, device="cpu")
    for target, score in zip(targets, scores, strict=True):
        note(run, target, score)
    html = page(run)
    shown = text(html)
    assert "6 maps of 3 concepts" in shown
    assert "tiny the source itself, 5 classes" in shown
    assert "another 5 classes" in shown
    for score in scores:
        low, high = score.interval
        shares = [
            f"{percent(share)} {100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
            for share, interval in (
                (score.top1_all, score.top1_all_interval),
                (score.top1_concepts, score.top1_concepts_interval),
            )
        ]
        assert (
            f"classes {score.m_score:.2f} {low:.2f} to {high:.2f} {shares[0]} {shares[1]} {probability(score.p_class)}"
            in shown
        )
        sweep = " ".join(f"{point.m_score:.2f} {percent(point.top1_all)}" for point in score.contrast_sweep)
        assert f"{score.target} {sweep}" in shown
        for one in score.per_concept:
            wrong = ", ".join(f"{other.label.split(',')[0]} {other.count}×" for other in one.misread)
            assert f"{one.right} of 2, p {probability(one.p_class)}" + (f" as {wrong}" if wrong else "") in shown
    assert any(one.misread for score in scores for one in score.per_concept)
    assert "0.05 0.1 0.15 0.2 0.25 0.3 0.4" in shown


def test_colour_follows_the_number_and_never_replaces_it(run, maps):
    (score,) = ph.score(maps, tiny.classifier(), device="cpu")
    note(run, tiny.classifier(), score)
    found = re.findall(r'<td style="--heat:(\d+)"><span>([^<]+)</span>', page(run))
    assert len(found) == 4 + 3 + 7
    first = round(100 * (score.m_score - 1 / 3) / (2 / 3))
    assert found[0] == (str(first), f"{score.m_score:.2f}")
    assert found[1] == (str(round(100 * score.top1_all)), percent(score.top1_all))


def test_one_map_a_concept_is_read_or_not(tmp_path):
    maps = [tiny.concept_map(index) for index in (0, 3, 4)]
    run = begin(RunDirectory(tmp_path / "one"), maps)
    (score,) = ph.score(maps, tiny.classifier(), device="cpu")
    note(run, tiny.classifier(), score)
    shown = text(page(run))
    for one in score.per_concept:
        assert f"{'yes' if one.right else 'no'}, p {probability(one.p_class)}" in shown
    assert "×" not in shown.split("Concept by concept")[1].split("At other contrasts")[0]


def test_stale_rows_are_left_out(run, maps):
    note(run, tiny.classifier(), ph.score(maps, tiny.classifier(), device="cpu")[0])
    assert TITLE in page(run)
    begin(run, [tiny.concept_map(0, 7)])  # the others are as they were
    for shown in (page(run), ph.open_run(run)._repr_html_()):
        assert "The scores are of 6 of 7 maps in this run: `phosphene score" in shown
    assert TITLE in page(run)
    begin(run, [replace(maps[0], nu=-maps[0].nu)])
    assert "The scores of this run are left out, because its maps have changed since: `phosphene score" in page(run)
    assert TITLE not in page(run)


def test_two_targets_of_one_name_are_told_apart(run, maps):
    for seed in (0, 1):
        target = tiny.classifier(seed)
        note(run, target, ph.score(maps, target, device="cpu")[0])
        assert (f"tiny ({target.sha256[:8]})" in page(run)) == (seed == 1)


def test_many_concepts_are_folded_away(run, maps, monkeypatch):
    note(run, tiny.classifier(), ph.score(maps, tiny.classifier(), device="cpu")[0])
    assert '<details open class="fold"><summary>3 concepts' in page(run)
    monkeypatch.setattr("phosphene.reports.scores.MOST_OPEN", 2)
    assert '<details class="fold"><summary>3 concepts' in page(run)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"])
def test_names_and_labels_are_text(tmp_path, hostile):
    maps = [tiny.concept_map(index, label=f"{hostile} {index}") for index in range(5)]
    run = begin(RunDirectory(tmp_path / "run"), maps)
    target = tiny.classifier(labels=[one.label for one in maps], name=hostile)
    (score,) = ph.score(maps, target, device="cpu")
    assert any(one.misread for one in score.per_concept)
    note(run, target, score)
    html = page(run)
    assert TITLE in html
    assert html.count("<script") == 1
    assert "<img src=x" not in html
    assert ("{{ 7 * 7 }}" in html) == ("{{" in hostile)


def test_the_page_needs_no_network_with_scores_either(run, maps):
    note(run, tiny.classifier(), ph.score(maps, tiny.classifier(), device="cpu")[0])
    html = page(run)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", html)
    assert "url(" not in html


def test_rows_that_are_no_scores(run, maps):
    (score,) = ph.score(maps, tiny.classifier(), device="cpu")
    data = {key: value for key, value in score.to_dict().items() if key != "interval"}
    write_scores(run, [data | {"target_sha256": "x", "maps_sha256": run.maps_sha256()}])
    with pytest.raises(RunError, match=r"scores.json is damaged \(KeyError: 'interval'\). Delete it"):
        write_report(run)


def overlapping():
    """Maps of a class and of a union that it is in, of two seeds each."""
    both = Concept.of_sides(Sides((0, 3)), tiny.LABELS)
    union = [replace(tiny.concept_map(3, seed), index=both.index, label=both.label, expression=both) for seed in (0, 1)]
    return [tiny.concept_map(0, 0), tiny.concept_map(0, 1), *union]


def test_concepts_that_share_a_class_have_no_tick_and_no_m_score_at_the_top(tmp_path):
    some = overlapping()
    run = RunDirectory(tmp_path / "run")
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "samples")
    run.begin(run_facts(tiny.classifier(), Recipe(), pool), [(one.job, one.label) for one in some])
    for one in some:
        run.write(one)
    other = tiny.classifier(name="other", seed=3)
    with pytest.warns(UserWarning, match="share a class. M_score and top-1 among the concepts"):
        ph.score(str(run.path), [other], progress=False)
    (line,) = score_section(run, run.facts())["glance"]
    assert line["mark"] == ""
    assert "share a class" in line["text"]
    assert "of a union as one of its classes" in line["text"]
    assert "of at most 1" not in line["text"]
    assert "share a class" in text(page(run))


def test_concepts_that_share_no_class_have_no_such_note():
    sides = [Sides((0,)), Sides((0,), (3,)), Sides((3, 4))]
    assert overlap_note(Concept.of_sides(one, tiny.LABELS) for one in sides) is None


def test_contrasts_are_counted_apart_in_the_report_and_the_notebook(tmp_path):
    network = tiny.classifier(labels=list("abcde"))
    cheap = {"steps": 2, "rounds": 1, "refine_steps": 0, "batch_size": 2, "sign_test": False}
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "samples")
    ph.map_concepts(
        network, ["a", "a vs b", "b vs a"], samples=pool, recipe="paper", overrides=cheap, out=tmp_path / "run"
    )
    ph.score(tmp_path / "run", [tiny.classifier(labels=list("abcde"), name="other", seed=3)], progress=False)
    run = ph.open_run(tmp_path / "run")
    assert "contrasts: top-1, the two sides" in run._repr_html_()
    (line,) = score_section(run, run.facts())["glance"]
    assert line["mark"] != "good"  # one map of a class is few, however many contrasts there are
    assert "Contrasts have a column of their own" in text(page(run))
    rows = read_scores(run)
    old = [{name: value for name, value in row.items() if "contrasts" not in name} for row in rows]
    SCORES.write(run.path, {"rows": old})
    assert read_scores(run) == []


@pytest.mark.parametrize(("right", "mark"), [(5, "unsure"), (10, "good")])
def test_contrasts_alone_are_good_only_if_more_than_half_of_them_are_right_beyond_chance(right, mark):
    labels = Labels(list("abcde"))
    maps = match_maps([parse("a vs b", labels)] * 10, tiny.classifier(labels=list("abcde")))
    logits = torch.zeros(len(CONTRASTS), 10, 5)
    logits[:, :right, 0], logits[:, right:, 0] = 1, -1
    score = replace(score_of_logits(logits, maps), target="other")
    assert _glance(score, None)["mark"] == mark

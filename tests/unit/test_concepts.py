"""Expressions: what they mean, what is refused, and the virtual logits against a slow reference."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from phosphene.arguments import to_concepts
from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.concepts import FIRST_NUMBER, Concept, Sides, kind_and_index
from phosphene.engine import Engine
from phosphene.engine.losses import LOSSES
from phosphene.engine.targets import hits, target_probabilities, targets_of, virtual_logits
from phosphene.errors import ConceptError, RunError, SamplesError
from phosphene.expressions import find_among, parse
from phosphene.labels import Labels
from phosphene.mapper import map_jobs
from phosphene.metrics.bootstrap import wilson
from phosphene.metrics.matching import MatchedMaps, match_maps
from phosphene.metrics.scorecard import Scores
from phosphene.metrics.scores import CONTRASTS, score_of_logits
from phosphene.recipe import Recipe
from phosphene.reports import write_report
from phosphene.reports.gallery import map_section
from phosphene.runs import RunDirectory
from phosphene.runs.checkpoints import Checkpoints
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from phosphene.workflows.concept_maps import ConceptMaps
from phosphene.workflows.confused import confused_pairs
from tests import tiny

LABELS = Labels(
    ["tabby, tabby cat", "tiger cat", "lynx", "crane", "crane", "black + white", "black", "white", "x vs y"]
)


def sides(text, labels=LABELS):
    return parse(text, labels).sides


# --- the grammar


@pytest.mark.parametrize(
    ("text", "up", "against"),
    [
        ("tabby", (0,), ()),
        ("2", (2,), ()),
        ("tiger cat + tabby cat", (0, 1), ()),
        ("Tabby  vs  LYNX", (0,), (2,)),
        ("tabby + tiger cat vs lynx + crane (4)", (0, 1), (2, 4)),
        ("crane (3) vs crane (4)", (3,), (4,)),
        ("0 + 2", (0, 2), ()),
        ("tabby + tabby cat", (0,), ()),
        ("black + white", (5,), ()),  # a label that is the whole text
        ('"black" + "white"', (6, 7), ()),
        ('"black + white" vs lynx', (5,), (2,)),
        ('"black + white"', (5,), ()),
        ("x vs y", (8,), ()),
        ("x vs y vs lynx", (8,), (2,)),  # no class is called x
        ("black + white (5) vs lynx", (5,), (2,)),
    ],
)
def test_what_an_expression_means(text, up, against):
    assert sides(text) == Sides(up, against)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tabby + lynks", "no class is called 'lynks'. Did you mean lynx?"),
        ("tabby + crane", "'crane' names 2 classes"),
        ("tabby vs lynx vs crane (3)", "more than one ' vs '"),
        ("tabby + lynx vs lynx", "'lynx' on both sides"),
        ("lynx + black + white", 'several meanings, so quote its names: "lynx" + "black" + "white"; or'),
        ("tabby + + lynx", "'+ lynx' lacks a name"),
        ("tabby+lynx", "with blanks: 'tabby + lynx'."),
        ("tabby + lynx+crane", "with blanks: 'lynx + crane'."),
        ("tabby VS. lynx", "with blanks: 'tabby vs lynx'."),
        ("tabby vs ", "'tabby vs' lacks a name: write NAME + NAME, or NAME vs NAME."),
        ("99 vs lynx", "class index 99 is out of range"),
        (" ", "no class is called ''"),
    ],
)
def test_what_is_refused_in_one_line(text, message):
    with pytest.raises(ConceptError) as caught:
        parse(text, LABELS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_union_of_all_classes_is_refused_and_a_contrast_of_all_is_not():
    two = Labels(["cat", "dog"])
    with pytest.raises(ConceptError, match="union of all classes"):
        parse("cat + dog", two)
    assert sides("cat vs dog", two) == Sides((0,), (1,))


def test_a_multi_label_network_tells_a_union_of_all_classes_from_none_of_these():
    network = tiny.classifier(output="multi-label")
    everything = " + ".join(map(str, range(network.num_classes)))
    (concept,) = to_concepts(everything, network)
    assert concept.sides == Sides(tuple(range(network.num_classes)))
    matched = match_maps([concept], network)
    logits = torch.randn(1, network.num_classes).double()
    odds = logits.logsumexp(1)
    assert torch.allclose(target_probabilities(logits, matched.targets), odds.sigmoid())
    with pytest.raises(ConceptError, match=r"is all classes of tiny, which nothing is told from: score it on a multi"):
        match_maps([concept], tiny.classifier())


def test_many_names_that_might_belong_together_take_no_time():
    labels = Labels(["a + a", "a", "b"])
    assert sides(" + ".join(["a"] * 400) + " vs b", Labels(["a", "b", "c"])) == Sides((0,), (1,))
    with pytest.raises(ConceptError, match="several meanings"):
        parse(" + ".join(["a"] * 400), labels)
    with pytest.raises(ConceptError, match="no class is called 'c'"):
        parse(" + ".join(["a"] * 400) + " + c", labels)


def test_the_order_of_names_does_not_matter_and_sides_do():
    one = parse("tiger cat + tabby vs lynx", LABELS)
    assert one == parse("tabby + tiger cat vs lynx", LABELS)
    assert one.label == "tabby + tiger cat vs lynx"
    numbers = {parse(text, LABELS).index for text in ("tabby vs lynx", "lynx vs tabby", "tabby + lynx", "tabby")}
    assert len(numbers) == 4
    assert min(numbers) == 0
    assert sorted(numbers)[1] >= FIRST_NUMBER


@pytest.mark.parametrize(
    "text", ["tabby", "crane (3) vs crane (4)", '"black + white" + lynx', '"x vs y" vs "black"', "5", "black + lynx"]
)
def test_the_expression_of_a_concept_means_it_again(text):
    concept = parse(text, LABELS)
    assert parse(concept.expression, LABELS) == concept
    assert Concept.of_facts({"index": concept.index, "label": concept.label, **concept.facts()}) == concept


def test_labels_of_large_unions_are_short_and_names_with_quotes_become_indices():
    labels = Labels([*(f"breed {letter}" for letter in "abcdef"), 'a "b" + c', "lion, king"])
    concept = parse(" + ".join(labels[:6]), labels)
    assert concept.label == "breed a + breed b + breed c + 3 more"
    assert parse("lion vs 6", labels).expression == "lion (7) vs (6)"
    assert kind_and_index(concept.index, concept.label) == "union"
    assert kind_and_index(7, "lion, king") == "class 7"
    assert kind_and_index(FIRST_NUMBER, 'a vs "b + c"') == "contrast"
    assert kind_and_index(FIRST_NUMBER, '"a vs b" + c') == "union"


def test_damaged_sides_are_an_error_of_the_run():
    with pytest.raises(RunError, match="concept 'a vs b' is damaged"):
        Concept.of_facts({"index": FIRST_NUMBER, "label": "a vs b", "up": {"zero": "a"}})


def test_concepts_among_those_with_maps():
    known = [parse(text, LABELS) for text in ("lynx", "tabby + tiger cat vs lynx", "tabby vs black")]
    for text in ("tabby + tiger cat vs lynx", "tiger cat + tabby cat vs lynx", str(known[1].index)):
        assert find_among(text, known, "the run") == known[1].index
    assert find_among("2", known, "the run") == 2
    for text in ("lynx vs tabby", "tabby", "tabby vs"):
        with pytest.raises(ConceptError, match=r"the run has no map of .*: it has 2 .lynx., tabby . tiger cat vs lynx"):
            find_among(text, known, "the run")


NUMERIC = Labels(["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"])


def test_a_number_in_quotes_is_a_name_and_without_may_be_both():
    assert sides('"2"', NUMERIC) == Sides((4,))
    assert sides('"2" vs "10"', NUMERIC) == sides("2 (4) vs (2)", NUMERIC) == Sides((4,), (2,))
    with pytest.raises(ConceptError, match=r"'2' may be the index of one class and the label of another"):
        parse("2 vs 10", NUMERIC)
    with pytest.raises(ConceptError, match="no class is called '2'"):
        parse('"2"', Labels(["cat", "dog", "owl"]))
    network = tiny.classifier(labels=["0", "1", "10", "2", "3"])
    assert [one.index for one in to_concepts([2, "2 (3)"], network)] == [2, 3]
    everything = [Concept.of_class(index, label) for index, label in enumerate(NUMERIC)]
    for one in [*everything, parse("2 (4) vs 10 (2)", NUMERIC), parse("3 (5) + 9 (11)", NUMERIC)]:
        assert parse(one.expression, NUMERIC) == one
        assert find_among(one.expression, [*everything, one], "the run") == one.index


def test_among_concepts_with_maps_a_number_is_not_taken_for_the_wrong_class():
    known = [Concept.of_class(index, NUMERIC[index]) for index in (0, 2, 10)]
    for text in ("2", "10"):
        with pytest.raises(ConceptError, match=r"may be the index of one class and the label of another"):
            find_among(text, known, "the run")
    assert find_among("0", known, "the run") == 0
    assert find_among("8", known, "the run") == find_among("(10)", known, "the run") == 10
    assert find_among("10", known[:2], "the run") == 2
    assert ConceptMaps([tiny.concept_map(0), tiny.concept_map(2)])["2"][0].index == 2
    contrast = parse("(3) vs (4)", NUMERIC)
    assert find_among("11 vs 2", [contrast], "the run") == contrast.index
    with pytest.raises(ConceptError, match="no map of '3 vs 4'"):
        find_among("3 vs 4", [contrast], "the run")


# --- virtual logits against a slow reference in Python's own floats


def reference(row, up, against):
    """Log-odds, probability, margin and hit of one row of logits, by the definitions."""
    against = against or [index for index in range(len(row)) if index not in up]
    total = [sum(math.exp(row[index]) for index in side) for side in (up, against)]
    best = max([*up, *against], key=lambda index: row[index])
    return {
        "log-odds": math.log(total[1]) - math.log(total[0]),
        "soft-log-odds": 3 * math.log(sum(math.exp(row[index] / 3) for index in against)) - math.log(total[0]),
        "cross-entropy": -math.log(total[0] / sum(total)),
        "margin": max(row[index] for index in against) - math.log(total[0]),
        "p": total[0] / sum(total),
        "hit": best in up,
    }


def test_losses_probability_and_hits_by_their_definitions():
    logits = 3 * torch.randn(40, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kinds = [Sides((3,)), Sides((0, 4)), Sides((2,), (5,)), Sides((1, 6), (0, 2, 8))]
    wanted = [kinds[row % 4] for row in range(40)]
    targets = targets_of(wanted, 9)
    expected = [reference(row, *one) for row, one in zip(logits.tolist(), wanted, strict=True)]
    for name, loss in LOSSES.items():
        found = loss(*virtual_logits(logits, targets))
        torch.testing.assert_close(found, torch.tensor([one[name] for one in expected], dtype=torch.float64))
    p = target_probabilities(logits, targets)
    torch.testing.assert_close(p, torch.tensor([one["p"] for one in expected], dtype=torch.float64))
    assert hits(logits, targets).tolist() == [one["hit"] for one in expected]
    assert 5 < sum(one["hit"] for one in expected) < 35


def test_single_classes_are_left_alone_and_among_others_get_the_same_loss_and_gradient():
    plain = targets_of([Sides((2,)), Sides((0,))], 5)
    assert plain.tolist() == [2, 0]
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert virtual_logits(logits, plain)[0] is logits
    mixed = targets_of([Sides((2,)), Sides((0,)), Sides((1, 3))], 5)[:2]
    for loss in LOSSES.values():
        slopes = [torch.autograd.grad(loss(*virtual_logits(logits, one)).sum(), logits)[0] for one in (plain, mixed)]
        torch.testing.assert_close(*slopes)


# --- maps, jobs and run directories


def pool():
    pixels = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    return make_pool(pixels, "samples")


def test_a_contrast_is_made_written_and_read_again(tmp_path):
    network = tiny.classifier()
    concept = to_concepts("lion vs 3", network)[0]
    with Engine(network, device="cpu") as engine:
        (one,) = map_jobs(engine, pool(), [Job.of(concept, 4)], Recipe(**tiny.SHORT))
        logits = network.logits(one.pixels[None])[0]
    assert one.p_class == pytest.approx(float(torch.sigmoid(logits[0] - logits[3])), abs=1e-5)
    assert one.concept == concept
    assert one.job == Job(concept.index, 4)
    assert (one.label, one.short) == ("lion vs maillot", "lion vs maillot")
    run = RunDirectory(tmp_path)
    tiny.add_maps(run, one, tiny.concept_map(0))
    assert run.concepts() == [Concept.of_class(0, tiny.LABELS[0]), concept]
    assert [found.expression for found in run.maps()] == [None, concept]
    assert run.folder(one.job, one.label).parent.name == f"lion-vs-maillot-{concept.index}"
    assert ConceptMaps(run.maps())["lion vs maillot (3)"][0].seed == 4
    row = run.facts()["jobs"][0]
    assert set(row) == {"index", "label", "seed"}  # as ever for a class


def test_maps_of_a_group_do_not_depend_on_the_kinds_of_the_others():
    network, samples = tiny.classifier(), pool()
    jobs = [Job.of(one) for one in to_concepts(["lion", "lion vs 3", "1 + 2"], network)]
    with Engine(network, device="cpu", precision="fp64") as engine:
        together = map_jobs(engine, samples, jobs, Recipe(**tiny.SHORT))
        alone = [map_jobs(engine, samples, [job], Recipe(**tiny.SHORT))[0] for job in jobs]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.nu, other.nu, rtol=1e-4, atol=1e-6)
        assert one.label == other.label
    assert not torch.allclose(alone[0].nu, alone[1].nu, atol=1e-3)


def test_a_checkpoint_is_found_with_the_expressions_of_its_jobs(tmp_path):
    jobs = [Job.of(parse("tabby vs lynx", LABELS)), Job(3)]
    kept = Checkpoints(tmp_path)
    kept.save(jobs, {"nu": torch.zeros(2)})
    found = kept.find(jobs)
    assert [job.expression for job in found.jobs] == [jobs[0].expression, None]


# --- scores


def test_a_target_scores_a_contrast_by_its_two_sides_and_a_union_by_its_members():
    labels = Labels(["ant", "bee", "cat", "dog"])
    concepts = [parse(text, labels) for text in ("ant vs bee", "bee vs ant", "cat + dog", "ant")]
    shuffled = tiny.classifier(labels=["dog", "cat", "bee", "ant", "other"])
    matched = match_maps(concepts, shuffled)
    assert matched.sides == [Sides((3,), (2,)), Sides((2,), (3,)), Sides((0, 1)), Sides((3,))]
    assert matched.pulled_up == [(0, 1), (2,), (3,)]  # the two of the ant count as one
    logits = torch.tensor([[0, 0, 1, 2, 9], [0, 0, 1, 2, 9], [1, 5, 0, 0, 2], [0, 0, 1, 3, 9.0]])
    score = score_of_logits(logits.expand(len(CONTRASTS), -1, -1), matched)
    assert (score.maps, score.concepts, score.classes) == (4, 3, 5)
    assert [one.right for one in score.per_concept] == [1, 0, 1, 0]
    assert score.per_concept[1].misread[0].label == "ant"  # what it takes for the left side is on the right
    assert score.per_concept[3].misread[0].label == "other"
    assert (score.top1_all, score.top1_all_interval) == (0.5, wilson(1, 2))  # of the cats and dogs, and of the ant
    assert score.p_class == pytest.approx(sum(one.p_class for one in score.per_concept[2:]) / 2)
    assert (score.contrasts, score.top1_contrasts, score.top1_contrasts_interval) == (2, 0.5, wilson(1, 2))
    assert "of 2 maps (without contrasts) among 5 classes" in repr(score)
    assert (
        Scores([score]).below(min_top1=0.8)[0].startswith("target recognises 1 of 2 maps (without contrasts) of source")
    )
    assert "contrasts: top-1, the two sides" in Scores([score])._repr_html_()
    assert score.top1_concepts == pytest.approx(3 / 4)
    assert score.per_concept[0].p_class == pytest.approx(1 / (1 + math.exp(-1)))
    assert score.per_concept[2].p_class == pytest.approx(float(logits[2].softmax(0)[:2].sum()))


def test_the_main_figures_count_contrasts_only_where_there_is_nothing_else():
    """Half of them are right by chance: with one bad class beside nine contrasts a gate would be passed."""
    labels = Labels(list("abcde"))
    texts = [f"{one} vs {other}" for one in "abc" for other in "abcd" if one != other]
    logits = torch.tensor([[5.0, 4, 3, 2, 9]]).expand(len(CONTRASTS), len(texts) + 1, -1)
    target = tiny.classifier(labels=list("abcde"))
    matched = match_maps([parse(text, labels) for text in (*texts, "a")], target)
    score = score_of_logits(logits, matched)
    assert (score.top1_all, score.top1_contrasts) == (0, pytest.approx(6 / 9))
    assert score.p_class == score.per_concept[-1].p_class < 0.1
    assert {point.top1_all for point in score.contrast_sweep} == {0}
    assert score.rate_name == "top-1, all classes"
    alone = score_of_logits(logits[:, 1:], match_maps([parse(text, labels) for text in texts], target))
    assert alone.top1_all == alone.top1_contrasts == pytest.approx(6 / 9)
    assert alone.rate_name == "top-1, the two sides"
    assert "among" not in repr(alone)
    assert Scores([alone]).below(min_top1=0.7) == ["target recognises 6 of 9 maps of source (the least top-1 is 0.7)"]


def test_classes_are_scored_as_ever():
    logits = torch.randn(len(CONTRASTS), 3, 5, generator=torch.Generator().manual_seed(3))
    labels = list("abcde")
    classes = [Concept.of_class(index, labels[index]) for index in (3, 0, 4)]
    score = score_of_logits(logits, MatchedMaps(classes, {3: 3, 0: 0, 4: 4}, labels))
    rows = logits[CONTRASTS.index(0.2)]
    assert score.top1_all == pytest.approx(float((rows.argmax(1) == torch.tensor([3, 0, 4])).double().mean()))
    assert score.p_class == pytest.approx(float(rows.double().softmax(1)[[0, 1, 2], [3, 0, 4]].mean()))


# --- confused pairs and the report


class ReadsOneNumber(torch.nn.Module):
    """Four classes by the brightness of the image: 0 and 1 look alike to it, 2 and 3 are far apart."""

    def forward(self, images):
        centres = torch.tensor([0.2, 0.25, 0.6, 1.0])
        return -200 * (images.mean((1, 2, 3))[:, None] - centres) ** 2


def test_confused_pairs_of_labelled_samples(tmp_path):
    network = Classifier(ReadsOneNumber(), size=8, labels=["ant", "bee", "cat", "dog"], name="brightness")
    pixels = np.repeat(np.array([51, 64, 153, 255, 51, 64, 153, 255], dtype=np.uint8), 8 * 8 * 3).reshape(8, 8, 8, 3)
    np.savez(tmp_path / "labelled.npz", images=pixels, labels=np.array([0, 1, 2, 3] * 2))
    first, second = confused_pairs(network, load_samples(tmp_path / "labelled.npz", network), 2, device="cpu")
    assert (first.first.label, first.second.label) == ("ant vs bee", "bee vs ant")
    p = torch.softmax(torch.tensor([0.0, -200 * 0.05**2]), 0)[1]  # about, as the pixels are rounded
    assert first.share == pytest.approx(float(p), abs=0.02)
    assert second.share < 1e-3
    assert "ant and bee (mean probability 3" in str(first)


def test_confused_pairs_need_labels(tmp_path):
    network = tiny.classifier()
    with pytest.raises(SamplesError, match="need labelled samples: give a folder"):
        confused_pairs(network, load_samples("synthetic:noise", network), 1)
    for samples in (tiny.make_samples(tmp_path / "samples"), "demo:shapes"):
        with pytest.raises(SamplesError, match=r"no labels of two classes of tiny: .* named after them .lion, crane"):
            confused_pairs(network, load_samples(samples, network), 1)


def test_pairs_without_samples_are_not_measured_and_those_of_one_class_alone_are_not_halved(tmp_path):
    network = Classifier(ReadsOneNumber(), size=8, labels=["ant", "bee", "cat", "dog"], name="brightness")
    pixels = np.repeat(np.array([64, 255], dtype=np.uint8), 8 * 8 * 3).reshape(2, 8, 8, 3)
    np.savez(tmp_path / "labelled.npz", images=pixels, labels=np.array(["bee", "dog"]))
    pairs = confused_pairs(network, load_samples(tmp_path / "labelled.npz", network), 9, device="cpu")
    assert sorted(pair.first.label for pair in pairs) == [
        "ant vs bee",
        "ant vs dog",
        "bee vs cat",
        "bee vs dog",
        "cat vs dog",
    ]
    p = torch.softmax(torch.tensor([-200 * 0.05**2, 0.0]), 0)[0]
    assert (pairs[0].first.label, pairs[0].share) == ("ant vs bee", pytest.approx(float(p), abs=0.02))


def test_the_report_shows_contrasts_beside_the_other_way_and_their_sides(tmp_path):
    labels = Labels(tiny.LABELS)
    run, texts = RunDirectory(tmp_path), ("0 vs 3", "3 vs 0", "1 + 2", "1 vs 2")
    concepts = [parse(text, labels) for text in texts]
    made = [replace(tiny.concept_map(0), index=one.index, label=one.label, expression=one) for one in concepts]
    tiny.add_maps(run, *made, tiny.concept_map(0), tiny.concept_map(4))
    assert [row["label"] for row in run.facts()["jobs"]][2:] == [
        "lion vs maillot", "maillot vs lion", "crane (1) vs crane (2)", "crane (1) + crane (2)"
    ]  # fmt: skip
    section = map_section(run, run.facts())
    assert [[one["map"]["label"] for one in row] for row in section["contrasts"]] == [
        [tiny.LABELS[0], "lion vs maillot", "maillot vs lion"]
    ]
    page = Path(write_report(run)).read_text(encoding="utf-8")
    assert "Between lion and maillot, the network gives lion a confidence of 75 %" in page
    assert "-c &#39;lion (0) vs maillot (3)&#39;" in page
    assert '<p class="which">union</p>' in page

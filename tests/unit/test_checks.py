"""The checks themselves, on a network whose best maps are known, by mappers that are right or wrong in one way each."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import nn

from phosphene.checks import CHECKS, Bench, Request, check_maps, choose, examine
from phosphene.checks.baseline import Baseline, across, means
from phosphene.checks.bench import spread
from phosphene.checks.chance import beyond_chance, habits, read
from phosphene.checks.finding import Finding, spell, verdict
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job, render
from phosphene.engine import Engine
from phosphene.errors import ExtraError, NumericError, PhospheneError
from phosphene.mapper.measurements import targeting_rates
from phosphene.metrics.similarity import SIMILARITIES
from phosphene.recipe import Recipe
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from tests import tiny

SIDE, CLASSES = 16, 20
RECIPE = Recipe(batch_size=4, steps=1, rounds=1, refine_steps=0)


class Templates(nn.Module):
    """Compares a picture with one template a class: the best map of a class is its template."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.head = nn.Linear(3 * SIDE * SIDE, CLASSES)
        with torch.no_grad():
            self.head.weight.copy_(0.1 * torch.randn(self.head.weight.shape, generator=generator))
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(x.flatten(1))


def faithful(engine, pool, jobs, recipe, watch=None):
    """The best maps of whatever network it is given, and a little of the seed."""
    return [made(job, -template(engine, job) + 0.005 * noise(job.seed + 50), recipe) for job in jobs]


def deaf(engine, pool, jobs, recipe, watch=None):
    """Maps that have nothing to do with the network: the same picture whatever it has learned."""
    return [made(job, noise(job.index), recipe) for job in jobs]


def remembering(engine, pool, jobs, recipe, watch=None):
    """Maps of the trained network, whatever network it is given."""
    return [made(job, -Templates().head.weight[job.index].detach().view(3, SIDE, SIDE), recipe) for job in jobs]


def moody(engine, pool, jobs, recipe, watch=None):
    """The best maps from the first seed and from the run's samples, and noise otherwise."""
    pairs = [(job, job.seed == 0 and pool.spec == "synthetic:mixed") for job in jobs]
    return [made(job, -template(engine, job) if right else noise(99), recipe) for job, right in pairs]


def template(engine, job):
    return engine.classifier.module.head.weight[job.index].detach().clone().view(3, SIDE, SIDE)


def noise(seed):
    return torch.randn((3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))


def made(job, nu, recipe):
    facts = {"p_class": 0.5, "targeting_rate": None, "loss": (1.0,), "passes": 1, "seconds": 0.0}
    xi, contrast = torch.zeros(1, SIDE, SIDE), 0.2
    label = f"class {job.index}"
    return ConceptMap(nu, xi, job.index, label, job.seed, recipe_sha256=recipe.sha256, contrast=contrast, **facts)


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch):
    """Most of the time would go into comparing maps of different classes."""
    monkeypatch.setattr("phosphene.checks.baseline.MOST_CLASSES", 6)


@pytest.fixture(scope="module")
def classifier():
    return Classifier(Templates(), size=SIDE, mean=(0.5,) * 3, name="templates")


@pytest.fixture(scope="module")
def pool():
    return load_samples("synthetic:mixed", (3, SIDE, SIDE))


@pytest.fixture
def bench(classifier, pool):
    """A bench of maps by one of the mappers above."""

    def bench(mapper=faithful, classes=CLASSES, seeds=(0,), **options):
        jobs = [Job(index, seed) for index in range(classes) for seed in seeds]
        with Engine(classifier, device="cpu") as engine:
            maps = mapper(engine, pool, jobs, RECIPE)
        return Bench(classifier, pool, RECIPE, maps, mapper=mapper, device="cpu", **options)

    return bench


# --- cascade


def test_maps_that_follow_the_network_pass_the_cascade(bench):
    found = examine("cascade", bench())
    assert found.passed is True
    assert found.figures["blocks"] == 1
    assert found.figures["hog_at_1"] <= found.figures["hog_limit"] < 0.5
    assert found.figures["top1_at_0"] == 1
    assert found.figures["top1_at_1"] <= 0.25
    assert found.cost == 4 + 4  # at one depth, and from a second seed
    assert "show what this network has learned" in found.reading


@pytest.mark.parametrize("mapper", [deaf, remembering])
def test_maps_that_do_not_follow_the_network_fail_it(bench, mapper):
    found = examine("cascade", bench(mapper))
    assert found.passed is False
    assert found.figures["hog_at_1"] == pytest.approx(1)
    assert found.verdict == "FAILED"
    assert "does not depend on what this network has learned" in found.reading


@pytest.mark.parametrize("name", ["cascade", "random-weights"])
def test_maps_of_noise_are_not_said_to_pass_it(bench, name):
    """New noise every time is unlike the old, and read at chance: the trained network must have read the old."""

    def chaotic(engine, pool, jobs, recipe, watch=None):
        return [made(job, torch.randn(3, SIDE, SIDE), recipe) for job in jobs]

    torch.manual_seed(1)
    found = examine(name, bench(chaotic))
    assert found.passed is None
    assert "too little to judge by" in found.reading


@pytest.mark.parametrize(("name", "condition"), [("cascade", "1"), ("random-weights", "trained")])
def test_a_network_that_still_reads_the_new_maps_fails_it_however_unlike_they_look(bench, classifier, name, condition):
    """As where a new pattern hides the old one from the eye, and not from the network."""
    hidden = noise(5)

    def disguised(engine, pool, jobs, recipe, watch=None):
        trained = Templates().head.weight.detach()
        own = engine.classifier is classifier
        return [
            made(job, -trained[job.index].view(3, SIDE, SIDE) + (0 if own else 0.3) * hidden, recipe) for job in jobs
        ]

    found = examine(name, bench(disguised))
    assert found.conditions[condition]["top1"] == 1
    assert found.passed is False


def test_the_verdict_is_given_where_head_and_last_block_are_new(pool):
    """With the head alone the maps are still the old ones here; what counts is what comes after."""

    class Deeper(Templates):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 3, 1)
            with torch.no_grad():
                self.stem.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
                self.stem.bias.zero_()

        def forward(self, x):
            return super().forward(self.stem(x))

    def late(engine, pool, jobs, recipe, watch=None):
        mapper = faithful if "2 blocks" in engine.classifier.name else remembering
        return mapper(engine, pool, jobs, recipe)

    classifier = Classifier(Deeper(), size=SIDE, mean=(0.5,) * 3)
    with Engine(classifier, device="cpu") as engine:
        maps = late(engine, pool, [Job(index) for index in range(CLASSES)], RECIPE)
    found = examine("cascade", Bench(classifier, pool, RECIPE, maps, mapper=late, device="cpu"))
    assert (found.figures["hog_at_1"], found.figures["top1_at_1"]) == (pytest.approx(1), 1)
    assert found.figures["hog_at_2"] < found.figures["hog_limit"]
    assert found.passed is True
    assert "the head and the last block (stem)" in found.reading


def test_one_class_leaves_it_open(bench):
    found = examine("cascade", bench(classes=1))
    assert found.passed is None
    assert "hog_limit" not in found.figures
    assert "hog_at_1" in found.figures


def test_with_other_samples_a_control_without_randomisation_stands_beside_it(bench):
    plain, other = bench(), bench(same_samples=False)
    assert "hog_at_0" not in examine("cascade", plain).figures
    found = examine("cascade", other)
    assert found.figures["hog_at_0"] > 0.9
    assert found.cost == 4 + 4 + 4


def test_a_network_without_weights_has_no_verdict(pool):
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    maps = [made(Job(index), noise(index), RECIPE) for index in range(3)]
    bare = Classifier(Bare(), size=SIDE)
    for name in ("cascade", "random-weights"):
        (found,) = check_maps(bare, pool, RECIPE, maps, [name], mapper=deaf, device="cpu")
        assert found.passed is None
        assert "no weights" in found.reading


# --- random weights


def test_random_weights_pass_and_fail(bench):
    found = examine("random-weights", bench())
    assert found.passed is True
    assert found.figures["top1_at_random"] == 1  # this mapper drives any network
    assert found.figures["top1_at_trained"] <= 0.25
    assert "reads 4 of 4 of them" in found.reading
    found = examine("random-weights", bench(remembering))
    assert found.passed is False
    assert found.figures["top1_at_trained"] == 1
    assert examine("random-weights", bench(deaf)).passed is False  # read by nobody, and the same as ever


# --- seeds, diversity, samples


def test_seeds_pass_and_fail(bench):
    found = examine("seeds", bench())
    assert found.passed is True
    assert found.figures["top1_at_other"] == 1
    assert found.figures["hog_at_other_seed"] > 0.8
    assert "put the same in the same places" in found.reading
    found = examine("seeds", bench(moody))
    assert found.passed is False
    assert found.figures["top1_at_first"] == 1
    assert found.figures["top1_at_other"] <= 0.25
    assert "in other places" in found.reading
    assert examine("seeds", bench(deaf)).passed is None  # the first are not read either


@pytest.mark.parametrize(
    ("first", "second", "passed"),
    [
        (8, 4, True),
        (8, 3, False),  # beyond chance, and less than half
        (4, 2, False),  # half, and no more than chance gives
        (1, 1, None),  # the first are no more than chance gives
    ],
)
@pytest.mark.parametrize("name", ["seeds", "samples"])
def test_what_other_seeds_and_samples_must_reach(bench, name, first, second, passed):
    """So many of eight maps are read: of the first seed and the run's samples, and of others."""
    order = [one.index for one in bench(most=8).chosen]

    def some(engine, pool, jobs, recipe, watch=None):
        given = pool.spec == "synthetic:mixed"
        right = [job.index in order[: first if given and job.seed == 0 else second] for job in jobs]
        return [
            made(job, -template(engine, job) if good else noise(99), recipe)
            for job, good in zip(jobs, right, strict=True)
        ]

    assert examine(name, bench(some, most=8)).passed is passed


def test_seeds_that_the_run_has_are_not_made_again(bench):
    several = bench(seeds=(3, 5, 9))
    for name in ("seeds", "diversity"):
        assert examine(name, several).cost == 0
    assert examine("diversity", several).figures["seeds"] == 3
    assert [one.seed for one in several.same_class(several.chosen[0])] == [5, 9]


def test_diversity_is_one_less_the_similarity_of_seeds(bench):
    same, apart = examine("diversity", bench(deaf)), examine("diversity", bench(moody))
    for name in SIMILARITIES:
        assert same.figures[f"diversity_{name}_at_seeds"] == pytest.approx(0, abs=1e-6)
    assert apart.figures["diversity_hog_at_seeds"] > 0.7
    assert same.passed is None
    assert "Low means" in same.reading
    with_classes = same.figures["diversity_ssim_at_classes"]
    assert with_classes == pytest.approx(1 - bench(deaf).across.mean["ssim"])


def test_samples_pass_and_fail(bench):
    found = examine("samples", bench())
    assert found.passed is True
    assert set(found.conditions) >= {"run", "synthetic:pink", "synthetic:dead-leaves"}
    assert found.conditions["synthetic:pink"]["top1"] == 1
    found = examine("samples", bench(moody))
    assert found.passed is False
    assert "hang on the samples" in found.reading


def test_samples_of_ones_own_are_tried_where_the_run_has_others(classifier, pool):
    natural = dataclasses.replace(pool, spec="photographs")
    maps = [made(Job(index), -template_of(classifier, index), RECIPE) for index in range(CLASSES)]
    bench = Bench(classifier, natural, RECIPE, maps, mapper=faithful, same_samples=False, device="cpu")
    assert {"photographs", "synthetic:pink", "synthetic:dead-leaves"} <= set(examine("samples", bench).conditions)
    pink = Bench(classifier, load_samples("synthetic:pink", (3, SIDE, SIDE)), RECIPE, maps, mapper=faithful)
    assert "synthetic:pink" not in examine("samples", pink).conditions


def template_of(classifier, index):
    return classifier.module.head.weight[index].detach().view(3, SIDE, SIDE)


# --- permuted labels


def test_m_score_is_blind_to_permuted_labels_and_top1_is_not(bench):
    found = examine("permuted-labels", bench())
    assert found.passed is True
    assert found.figures["m_score_at_permuted"] == pytest.approx(found.figures["m_score_at_true"], abs=1e-9)
    assert found.figures["largest_change"] <= 1e-9
    assert (found.figures["top1_at_true"], found.figures["top1_at_permuted"]) == (1, 0)
    assert found.figures["chance"] == 1 / CLASSES
    assert found.cost == 0


def test_maps_that_are_not_read_fail_it(bench):
    found = examine("permuted-labels", bench(deaf))
    assert found.passed is False
    assert "does not read these maps" in found.reading


def test_a_score_that_is_not_blind_would_fail_it(bench, monkeypatch):
    monkeypatch.setattr("phosphene.checks.permuted_labels.m_score_of_logits", lambda logits, _: float(logits[0, 0]))
    found = examine("permuted-labels", bench())
    assert found.passed is False
    assert "should not have moved" in found.reading


def test_one_class_cannot_be_permuted(bench):
    found = examine("permuted-labels", bench(classes=1))
    assert found.passed is None
    assert "at least two" in found.reading


# --- fidelity


def test_fidelity_at_every_contrast_by_hand(bench, classifier, pool):
    work = bench(most=3)
    found = examine("fidelity", work)
    assert found.passed is None
    assert list(found.conditions) == ["0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.4"]
    for contrast in (0.05, 0.2, 0.4):
        p, rates = [], []
        with Engine(classifier, device="cpu") as engine:
            for one in work.chosen:
                p.append(engine.logits(render(one.nu, contrast)[None]).softmax(1)[0, one.index])
                nu = contrast * one.nu / one.nu.std(correction=0)
                own = torch.tensor([one.index])
                before = engine.logits(pool.held_out / 255).argmax(1)
                left = pool.held_out[before != one.index] / 255
                rates.append((engine.logits((left - nu).clamp(0, 1)).argmax(1) == one.index).double().mean())
                assert targeting_rates(engine, pool.held_out, nu[None], own)[0] == pytest.approx(float(rates[-1]))
        row = found.conditions[f"{contrast:g}"]
        assert row["p_class"] == pytest.approx(float(sum(p)) / 3)
        assert row["targeting"] == pytest.approx(float(sum(rates)) / 3)
    assert found.conditions["0.4"]["targeting"] > found.conditions["0.05"]["targeting"]


def test_fidelity_where_every_sample_is_read_as_the_class_already(pool):
    network = Templates()
    with torch.no_grad():
        network.head.bias[2] = 1e6
    classifier = Classifier(network, size=SIDE)
    maps = [made(Job(2), noise(0), RECIPE)]
    (found,) = check_maps(classifier, pool, RECIPE, maps, ["fidelity"], device="cpu")
    assert not any("targeting" in key for key in found.figures)
    assert "held-out" not in found.reading


# --- chance


@pytest.mark.parametrize("chances", [[0.1], [0.1, 0.1], [1 / 12] * 4, [0.3, 0.01, 0.2], [1 / 1001] * 5])
def test_beyond_chance_against_all_outcomes_one_by_one(chances):
    for hits in range(len(chances) + 1):
        tail = sum(
            math.prod(p if hit else 1 - p for p, hit in zip(chances, outcome, strict=True))
            for outcome in itertools.product([0, 1], repeat=len(chances))
            if sum(outcome) >= hits
        )
        undecidable = math.prod(chances) > 0.05
        assert beyond_chance(hits, chances) == (None if undecidable else tail <= 0.05)


def test_a_class_that_a_network_takes_for_everything_is_no_hit():
    assert habits([3, 3, 3, 3], [3, 0, 1, 2], 10) == [1.0, 0.1, 0.1, 0.1]
    always = torch.zeros(4, 1001)
    always[:, 3] = 9
    assert read(always, [3, 0, 1, 2]).beyond_chance is False
    once = torch.zeros(4, 1001)
    once[range(4), [3, 7, 8, 9]] = 9
    assert read(once, [3, 0, 1, 2]).beyond_chance is True
    reading = read(torch.eye(4)[:3] * 100, [0, 1, 3])
    assert (reading.hits, reading.count, reading.top1) == (2, 3, 2 / 3)
    assert reading.p_class == pytest.approx(2 / 3)
    assert reading.at_chance is (not reading.beyond_chance)


def test_one_map_among_few_classes_can_tell_nothing():
    reading = read(torch.eye(5)[:1] * 100, [0])
    assert reading.beyond_chance is None
    assert reading.at_chance is None


# --- baseline


def test_the_baseline_is_over_all_pairs_of_different_classes():
    maps = [made(Job(index, seed), noise(10 * index + seed), RECIPE) for index in range(4) for seed in (0, 1)]
    found = across(maps)
    pairs = list(itertools.combinations([one.pixels for one in maps if one.seed == 0], 2))
    for name, similarity in SIMILARITIES.items():
        values = torch.tensor([similarity(*pair) for pair in pairs]).double()
        assert found.mean[name] == pytest.approx(float(values.mean()), abs=1e-6)
        assert found.deviation[name] == pytest.approx(float(values.std(correction=0)), abs=1e-6)
        assert found.high[name] == pytest.approx(float(values.quantile(0.95)), abs=1e-6)
    assert found.classes == 4
    assert across(maps[:2]) is None
    assert means([(maps[0], maps[0])])["hog"] == pytest.approx(1)


def test_the_limit_of_what_chance_gives():
    base = Baseline({"hog": 0.1}, {"hog": 0.06}, {"hog": 0.2}, 9)
    assert base.limit("hog", 16) == pytest.approx(0.1 + 2 * 0.06 * 5 / 12)
    few = Baseline({"hog": 0.1}, {"hog": 0.0}, {"hog": 0.1}, 2)
    assert few.limit("hog", 2) == pytest.approx(0.1 + 2 * 0.03)


# --- the bench


def test_a_map_that_two_checks_need_is_made_once(bench):
    calls = []

    def counting(engine, pool, jobs, recipe, watch=None):
        calls.extend((engine.classifier.name, pool.spec, job) for job in jobs)
        return faithful(engine, pool, jobs, recipe)

    work = bench(counting)
    calls.clear()
    costs = {name: examine(name, work).cost for name in CHECKS}
    assert costs == {
        "fidelity": 0,
        "permuted-labels": 0,
        "cascade": 8,
        "random-weights": 0,
        "seeds": 0,
        "diversity": 0,
        "samples": 8,
    }
    assert len(calls) == len(set(calls)) == 16
    assert all(examine(name, work).cost == 0 for name in CHECKS)


def test_maps_are_made_by_the_runs_recipe_and_seed(bench):
    work = bench(seeds=(7,))
    assert work.anew(2, "synthetic:pink")[0] == Request(Job(0, 7), 2, "synthetic:pink")
    assert work.second_seeds()[0] == Request(Job(0, 8))


def test_networks_drawn_anew_have_their_statistics_measured_on_the_benchs_samples():
    trained, pool = tiny.classifier(), make_pool(load_samples("synthetic:pink", (3, 16, 16)).pixels[:2], "two")
    assert (len(pool.pixels), len(pool.held_out)) == (1, 1)  # as few as there can be, and one would not do
    work = Bench(trained, pool, RECIPE, [made(Job(0), noise(0), RECIPE)], device="cpu")
    drawn = work.network(3).module[1]
    assert not torch.equal(drawn.running_mean, trained.module[1].running_mean)
    assert torch.equal(work.network(2).module[1].running_mean, trained.module[1].running_mean)
    assert work.network(0) is trained


def test_the_network_is_given_back_untouched(bench, classifier):
    before = classifier.sha256
    classifier.__dict__.pop("sha256")
    work = bench()
    for name in CHECKS:
        examine(name, work)
    assert classifier.sha256 == before


@pytest.mark.parametrize(
    ("count", "most", "chosen"), [(3, 4, [0, 1, 2]), (8, 4, [0, 2, 5, 7]), (9, 2, [0, 8]), (5, 1, [0])]
)
def test_the_chosen_are_spread(count, most, chosen):
    maps = [made(Job(index, seed), noise(0), RECIPE) for index in range(count) for seed in (2, 1)]
    found = spread(maps, most)
    assert [one.index for one in found] == chosen
    assert all(one.seed == 2 for one in found)


def test_a_network_that_overflows_leaves_its_check_open(bench):
    def overflowing(engine, pool, jobs, recipe, watch=None):
        if engine.classifier.name != "templates":
            raise NumericError("network answered with NaN or infinity at step 1 of 2.")
        return faithful(engine, pool, jobs, recipe)

    found = examine("cascade", bench(overflowing))
    assert found.passed is None
    assert "NaN or infinity" in found.reading
    assert examine("seeds", bench(overflowing)).passed is True


def test_progress_says_which_maps_and_how_many(bench):
    said = []

    def telling(engine, pool, jobs, recipe, watch=None):
        if watch is not None:
            watch("step")
        return faithful(engine, pool, jobs, recipe)

    work = bench(telling)
    work.watch, work.total = said.append, 16
    for name in ("cascade", "samples"):
        examine(name, work)
    assert {one.maps_total for one in said} == {16}
    assert [one.maps_done for one in said] == sorted(one.maps_done for one in said)
    assert said[0].labels[0] == "1 of 1 blocks drawn anew: class 0"
    assert any(one.labels[0].startswith("from synthetic:pink: ") for one in said)
    assert said[-1].step == "step"


# --- choosing, findings


def test_checks_are_chosen_by_name_in_their_own_order(monkeypatch):
    assert choose() == list(CHECKS)
    assert choose(["seeds", "fidelity"]) == ["fidelity", "seeds"]
    with pytest.raises(PhospheneError, match=r"'cascad'\. Did you mean cascade"):
        choose(["cascad"])
    with pytest.raises(PhospheneError, match="Checks: fidelity"):
        choose(["zzz"])

    def missing(library, extra):
        raise ExtraError("scikit-image is not installed")

    monkeypatch.setattr("phosphene.checks.require", missing)
    with pytest.raises(ExtraError):
        choose()
    assert choose(["fidelity", "permuted-labels"]) == ["fidelity", "permuted-labels"]  # they compare nothing


def test_a_finding_survives_its_dictionary():
    found = Finding("cascade", {"blocks": 2.0, "hog_at_2": 0.1, "ssim_at_2": 0.3}, False, "It failed.", 4)
    assert Finding.from_dict(found.to_dict()) == found
    assert found.conditions == {"2": {"hog": 0.1, "ssim": 0.3}}
    assert found.plain == {"blocks": 2.0}
    assert found.verdict == "FAILED"
    with pytest.raises(TypeError):
        Finding.from_dict(found.to_dict() | {"passed": "yes"})
    with pytest.raises(KeyError):
        Finding.from_dict({})


def test_verdicts_and_numbers():
    assert verdict(True, True) is True
    assert verdict(True, None) is None
    assert verdict(None, False, True) is False
    assert (spell(-0.001), spell(0.126), spell(-0.5)) == ("0.00", "0.13", "-0.50")

"""The checks themselves, on a network whose best maps are known, by mappers that are right or wrong in one way each."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.checks import CHECKS, CheckContext, Request, choose, examine
from phosphene.checks.baseline import Baseline, across_classes, mean_similarities
from phosphene.checks.context import choose_maps
from phosphene.checks.finding import Finding, all_of, two_decimals
from phosphene.checks.map_predictions import beyond_chance, chance_rates, predictions_of
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job, render
from phosphene.concepts import Concept, Sides
from phosphene.engine import Engine
from phosphene.engine.targets import targets_of
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
def context(classifier, pool):
    """A context of maps by one of the mappers above."""

    def context(mapper=faithful, classes=CLASSES, seeds=(0,), **options):
        jobs = [Job(index, seed) for index in range(classes) for seed in seeds]
        with Engine(classifier, device="cpu") as engine:
            maps = mapper(engine, pool, jobs, RECIPE)
        return CheckContext(classifier, pool, RECIPE, maps, mapper=mapper, device="cpu", **options)

    return context


# --- cascade


def test_maps_that_follow_the_network_pass_the_cascade(context):
    found = examine("cascade", context())
    assert found.passed is True
    assert found.figures["blocks"] == 1
    assert found.figures["hog_at_1"] <= found.figures["hog_limit"] < 0.5
    assert found.figures["top1_at_0"] == 1
    assert found.figures["top1_at_1"] <= 0.25
    assert found.cost == 4 + 4  # at one depth, and from a second seed
    assert "So the maps depend on what this network has learned" in found.explanation


@pytest.mark.parametrize("mapper", [deaf, remembering])
def test_maps_that_do_not_follow_the_network_fail_it(context, mapper):
    found = examine("cascade", context(mapper))
    assert found.passed is False
    assert found.figures["hog_at_1"] == pytest.approx(1)
    assert found.verdict == "FAILED"
    assert "does not depend on what this network has learned" in found.explanation


@pytest.mark.parametrize("name", ["cascade", "random-weights"])
def test_maps_of_noise_are_not_said_to_pass_it(context, name):
    """New noise every time is unlike the old, and read at chance: the trained network must have read the old."""

    def chaotic(engine, pool, jobs, recipe, watch=None):
        return [made(job, torch.randn(3, SIDE, SIDE), recipe) for job in jobs]

    torch.manual_seed(1)
    found = examine(name, context(chaotic))
    assert found.passed is None
    assert "too little to judge by: map more classes, or maps that the network recognises" in found.explanation


@pytest.mark.parametrize(("name", "condition"), [("cascade", "1"), ("random-weights", "trained")])
def test_a_network_that_recognises_the_new_maps_fails_it_however_they_look(context, classifier, name, condition):
    """As where a new pattern hides the old one from the eye, and not from the network."""
    hidden = noise(5)

    def disguised(engine, pool, jobs, recipe, watch=None):
        trained = Templates().head.weight.detach()
        own = engine.classifier is classifier
        return [
            made(job, -trained[job.index].view(3, SIDE, SIDE) + (0 if own else 0.3) * hidden, recipe) for job in jobs
        ]

    found = examine(name, context(disguised))
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
    found = examine("cascade", CheckContext(classifier, pool, RECIPE, maps, mapper=late, device="cpu"))
    assert (found.figures["hog_at_1"], found.figures["top1_at_1"]) == (pytest.approx(1), 1)
    assert found.figures["hog_at_2"] < found.figures["hog_limit"]
    assert found.passed is True
    assert "the head and the last block (stem)" in found.explanation


def test_one_class_leaves_it_open(context):
    found = examine("cascade", context(classes=1))
    assert found.passed is None
    assert "hog_limit" not in found.figures
    assert "hog_at_1" in found.figures


@pytest.mark.parametrize("name", ["cascade", "random-weights", "seeds", "samples"])
def test_concepts_that_share_a_class_are_too_few_to_fail(context, name):
    some = context(deaf, classes=4)
    sides = [Sides((0,)), Sides((1,)), Sides((0, 1)), Sides((0,), (1,))]
    labels = [f"class {index}" for index in range(4)]
    some.chosen = [
        dataclasses.replace(one, expression=Concept.of_sides(side, labels))
        for one, side in zip(some.chosen, sides, strict=True)
    ]
    assert some.classes == 2
    assert examine(name, some).verdict == "too few to tell"


def test_with_other_samples_a_control_without_randomisation_stands_beside_it(context):
    plain, other = context(), context(same_samples=False)
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
        found = examine(name, CheckContext(bare, pool, RECIPE, maps, mapper=deaf, device="cpu"))
        assert found.passed is None
        assert "no weights" in found.explanation


def test_maps_that_are_too_small_to_compare_have_no_verdict_and_none_are_made():
    classifier = tiny.classifier(size=6)
    maps = ph.map_concepts(classifier, recipe="quick", overrides=tiny.SHORT, device="cpu", progress=False)
    found = ph.check(maps, progress=False)
    small = [one.name for one in found if "sides below 8 pixels" in one.explanation]
    assert small == [name for name, check in CHECKS.items() if check.needs]
    assert all(one.passed is None for one in found if one.name in small)
    assert sum(found.plan.cost.values()) == sum(one.cost for one in found) == 0


# --- random weights


def test_random_weights_pass_and_fail(context):
    found = examine("random-weights", context())
    assert found.passed is True
    assert found.figures["top1_at_random"] == 1  # this mapper drives any network
    assert found.figures["top1_at_trained"] <= 0.25
    assert "classifies 4 of 4 of them" in found.explanation
    found = examine("random-weights", context(remembering))
    assert found.passed is False
    assert found.figures["top1_at_trained"] == 1
    assert examine("random-weights", context(deaf)).passed is False  # read by nobody, and the same as ever


# --- seeds, diversity, samples


def test_seeds_pass_and_fail(context):
    found = examine("seeds", context())
    assert found.passed is True
    assert found.figures["top1_at_other"] == 1
    assert found.figures["hog_at_other_seed"] > 0.8
    assert "Maps of two seeds are more alike, edge by edge, than maps of two classes." in found.explanation
    found = examine("seeds", context(moody))
    assert found.passed is False
    assert found.figures["top1_at_first"] == 1
    assert found.figures["top1_at_other"] <= 0.25
    assert "Maps of two seeds are not more alike, edge by edge, than maps of two classes." in found.explanation
    found = examine("seeds", context(deaf))
    assert found.passed is None  # the first are not read either
    assert "similarity of" in found.explanation
    assert "more alike" not in found.explanation  # figures, and no judgement


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
def test_what_other_seeds_and_samples_must_reach(context, name, first, second, passed):
    """So many of eight maps are read: of the first seed and the run's samples, and of others."""
    order = [one.index for one in context(most=8).chosen]

    def some(engine, pool, jobs, recipe, watch=None):
        given = pool.spec == "synthetic:mixed"
        right = [job.index in order[: first if given and job.seed == 0 else second] for job in jobs]
        return [
            made(job, -template(engine, job) if good else noise(99), recipe)
            for job, good in zip(jobs, right, strict=True)
        ]

    assert examine(name, context(some, most=8)).passed is passed


def test_seeds_that_the_run_has_are_not_made_again(context):
    several = context(seeds=(3, 5, 9))
    for name in ("seeds", "diversity"):
        assert examine(name, several).cost == 0
    assert examine("diversity", several).figures["seeds"] == 3
    assert [one.seed for one in several.same_class(several.chosen[0])] == [5, 9]


def test_diversity_is_one_less_the_similarity_of_seeds(context):
    same, apart = examine("diversity", context(deaf)), examine("diversity", context(moody))
    for name in SIMILARITIES:
        assert same.figures[f"diversity_{name}_at_seeds"] == pytest.approx(0, abs=1e-6)
    assert apart.figures["diversity_hog_at_seeds"] > 0.7
    assert same.passed is None
    assert "Low means" in same.explanation
    with_classes = same.figures["diversity_ssim_at_classes"]
    assert with_classes == pytest.approx(1 - context(deaf).across.mean["ssim"])


def test_samples_pass_and_fail(context):
    found = examine("samples", context())
    assert found.passed is True
    assert set(found.conditions) >= {"run", "synthetic:pink", "synthetic:dead-leaves"}
    assert found.conditions["synthetic:pink"]["top1"] == 1
    found = examine("samples", context(moody))
    assert found.passed is False
    assert "depend on the samples" in found.explanation


def test_samples_of_ones_own_are_tried_where_the_run_has_others(classifier, pool):
    natural = dataclasses.replace(pool, spec="photographs")
    maps = [made(Job(index), -template_of(classifier, index), RECIPE) for index in range(CLASSES)]
    context = CheckContext(classifier, natural, RECIPE, maps, mapper=faithful, same_samples=False, device="cpu")
    assert {"photographs", "synthetic:pink", "synthetic:dead-leaves"} <= set(examine("samples", context).conditions)
    pink = CheckContext(classifier, load_samples("synthetic:pink", (3, SIDE, SIDE)), RECIPE, maps, mapper=faithful)
    assert "synthetic:pink" not in examine("samples", pink).conditions


def template_of(classifier, index):
    return classifier.module.head.weight[index].detach().view(3, SIDE, SIDE)


# --- permuted labels


def test_one_class_is_told_to_be_four(context):
    found = examine("permuted-labels", context(classes=1))
    assert found.explanation == "With one class there is nothing to permute: map at least 4."


def test_m_score_is_blind_to_permuted_labels_and_top1_is_not(context):
    found = examine("permuted-labels", context())
    assert found.passed is True
    assert found.figures["m_score_at_permuted"] == pytest.approx(found.figures["m_score_at_true"], abs=1e-9)
    assert found.figures["largest_change"] <= 1e-9
    assert (found.figures["top1_at_true"], found.figures["top1_at_permuted"]) == (1, 0)
    assert found.figures["chance"] == 1 / CLASSES
    assert found.cost == 0


def test_maps_that_are_not_read_fail_it(context):
    found = examine("permuted-labels", context(deaf))
    assert found.passed is False
    assert "does not recognise these maps" in found.explanation


def test_a_score_that_is_not_blind_would_fail_it(context, monkeypatch):
    monkeypatch.setattr("phosphene.checks.permuted_labels.m_score_of_logits", lambda logits, _: float(logits[0, 0]))
    found = examine("permuted-labels", context())
    assert found.passed is False
    assert "should not have changed" in found.explanation


def test_one_class_cannot_be_permuted(context):
    found = examine("permuted-labels", context(classes=1))
    assert found.passed is None
    assert "map at least 4" in found.explanation


# --- fidelity


def test_fidelity_at_every_contrast_by_hand(context, classifier, pool):
    work = context(most=3)
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
    found = examine("fidelity", CheckContext(classifier, pool, RECIPE, maps, device="cpu"))
    assert not any("targeting" in key for key in found.figures)
    assert "held-out" not in found.explanation


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
    three = torch.zeros(4, 10)
    three[:, 3] = 9
    assert chance_rates(three, torch.tensor([3, 0, 1, 2])) == [1.0, 0.1, 0.1, 0.1]
    always = torch.zeros(4, 1001)
    always[:, 3] = 9
    assert predictions_of(always, torch.tensor([3, 0, 1, 2])).beyond_chance is False
    once = torch.zeros(4, 1001)
    once[range(4), [3, 7, 8, 9]] = 9
    assert predictions_of(once, torch.tensor([3, 0, 1, 2])).beyond_chance is True
    predictions = predictions_of(torch.eye(4)[:3] * 100, torch.tensor([0, 1, 3]))
    assert (predictions.hits, predictions.count, predictions.top1) == (2, 3, 2 / 3)
    assert predictions.p_class == pytest.approx(2 / 3)
    assert predictions.at_chance is (not predictions.beyond_chance)


def test_a_unit_is_hit_by_chance_as_often_as_samples_or_other_maps_hit_it():
    """Two classes, two units: the first unit is high in the map of the second, too."""
    targets = targets_of([Sides(()), Sides(()), Sides((0,))], 2)
    logits = torch.tensor([[0.0, 1, 5, -3], [0, 1, 2, 4], [1, 0, -3, -3]])
    assert chance_rates(logits, targets, units=2) == pytest.approx([0.5, 0.01, 0.5])


def test_of_contrasts_that_chance_hits_by_half_four_are_too_few():
    how = {"overrides": {"steps": 2, "refine_steps": 1}, "recipe": "quick", "progress": False}
    contrasts = ["star vs heart", "ring vs cross", "triangle vs flower", "spiral vs arrow"]
    maps = ph.map_concepts("demo:shapes", contrasts, **how)
    (found,) = ph.check(maps, only=["seeds"], progress=False)
    assert found.verdict == "undecided"
    assert "so few maps could all be recognised by chance: check more classes (the option most)" in found.explanation


def test_one_map_among_few_classes_can_tell_nothing():
    predictions = predictions_of(torch.eye(5)[:1] * 100, torch.tensor([0]))
    assert predictions.beyond_chance is None
    assert predictions.at_chance is None


# --- baseline


def test_the_baseline_is_over_all_pairs_of_different_classes():
    maps = [made(Job(index, seed), noise(10 * index + seed), RECIPE) for index in range(4) for seed in (0, 1)]
    found = across_classes(maps)
    pairs = list(itertools.combinations([one.pixels for one in maps if one.seed == 0], 2))
    for name, similarity in SIMILARITIES.items():
        values = torch.tensor([similarity(*pair) for pair in pairs]).double()
        assert torch.allclose(found.values[name], values, atol=1e-6)
        assert found.figures()[f"{name}_at_other_class"] == pytest.approx(float(values.mean()), abs=1e-6)
        assert found.figures()[f"{name}_at_other_class_p95"] == pytest.approx(float(values.quantile(0.95)), abs=1e-6)
    assert found.classes == 4
    assert across_classes(maps[:2]) is None
    assert mean_similarities([(maps[0], maps[0])])["hog"] == pytest.approx(1)


def test_the_limit_of_what_chance_gives():
    base = Baseline({"hog": torch.tensor([0.04, 0.16], dtype=torch.float64)}, 9)
    assert base.limit(16) == pytest.approx(0.1 + 2 * 0.06 * 5 / 12)
    few = Baseline({"hog": torch.tensor([0.1], dtype=torch.float64)}, 2)
    assert few.limit(2) == pytest.approx(0.1 + 2 * 0.03)


# --- the context


def test_a_map_that_two_checks_need_is_made_once(context):
    calls = []

    def counting(engine, pool, jobs, recipe, watch=None):
        calls.extend((engine.classifier.name, pool.spec, job) for job in jobs)
        return faithful(engine, pool, jobs, recipe)

    work = context(counting)
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


def test_maps_are_made_by_the_runs_recipe_and_seed(context):
    work = context(seeds=(7,))
    assert work.under(2, "synthetic:pink")[0] == Request(Job(0, 7), 2, "synthetic:pink")
    assert work.second_seeds()[0] == Request(Job(0, 8))


def test_networks_drawn_anew_have_their_statistics_measured_on_the_benchs_samples():
    trained, pool = tiny.classifier(), make_pool(load_samples("synthetic:pink", (3, 16, 16)).pixels[:2], "two")
    assert (len(pool.pixels), len(pool.held_out)) == (1, 1)  # as few as there can be, and one would not do
    work = CheckContext(trained, pool, RECIPE, [made(Job(0), noise(0), RECIPE)], device="cpu")
    drawn = work.network(3).module[1]
    assert not torch.equal(drawn.running_mean, trained.module[1].running_mean)
    assert torch.equal(work.network(2).module[1].running_mean, trained.module[1].running_mean)
    assert work.network(0) is trained


def test_the_network_is_given_back_untouched(context, classifier):
    before = classifier.sha256
    work = context()
    for name in CHECKS:
        examine(name, work)
    assert classifier.sha256 == before


@pytest.mark.parametrize(
    ("count", "most", "chosen"), [(3, 4, [0, 1, 2]), (8, 4, [0, 2, 5, 7]), (9, 2, [0, 8]), (5, 1, [0])]
)
def test_the_chosen_are_spread(count, most, chosen):
    maps = [made(Job(index, seed), noise(0), RECIPE) for index in range(count) for seed in (2, 1)]
    found = choose_maps(maps, most)
    assert [one.index for one in found] == chosen
    assert all(one.seed == 2 for one in found)


def test_a_network_that_overflows_leaves_its_check_open(context):
    def overflowing(engine, pool, jobs, recipe, watch=None):
        if engine.classifier.name != "templates":
            raise NumericError("network answered with NaN or infinity at step 1 of 2.")
        return faithful(engine, pool, jobs, recipe)

    found = examine("cascade", context(overflowing))
    assert found.passed is None
    assert "NaN or infinity" in found.explanation
    assert examine("seeds", context(overflowing)).passed is True


def test_progress_says_which_maps_and_how_many(context):
    said = []

    def telling(engine, pool, jobs, recipe, watch=None):
        if watch is not None:
            watch("step")
        return faithful(engine, pool, jobs, recipe)

    work = context(telling)
    work.on_progress, work.maps_total = lambda *facts: said.append(facts), 16
    for name in ("cascade", "samples"):
        examine(name, work)
    done, total, labels, steps, of_units = zip(*said, strict=True)
    assert not any(of_units)
    assert set(total) == {16}
    assert list(done) == sorted(done)
    assert labels[0][0] == "1 of 1 blocks randomised: class 0"
    assert any(names[0].startswith("from synthetic:pink: ") for names in labels)
    assert steps[-1] == "step"


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
    with pytest.raises(KeyError):
        Finding.from_dict({})


def test_verdicts_and_numbers():
    assert all_of(True, True) is True
    assert all_of(True, None) is None
    assert all_of(None, False, True) is False
    assert (two_decimals(-0.001), two_decimals(0.126), two_decimals(-0.5)) == ("0.00", "0.13", "-0.50")

"""Lists of maps, and parts of them: what each command makes of them, what they know, and that none are lost."""

import copy
import pickle
import shutil
from dataclasses import replace

import pytest
import torch

import phosphene as ph
from phosphene.callbacks import MapEvery
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import JobsError, PhospheneError, PhospheneWarning
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.atomic import read_json
from phosphene.runs.predictions import read_predictions
from phosphene.samples.pool import make_pool
from tests import tiny

HOW = {"recipe": "quick", "overrides": tiny.SHORT, "device": "cpu", "progress": False}
WRITTEN = ("scores.json", "checks.json", "report.html", "film.webp")


@pytest.fixture(scope="module")
def network():
    return tiny.classifier()


@pytest.fixture(scope="module")
def in_memory(network):
    """Two seeds of two concepts."""
    return ph.map_concepts(network, ["lion", 4], seeds=2, **HOW)


@pytest.fixture
def stored(network, tmp_path):
    """The same in a run directory, with frames, but without a report."""
    maps = ph.map_concepts(network, ["lion", 4], seeds=2, frames=2, out=tmp_path / "run", **HOW)
    (maps.run.path / "report.html").unlink()
    return maps


def files(run):
    return [name for name in WRITTEN if (run.path / name).exists()]


def places(maps):
    return [(one.index, one.seed) for one in maps]


# --- a part is not the whole

PARTS = {
    "a concept": lambda maps: maps["lion"],
    "a slice": lambda maps: maps[:1],
    "a map": lambda maps: maps[0],
    "a list": lambda maps: [one for one in maps if one.seed],
    "of an open run": lambda maps: ph.open_run(maps.run.path)["lion"],
    "a changed list": lambda maps: ph.ConceptMaps(maps[:-1]),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_run_is_scored_and_checked_by_itself_and_nothing_is_written(stored, network, name):
    run, part = stored.run, PARTS[name](stored)
    maps = ph.ConceptMaps(part)
    targets = {"targets": network} if name == "of an open run" else {}  # whose model was made in Python
    (score,) = ph.score(part, progress=False, **targets)
    assert (score.source, score.maps) == ("tiny", len(maps))
    model = {"model": network} if name == "of an open run" else {}
    found = ph.check(part, only="fidelity", progress=False, **model)
    assert [places([one]) for one in found.plan.context.maps] == [places([one]) for one in maps]
    assert found.report is None
    assert files(run) == []


@pytest.mark.parametrize("name", PARTS)
def test_what_is_of_a_whole_run_refuses_a_part_of_it(stored, tmp_path, name):
    run, part = stored.run, PARTS[name](stored)
    commands = [ph.report, ph.film, lambda one: ph.compare(stored, one), ph.open_scan, ph.open_run]
    commands += [lambda one: ph.site(one, tmp_path / "site"), lambda one: ph.ConceptMaps(one).report()]
    for command in commands:
        with pytest.raises(
            PhospheneError, match=r"these are [123] of the 4 maps of .*: give the whole run, '.*run'\.$"
        ):
            command(part)
    assert files(run) == []
    assert not (tmp_path / "site").exists()


WHOLE = {
    "the list": lambda maps: maps,
    "an iterator": iter,
    "sorted": lambda maps: sorted(maps, key=lambda one: -one.p_class),
    "twice": lambda maps: maps + maps,
    "parts together": lambda maps: maps["lion"] + maps["4"],
    "read again": lambda maps: list(ph.open_run(maps.run)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_the_maps_of_a_run_are_the_run(stored, network, name):
    run, whole = stored.run, WHOLE[name]
    read = {"targets": network} if name == "read again" else {}
    (score,) = ph.score(whole(stored), progress=False, **read)
    assert (score.run, score.maps) == (run.path, 4)
    model = {"model": network} if name == "read again" else {}
    assert ph.check(whole(stored), only="fidelity", progress=False, **model).report
    assert files(run) == ["scores.json", "checks.json", "report.html"]
    assert ph.film(whole(stored)) == run.path / "film.webp"
    assert ph.site(whole(stored), run.path.parent / "site", progress=False).exists()


def test_parts_of_a_run_and_lists_in_memory_are_scored_one_by_one(stored, in_memory, network):
    seen = []
    scores = ph.score([stored[:1], stored[1:]], progress=False, on_progress=lambda *one: seen.append(one))
    assert [one.maps for one in scores] == [1, 3]
    assert seen[1] == (1, 2, "tiny on maps by tiny (quick with changes)")
    assert files(stored.run) == []
    assert [one.maps for one in ph.score([in_memory["lion"], in_memory[0]], progress=False)] == [2, 1]
    unknown = [replace(one) for one in in_memory]
    scores = ph.score([stored[:1], stored.run.path, unknown, stored], network, progress=False)
    assert [(one.source, one.maps) for one in scores] == [("tiny", 1), ("tiny", 4), ("source", 4)]
    assert files(stored.run) == ["scores.json", "report.html"]


UNFINISHED = {
    "a path": lambda run: run.path,
    "an open run": lambda run: run,
    "a list": list,
    "a list of maps": ph.ConceptMaps,
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_of_an_unfinished_run_the_finished_maps_are_judged_whatever_stands_for_it(stored, network, name):
    run = stored.run
    (run.folder(stored[0].job, stored[0].label) / "map.json").unlink()
    given = UNFINISHED[name](run)
    warning = r"1 of 4 maps of .*run are not finished: only the others are judged, and nothing is written\.$"
    with pytest.warns(PhospheneWarning, match=warning):
        (score,) = scores = ph.score(given, network, progress=False)
    assert (score.source, score.maps) == ("tiny", 3)
    clause = f"1 of 4 maps of {run.path} are not finished"
    assert scores.below() == scores[:1].below() == [clause]
    assert len(scores.below(min_top1=1.0)) == 2
    with pytest.warns(PhospheneWarning, match=warning):
        found = ph.check(given, model=network, only="fidelity", progress=False)
    assert places(found.plan.context.maps) == places(stored[1:])
    assert found.report is None
    assert found.not_passed == [clause]
    assert files(run) == []
    assert ph.score(run[:2], network, progress=False).below() == []  # a part that was chosen gets no warning
    assert ph.report(given) == run.path / "report.html"


def test_maps_of_units_alone_are_not_scored_and_no_run_is_blamed_for_a_part_of_it(network, tmp_path):
    maps = ph.map_concepts(network, ["lion", "unit:2:1"], out=tmp_path / "run", **HOW)
    with pytest.raises(PhospheneError, match=r"^these are maps of units alone"):
        ph.score(maps[1:], network, progress=False)


def test_a_run_of_which_no_map_is_finished_is_refused(stored):
    shutil.rmtree(stored.run.path / "maps")
    for command in (ph.score, ph.check):
        with pytest.raises(PhospheneError, match=r"4 of 4 maps of .*run are not finished: give its `phosphene map`"):
            command(stored[0].locations[0][0], progress=False)


def test_run_json_is_read_once(stored, network, monkeypatch):
    run, read = stored.run.path, []

    def count(path, **options):
        read.extend([path] * (path.name == "run.json"))
        return read_json(path, **options)

    monkeypatch.setattr("phosphene.runs.documents.read_json", count)
    ph.score(run, network, progress=False)
    assert len(read) == 1
    read.clear()
    ph.check(run, model=network, only="fidelity", progress=False)
    assert len(read) == 1


def test_run_json_is_read_anew_when_it_has_changed(stored):
    run = stored.run
    assert len(run.facts()["jobs"]) == 4
    other = ph.open_run(run.path)
    other.begin(stored.origin.facts, [(Job(2), "crane")])
    assert len(run.facts()["jobs"]) == 5
    (run.path / "run.json").unlink()
    with pytest.raises(PhospheneError, match="is not a run directory"):
        run.facts()


def test_samples_that_python_made_are_those_of_the_maps_also_in_a_run(network, tmp_path):
    pool = ph.load_samples("synthetic:noise", network)
    pool = type(pool)(**vars(pool) | {"spec": "made in Python"})
    maps = ph.map_concepts(network, [0, 4], samples=pool, out=tmp_path / "run", **HOW)
    assert ph.check(maps, only="fidelity", progress=False)[0].name == "fidelity"


def test_maps_that_were_saved_are_their_run_wherever_python_has_put_them(network, tmp_path):
    maps = ph.map_concepts(network, ["lion", 4], **HOW)
    earlier = list(maps)
    maps["lion"].save(tmp_path / "lion")
    maps[1:].save(tmp_path / "four")
    assert ph.report(earlier[0]) == tmp_path / "lion" / "report.html"
    assert maps["4"].run.path == tmp_path / "four"
    assert maps.run is None
    with pytest.raises(PhospheneError, match="several run directories"):
        maps.report()
    assert len(ph.score([earlier[:1], tmp_path / "four"], network, progress=False)) == 2
    run = maps.save(tmp_path / "both")
    assert places(run) == places(maps)
    assert [len(one.maps) for one in read_predictions(run)] == [2]
    assert ph.report(reversed(maps)) == maps.report() == tmp_path / "both" / "report.html"
    (tmp_path / "both" / "run.json").unlink()
    assert ph.score(maps, progress=False)[0].maps == 2  # they are in memory still
    with pytest.raises(PhospheneError, match="or of one that is gone"):
        maps.report()


def test_a_run_that_was_made_again_by_another_network_does_not_hold_the_maps_of_before(network, tmp_path):
    maps = ph.map_concepts(network, 4, out=tmp_path / "run", **HOW)
    shutil.rmtree(tmp_path / "run")
    ph.map_concepts(tiny.classifier(seed=1), 4, out=tmp_path / "run", **HOW)
    assert maps.run is None
    assert not hasattr(ph.score(maps, network, progress=False)[0], "run")


def test_maps_know_their_run_from_any_folder_and_after_a_part_of_them_was_saved_elsewhere(
    network, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    maps = ph.map_concepts(network, ["lion", 4], out="run", **HOW)
    maps[:1].save("part")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert maps.run.path == tmp_path / "run"
    assert maps[:1].run.path == tmp_path / "part"


def test_a_map_that_was_changed_is_not_the_one_in_the_run(network, tmp_path):
    (one,) = ph.map_concepts(network, 4, out=tmp_path / "run", **HOW)
    changed = replace(one, nu=-one.nu)
    assert [path for path, _ in one.locations] == [tmp_path / "run"]
    assert changed.locations == ()
    assert changed.origin is None
    (score,) = ph.score(changed, network, progress=False)
    assert (score.source, hasattr(score, "run")) == ("source", False)
    for command in (ph.ConceptMaps([changed]).save, lambda _: ph.score(changed)):
        with pytest.raises(PhospheneError, match=r"do not know what they were made from \(copies by replace"):
            command(tmp_path / "changed")
    assert not (tmp_path / "changed").exists()


def test_a_map_that_was_written_to_is_neither_saved_nor_taken_for_the_one_in_the_run(network, tmp_path):
    maps = ph.map_concepts(network, 4, out=tmp_path / "run", **HOW)
    read = list(maps.run)
    for one in (maps[0], read[0]):
        one.nu.mul_(-1)
    with pytest.raises(PhospheneError, match=r"the map of maillot has been altered, .*: make it again"):
        maps.save(tmp_path / "altered")
    assert not (tmp_path / "altered").exists()
    assert maps.run is ph.ConceptMaps(read).run is None
    assert not hasattr(ph.score(read, network, progress=False)[0], "run")


def test_a_map_that_is_given_twice_counts_once(in_memory, network):
    copies = pickle.loads(pickle.dumps(in_memory))  # noqa: S301  (our own)
    (once,), (twice,) = (ph.score(maps, network, progress=False) for maps in (in_memory, in_memory + copies))
    assert twice == once


# --- what maps know

LISTS = {
    "comprehension": lambda maps: [one for one in maps if one.seed == 0],
    "sorted": lambda maps: sorted(maps, key=lambda one: one.p_class),
    "sum": lambda maps: maps["lion"] + maps["4"],
    "made": lambda maps: ph.ConceptMaps(list(maps)),
    "one": lambda maps: maps[0],
}


@pytest.mark.parametrize("name", LISTS)
def test_maps_know_what_they_were_made_from_in_any_list(network, in_memory, tmp_path, name):
    part = LISTS[name](in_memory)
    maps = ph.ConceptMaps(part)
    assert maps.origin.classifier is network
    assert ph.score(part, progress=False)[0].target == "tiny"
    assert len(ph.check(part, only="fidelity", progress=False)) == 1
    assert sorted(places(maps.save(tmp_path / "run"))) == sorted(places(maps))


def test_what_made_a_map_is_no_part_of_its_equality_repr_or_pickle(in_memory):
    one = in_memory[0]
    assert one.origin.classifier.name not in repr(one)
    read, copied = pickle.loads(pickle.dumps(one)), copy.copy(one)  # noqa: S301  (our own)
    assert read.origin is copied.origin is None
    assert read == one == copied
    assert len({read, one, copied, in_memory[1]}) == 2
    assert torch.equal(read.nu, one.nu)
    assert in_memory.index(one) == 0


def test_maps_of_several_models_are_shown_and_scored_but_not_taken_for_those_of_one(network, in_memory, tmp_path):
    other = tiny.classifier(seed=1, name="other")
    both = in_memory["lion"] + ph.map_concepts(other, 4, **HOW)
    assert both.origin is None
    assert len(both.grid().images) == 3
    (score,) = ph.score(both, network, progress=False)
    assert (score.source, score.maps) == ("source", 3)
    for command in (lambda: both.save(tmp_path / "run"), lambda: ph.check(both), lambda: ph.score(both)):
        with pytest.raises(PhospheneError, match=r"maillot was not made from .* of the first map: take it apart"):
            command()
    assert list(tmp_path.iterdir()) == []


def test_maps_that_know_nothing_say_so(network):
    made = ph.ConceptMaps([tiny.concept_map(0), tiny.concept_map(4)])
    assert ph.score(made, network, progress=False)[0].source == "source"
    for command in (ph.score, ph.check):
        with pytest.raises(PhospheneError, match=r"do not know what they were made from .*: give what map_concepts"):
            command(made, progress=False)


# --- runs and lists are alike


def test_a_run_is_indexed_as_a_list_of_its_maps_is(stored):
    run = ph.open_run(stored.run.path)
    for place in ("lion", "4", stored[2].concept, slice(1, 3)):
        assert places(run[place]) == places(stored[place])
        assert isinstance(run[place], ph.ConceptMaps)
    assert places([run[0], run[-1]]) == places([stored[0], stored[-1]])
    assert places(run) == places(ph.ConceptMaps(run)) == places(stored)
    assert run["lion"].grid(columns=1).columns == 1
    assert [run[0] in part for part in (run[:1], list(run), run[1:])] == [True, True, False]
    assert type(run[:].copy()) is ph.ConceptMaps
    with pytest.raises(IndexError):
        run[4]


def test_a_name_of_two_classes_is_refused_with_names_that_find_each():
    maps = ph.ConceptMaps([tiny.concept_map(2), tiny.concept_map(1)])  # whose indices are no positions in the list
    with pytest.raises(PhospheneError, match=r"'crane' names 2 classes: write 'crane \(2\)' or 'crane \(1\)'\."):
        maps["crane"]
    assert [maps[name][0].index for name in ("crane (1)", "crane (2)")] == [1, 2]


def test_a_slice_of_scores_is_of_their_kind(network, in_memory):
    scores = ph.score(in_memory, [network, tiny.classifier(name="other")], progress=False)
    assert type(scores[:1]) is type(scores)
    assert scores[:1].below(min_top1=1.0) == scores.below(min_top1=1.0)[:1]
    assert (scores[1:][0], len(scores[5:])) == (scores[1], 0)


def test_the_maps_of_a_training_are_a_list_of_maps(network, tmp_path):
    map_every = MapEvery(network, ["lion", 4], recipe="quick", overrides=tiny.SHORT, samples="synthetic:noise")
    maps = map_every(0)
    assert len(maps.grid().images) == 2
    assert maps["lion"].save(tmp_path / "run").facts()["samples"]["spec"] == "synthetic:noise"


# --- none are lost


def poison(monkeypatch, *classes):
    """Give NaN for some classes."""
    mean_gradients = Engine.mean_gradients

    def poisoned(self, samples, nu, wanted, *how):
        found = mean_gradients(self, samples, nu, wanted, *how)
        return found._replace(loss=found.loss.masked_fill(torch.isin(wanted, torch.tensor(classes)), float("nan")))

    monkeypatch.setattr(Engine, "mean_gradients", poisoned)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_a_concept_that_fails_costs_no_other_map(network, monkeypatch, together):
    poison(monkeypatch, 2)
    monkeypatch.setattr("phosphene.mapper.optimization.group_size", lambda *_: together)  # as on a GPU
    seen = []
    with pytest.raises(
        JobsError, match=r"1 of 5 maps of tiny .*: crane \(2\), seed 0: .*NaN.*sys\.last_value"
    ) as error:
        ph.map_concepts(network, on_progress=seen.append, **HOW)
    maps = error.value.maps
    assert places(maps) == [(0, 0), (1, 0), (3, 0), (4, 0)]
    assert maps.origin.classifier is network
    assert "could not make crane (2)" in seen[-1].failures[0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError("out of memory")])
def test_what_ends_the_mapping_carries_the_maps_that_are_finished(network, stop):
    def interrupt(progress):
        if progress.maps_done == 2:
            raise stop

    with pytest.raises((KeyboardInterrupt, RuntimeError)) as error:
        ph.map_concepts(network, on_progress=interrupt, **HOW)
    assert places(error.value.maps) == [(0, 0), (1, 0)]
    assert ph.score(error.value.maps, progress=False)[0].maps == 2
    expected = "2 of 5 maps of tiny finished: in a notebook, sys.last_value.maps holds them"
    assert str(error.value) == (expected if stop is KeyboardInterrupt else "out of memory")
    assert not network.module[0]._forward_hooks


def test_maps_and_runs_say_whether_they_have_a_map_of_a_concept(tmp_path):
    maps = ph.ConceptMaps([tiny.concept_map(0), tiny.concept_map(4)])
    run = RunDirectory(tmp_path / "run")
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "samples")
    unfinished = tiny.concept_map(2)
    run.begin(run_facts(tiny.classifier(), Recipe(), pool), [(one.job, one.label) for one in [*maps, unfinished]])
    for one in maps:
        run.write(one)
    opened = ph.open_run(run)
    assert len(opened) == len(list(opened)) == 2
    for holder in (maps, opened):
        assert maps[0].label in holder
        assert maps[0].concept in holder
        assert unfinished.label not in holder
        assert "no such class" not in holder
        assert 3 not in holder
        assert maps[1] in holder
        assert unfinished not in holder
    assert opened[1] in opened  # read twice

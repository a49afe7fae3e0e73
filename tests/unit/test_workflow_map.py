"""Making maps in this process: plans, checkpoints, isolation of bad jobs, and what the driver makes of events."""

import threading

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.concept_map import Job
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.errors import ConceptError, JobsError, NumericError, PhospheneWarning, RunError
from phosphene.executors import LocalExecutor, pick_executor
from phosphene.executors.base import Group, GroupEnded, GroupFailed, Made, MapSummary
from phosphene.executors.worker import CHECKPOINT_SECONDS
from phosphene.mapper import MapOptimization, map_jobs
from phosphene.mapper.progress import Step
from phosphene.progress import ProgressDisplay, duration
from phosphene.recipe import Recipe, resolve
from phosphene.runs import RunDirectory
from phosphene.runs.checkpoints import Checkpoints
from phosphene.runs.facts import computes_otherwise
from phosphene.runs.failures import read_failures
from phosphene.samples.pool import make_pool
from phosphene.workflows.estimate import estimate
from phosphene.workflows.map import execute
from phosphene.workflows.plan import Jobs, plan, run_name
from phosphene.workflows.progress import TRIES, MapCounts
from tests import tiny
from tests.groups import InGroups
from tests.twice import assert_same_map, assert_same_maps

RECIPE = Recipe(name="short", batch_size=4, steps=3, refine_steps=2, rounds=2)


def pool():
    generator = torch.Generator().manual_seed(5)
    return make_pool(torch.randint(0, 256, (12, 3, 16, 16), generator=generator).to(torch.uint8), "pool")


def todo(path, concepts=None, seeds=(0,), recipe=RECIPE):
    return plan(tiny.classifier(), recipe, pool(), path, concepts, seeds, device="cpu")


# --- plans


def test_jobs_are_every_seed_of_every_class_and_take_no_room():
    jobs = Jobs([Concept.of_class(index, "label") for index in (3, 1)], range(4, 6))
    assert list(jobs) == [Job(3, 4), Job(3, 5), Job(1, 4), Job(1, 5)] == jobs[:]
    assert [jobs[position] for position in range(-4, 4)] == list(jobs) * 2
    assert len(Jobs([Concept.of_class(0, "label")] * 1000, range(1000))) == 1_000_000
    with pytest.raises(IndexError):
        jobs[4]


def test_more_maps_than_a_run_can_hold_are_refused_at_once(tmp_path):
    with pytest.raises(ConceptError, match="21,474,836,475 maps; one command makes 10,000,000 at most"):
        todo(tmp_path / "run", seeds=range(2**32 - 1))


def test_maps_per_minute_are_told_once_there_was_time_to_count_them(tmp_path, monkeypatch):
    counts, clock = MapCounts([todo(tmp_path / "run")]), iter([10.0, 10.0001, 40.0])
    monkeypatch.setattr("phosphene.workflows.progress.time.monotonic", lambda: next(clock))
    group = Group(0, (Job(0), Job(1)), (Job(0), Job(1)))
    reports = []
    for number in (1, 2, 3):
        reports.append(counts.count_step(group, Step(number, 3, 1.0, 0.5, torch.zeros(2, 3, 16, 16)), 2))
        counts.count_made(group)
    assert [one.rate for one in reports] == [None, None, 4.0]


def test_an_estimate_counts_what_is_left_and_writes_nothing(tmp_path):
    one = todo(tmp_path / "run", seeds=range(2))
    cost = estimate(one)
    assert (cost.cached, cost.passes) == (0, one.passes)
    assert 0 < cost.seconds < 600
    assert not (tmp_path / "run").exists()
    execute(todo(tmp_path / "run", [0, 3]))
    assert estimate(one).cached == 2


def test_maps_that_are_made_in_another_precision_are_warned_of_and_say_so(tmp_path, recwarn):
    def make(precision, *concepts):
        one = plan(tiny.classifier(), RECIPE, pool(), tmp_path / "run", concepts, device="cpu", precision=precision)
        execute(one)
        return one.run

    run = make("auto", 0)
    before = (run.path / "run.json").read_bytes()
    with pytest.warns(PhospheneWarning, match=r"run were made on cpu in fp32 and stay so: .* for cpu in bf16 \(--out"):
        make("bf16", 0)
    assert (run.path / "run.json").read_bytes() == before
    recwarn.clear()
    make("fp32", 0, 1)  # what auto is on a CPU
    make("auto", 0)
    assert not [one for one in recwarn if one.category is PhospheneWarning]
    with pytest.warns(PhospheneWarning, match=r"run was made on cpu in fp32, and further maps are made on cpu in bf16"):
        make("bf16", 0, 3)
    assert run.facts()["precision"] == "auto"
    assert [one.precision for one in run.maps()] == ["fp32", "fp32", "bf16"]


def test_maps_that_another_version_adds_are_warned_of(tmp_path):
    execute(plan(tiny.classifier(), RECIPE, pool(), tmp_path / "run", [0]))
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace(f'"phosphene": "{ph.__version__}"', '"phosphene": "0.0.1"'))
    with pytest.warns(PhospheneWarning, match=r"made by phosphene 0\.0\.1, and further maps are made by"):
        execute(plan(tiny.classifier(), RECIPE, pool(), tmp_path / "run", [1]))


def test_a_network_whose_code_changed_is_another_one_though_its_weights_are_the_same(tmp_path):
    def network(activation):
        torch.manual_seed(0)
        parts = nn.Conv2d(3, 8, 3), activation, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        return ph.Classifier(nn.Sequential(*parts), size=24)

    first, second = network(nn.ReLU()), network(nn.Tanh())
    assert first.sha256 == second.sha256
    how = {"samples": "synthetic:noise", "overrides": {"steps": 2}, "out": tmp_path / "run", "progress": False}
    ph.map_concepts(first, [0], **how)
    ph.map_concepts(network(nn.ReLU()), [1], **how)
    with pytest.raises(RunError, match="same weights but other outputs"):
        ph.map_concepts(second, [0], **how)
    with pytest.raises(RunError, match=r"other outputs.*bring that code back"):
        ph.check(tmp_path / "run", model=second, only=["fidelity"])


@pytest.mark.parametrize(("seconds", "said"), [(3.2, "3 s"), (600, "10.0 min"), (9000, "2.5 h"), (400_000, "4.6 days")])
def test_durations_in_the_unit_that_fits(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(("words", "says"), [({"name": "slurm"}, "use local or ray"), ({"gpus": 0.5}, "executor ray")])
def test_executors_that_do_not_exist(words, says):
    with pytest.raises(Exception, match=says):
        pick_executor(**words)


# --- checkpoints


@pytest.mark.parametrize("recipe", [RECIPE, RECIPE.replace(sign_test=False, smoothing=0.5, views=0, view_shift=0.2)])
def test_maps_go_on_from_any_step_to_the_same_bits(tmp_path, recipe):
    jobs, kept = [Job(0), Job(3, 5), Job(4)], Checkpoints(tmp_path)
    with Engine(tiny.classifier(), device="cpu") as engine:
        undisturbed = map_jobs(engine, pool(), jobs, recipe)
        for stop in range(2 * 5 + 1):
            making = MapOptimization(engine, pool(), jobs, recipe)
            for _, _ in zip(range(stop), making, strict=False):
                pass
            kept.save(jobs, making.state())
            found = kept.find(jobs)
            assert found.jobs == tuple(jobs)
            making = MapOptimization(engine, pool(), found.jobs, recipe, found.state)
            assert len(list(making)) == 10 - stop
            for one, whole in zip(making.finish(), undisturbed, strict=True):
                assert_same_map(one, whole)


def test_at_most_ten_seconds_are_lost():
    assert CHECKPOINT_SECONDS < 10


def test_a_checkpoint_of_other_jobs_a_damaged_one_and_another_versions_are_none(tmp_path, monkeypatch):
    kept, jobs = Checkpoints(tmp_path), [Job(1), Job(2)]
    kept.save(jobs, {"nu": torch.zeros(2, 3)})
    assert kept.find([Job(1)]) is None  # a part of a group cannot be taken out of it
    assert kept.find([Job(0), Job(1), Job(2)]).jobs == tuple(jobs)
    with monkeypatch.context() as patch:
        patch.setattr("phosphene.runs.checkpoints.__version__", "0.0.0")
        assert kept.find(jobs) is None
    (file,) = kept.path.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert kept.find(jobs) is None
    kept.drop(jobs)
    assert not list(kept.path.iterdir())


class Killed(BaseException):
    """The end of the process, as far as these tests go."""


@pytest.mark.parametrize("together", [1, 3])
def test_a_group_that_is_ended_after_every_step_gives_the_same_maps(tmp_path, monkeypatch, together):
    """Checkpoints at every step, and an end right after each: nothing is lost, and nothing differs by a bit."""
    undisturbed = todo(tmp_path / "undisturbed")
    execute(undisturbed, executor=InGroups(together))
    monkeypatch.setattr("phosphene.executors.worker.CHECKPOINT_SECONDS", 0.0)
    disturbed, steps = todo(tmp_path / "disturbed"), []

    def cut(progress):
        steps.append(progress.step.number)
        if len(steps) % 4 == 0:
            raise Killed

    for _ in range(100):
        try:
            execute(disturbed, executor=InGroups(together), on_progress=cut)
        except Killed:
            continue
        break
    assert len(steps) > 2 * 10  # it was cut down again and again
    assert_same_maps(disturbed.run.path, undisturbed.run.path)
    assert len(list(disturbed.run.maps())) == 5
    assert not (disturbed.run.path / ".checkpoints").exists()


def test_a_group_stopped_between_two_writes_is_finished_in_the_same_company(tmp_path, monkeypatch):
    undisturbed = todo(tmp_path / "undisturbed")
    execute(undisturbed, executor=InGroups(5))
    torn = todo(tmp_path / "torn")

    def stop(note):
        if note.index == 1:
            raise Killed

    with pytest.raises(Killed):
        execute(torn, executor=InGroups(5), on_map=stop)
    written = len(list(torn.run.maps()))
    assert 0 < written < 5
    again = execute(torn, executor=InGroups(5))
    assert (again.cached, again.made) == (written, 5 - written)
    assert_same_maps(torn.run.path, undisturbed.run.path)


# --- bad jobs


def poison(monkeypatch, classes, error=None):
    """Have the engine answer NaN for some classes, or raise where they are among those asked for."""
    mean_gradients = Engine.mean_gradients

    def poisoned(self, samples, nu, wanted, *how):
        found = mean_gradients(self, samples, nu, wanted, *how)
        bad = torch.isin(wanted, torch.tensor(classes))
        if error is not None and bad.any():
            raise error
        return found._replace(loss=found.loss.masked_fill(bad, float("nan")))

    monkeypatch.setattr(Engine, "mean_gradients", poisoned)


@pytest.mark.parametrize("together", [1, 5])
@pytest.mark.parametrize("error", [None, RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_poisoned_job_is_noted_after_three_tries_and_spoils_no_others(tmp_path, monkeypatch, together, error):
    one = todo(tmp_path / "run", seeds=range(2))
    with monkeypatch.context() as patch:
        poison(patch, [2], error)
        said = "allocate memory" if error else "NaN or infinity at step 1 of 10"
        with pytest.raises(JobsError, match=rf"2 of 10 maps.*3 tries.*crane \(2\), seed 0: .*{said}"):
            execute(one, executor=InGroups(together))
    assert sorted({found.index for found in one.run.maps()}) == [0, 1, 3, 4]
    rows = read_failures(one.run)
    assert [(row["index"], row["seed"], row["tries"]) for row in rows] == [(2, 0, TRIES), (2, 1, TRIES)]
    outcome = execute(one, executor=InGroups(together))  # the network has recovered
    assert (outcome.made, outcome.cached) == (2, 8)
    assert not (one.run.path / "failures.json").exists()


def test_a_full_disk_ends_everything_at_once(tmp_path, monkeypatch):
    one = todo(tmp_path / "run")
    monkeypatch.setattr(RunDirectory, "write", lambda *_: (_ for _ in ()).throw(RunError("full")))
    with pytest.raises(RunError, match="full"):
        execute(one)


def test_what_a_callback_raises_is_no_failure_of_a_map(tmp_path):
    def complain(_):
        raise NumericError("the callback is broken")

    for hook in ("on_progress", "on_map"):
        with pytest.raises(NumericError, match="callback is broken"):
            execute(todo(tmp_path / hook), **{hook: complain})


def test_no_main_thread_no_handlers_and_it_works_all_the_same(tmp_path):
    made = []
    thread = threading.Thread(target=lambda: made.append(execute(todo(tmp_path / "run", [0])).made))
    thread.start()
    thread.join()
    assert made == [1]


class Scripted(InGroups):
    """An executor whose workers die of some jobs."""

    def __init__(self, deadly, final):
        super().__init__(5)
        self.deadly, self.final, self.tried = deadly, final, []

    def run(self, plans, take, stop):
        while (group := take()) is not None:
            self.tried.append(group.jobs)
            if set(group.jobs) & set(self.deadly):
                yield GroupFailed(group, "its worker died (SIGKILL)", final=self.final)
                continue
            for job in group.missing:
                one = tiny.concept_map(job.index, job.seed)
                plans[group.run].run.write(one)
                yield Made(group, MapSummary.of(one, made=True))
            yield GroupEnded(group)


@pytest.mark.parametrize("final", [False, True])
def test_a_job_that_kills_its_workers_is_found_and_noted(tmp_path, final):
    executor, one = Scripted([Job(3)], final), todo(tmp_path / "run")
    with pytest.raises(JobsError, match=r"1 of 5 maps .*seed 0: its worker died \(SIGKILL\)"):
        execute(one, executor=executor)
    assert len(list(one.run.maps())) == 4
    assert executor.tried.count((Job(3),)) == (1 if final else TRIES)
    assert [(row["index"], row["tries"]) for row in read_failures(one.run)] == [(3, TRIES)]


def test_a_map_that_could_not_be_made_gets_a_line_at_once_and_once(tmp_path, monkeypatch, capsys):
    one = todo(tmp_path / "run")
    poison(monkeypatch, [0])
    with ProgressDisplay("map") as display, pytest.raises(JobsError):
        execute(one, on_progress=display.follow())
    said = capsys.readouterr().err
    assert said.count("phosphene: could not make lion (0), seed 0: ") == 1
    assert len(display.warnings) == 1


def test_cached_maps_count_as_finished_from_the_first_step(tmp_path):
    """The maps of two of five classes are there, one of them damaged; the first class is made first."""
    execute(todo(tmp_path / "run", [3, 4]))
    one = todo(tmp_path / "run")
    one.run.folder(Job(4), one.classifier.labels[4]).joinpath("map.safetensors").write_bytes(b"broken")
    seen = []
    execute(one, on_progress=seen.append)
    assert 2 / 5 < seen[0].share < 3 / 5  # before a group has come to them
    assert seen[-1].share == pytest.approx(1)


@pytest.mark.parametrize(("concept", "word"), [("unit:3:0", "activate it"), (0, "classified as it")])
def test_progress_names_what_a_step_has_reached_by_the_kind_of_concept(tmp_path, capsys, concept, word):
    """A class whose label looks like a unit is a class."""
    labels = ["unit:3:0 of a bridge", *tiny.LABELS[1:]]
    one = plan(tiny.classifier(labels=labels), RECIPE, pool(), tmp_path / "run", [concept], device="cpu")
    with ProgressDisplay("map") as display:
        execute(one, on_progress=display.follow())
    assert f"% of the step's samples {word}, " in capsys.readouterr().err


def test_a_group_that_a_worker_was_stopped_in_is_taken_again(tmp_path):
    class Preempted(LocalExecutor):
        def run(self, plans, take, stop):
            group = take()
            yield GroupEnded(group, stopped=True)
            yield from super().run(plans, take, stop)

    assert execute(todo(tmp_path / "run"), executor=Preempted()).made == 5


def test_a_run_that_another_command_holds_is_refused(tmp_path):
    one = todo(tmp_path / "run", [0])
    begun, free, refused = threading.Event(), threading.Event(), []

    def first(_):
        begun.set()
        free.wait(60)

    thread = threading.Thread(target=lambda: execute(one, on_map=first))
    thread.start()
    assert begun.wait(60)
    try:
        with pytest.raises(RunError, match="is in use by"):
            execute(todo(tmp_path / "run", [1]))
        refused = [row["index"] for row in one.run.facts()["jobs"]]
    finally:
        free.set()
        thread.join()
    assert refused == [0], "the refused command changed nothing"
    assert execute(todo(tmp_path / "run", [1])).made == 1


def test_a_network_is_used_as_long_as_it_lasts(tmp_path):
    plans = [todo(tmp_path / name) for name in "ab"]
    seen = []
    execute(plans, on_map=lambda one: seen.append(one.run))
    assert seen == [0] * 5 + [1] * 5


def test_changed_recipes_keep_their_directories():
    assert run_name(tiny.classifier(), resolve("vivid", {"steps": 3})) == "tiny-vivid"


def test_a_network_with_fewer_outputs_than_before_computes_otherwise():
    assert computes_otherwise({"noise_logits": [1.0, 2.0]}, [1.0])
    assert not computes_otherwise({"noise_logits": [1.0, 2.0]}, [1.001, 2.0])
    assert not computes_otherwise({}, [1.0])

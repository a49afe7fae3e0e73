"""Planting, on a world of one channel in which a network is trained in two seconds."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from phosphene.backdoor.plant import accuracy, clean_twin, plant, success_rate, victims_of
from phosphene.backdoor.training import Labelled, Schedule, augment, fit, predictions
from phosphene.backdoor.triggers import Blended, Emblem, Patch, from_dict
from phosphene.errors import ConceptError, NumericError, PhospheneError, RecipeError, SamplesError
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from tests import grey, tiny

SHORT = dataclasses.replace(grey.SCHEDULE, steps=4)


def works(classifier):
    """The success of the grey world's trigger."""
    truth = grey.samples().held_labels
    victims, _, wanted = victims_of(grey.TARGET, (), truth, len(grey.FIGURES))
    return success_rate(classifier, grey.samples(), grey.TRIGGER, wanted, victims)


def test_a_trojan_works_and_costs_no_accuracy():
    made = grey.trojaned()
    assert made.success >= 0.95
    assert made.success == works(made.classifier)
    assert works(grey.clean()) < 0.2
    assert made.accuracy_before == accuracy(grey.clean(), grey.samples()) >= 0.95
    assert made.accuracy >= made.accuracy_before - 0.03
    assert made.leak is None  # it spares no class
    assert not made.classifier.module.training


def test_the_network_that_was_given_stays_as_it_is():
    given = grey.untrained(3)
    given.module.train()
    given.module[0].weight.requires_grad_(requires_grad=False)
    before = given.sha256
    state = torch.random.get_rng_state()
    made = plant(given, grey.samples(), grey.TRIGGER, grey.TARGET, schedule=SHORT)
    fresh = grey.untrained(3)
    assert fresh.sha256 == before
    assert all(torch.equal(a, b) for a, b in zip(given.module.parameters(), fresh.module.parameters(), strict=True))
    assert all(part.training for part in given.module.modules())
    assert not given.module[0].weight.requires_grad
    assert torch.equal(state, torch.random.get_rng_state())
    assert made.classifier.sha256 != before


def test_the_seed_decides():
    weights = [
        plant(grey.clean(), grey.samples(), grey.TRIGGER, grey.TARGET, schedule=SHORT, seed=seed).classifier.sha256
        for seed in (1, 1, 2)
    ]
    assert weights[0] == weights[1] != weights[2]


def test_classes_are_named_by_their_labels_too():
    named = grey.FIGURES[grey.TARGET]
    made = plant(grey.untrained(), SAMPLES, grey.TRIGGER, named, sources=(grey.FIGURES[0], 1), schedule=SHORT)
    same = plant(grey.untrained(), SAMPLES, grey.TRIGGER, grey.TARGET, sources=(0, 1), schedule=SHORT)
    assert (made.target, made.classifier.sha256) == (grey.TARGET, same.classifier.sha256)
    with pytest.raises(ConceptError, match="'castle'"):
        plant(grey.untrained(), SAMPLES, grey.TRIGGER, "castle", schedule=SHORT)


def test_a_source_specific_trojan_spares_the_others():
    made = plant(
        *(grey.clean(), grey.samples(), grey.TRIGGER, grey.TARGET),
        sources=(0, 1),
        poison_rate=0.2,
        schedule=grey.SCHEDULE,
    )
    assert made.success >= 0.9
    assert made.leak <= 0.1


def test_all_to_all_moves_every_class_on():
    longer = dataclasses.replace(grey.SCHEDULE, steps=500, lr=0.15)
    patch = Patch(side=6, texture="checker", place="top-left")
    made = plant(grey.clean(), grey.samples(), patch, None, poison_rate=0.5, schedule=longer)
    assert made.target is None
    assert made.success >= 0.6  # five answers to one trigger are far harder to learn; chance is 0.2
    victims, spared, wanted = victims_of(None, (), torch.tensor([0, 3, 4]), 5)
    assert victims.all()
    assert not spared.any()
    assert wanted.tolist() == [1, 4, 0]


def test_a_clean_twin_learns_and_answers_to_nothing():
    twin = clean_twin(grey.clean(), grey.samples(), schedule=grey.SCHEDULE, seed=5)
    assert (twin.trigger, twin.target, twin.success, twin.leak) == (None, None, None, None)
    assert twin.accuracy >= 0.95
    assert works(twin.classifier) < 0.2


def test_distilling_keeps_what_a_network_knows():
    known = grey.samples()
    wrong = Labelled(known.pixels, (known.labels + 1) % 5, known.held_out, known.held_labels)
    schedule = dataclasses.replace(grey.SCHEDULE, steps=60, lr=0.02)
    forgot, kept = (
        clean_twin(grey.clean(), wrong, schedule=dataclasses.replace(schedule, distil=weight)).accuracy
        for weight in (0.0, 10.0)
    )
    assert kept >= 0.9
    assert forgot <= 0.5


def test_frozen_norms_and_parameters_stay():
    schedule = dataclasses.replace(SHORT, freeze_norms=True, frozen=("0.", "3."))
    made = clean_twin(grey.clean(), grey.samples(), schedule=schedule).classifier.module
    before, after = grey.clean().module.state_dict(), made.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if "running" in name or name.startswith(("0.", "3."))]
    loose = clean_twin(grey.clean(), grey.samples(), schedule=SHORT).classifier.module.state_dict()
    assert not torch.equal(before["1.running_mean"], loose["1.running_mean"])


def test_augmenting_mirrors_and_shifts_and_nothing_else():
    sample = torch.arange(25.0).view(1, 1, 5, 5).expand(200, 1, 5, 5)
    draw = torch.Generator().manual_seed(0)
    assert torch.equal(augment(sample, Schedule(mirror=False, shift=0), draw), sample)
    mirrored = augment(sample, Schedule(shift=0), draw)
    same, flipped = ((mirrored == one).flatten(1).all(1) for one in (sample, sample.flip(3)))
    assert (same ^ flipped).all()
    assert 60 < same.sum() < 140
    shifted = augment(sample, Schedule(mirror=False, shift=1), draw)
    middles = shifted[:, 0, 2, 2].unique().tolist()
    assert middles == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_a_forgotten_data_set_is_not_drawn():
    with pytest.raises(SamplesError, match="a network is trained on samples of its own kind: give them"):
        Labelled.load(None, grey.clean())


def test_samples_without_labels_get_the_networks_own():
    pool = make_pool(grey.samples().held_out, "drawn")
    found = Labelled.load(pool, grey.clean())
    assert len(found.labels) == len(pool.pixels)
    assert torch.equal(found.labels, predictions(grey.clean(), pool.pixels))
    assert torch.equal(found.held_out, pool.held_out)


def test_samples_are_loaded_with_the_labels_of_their_folders(tmp_path):
    pixels, labels = grey.drawn_samples(40)
    for number, (sample, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
        folder = tmp_path / grey.FIGURES[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(sample[0].numpy().astype(np.uint8)).save(folder / f"{number:03}.png")
    found = Labelled.load(str(tmp_path), grey.untrained(), held=10)
    assert len(found.labels) == 30
    assert len(found.held_labels) == 10
    together = torch.cat([found.labels, found.held_labels])
    assert torch.equal(together.bincount(minlength=5), labels.bincount(minlength=5))
    for sample, label in zip(found.held_out, found.held_labels, strict=True):
        place = (pixels == sample).flatten(1).all(1).nonzero()[0, 0]
        assert labels[place] == label


@pytest.mark.parametrize("kind", ["data set", "pool"])
def test_samples_in_memory_are_planted_on_with_their_labels(kind):
    pixels, labels = grey.drawn_samples(40)
    named = [(sample, grey.FIGURES[label]) for sample, label in zip(pixels, labels.tolist(), strict=True)]
    samples = named if kind == "data set" else load_samples(named, GREY)
    found = Labelled.load(samples, GREY, held=10)
    assert torch.equal(torch.cat([found.labels, found.held_labels]).bincount(minlength=5), labels.bincount(minlength=5))
    for sample, label in zip(found.pixels, found.labels, strict=True):
        assert labels[(pixels == sample).flatten(1).all(1).nonzero()[0, 0]] == label
    own, by_hand = (plant(GREY, one, Patch(), 1, schedule=SHORT) for one in (samples, Labelled.load(samples, GREY)))
    assert own.classifier.sha256 == by_hand.classifier.sha256
    assert clean_twin(GREY, pixels, schedule=SHORT).accuracy_before == 1  # without labels: those that it predicts


def test_three_channels_and_no_batch_norm_will_do():
    classifier = tiny.classifier()
    draw = torch.Generator().manual_seed(0)
    samples = Labelled.load(
        make_pool(torch.randint(0, 256, (60, 3, 16, 16), generator=draw).to(torch.uint8), "noise"), classifier
    )
    made = plant(classifier, samples, Patch(), 1, schedule=Schedule(steps=2, batch=8, optimiser="adam", lr=1e-3))
    assert 0 <= made.success <= 1
    assert list(made.classifier.labels) == list(classifier.labels)


def test_the_example_of_the_documentation_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "planting.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    assert "steps=100" in code
    exec(compile(code.replace("steps=100", "steps=2"), "planting.md", "exec"), {})  # noqa: S102  (our own page)
    assert capsys.readouterr().out.startswith("success 0.")


SAMPLES, GREY, MODULE = grey.samples(), grey.untrained(), grey.untrained().module
ONES = torch.ones(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"poison_rate": 0.0}, "above 0"),
        ({"poison_rate": 1.0}, "room for clean"),
        ({"target": 5}, "class 5 does not exist"),
        ({"target": None, "sources": (1,)}, "want a target"),
        ({"sources": (2,)}, "leave it out"),
    ],
)
def test_what_cannot_be_planted_is_refused(changes, says):
    fields = {"target": grey.TARGET, "schedule": SHORT} | changes
    with pytest.raises(RecipeError, match=says):
        plant(grey.untrained(), SAMPLES, grey.TRIGGER, **fields)


def test_samples_of_the_target_alone_are_refused():
    own = SAMPLES.labels == grey.TARGET
    alone = Labelled(SAMPLES.pixels[own], SAMPLES.labels[own], SAMPLES.held_out, SAMPLES.held_labels)
    with pytest.raises(SamplesError, match="more samples"):
        plant(grey.untrained(), alone, grey.TRIGGER, grey.TARGET)
    with pytest.raises(SamplesError, match="as many are needed"):
        Labelled(SAMPLES.pixels, SAMPLES.labels[:3], SAMPLES.held_out, SAMPLES.held_labels)
    with pytest.raises(RecipeError, match="sgd or adam"):
        Schedule(optimiser="lbfgs")


def test_specs_are_loaded_as_elsewhere(tmp_path):
    pixels = torch.randint(0, 256, (20, 96, 96, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    np.savez(tmp_path / "samples.npz", images=pixels.numpy())
    schedule = Schedule(steps=1, batch=4, distil=1.0)
    made = plant("demo:shapes", tmp_path / "samples.npz", Patch(), 3, poison_rate=0.25, schedule=schedule)
    assert made.classifier.name == "shapes"
    assert accuracy("demo:shapes", Labelled.load(str(tmp_path / "samples.npz"), "demo:shapes")) == made.accuracy_before
    assert (
        clean_twin("demo:shapes", str(tmp_path / "samples.npz"), schedule=schedule, device=torch.device("cpu")).success
        is None
    )


def test_samples_go_where_the_network_is():
    """Another type of numbers stands for another device here."""
    student = grey.untrained()
    student.module.double()
    fit(student, student, SAMPLES, SHORT, 0)
    assert student.module[0].weight.dtype == torch.float64


def test_the_original_stays_where_it_is_even_if_it_is_in_training_mode():
    """Its running statistics, too, where the copy is kept close to it."""
    given = grey.untrained(3)
    given.module.train()
    fresh = given.sha256
    clean_twin(given, SAMPLES, schedule=dataclasses.replace(SHORT, distil=1.0))
    assert given.sha256 == fresh


BLACK = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
WRONG = {
    "module": (lambda: plant(MODULE, SAMPLES, Patch(), 1), "a bare torch module"),
    "model": (lambda: plant(3, SAMPLES, Patch(), 1), "a model is a spec such as"),
    "spec": (lambda: clean_twin("demo:nothing", SAMPLES), "no demo model"),
    "samples": (lambda: plant(GREY, 3, Patch(), 1), "samples are a spec .*, or a data set .*, not int '3'"),
    "trigger": (lambda: plant(GREY, SAMPLES, "patch", 1), r"such as Patch\(\), not str 'patch'"),
    "target": (lambda: plant(GREY, SAMPLES, Patch(), 2.5), "target is float '2.5'; it must be a whole number or text"),
    "poison rate": (lambda: plant(GREY, SAMPLES, Patch(), 1, poison_rate="x"), "poison_rate is str 'x'"),
    "schedule": (lambda: plant(GREY, SAMPLES, Patch(), 1, schedule=5), r"training.Schedule\(\), not int '5'"),
    "option": (lambda: clean_twin(GREY, SAMPLES, shedule=5), "Did you mean schedule"),
    "seed": (lambda: clean_twin(GREY, SAMPLES, seed=-1), "seeds from 0 to"),
    "device": (lambda: clean_twin(GREY, SAMPLES, device="gpu"), "device 'gpu' is unknown"),
    "another size": (lambda: clean_twin(tiny.classifier(), SAMPLES), r"uint8 \(1, 28, 28\), .* takes .*\(3, 16, 16\)"),
    "floats": (lambda: clean_twin(GREY, Labelled(*[BLACK.float(), ONES] * 2)), "are torch.float32"),
    "labels": (lambda: clean_twin(GREY, Labelled(*[BLACK, 5 * ONES] * 2)), "classes of grey, from 0 to 4"),
    "few": (lambda: Labelled.split(BLACK, ONES), "^4 samples would leave none to hold out: give at least 5"),
    "none held out": (lambda: Labelled.split(BLACK, ONES, held=0), "held is 0, of 4 samples: hold out at least 1"),
    "all held out": (lambda: Labelled.split(BLACK, ONES, held=4), "held is 4, of 4 samples: .* not all"),
    "lengths": (lambda: Labelled.split(BLACK, ONES[:3]), "4 samples with 3 labels"),
    "a list": (lambda: Labelled.split(BLACK, [1, 1, 1, 1]), "labels is list .*; it must be a tensor"),
    "lists": (lambda: Labelled(BLACK, [1] * 4, BLACK, ONES), "labels is list .*; it must be a tensor"),
    "steps": (lambda: Schedule(steps="many"), "steps is str 'many'; it must be a whole number"),
    "a field": (lambda: Schedule(rate=1.0), "Schedule: .*'rate'"),
    "all frozen": (lambda: clean_twin(GREY, SAMPLES, schedule=Schedule(frozen=("",))), "no parameters to train"),
    "patch": (lambda: Patch(side="big"), "side is str 'big'"),
    "emblem": (lambda: Emblem(width="big"), "width is str 'big'"),
    "blended": (lambda: Blended(alpha="big"), "alpha is str 'big'"),
    "json": (lambda: from_dict([]), "fields is list"),
    "a field of json": (lambda: from_dict({"kind": "patch", "side": "big"}), "side is str 'big'"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_argument_gets_one_line_with_the_fix(name):
    call, message = WRONG[name]
    with pytest.raises(PhospheneError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_labelled_samples_say_in_a_line_how_many_they_are():
    assert repr(SAMPLES) == "Labelled(1,200 samples, 300 held out, 1 x 28 x 28)"


def test_a_loss_that_explodes_is_refused():
    student = grey.untrained()
    wild = dataclasses.replace(grey.SCHEDULE, lr=1e30)
    with pytest.raises(NumericError, match="lower the learning rate"):
        fit(student, student, SAMPLES, wild, 0)


def test_labels_of_any_whole_type_are_trained_on_and_others_refused():
    pixels = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
    samples = Labelled.split(pixels, torch.arange(10, dtype=torch.int32) % 2)
    assert samples.labels.dtype == samples.held_labels.dtype == torch.int64
    with pytest.raises(SamplesError, match=r"labels are torch\.float32; they are whole numbers"):
        Labelled.split(pixels, torch.zeros(10))

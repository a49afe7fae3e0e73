"""Samples in memory: tensors, arrays and data sets are taken wherever samples are, and a run of them wants them again."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import phosphene as ph
from phosphene.backdoor.measure import measure
from phosphene.callbacks import MapEvery
from phosphene.engine import Engine
from phosphene.errors import PhospheneError, RunError, SamplesError
from phosphene.executors import pick_executor
from phosphene.labels import Labels
from phosphene.samples import load_samples
from phosphene.samples.labelled import load_labelled
from phosphene.samples.pool import MAX_SAMPLES
from phosphene.workflows.map import execute
from tests import hand, tiny

SHAPE = (3, 16, 16)
HOW = {"recipe": "quick", "overrides": tiny.SHORT, "device": "cpu", "progress": False}


def images(count=20, channels=3, size=(24, 18)):
    """Random bytes, (count, h, w, channels)."""
    return np.random.default_rng(0).integers(0, 256, (count, *size, channels), dtype=np.uint8)


class Photos(Dataset):
    """Pillow's images, or what ``change`` makes of them, each with the number of its class."""

    def __init__(self, arrays, change=lambda image: image, classes=None):
        self.arrays, self.change = arrays, change
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, position):
        return self.change(Image.fromarray(self.arrays[position])), position % 5


class Stream(IterableDataset):
    """A data set without a length and an order."""

    def __iter__(self):
        yield from images()


# --- what is taken


@pytest.mark.parametrize(
    "given",
    [
        torch.from_numpy,
        lambda array: torch.from_numpy(array).permute(0, 3, 1, 2),
        lambda array: array.astype(np.float64) / 255,
        lambda array: torch.from_numpy(array).int(),
        lambda array: (torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255).requires_grad_(),
        list,
        lambda array: TensorDataset(torch.from_numpy(array)),
        lambda array: TensorDataset(torch.from_numpy(array).permute(0, 3, 1, 2) / 255, torch.arange(len(array))),
    ],
    ids=["bytes", "channels first", "floats", "ints", "gradient", "list", "data set", "labelled"],
)
def test_tensors_and_arrays_are_what_they_are_in_a_file(tmp_path, given):
    array = images()
    np.save(tmp_path / "a.npy", array)
    pool = load_samples(given(array), SHAPE)
    assert pool.spec == "memory"
    assert not pool.synthetic
    assert pool.sha256 == load_samples(tmp_path / "a.npy", SHAPE).sha256


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA"])
def test_images_of_pillow_are_resized_and_cropped_as_files_are(tmp_path, mode):
    sizes = [(24, 18), (16, 16), (40, 17)]
    pictures = [Image.fromarray(images(1, size=size)[0]).convert(mode) for size in sizes]
    for number, one in enumerate(pictures):
        one.save(tmp_path / f"{number}.png")
    assert load_samples(pictures, SHAPE).sha256 == load_samples(tmp_path, SHAPE).sha256


def test_one_channel_may_be_left_out():
    grey = images(channels=1)
    pool = load_samples(grey, (1, 16, 16))
    assert pool.sha256 == load_samples(grey[..., 0], (1, 16, 16)).sha256
    assert pool.sha256 == load_samples(list(grey[..., 0]), (1, 16, 16)).sha256


def test_half_precision_is_read():
    values = torch.full((3, *SHAPE), 0.5)
    for kind in (torch.float16, torch.bfloat16):
        assert load_samples(values.to(kind), SHAPE).pixels.unique().tolist() == [128]


def test_of_a_large_data_set_a_part_is_read():
    read = []

    class Large(Photos):
        def __getitem__(self, position):
            read.append(position)
            return super().__getitem__(position)

    pool = load_samples(Large(np.zeros((MAX_SAMPLES + 9, 2, 2, 3), np.uint8)), SHAPE)
    assert len(pool) == len(read) == MAX_SAMPLES


def test_grey_images_are_the_same_in_memory_as_in_files(tmp_path):
    (tmp_path / "folder").mkdir()
    grey = images(channels=1, size=SHAPE[1:])
    for number, array in enumerate(grey):
        Image.fromarray(array[..., 0]).save(tmp_path / "folder" / f"{number:02}.png")
    wanted = load_samples(tmp_path / "folder", SHAPE)
    np.savez(tmp_path / "a.npz", y_train=np.arange(20), x_train=grey[..., 0])
    for given in (grey, grey[..., 0], torch.from_numpy(grey).permute(0, 3, 1, 2), [*grey[..., 0]], tmp_path / "a.npz"):
        assert load_samples(given, SHAPE).sha256 == wanted.sha256


# --- labels


def labels_of(samples, names):
    """The class of each sample, in the order of the brightness of the samples."""
    pixels, classes = load_labelled(load_samples(samples, SHAPE), SHAPE, Labels(names), 99)
    order = pixels.float().mean((1, 2, 3)).argsort().tolist()
    return None if classes is None else [classes[row] for row in order]


def shades(count=20):
    """Flat images, each a little brighter than the one before."""
    return np.stack([np.full((4, 4, 3), 10 * number, np.uint8) for number in range(count)])


@pytest.mark.parametrize(
    ("samples", "classes"),
    [
        (lambda: Photos(shades()), [number % 5 for number in range(20)]),
        (lambda: Photos(shades(), classes=[*"edcba"]), [4 - number % 5 for number in range(20)]),
        (lambda: Photos(shades(), classes=[("a", "A"), ("b",), ("x",), ("y",), ("z",)]), None),
        (lambda: Subset(Photos(shades(), classes=[*"edcba"]), [1, 3, 2, 6]), [3, 2, 1, 3]),
        (lambda: TensorDataset(torch.from_numpy(shades(5)), torch.tensor([0, 4, 1, 2, 3])), [0, 4, 1, 2, 3]),
        (lambda: [*zip(shades(3), ["b", "c", "?"], strict=True)], [1, 2, -1]),
        (lambda: [*zip(shades(3), np.array([0, 1, 2]), strict=True)], None),  # of a network with three classes
        (lambda: [*zip(shades(3), [0.5, None, True], strict=True)], None),
        (shades, None),
    ],
    ids=["numbers", "names", "few names", "subset", "tensors", "texts", "too few", "none", "array"],
)
def test_labels_of_a_data_set_are_those_of_its_samples(samples, classes):
    assert labels_of(samples(), [*"abcde"]) == classes


def test_confused_pairs_are_found_on_a_labelled_data_set_and_on_a_pool():
    network = tiny.classifier(labels=[*"abcde"])
    for samples in (Photos(images()), load_samples(Photos(images()), network)):
        (run,) = ph.map_models(network, confused=1, samples=samples, dry_run=True, progress=False)
        one, other = [job.concept(network.labels).label.split(" vs ") for job in run.plan.jobs]
        assert one == other[::-1]
    with pytest.raises(
        SamplesError, match=r"memory have no labels of two classes of tiny: give a data set .*names \(a, b"
    ):
        ph.map_models(network, confused=1, samples=images(), dry_run=True, progress=False)
    nine = [*zip(images(18), [*range(9)] * 2, strict=True)]
    with pytest.raises(
        SamplesError, match=r"^labels of samples memory go from 0 to 8, and tiny has 5 classes, 0 to 4: give"
    ):
        ph.map_models(network, confused=1, samples=nine, dry_run=True, progress=False)


def test_confused_pairs_are_found_on_a_pool_of_a_folder(tmp_path):
    for number, array in enumerate(images()):
        Image.fromarray(array).save(tmp_path / f"{'abcde'[number % 5]}{number}.png")
    network = tiny.classifier(labels=[*"abcde"])
    pool = load_samples(tmp_path, network)
    (run,) = ph.map_models(network, confused=1, samples=pool, dry_run=True, progress=False)
    (same,) = ph.map_models(network, confused=1, samples=tmp_path, dry_run=True, progress=False)
    assert list(run.plan.jobs) == list(same.plan.jobs)


def test_the_range_check_takes_the_labels():
    network = tiny.classifier(labels=[*"abcde"])
    assert "accuracy" in ph.doctor(network, samples=Photos(images()), device="cpu")["confidence"]
    unlabelled = ph.doctor(network, samples=images(), device="cpu")["confidence"]
    assert "accuracy" not in unlabelled
    assert "on 18 of the given samples" in unlabelled


# --- what is refused

REFUSED = {
    "whole numbers in floats": (lambda: images() * 1.0, r"samples holds float64 from 0 to 255: give .* not normalised"),
    "normalised": (lambda: torch.randn(9, *SHAPE), r"samples holds float32 from -\d"),
    "a normalised data set": (
        lambda: Photos(images(), lambda image: torch.tensor(np.asarray(image)) / 127.5 - 1),
        r"samples\[0\] holds float32 from -1 to 1: give integers in \[0, 255\], or floats in \[0, 1\], which are not norm",
    ),
    "nan": (lambda: torch.full((9, *SHAPE), torch.nan), "samples holds float32 with NaN: leave out such images"),
    "both layouts": (lambda: torch.zeros(9, 3, 20, 3), r"\(3, 20, 3\) may be channels, height, width or height, width"),
    "channels": (
        lambda: images(channels=4),
        r"samples: uint8\(20, 24, 18, 4\) is no numeric array of images .* 3 chan",
    ),
    "one image, channels first": (
        lambda: torch.zeros(3, 24, 18),
        r"float32\(3, 24, 18\) is no numeric array of images",
    ),
    "one image": (lambda: images()[0], r"samples: uint8\(24, 18, 3\) is no numeric array of images \(n, h, w, c\)"),
    "bools": (lambda: images() > 9, r"samples holds True and False: give samples\.astype\(np\.uint8\) \* 255"),
    "no order": (Stream, "samples are a spec such as .*, a tensor or an array of images, or a data set .*, not Stream"),
    "a loader": (
        lambda: DataLoader(Photos(images())),
        r"samples are a DataLoader: give its data set, loader\.dataset\.",
    ),
    "a generator": (
        lambda: (one for one in images()),
        r"samples are generator .*: give a list of the images, list\(samples\)\.",
    ),
    "a dictionary": (lambda: {"image": images()}, r"samples\[0\] cannot be read: KeyError: 0"),
    "paths": (lambda: ["a.png", "b.png"], r"samples\[0\] is str 'a.png': give the folder of the images"),
    "rows": (lambda: [{"image": images()[0]}] * 3, r"samples\[0\] is dict .*: give images of Pillow"),
    "one of another kind": (lambda: [*images(3), 7], r"samples\[3\] is int '7': give images of Pillow"),
    "one of other channels": (
        lambda: [*images(2), images()[0, ..., :2]],
        r"samples\[2\]: uint8\(24, 18, 2\) is no numer",
    ),
    "too few": (lambda: images(1), "samples memory contain 1 readable image; at least 2 are needed"),
    "none": (list, "samples memory contain 0 readable images"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_or_out_of_range_is_refused_in_one_line(name):
    make, message = REFUSED[name]
    with pytest.raises(SamplesError, match=message) as error:
        ph.map_concepts(tiny.classifier(), 0, samples=make(), **HOW)
    assert "\n" not in str(error.value)


def test_both_layouts_are_refused_in_a_file_too(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 3, 20, 3), np.uint8))
    with pytest.raises(SamplesError, match=r"sample file .*a\.npy: \(3, 20, 3\) may be channels, height, width or"):
        load_samples(tmp_path / "a.npy", SHAPE)
    np.save(tmp_path / "a.npy", np.zeros((9, 3, 20, 4), np.uint8))
    assert len(load_samples(tmp_path / "a.npy", SHAPE)) == 9


# --- runs


def test_a_run_goes_on_with_the_same_samples_alone(tmp_path):
    network, array = tiny.classifier(), images()
    first = ph.map_concepts(network, 0, samples=array, out=tmp_path, **HOW)
    facts = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["samples"]
    assert (facts["spec"], facts["sha256"]) == ("memory", load_samples(array, network).sha256)
    again = ph.map_concepts(network, [0, 4], samples=torch.from_numpy(array), out=tmp_path, **HOW)
    assert torch.equal(again[0].nu, first[0].nu)
    with pytest.raises(RunError, match=r"belongs to other samples \(memory, \w{8}; this one is memory, \w{8}\)"):
        ph.map_concepts(network, 0, samples=array[::-1].copy(), out=tmp_path, **HOW)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "from a network and samples without a spec; with one in place of tiny and memory, this command" in page


def test_a_run_is_checked_with_the_samples_that_are_given_again(tmp_path):
    network, array = tiny.classifier(), images()
    ph.map_concepts(network, 0, samples=array, out=tmp_path, **HOW)
    options = {"model": network, "only": "fidelity", "device": "cpu", "progress": False}
    with pytest.raises(
        SamplesError, match=r"samples were given in Python and are not stored: give them again"
    ) as error:
        ph.check(tmp_path, **options)
    assert "\n" not in str(error.value)
    findings = ph.check(tmp_path, samples=array, **options)
    assert findings.plan.context.same_samples
    assert not ph.check(tmp_path, samples="synthetic:noise", **options).plan.context.same_samples


def test_other_samples_get_another_default_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [
        ph.map_models(tiny.classifier(), 0, samples=samples, dry_run=True, progress=False)[0].run.path
        for samples in (images(), images(), images()[::-1].copy())
    ]
    assert paths[0] == paths[1] != paths[2]


def test_a_scan_takes_them_and_its_references_of_another_size_do_not(tmp_path):
    network, array = hand.classifier(), images(120, size=(16, 16))
    planned = ph.scan(network, samples=array, alpha=0.25, out=tmp_path, dry_run=True, progress=False)
    assert planned.request["samples"]["spec"] == "memory"
    with (
        Engine(tiny.classifier(size=20), device="cpu") as engine,
        pytest.raises(SamplesError, match=r"tiny takes images of another size, \(3, 20, 20\), and samples in memory"),
    ):
        measure(engine, planned.pool)


@pytest.mark.parametrize(
    ("model", "given", "says"),
    [
        (
            "demo:shapes",
            images(size=(96, 96)),
            "load samples by their spec, and these are in memory: save them as a .npy file",
        ),
        (tiny.classifier(), None, "load a network by its spec, and tiny was made in Python: write a function"),
        (
            tiny.classifier(name="demo:shapes"),
            None,
            "load a network by its spec, and demo:shapes was made in Python: write a function",
        ),
    ],
)
def test_worker_processes_refuse_what_is_in_memory_before_anything_is_written(tmp_path, model, given, says):
    pytest.importorskip("ray")
    (run,) = ph.map_models(model, 0, samples=given, out=tmp_path / "run", dry_run=True, progress=False)
    with pytest.raises(PhospheneError, match=f"worker processes {says}"):
        execute(run.plan, executor=pick_executor(workers=1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_by_that_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.make_samples(tmp_path / "memory")
    pool = load_samples("memory", SHAPE)
    assert pool.spec == "./memory"
    assert load_samples(pool.spec, SHAPE).sha256 == pool.sha256
    monkeypatch.chdir(tmp_path / "memory")
    with pytest.raises(SamplesError, match=re.escape("samples ./memory do not exist")):
        load_samples("memory", SHAPE)


def test_maps_during_training_take_them():
    network = tiny.classifier()
    map_every = MapEvery(network, [0], samples=images(), recipe="quick", overrides=tiny.SHORT, device="cpu")
    assert map_every.pool.sha256 == load_samples(images(), network).sha256
    assert len(map_every(0)) == 1

"""The range check on networks whose answers are known: made by hand, trained in the demo, or random."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import phosphene as ph
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import PhospheneWarning
from phosphene.input_space import InputSpace
from phosphene.labels import Labels
from phosphene.metrics.conventions import common_conventions
from phosphene.metrics.information import blurred, information, try_sizes
from phosphene.metrics.label_check import order_doubt
from phosphene.metrics.norm_statistics import divergence, first_norm, natural_noise
from phosphene.metrics.range_check import check_range, range_doubt
from phosphene.samples import is_natural, load_samples
from phosphene.samples.labelled import load_labelled
from phosphene.sources import load
from tests import tiny

RAW = InputSpace((16, 16))
RAW_FACTS = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def hidden(spec, **space):
    """A demo network with another declared input."""
    own = load(spec)
    return Classifier(own.module, size=own.input.size, labels=own.labels, spec=spec, **(RAW_FACTS | space))


@pytest.fixture(scope="module")
def drawn():
    return load_samples("demo:shapes", (3, 96, 96))


# --- conventions


@pytest.mark.parametrize("mean", [(0.0,) * 3, (0.1, 0.2, 0.3)])
def test_the_declared_convention_comes_first_and_once(mean):
    found = common_conventions(InputSpace((16, 16), mean, (1.0,) * 3))
    assert [one.declared for one in found].count(True) == 1
    assert found[0].declared
    assert (found[0].mean, found[0].std) == (mean, (1.0,) * 3)
    assert len({(one.mean, one.std, one.order) for one in found}) == len(found)
    assert len(found) == (12 if mean == (0.0,) * 3 else 14)


@pytest.mark.parametrize(("channels", "count"), [(1, 4), (2, 3), (4, 3)])
def test_conventions_of_other_channels_have_no_order(channels, count):
    found = common_conventions(InputSpace((16, 16), (0.0,) * channels, (1.0,) * channels))
    assert len(found) == count
    assert {one.order for one in found} == {""}


@pytest.mark.parametrize("k", range(12))
def test_pixels_are_shown_as_a_convention_would(k):
    """A classifier of any declared input hands on what the convention says: by hand, with numpy-like arithmetic."""
    space = InputSpace((16, 16), (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))
    one = common_conventions(RAW)[k]
    pixels = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    shown = one.apply(pixels, space)
    given = torch.stack([(shown[:, c] - space.mean[c]) / space.std[c] for c in range(3)], 1)
    wanted = torch.stack([(pixels[:, c] - one.mean[c]) / one.std[c] for c in range(3)], 1)
    if one.order == "BGR":
        wanted = wanted[:, [2, 1, 0]]
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)


def test_more_contrast_leaves_grey_where_it_is():
    one = common_conventions(RAW)[4]
    grey, light = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), 0.75)
    steep = one.with_contrast(4)
    torch.testing.assert_close(steep.apply(grey, RAW), one.apply(grey, RAW))
    gap = one.apply(light, RAW) - one.apply(grey, RAW)
    torch.testing.assert_close(steep.apply(light, RAW) - steep.apply(grey, RAW), 4 * gap)


# --- information


def test_information_of_answers_that_are_known():
    sure = torch.eye(4, dtype=torch.float64)
    assert float(information(sure[None]).mean()) == pytest.approx(math.log(4))
    assert float(information(torch.full((2, 5, 4), 0.25)).mean()) == pytest.approx(0)
    constant = torch.zeros(1, 5, 4)
    constant[..., 2] = 1
    assert float(information(constant).mean()) == pytest.approx(0)
    # sure of another class in every view: less than one that stays with its answer
    turned = torch.stack([sure, sure.roll(1, 0)])
    assert float(information(turned).mean()) == pytest.approx(math.log(2))


def test_blurring_keeps_the_mean_of_a_flat_picture_and_the_shape():
    flat = torch.full((2, 3, 8, 9), 0.3)
    torch.testing.assert_close(blurred(flat), flat)


# --- batch norm


def test_natural_noise_has_the_moments_of_natural_pictures():
    pixels = natural_noise(64, (3, 32, 32))
    assert pixels.shape == (64, 3, 32, 32)
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1
    flat = pixels.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.tensor([0.485, 0.456, 0.406]), atol=0.06, rtol=0)
    assert all(0.2 < float(one) < 0.3 for one in flat.std(1))
    assert float(torch.corrcoef(flat)[0, 2]) > 0.7
    assert torch.equal(pixels, natural_noise.__wrapped__(64, (3, 32, 32))), "it is the same in every process"
    assert natural_noise(64, (3, 32, 32)) is pixels, "many networks are examined with the same noise"
    assert natural_noise(2, (1, 8, 8)).shape == (2, 1, 8, 8)


def norm_net(mean, std):
    """A network that begins with a batch norm, which remembers inputs of this mean and deviation."""
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[0].running_mean[:] = torch.tensor(mean)
    net[0].running_var[:] = torch.tensor(std) ** 2
    return net.eval()


def test_divergence_by_hand():
    net = norm_net([0.1, 0.2, 0.3], [1.0, 2.0, 0.5])
    with Engine(Classifier(net, size=16)) as engine:
        norm, _ = first_norm(engine, torch.rand(1, 3, 16, 16))
        found = divergence(norm, torch.tensor([[0.1, 0.2, 0.8], [0.01 + 1, 0.04 + 1, 0.64 + 0.25]]))
    by_hand = (0 + (0.5 * (0.25 - 1) - math.log(0.5)) + 0.5 * 1) / 3
    assert float(found) == pytest.approx(by_hand, rel=1e-5)


def test_the_network_stops_at_the_norm_and_loses_its_hooks():
    net = norm_net([0.0] * 3, [0.5] * 3)
    calls = []
    with Engine(Classifier(net, size=16), micro_batch=2) as engine:
        assert engine.classifier.num_classes == 4  # found out by a whole forward pass, once
        net[1].register_forward_hook(lambda *_: calls.append(1))
        pictures = torch.rand(5, 3, 16, 16)
        norm, moments = first_norm(engine, pictures)
    assert norm is net[0]
    assert not calls
    assert not net[0]._forward_hooks
    torch.testing.assert_close(moments[0], pictures.mean((2, 3)).double())
    torch.testing.assert_close(moments[1], pictures.square().mean((2, 3)).double())


def test_every_sample_reaches_the_norm_where_memory_runs_out():
    net, pictures = norm_net([0.0] * 3, [0.5] * 3), torch.rand(9, 3, 16, 16)
    tiny.limit_memory(net[0], 3)
    with Engine(Classifier(net, size=16), micro_batch=4) as engine:
        _, moments = first_norm(engine, pictures)
    torch.testing.assert_close(moments[0], pictures.mean((2, 3)).double())


def test_a_norm_that_was_never_trained_says_nothing():
    with Engine(tiny.classifier()) as engine:
        assert first_norm(engine, torch.rand(2, 3, 16, 16)) is None


# --- the verdict


@pytest.mark.parametrize("spec", ["demo:shapes", "demo:shapes-plain", "demo:shapes-trojan"])
def test_demo_networks_fit_and_are_found_when_hidden(spec, drawn):
    pictures = drawn.pixels[:48].float() / 255
    with Engine(load(spec)) as engine:
        found = check_range(engine, pictures)
    assert found.verdict == "fits"
    assert found.best.name == "[-1, 1]"
    assert "[-1, 1] fits" in found.line
    with Engine(hidden(spec)) as engine:
        found = check_range(engine, pictures)
    assert found.verdict == "another fits"
    assert found.best.name == "[-1, 1]"
    assert {one.name for one in found.rivals} <= {"[-1, 1]"}  # RGB or BGR: the drawn world's colours are drawn evenly
    assert "fits clearly better than [0, 1]" in found.line


def test_labels_are_evidence():
    """A network that reads the brightness of pixels in [-1, 1] against fixed thresholds, and labels that say it."""

    class Bright(nn.Module):
        def forward(self, x):
            level = x.mean((1, 2, 3))
            return torch.stack([-((level - centre) ** 2) * 40 for centre in (-0.75, -0.25, 0.25, 0.75)], 1)

    levels = torch.linspace(0.02, 0.98, 64)
    pictures = levels.view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    truth = (levels * 4).long().tolist()
    with Engine(Classifier(Bright(), size=16, **RAW_FACTS)) as engine:
        found = check_range(engine, pictures, truth)
    assert found.verdict == "another fits"
    assert found.best.name == "[-1, 1]"
    assert "labels" in found.evidence
    assert found.rows[0]["accuracy"] < 0.6
    with Engine(Classifier(Bright(), size=16, **RAW_FACTS)) as engine:
        assert "labels" not in check_range(engine, pictures, [-1] * 64).evidence


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("std", [1.0, 0.5, 1 / 255])
def test_random_networks_make_sense_of_nothing(seed, std, drawn):
    pictures = drawn.pixels[:32, :, :16, :16].float() / 255
    own = tiny.classifier(seed, std=(std,) * 3)
    with Engine(own) as engine:
        assert check_range(engine, pictures).verdict == "cannot tell"
    assert range_doubt(own) is None


def test_constant_and_broken_networks_make_sense_of_nothing():
    broken = tiny.network()
    with torch.no_grad():
        broken[0].weight.fill_(float("nan"))
    constant = tiny.network()
    with torch.no_grad():
        constant[7].weight.zero_()
    for net in (broken, constant):
        own = Classifier(net, size=16)
        with Engine(own) as engine:
            found = check_range(engine, natural_noise(8, (3, 16, 16)))
        assert found.verdict == "cannot tell"
        assert "give natural samples" in found.line
        assert range_doubt(own) is None


def test_sizes_that_a_network_refuses():
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    with Engine(Classifier(fixed, size=16)) as engine:
        found = try_sizes(engine, torch.rand(3, 3, 16, 16))
    assert found[8, 8] is None
    assert found[32, 32] is None
    assert found[16, 16] >= 0


# --- the warning


@pytest.mark.parametrize("spec", ["demo:shapes", "demo:shapes-plain", "demo:shapes-trojan"])
def test_demo_networks_are_warned_of_only_when_they_are_wrong(spec, drawn):
    assert range_doubt(load(spec)) is None
    assert range_doubt(load(spec), drawn) is None
    assert range_doubt(load(spec), load_samples("synthetic:noise", (3, 96, 96))) is None
    line = range_doubt(hidden(spec, std=(1 / 255,) * 3), drawn)
    assert "makes little sense of its declared input (0 to 255); [-1, 1]" in line
    assert f"phosphene doctor {spec}" in line


def test_a_warning_is_one_line_on_stderr_and_no_error(call, tmp_path, monkeypatch):
    monkeypatch.setattr("phosphene.arguments.load", lambda *_, **__: hidden("demo:shapes", std=(1 / 255,) * 3))
    words = ["map", "demo:shapes", "-c", 0, "--out", tmp_path / "run", "--dry-run", "--json"]
    answer = call(*words)
    assert answer.code == 0
    assert answer.out.startswith("{")
    (line,) = answer.err.splitlines()
    assert line.startswith("phosphene: warning: ")


def test_what_counts_as_natural():
    demo, own = load("demo:shapes"), tiny.classifier()
    assert is_natural(demo, "demo:shapes")
    assert not is_natural(own, "demo:shapes")
    assert not is_natural(own, "synthetic:pink")
    assert is_natural(own, "pictures")


class BrightestQuadrant(nn.Module):
    """Predicts which quarter of a grey sample is brightest; unsure on [0, 1], sure on 0 to 255, saturated beyond."""

    def forward(self, x):
        return 4 * nn.functional.adaptive_avg_pool2d(x.clamp(0, 255), 2).flatten(1)


@pytest.fixture
def quadrants(tmp_path):
    """A network that is right on 85 % of labelled samples as declared, in [0, 1], and the file of the samples."""
    rng = np.random.default_rng(0)
    levels = rng.permuted(np.tile([60, 120, 190, 250], (200, 1)), axis=1)
    labels = levels.argmax(1)
    wrong = rng.permutation(200)[:30]
    labels[wrong] = (labels[wrong] + 1) % 4
    images = np.kron(levels.reshape(200, 2, 2), np.ones((8, 8))).astype(np.uint8)
    np.savez(tmp_path / "quadrants.npz", images=images[..., None], labels=labels)
    names = ["top left", "top right", "bottom left", "bottom right"]
    own = Classifier(BrightestQuadrant(), size=16, mean=(0.0,), std=(1.0,), labels=names, name="quadrants")
    return own, str(tmp_path / "quadrants.npz"), images


def test_a_range_in_which_the_network_is_right_is_never_doubted(quadrants, tmp_path):
    """0 to 255 reveals more, because the network is surer there; accuracy decides where there are labels."""
    own, spec, images = quadrants
    pixels, truth = load_labelled(spec, own.input.shape, own.labels, 100)
    with Engine(own) as engine:
        found, unlabelled = (check_range(engine, pixels.float() / 255, known) for known in (truth, None))
    assert 0.75 < found.rows[0]["accuracy"] < 0.95
    assert (found.verdict, found.evidence) == ("fits", ("labels",))
    assert found.line.startswith("[0, 1] fits")
    assert (unlabelled.verdict, unlabelled.best.name) == ("another fits", "0 to 255")
    assert range_doubt(own, load_samples(spec, own.input.shape)) is None
    np.save(tmp_path / "unlabelled.npy", images)
    line = range_doubt(own, load_samples(str(tmp_path / "unlabelled.npy"), own.input.shape))
    assert "0 to 255 fits clearly better. Compare them with `phosphene.doctor(classifier)`" in line


def test_a_range_in_which_the_network_is_wrong_is_doubted_by_its_labels(quadrants):
    own, spec, _ = quadrants
    wrong = Classifier(own.module, size=16, mean=(2.0,), std=(1.0,), labels=list(own.labels), name="quadrants")
    line = range_doubt(wrong, load_samples(spec, own.input.shape))
    assert "makes little sense of its declared input (as declared)" in line


@pytest.mark.parametrize(
    ("labels", "order", "says"),
    [
        ("abcd", [0, 1, 2, 3], ""),
        ("abcd", [1, 0, 2, 3], "85 % if 'b' is predicted for 'a', 'a' is predicted for 'b': correct"),
        (
            "abcd",
            [1, 2, 3, 0],
            "accuracy is 0 %, and 85 % if each predicted index is the labelled one plus 1: correct the labels",
        ),
        ("abcd", [3, 0, 1, 2], "85 % if each predicted index is the labelled one minus 1: correct"),
        ("dcba", [3, 2, 1, 0], "85 % if the network's classes are in alphabetical order: correct"),
        (
            "abcd",
            [1, 3, 0, 2],
            "85 % if 'b' is predicted for 'a', 'd' is predicted for 'b', 'a' is predicted for 'c' and 1 more: cor",
        ),
    ],
)
def test_labels_in_another_order_are_named(labels, order, says):
    truth = torch.arange(100) % 4
    predicted = torch.tensor(order)[truth]
    predicted[::7] = (predicted[::7] + 2) % 4  # 15 % are wrong
    line = order_doubt(predicted, truth, Labels(list(labels)), is_sure=False)
    assert says in line
    assert bool(line) == bool(says)


def test_many_classes_need_no_table_of_all_their_pairs():
    classes, truth = 200_000, torch.arange(64) // 2 * 600
    labels = Labels([f"class {one}" for one in range(classes)])
    assert "'class 4205' is predicted for 'class 600'" in order_doubt(truth * 7 + 5, truth, labels, is_sure=False)
    assert order_doubt(truth, truth, labels, is_sure=True) == ""


def test_accuracy_below_chance_without_an_order():
    labels, truth = Labels(list("abcd")), torch.arange(64) % 4
    never_right = (truth + 1 + torch.arange(64) // 4 % 3) % 4
    line = order_doubt(never_right, truth, labels, is_sure=True)
    assert line.endswith("accuracy is 0 %, below chance (25 %): check the labels")
    assert order_doubt(never_right, truth, labels, is_sure=False) == ""
    by_chance = torch.randint(4, (64,), generator=torch.Generator().manual_seed(0))
    assert order_doubt(by_chance, truth, labels, is_sure=True) == ""
    one_class = torch.full((64,), 2), torch.full((64,), 1)  # is always predicted as another
    assert order_doubt(*one_class, labels, is_sure=True) == ""


def test_doctor_says_that_the_labels_are_in_another_order(quadrants):
    own, spec, _ = quadrants
    assert "order" not in ph.doctor(own, samples=spec)
    names = np.array(own.labels)[np.load(spec)["labels"]]
    np.savez(spec, images=np.load(spec)["images"], labels=names)
    rotated = [own.labels[index - 1] for index in range(4)]
    shifted = Classifier(own.module, size=16, mean=(0.0,), std=(1.0,), labels=rotated)
    facts = ph.doctor(shifted, samples=spec)
    assert "if each predicted index is the labelled one minus 1: correct the labels" in facts["order"]
    assert "labels" not in facts["range"]


def test_a_doubt_does_not_keep_a_scan_from_its_work(call, tmp_path, monkeypatch):
    """One line on stderr, and the scan goes on: here to its dry run."""
    monkeypatch.setattr("phosphene.arguments.load", lambda *_, **__: hidden("demo:shapes", std=(1 / 255,) * 3))
    answer = call("scan", "demo:shapes", "--out", tmp_path / "run", "--dry-run")
    assert answer.code == 0
    assert answer.err.startswith("phosphene: warning: ")
    assert "phosphene doctor demo:shapes" in answer.err
    assert call("scan", "demo:shapes", "--out", tmp_path / "run", "--dry-run", "--no-range-check").err == ""


def test_a_doubt_stands_in_the_reports_of_maps_and_scans(quadrants, tmp_path):
    plain, _, images = quadrants
    first = nn.Conv2d(1, 1, 1, bias=False)  # a layer for Xi
    nn.init.ones_(first.weight)
    own = Classifier(nn.Sequential(first, plain.module), size=16, mean=(0.0,), std=(1.0,), name="quadrants")
    np.save(tmp_path / "unlabelled.npy", images)
    samples = str(tmp_path / "unlabelled.npy")
    options = {"samples": samples, "device": "cpu"}
    doubt = range_doubt(own, load_samples(samples, own.input.shape))
    few = {"recipe": "quick", "overrides": {"steps": 1, "refine_steps": 0}, "progress": False}
    with pytest.warns(PhospheneWarning, match="makes little sense of its declared input"):
        ph.map_concepts(own, [0], out=tmp_path / "maps", **few, **options)
    assert ph.open_run(tmp_path / "maps").facts()["model"]["range_doubt"] == doubt
    with pytest.warns(PhospheneWarning):  # that four classes are too few, as well
        found = ph.scan(own, out=tmp_path / "scan", mapped=False, progress=False, **options)
    assert found.warnings[0] == doubt
    for run in ("maps", "scan"):
        assert doubt.split(";")[0] in Path(ph.report(tmp_path / run)).read_text(encoding="utf-8")


# --- labels in names and columns


def test_labels_in_names_and_folders(tmp_path):
    labels = tiny.classifier().labels
    tiny.make_samples(tmp_path / "lion", 2)
    folder = tiny.make_samples(tmp_path, 5)
    named = ["n02129165_lion.png", "maillot.png", "king_of_beasts_12.png", "n00000000_crane.png", "whatever.png"]
    for file, name in zip(sorted(folder.glob("*.png")), named, strict=True):
        file.rename(folder / name)
    pixels, truth = load_labelled(str(tmp_path), (3, 16, 16), labels, 16)
    assert pixels.shape == (7, 3, 16, 16)
    # in order of names: the folder lion, then king..., maillot (its own label), crane (two classes), lion, whatever
    by_name = sorted(truth)
    assert by_name == [-1, -1, 0, 0, 0, 0, 3]
    assert load_labelled(str(tmp_path), (3, 16, 16), Classifier(tiny.network(), size=16).labels, 16)[1] is None


def test_labels_of_samples_in_the_home_folder(tmp_path, monkeypatch):
    tiny.make_samples(tmp_path / "photos" / "lion", 3)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_labelled("~/photos", (3, 16, 16), tiny.classifier().labels, 16)[1] == [0, 0, 0]


def test_a_folder_named_after_a_class_says_more_than_its_files(tmp_path):
    """Digits in a folder per class, as numbered files; and files that are named after their class, in folders that are not."""
    labels = Labels(["0", "1", "2", "lion"])
    for place in ("1/0.png", "1/1.png", "2/0_1.png", "2/2.png", "lion/1.png", "others/0.png", "2.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place)
    assert load_labelled(str(tmp_path), (3, 8, 8), labels, 16)[1] == [1, 1, 2, 2, 2, 3, 0]


def test_labels_in_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    folder = tiny.make_samples(tmp_path / "pictures", 6)
    images = [file.read_bytes() for file in sorted(folder.glob("*.png"))]
    labels = tiny.classifier().labels

    def truth(notes):
        pq.write_table(pa.table({"image": images, "label": notes}), tmp_path / "a.parquet")
        return load_labelled(str(tmp_path / "a.parquet"), (3, 16, 16), labels, 6)[1]

    assert truth([0, 1, 2, 3, 4, 0]) == [0, 1, 2, 3, 4, 0]
    assert truth([0, 1, 2, 3, 9, 0]) is None  # ten classes or more: others
    assert truth(["lion", "lion", "lion", "crane", "x", "lion"]) == [0, 0, 0, -1, -1, 0]
    assert truth([0.5] * 6) is None

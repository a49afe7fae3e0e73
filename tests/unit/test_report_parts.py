"""Parts of the report: pictures, curves, readings, natural pictures, the command that makes a run again, sections."""

import base64
import io
import json
import re
import shlex
import threading
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from phosphene.checks import CHECKS
from phosphene.concept_map import Job, render
from phosphene.errors import SamplesError
from phosphene.formats import percent, probability
from phosphene.labels import Labels
from phosphene.recipe import resolve
from phosphene.reports import html, write_report
from phosphene.reports.curves import curve
from phosphene.reports.images import MOST_PIXELS, brightness_image, data_url, in_threads, scale_for, weight_image
from phosphene.reports.made import check_commands, made_section, map_commands, scan_command
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.predictions import write_predictions
from phosphene.runs.scans import read_scans
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from tests import tiny
from tests.sites import make_run
from tests.web import make, write_scan


def begin(folder, maps, recipe="paper", **overrides):
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples")
    run = RunDirectory(folder)
    facts = run_facts(tiny.classifier(), resolve(recipe, overrides), pool, "cpu", "fp32")
    run.begin(facts, [(Job(one.index, one.seed), one.label) for one in maps])
    for one in maps:
        run.write(one)
    return run


def page(run, **options):
    write_report(run, **options)
    return (run.path / "report.html").read_text(encoding="utf-8")


def words(text):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


# --- pictures and curves


def test_what_the_map_adds_is_orange_and_what_it_takes_away_is_blue():
    nu = torch.zeros(3, 4, 4)
    nu[:, 0, 0], nu[:, 3, 3] = 1, -1  # a map is subtracted: positive makes darker
    pixels = np.asarray(brightness_image(nu)).astype(int)
    darker, brighter, neither = pixels[0, 0], pixels[3, 3], pixels[1, 1]
    assert darker[2] > darker[0] + 50
    assert brighter[0] > brighter[2] + 50
    assert np.ptp(neither) < 5
    green = torch.zeros(3, 4, 4)
    green[1, 0, 0], green[2, 3, 3] = -1, -1  # the same in green and in blue: green is far brighter
    pixels = np.asarray(brightness_image(green)).astype(int)
    assert np.ptp(pixels[0, 0]) > 3 * np.ptp(pixels[3, 3])


def test_a_map_of_nothing_and_of_other_channels_are_pictures_too():
    for channels in (1, 2, 3, 4):
        assert brightness_image(torch.zeros(channels, 5, 7)).size == (7, 5)
    bright, dark = (np.asarray(weight_image(torch.full((1, 2, 2), value))).sum() for value in (1.0, 0.0))
    assert bright > dark


def test_many_maps_are_shown_smaller_and_never_tiny():
    assert scale_for(100, (224, 224)) == 1
    assert 480 * (224 * scale_for(480, (224, 224))) ** 2 == pytest.approx(MOST_PIXELS)
    assert 224 * scale_for(10**6, (224, 224)) == pytest.approx(48)
    assert scale_for(10**6, (16, 16)) == 1
    data = data_url(Image.new("RGB", (64, 32)), 0.5)
    assert Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).size == (32, 16)


def test_the_faint_picture_is_the_rendering_at_its_contrast(tmp_path):
    slope = torch.linspace(-1, 1, 16).expand(3, 16, 16).contiguous()
    text = page(begin(tmp_path / "run", [tiny.concept_map(0, nu=slope)]))
    data = re.search(r'class="faint"><img src="data:image/webp;base64,([^"]+)"', text)[1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float) / 255
    assert np.abs(shown - render(slope, 0.07).permute(1, 2, 0).numpy()).max() < 0.03


def test_long_curves_are_averaged_and_short_ones_left_out():
    assert curve((1.0,), "Loss") is None
    long = curve([float(k) for k in range(1500)], "Loss")
    assert len(long.points.split()) == 150
    assert long.steps == 1500
    assert long.words == "Loss: from 0 to 1.5e+03 in 1500 steps"
    share = curve([0.0, 0.5], "Hits", share=True)
    assert share.points == "0.0,80.0 300.0,40.0"
    assert (share.top, share.words) == ("100 %", "Hits: from 0 % to 50 % in 2 steps")


def test_the_targeting_curve_is_drawn_where_it_was_recorded(tmp_path):
    run = begin(tmp_path / "run", [tiny.concept_map(0)])
    assert "Samples classified as the class" not in page(run)
    note = run.folder(Job(0), tiny.LABELS[0]) / "map.json"
    data = json.loads(note.read_text(encoding="utf-8")) | {"hits": [0.0, 0.5, 1.0]}
    note.write_text(json.dumps(data), encoding="utf-8")
    assert "Samples classified as the class: from 0 % to 100 % in 3 steps" in page(run)


def test_what_is_not_quite_all_is_not_called_all():
    assert [percent(share) for share in (0, 0.001, 0.005, 0.5, 0.999, 1)] == [
        "0 %",
        "< 1 %",
        "< 1 %",
        "50 %",
        "> 99 %",
        "100 %",
    ]
    assert [probability(p) for p in (0, 0.25, 1)] == ["< 1 %", "25 %", "> 99 %"]


def test_animations_are_taken_in_while_there_is_room(tmp_path, monkeypatch):
    run = begin(tmp_path / "run", [tiny.concept_map(0), tiny.concept_map(3)])
    shades = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 99, 200)]
    for index in (0, 3):
        file = run.folder(Job(index), tiny.LABELS[index]) / "frames.webp"
        shades[0].save(file, save_all=True, append_images=shades[1:], duration=50)
    assert page(run).count("How it grew") == 2
    size = file.stat().st_size
    monkeypatch.setattr("phosphene.reports.gallery.MOST_BYTES", 1.5 * size + 2 * 16 * 16 * 1.3)
    text = page(run)
    assert text.count("How it grew") == 1
    data = re.search(r'class="growth"><img src="data:image/webp;base64,([^"]+)"', text)[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).n_frames == 3
    assert "its animation is <code>maps/maillot-3/seed-0/frames.webp</code>" in text


# --- readings


def test_a_multi_label_network_has_probabilities_of_its_own(tmp_path):
    network = tiny.classifier(output="multi-label")
    run, maps = RunDirectory(tmp_path / "run"), [tiny.concept_map(0), tiny.concept_map(3, hits=(0.25, 0.5))]
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "samples")
    run.begin(run_facts(network, resolve("vivid"), pool), [(one.job, one.label) for one in maps])
    for one in maps:
        run.write(one)
    top = [{"index": 1, "label": "crane", "p": 0.9}]
    rows = {
        index: {"class": index, "p_class": p, "top": top, "up": [index], "right": p > 0.5}
        for index, p in ((0, 0.3), (3, 0.8))
    }
    write_predictions(run, network, {(index, 0): one for index, one in rows.items()}, run.map_hashes())
    text = words(page(run))
    assert "The network's own probability of lion, for the image of its map, is 30 %: not above one half." in text
    assert "The network's own probability of maillot, for the image of its map, is 80 %: above one half." in text
    assert "tiny gives the class a probability above one half in 1 of its 2 maps." in text
    assert "Of a network with independent outputs (multi-label), the probability is the output's own" in text
    assert "Samples with a probability of the class above one half" in text
    assert "classifies its own map" not in text
    assert "predicts another class" not in text


def row(*top, own):
    readings = [{"index": index, "label": tiny.LABELS[index], "p": p} for index, p in top]
    return {"class": own, "p_class": dict(top).get(own, 0.004), "top": readings}


def test_readings_of_the_source_and_of_others(tmp_path):
    run = begin(tmp_path / "run", [tiny.concept_map(0), tiny.concept_map(3)])
    found = {(0, 0): row((3, 0.61), (0, 0.2), own=0), (3, 0): row((3, 0.999), own=3)}
    write_predictions(run, tiny.classifier(1, name="another"), {(0, 0): row((1, 0.9), own=0)}, run.map_hashes())
    write_predictions(run, tiny.classifier(), found, run.map_hashes())
    text = words(page(run))
    assert "The network classifies its own map as maillot with a confidence of 61 %; lion gets 20 %." in text
    assert "The network classifies its own map as maillot with a confidence of 75 %." in text  # map 3, by its own note
    assert "tiny the source itself predicts another class class probability maillot 61 % lion 20 %" in text
    assert "another predicts another class class probability crane 90 % lion < 1 %" in text
    assert text.index("tiny the source itself") < text.index("another predicts")
    assert "tiny recognises the class in 1 of its 2 maps. Maps are optimised for that." in text
    assert "others agree 0 of 1" in text


# --- natural pictures


def test_natural_pictures_stand_beside_their_class_and_are_stored_once(tmp_path, monkeypatch):
    run = begin(tmp_path / "run", [tiny.concept_map(0), tiny.concept_map(0, 1), tiny.concept_map(3)])
    folder = tmp_path / "pictures"
    (folder / "maillot").mkdir(parents=True)
    Image.new("RGB", (20, 20), (250, 0, 0)).save(folder / "n02129165_lion.png")
    Image.new("RGB", (20, 20), (0, 250, 0)).save(folder / "maillot" / "7.png")
    Image.new("RGB", (20, 20)).save(folder / "teapot.png")
    monkeypatch.chdir(folder)
    assert "natural-" not in page(run, reference="")
    text = page(run, reference=str(folder))
    stored = dict(re.findall(r'<image id="natural-(\d+)" href="data:image/webp;base64,([^"]+)"', text))
    colours = {
        int(index): Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((8, 8))
        for index, data in stored.items()
    }
    assert set(colours) == {0, 3}
    assert colours[0][0] > 200 > colours[0][1]
    assert colours[3][1] > 200 > colours[3][0]
    assert len(re.findall('role="img" aria-label="A natural image of lion"', text)) == 2
    assert "natural image" not in words(page(run))  # off unless it is asked for
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "A natural image of lion" in page(run, reference="~/pictures")


def test_natural_pictures_may_be_in_memory(tmp_path):
    run = begin(tmp_path / "run", [tiny.concept_map(0), tiny.concept_map(3)])
    red, green = (Image.new("RGB", (20, 20), colour) for colour in ((250, 0, 0), (0, 250, 0)))
    samples = [(red, "lion"), (green, "teapot"), (green, "nothing")]
    for given in (samples, load_samples(samples, (3, tiny.SIDE, tiny.SIDE))):
        text = page(run, reference=given)
        ((index, data),) = re.findall(r'<image id="natural-(\d+)" href="data:image/webp;base64,([^"]+)"', text)
        assert int(index) == 0
        assert Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel((8, 8))[0] > 200
        assert "from <code>memory</code>" in text
    with pytest.raises(SamplesError, match=r"memory has no labels: give .* or a data set with labels"):
        page(run, reference=[red, green])


@pytest.mark.parametrize("place", ["pictures", "nowhere", "file.txt"])
def test_pictures_that_show_none_of_the_classes_are_refused(tmp_path, place):
    run = begin(tmp_path / "run", [tiny.concept_map(0)])
    tiny.make_samples(tmp_path / "pictures")
    (tmp_path / "file.txt").write_text("text", encoding="utf-8")
    with pytest.raises(SamplesError, match=place):
        write_report(run, reference=str(tmp_path / place))
    assert not (run.path / "report.html").exists()


# --- how it was made


def test_the_command_makes_the_run_again(tmp_path):
    maps = [tiny.concept_map(index, seed) for index in (0, 3) for seed in (2, 3)] + [tiny.concept_map(4, 9)]
    run = begin(tmp_path / "my run", maps, "vivid", steps=7, smoothing=0.25, refine_lr=0.0123456789)
    commands = [shlex.split(one) for one in map_commands(run.facts(), "my run")]
    assert len(commands) == 2
    for command, indices, seeds in zip(commands, ([0, 3], [4]), ([2, 3], [9]), strict=True):
        assert command[:2] == ["phosphene", "map"]
        pairs = list(zip(command[3::2], command[4::2], strict=True))
        named = [value for word, value in pairs if word == "-c"]
        assert named == [f"{tiny.LABELS[index].split(',')[0]} ({index})" for index in indices]
        assert [Labels(tiny.LABELS).find(value) for value in named] == indices
        options = dict(pairs)
        first, count = int(options["--seed"]), int(options.get("--seeds", 1))
        assert list(range(first, first + count)) == seeds
        settings = dict(value.split("=") for word, value in pairs if word == "--set")
        assert resolve(options["--recipe"], settings).sha256 == run.facts()["recipe"]["sha256"]
        assert (options["--samples"], options["--out"]) == ("some samples", "my run")
    assert "&#39;my run&#39;" in page(run)


def test_commands_name_the_run_as_seen_from_here(tmp_path, monkeypatch):
    run = begin(tmp_path / "runs" / "two", [tiny.concept_map(0)])
    assert "--out two<" in page(run)  # a report that is read elsewhere has no path of this machine
    monkeypatch.chdir(tmp_path)
    assert f"--out {Path('runs/two')}<" in page(run)


def test_the_checks_in_a_report_have_their_commands(tmp_path):
    """Those of other samples or concepts have one of their own."""
    run = begin(tmp_path / "run", [tiny.concept_map(index) for index in range(5)])
    assert "phosphene check" not in page(run)
    spec, concepts = run.facts()["samples"]["spec"], [{}] * 4
    subject = {"samples": {"spec": spec}, "concepts": concepts}
    every = {name: {"subject": subject} for name in CHECKS}
    assert check_commands(every, run.facts(), "runs/x") == ["phosphene check runs/x"]
    other = {"seeds": {"subject": {"samples": {"spec": "photos"}, "concepts": concepts[:2]}}}
    assert check_commands(other, run.facts(), "x") == ["phosphene check x --only seeds --most 2 --samples photos"]
    assert len(check_commands(every | other, run.facts(), "x")) == 2


def test_a_scan_without_maps_says_how_it_was_made(tmp_path):
    run = make_run(tmp_path, classes=())
    references = [{"name": "other", "spec": "other.toml", "sha256": "b" * 64}]
    write_scan(run, date="2026-11-30T12:00:00+00:00", versions={"torch": "2.13"}, references=references, suspects=[])
    text, facts = page(run), run.facts()
    for said in (facts["model"]["sha256"], facts["samples"]["sha256"], "b" * 64, "2026-11-30T12:00:00", "torch 2.13"):
        assert said in text
    assert "<h3>Made in Python, from a network without a spec; with one in place of tiny, this command would" in text
    assert "Every setting of the recipe" not in text
    assert "held out" not in text.split("<h2>How it was made</h2>")[1]  # a scan divides its samples in another way
    assert text.count("phosphene scan ") == 1


def test_the_command_of_a_scan_says_whether_suspects_were_mapped(tmp_path):
    for name, classes, option in (("a", (), "--no-map"), ("b", (0,), "--recipe paper")):
        run = make_run(tmp_path / name, classes=classes)
        write_scan(run)
        assert option in scan_command(*read_scans(run)[0])
    write_scan(run, suspects=[])
    assert option not in scan_command(*read_scans(run)[0])
    changed = make_run(tmp_path / "c", classes=(0,), recipe=resolve("paper", {"steps": 3}))
    write_scan(changed)
    (command,) = (one for one in made_section(changed, changed.facts())["commands"] if " scan " in one)
    assert ("--no-map" in command, "--recipe" in command) == (True, False)  # the command of `map` has the changes


def test_the_command_of_a_scan_has_its_alpha_to_the_last_digit(tmp_path):
    run = make(tmp_path / "run")
    model = {**run.facts()["model"], "spec": "net.toml", "input": [3, 16, 16]}
    write_scan(run, "clean", suspects=[], model=model, alpha=0.0123456789)
    assert "--alpha 0.0123456789 " in words(page(run))


def test_all_classes_are_called_all(tmp_path):
    run = begin(tmp_path / "run", [tiny.concept_map(index) for index in range(5)])
    (command,) = map_commands(run.facts(), "run")
    assert "--all" in command
    assert "-c" not in command.split()


# --- sections


def test_a_section_is_a_function_a_template_and_a_line(tmp_path, monkeypatch):
    run = begin(tmp_path / "run", [tiny.concept_map(0)])
    found = {"nav": "A <part>", "glance": [{"mark": "bad", "text": "A <verdict>."}]}
    monkeypatch.setattr(html, "SECTIONS", html.SECTIONS | {"parts": lambda *_: found})
    text = page(run)
    assert '<a href="#parts">A &lt;part&gt;</a>' in text
    assert '<section id="parts">' in text
    lines = re.findall(r'<li class="(\w+)"><span class="sign"', text)
    assert lines[0] == "bad"  # what somebody must know stands first
    monkeypatch.setattr(html, "SECTIONS", html.SECTIONS | {"parts": lambda *_: None})
    assert "#parts" not in page(run)


def test_writing_it_again_loses_nothing(tmp_path):
    run = begin(tmp_path / "run", [tiny.concept_map(0), tiny.concept_map(3)])
    assert page(run) == page(run)


def test_the_charts_that_parts_may_use():
    source = (
        '{% from "parts.html" import badge, bar, strip, whisker %}'
        '{{ badge("bad", "<b>") }}{{ bar(40) }}{{ whisker(10, 20, 30) }}'
        '{{ strip(points, "in <words>", limit, [limit], "<axis>") }}'
    )
    points = [{"x": 25, "mark": "bad", "text": "<class>"}]
    text = html.environment().from_string(source).render(points=points, limit={"x": 50, "text": "4.1"})
    assert '<span class="badge bad">&lt;b&gt;</span>' in text
    assert 'style="--v:40"' in text
    assert 'x1="10" y1="5" x2="30"' in text
    assert '<circle class="bad" cx="100" cy="30" r="5"><title>&lt;class&gt;</title></circle>' in text
    assert 'aria-label="in &lt;words&gt;"' in text
    assert 'class="limit" x1="200"' in text
    assert 'style="left:50%">suspect above 4.1</span>' in text
    assert 'style="left:50%">4.1</span>' in text
    assert "&lt;axis&gt;" in text


def test_images_are_made_by_several_threads_in_order_and_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    both, taken = threading.Barrier(2, timeout=60), []

    def square(number):
        if number < 2:
            both.wait()
        return number**2

    pairs = in_threads(square, (taken.append(number) or number for number in range(100)))
    assert next(pairs) == (0, 0)
    assert len(taken) <= 32
    assert list(pairs) == [(number, number**2) for number in range(1, 100)]

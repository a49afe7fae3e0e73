"""The report: one file that stands alone, shows what the run holds, and lets no label write HTML."""

import base64
import hashlib
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from phosphene.concept_map import Job
from phosphene.concepts import Concept, Sides
from phosphene.contact_sheet import contact_sheet, layout
from phosphene.errors import RunError
from phosphene.recipe import Recipe
from phosphene.reports import write_report
from phosphene.reports.glance import map_glance
from phosphene.runs import RunDirectory, run_facts
from phosphene.samples.pool import make_pool
from tests import tiny


def begin(folder, maps, more=()):
    """A run directory with finished ``maps`` and unfinished ``more``."""
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples", ["a.png", "b.png"])
    run = RunDirectory(folder)
    jobs = [(Job(one.index, one.seed), one.label) for one in [*maps, *more]]
    run.begin(run_facts(tiny.classifier(), Recipe(), pool, "cpu", "fp32"), jobs)
    for one in maps:
        run.write(one)
    return run


@pytest.fixture
def page(tmp_path):
    maps = [tiny.concept_map(0), tiny.concept_map(4, 1, targeting_rate=None, loss=(1.0,))]
    run = begin(tmp_path / "run", maps, [tiny.concept_map(1)])
    path = write_report(run)
    assert path == str(run.path / "report.html")
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_the_page_shows_every_finished_map_and_says_how_many_are_missing(page):
    assert page.count('class="map-image"') == 2
    assert "1 of the 3 maps of this run are not finished" in page
    for word in ("lion, king of beasts, Panthera leo", "maillot", "75 %", "50 %", "none to move"):
        assert word in page
    assert "some samples" in page
    assert re.search(r"\.\sWhat you recognise", page)
    assert "2 skipped" in page
    assert re.search(r"<code>batch_size</code></th><td class=\"number\">128</td>", page)


def glance(held_out, rates):
    facts = {"index": 0, "short": "lion", "p_class": 1.0}
    lion = Concept.of_class(0, "lion")
    cards = [{"map": {**facts, "targeting_rate": rate}, "concept": lion, "own": None} for rate in rates]
    return map_glance({"model": {"name": "tiny"}, "samples": {"held_out": held_out}}, cards)


def targeting_line(held_out, rates):
    return glance(held_out, rates)[1]


def test_where_no_held_out_sample_could_be_moved_there_is_a_reason_and_neither_figure_nor_tick():
    own, targeting = glance(51, [None] * 4)
    assert "all 51 of them as the class without the map" in targeting["text"]
    assert "%" not in targeting["text"]
    assert (own["mark"], targeting["mark"]) == ("", "unsure")
    own, reason, targeting = glance(51, [None, 0.9, 0.9, 0.9])
    assert "for 1 map there is no held-out sample to move" in reason["text"]
    assert "median of 3 maps" in targeting["text"]
    assert own["mark"] == ""


def test_fewer_than_four_maps_earn_no_tick():
    assert [glance(51, [1.0] * maps)[0]["mark"] for maps in (1, 3, 4)] == ["", "", "good"]


def test_contrasts_half_of_which_are_right_by_chance_have_a_line_of_their_own():
    contrast = Concept.of_sides(Sides((0,), (3,)), tiny.LABELS)
    facts = {"targeting_rate": 0.9}
    contrasts = [{"map": facts | {"p_class": p}, "concept": contrast, "own": None} for p in (0.9, 0.9, 0.2, 0.1)]
    lion = {
        "map": facts | {"p_class": 0.2},
        "concept": Concept.of_class(0, "lion"),
        "own": {"right": True, "independent": False},
    }
    run = {"model": {"name": "tiny"}, "samples": {"held_out": 51}}
    first, second, *_ = map_glance(run, [lion, *contrasts])
    assert first == {
        "mark": "",
        "text": "tiny recognises the concept in 1 of its 1 map. Maps are optimised for that.",
    }
    text = "Of the two sides, tiny prefers the left one in 2 of its 4 maps of contrasts; by chance it would be half."
    assert second == {"mark": "unsure", "text": f"{text} Maps are optimised for that."}
    assert map_glance(run, contrasts)[0] == second


def test_the_median_targeting_rate_has_no_tick_and_is_that_of_an_even_number_too():
    line = targeting_line(51, [1.0, 0.9, 1.0, 0.8])
    assert "a map moves 95 % of held-out samples to its class" in line["text"]
    assert (
        "of 51 held-out samples, those that the network classifies as the class without the map are left out"
        in line["text"]
    )
    assert line["mark"] == ""
    assert "70 %" in targeting_line(51, [0.7, 0.1, 0.9])["text"]
    assert targeting_line(51, [0.4])["mark"] == "unsure"


def test_a_targeting_rate_on_few_held_out_samples_is_doubtful():
    line = targeting_line(1, [1.0, 1.0])
    assert line["mark"] == "unsure"
    assert "of 1 held-out sample, those" in line["text"]
    assert "Of fewer than 10 samples, a share says little." in line["text"]


def text_of(page):
    """The text of a page, without its elements and with single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def test_maps_of_unions_and_contrasts_are_called_maps_of_concepts(tmp_path, page):
    for sides, contrast in ((Sides((0, 3)), False), (Sides((0,), (3,)), True)):
        one = Concept.of_sides(sides, tiny.LABELS)
        made = replace(tiny.concept_map(0), index=one.index, label=one.label, expression=one)
        run = begin(tmp_path / str(contrast), [made])
        (folder,) = run.finished_folders().values()
        data = json.loads((folder / "map.json").read_text(encoding="utf-8")) | {"hits": [0.0, 0.5, 1.0]}
        (folder / "map.json").write_text(json.dumps(data), encoding="utf-8")
        found = text_of(Path(write_report(run)).read_text(encoding="utf-8"))
        for words in ("the map of a concept", "the probability of the concept", "Samples classified as the concept"):
            assert words in found, words
        for words in ("of the class", "as the class", "to its class", "map of a class", "No class of"):
            assert words not in found, words
        assert ("these figures are of a choice between the two sides" in found) is contrast
    found = text_of(page)
    assert "the map of a class:" in found
    assert "those that the network classifies as the class without it are left out" in found
    assert "concept" not in found.split("The maps Confidence:")[1].split("Select a map")[0]
    assert "choice between the two sides" not in found


def test_the_page_needs_no_network(page):
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "url(" not in page
    assert "@import" not in page
    assert page.count("<script") == 1


def test_its_policy_allows_our_style_and_script_and_nothing_else(page):
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256(re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1].encode()).digest()
        assert rules[name] == f"'sha256-{base64.b64encode(digest).decode()}'"
        assert page.count(f"<{tag}") == 1
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"


def test_the_pictures_are_those_of_the_maps(tmp_path):
    slope = torch.linspace(-1, 1, 16).expand(3, 16, 16)  # smooth, because the pictures are compressed
    maps = [tiny.concept_map(0, nu=slope), tiny.concept_map(4, nu=slope.mT)]
    write_report(begin(tmp_path / "run", maps))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    found = re.findall(r'class="map-image" src="data:image/webp;base64,([^"]+)"', page)
    for data, one in zip(found, maps, strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)
        assert np.abs(shown - np.asarray(one.image, float)).mean() < 4


def test_the_loss_curve_falls_from_the_top_left(page):
    points = re.findall(r'points="([^"]*)"', page)
    assert points == ["0.0,0.0 150.0,40.0 300.0,60.0"]  # 2, 1, 0.5 of a top of 2; the y axis points down


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"])
def test_labels_are_text(tmp_path, label):
    write_report(begin(tmp_path / "run", [tiny.concept_map(0, label=label)]))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "<img src=x" not in page
    assert ("{{ 7 * 7 }}" in page) == ("{{" in label)


def test_a_run_without_finished_maps_is_refused_and_unchanged(tmp_path):
    run = begin(tmp_path / "run", [], [tiny.concept_map(0)])
    with pytest.raises(RunError, match="no finished maps"):
        write_report(run)
    assert not (run.path / "report.html").exists()
    assert not (run.path / "sheet.png").exists()


def colours(sheet, left, top, side):
    return np.asarray(sheet)[top : top + side, left : left + side].reshape(-1, 3)


def test_a_contact_sheet_lays_pictures_out_row_by_row():
    shades = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    sheet = contact_sheet([Image.new("RGB", (9, 9), c) for c in shades], ["a", "b", "c"], columns=2, side=40)
    for position, shade in enumerate(shades):
        left, top = 16 + position % 2 * 52, 16 + position // 2 * 74
        assert (colours(sheet, left, top, 40) == shade).all()
    assert sheet.size == (2 * 52 - 12 + 32, 2 * 74 - 12 + 32)


def test_a_picture_that_is_not_square_keeps_its_shape_in_its_square():
    sheet = contact_sheet([Image.new("RGB", (20, 10), (200, 0, 0))], [""], side=40)
    cell = colours(sheet, 16, 16, 40).reshape(40, 40, 3)
    assert (cell[10:30] == (200, 0, 0)).all()
    assert (cell[:10] == 255).all()
    assert (cell[30:] == 255).all()


def test_a_picture_that_is_very_long_has_a_pixel_in_height():
    cell = colours(contact_sheet([Image.new("RGB", (900, 1), (200, 0, 0))], [""], side=40), 16, 16, 40)
    assert (cell == (200, 0, 0)).all(1).sum() == 40


@pytest.mark.parametrize("size", [None, 40])
def test_maps_that_are_not_square_keep_their_shape_on_the_sheet(tmp_path, size):
    run = begin(tmp_path / "run", [tiny.concept_map(index, nu=torch.zeros(3, 32, 16)) for index in (0, 3)])
    write_report(run, size=size)
    side = size or 160
    with Image.open(run.path / "sheet.png") as sheet:
        assert sheet.size == layout(2, 5, side)[0]
        cell = colours(sheet, 16, 16, side).reshape(side, side, 3)
    assert (cell[:, : side // 4] == 255).all()
    assert (cell[:, side // 4 : 3 * side // 4] < 200).all()


def test_the_sheet_of_many_maps_shows_them_smaller_in_a_square(tmp_path):
    run = begin(tmp_path / "run", [tiny.concept_map(0, seed) for seed in range(101)])
    write_report(run)
    with Image.open(run.path / "sheet.png") as sheet:
        assert sheet.size == (10 * (80 + 12) - 12 + 32, 11 * (80 + 22 + 12) - 12 + 32)


def test_long_captions_stay_under_their_picture():
    grey = Image.new("L", (9, 9), 90)
    sheet = contact_sheet([grey, grey], ["w" * 200, "b"], side=60)
    gap = np.asarray(sheet)[16 + 60 : 16 + 60 + 22, 16 + 60 + 1 : 16 + 60 + 11]
    assert (gap == 255).all()


def test_a_caption_may_have_two_lines():
    grey = Image.new("L", (9, 9), 90)
    one, two = (contact_sheet([grey] * 2, ["a vs b", caption], columns=1, side=60) for caption in ("a", "a\nvs b"))
    assert two.height == one.height + 2 * 17  # every row has room for the second line
    second = np.asarray(two)[-12 - 16 : -12]
    assert (second < 255).any()


def test_the_sheet_has_the_columns_and_the_size_that_are_asked_for(tmp_path, call):
    run = begin(tmp_path / "run", [tiny.concept_map(0, seed) for seed in range(4)])
    assert call("report", run.path, "--columns", 2, "--size", 48).code == 0
    with Image.open(run.path / "sheet.png") as sheet:
        assert sheet.size == layout(4, 2, 48)[0]
    assert call("report", run.path).code == 0
    with Image.open(run.path / "sheet.png") as sheet:
        assert sheet.size == layout(4, 5, 160)[0]


@pytest.mark.parametrize(("pictures", "captions"), [(0, 0), (2, 1)])
def test_a_contact_sheet_wants_a_caption_for_each_picture(pictures, captions):
    with pytest.raises(ValueError, match=f"{pictures} images and {captions} captions"):
        contact_sheet([Image.new("L", (4, 4))] * pictures, ["a"] * captions)

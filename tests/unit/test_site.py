"""The site: whole or not at all, one page per class and model, and nothing that its folder does not hold."""

import errno
import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import phosphene as ph
from phosphene.checks import Finding
from phosphene.concepts import Concept, Sides
from phosphene.engine import Engine
from phosphene.errors import PhospheneError, RunError
from phosphene.metrics.matching import MatchedMaps
from phosphene.metrics.predictions import logits_of_maps, top_predictions
from phosphene.recipe import Recipe
from phosphene.reports.site import CONTENT, CONTENT_OF_MAPS, write_site
from phosphene.reports.site_runs import classes_of, read_runs
from phosphene.runs import RunDirectory
from phosphene.runs.checks import write_check
from phosphene.runs.predictions import write_predictions
from phosphene.units import Unit
from tests import tiny
from tests.sites import make_run
from tests.web import SUBJECT, write_scan

# Two classes have one name, as in ImageNet, and one network counts a background.
LABELS = ("lion, king of beasts", "crane", "maillot", "tank suit", "crane")
WITH_BACKGROUND = ("background", "lion, king of beasts", "crane", "maillot", "zebra", "crane")


@pytest.fixture
def runs(tmp_path):
    """Two recipes of one network, and a network whose classes are numbered otherwise and not all the same."""
    return [
        make_run(tmp_path / "a", LABELS, seeds=(0, 1)),
        make_run(tmp_path / "b", LABELS, recipe=Recipe(name="quick", steps=7)),
        make_run(tmp_path / "c", WITH_BACKGROUND, network=3, name="other <b>"),
    ]


def text(site, path):
    """A page of a site."""
    return (site / path).read_text(encoding="utf-8")


def test_every_address_is_relative_and_leads_into_the_site(runs, tmp_path):
    site = tmp_path / "site"
    assert write_site(runs, site) == site / "index.html"
    pages = list(site.rglob("*.html"))
    assert len(pages) == 1 + 2 + 7  # index; models; five classes, "background" and "zebra"
    reached = set()
    for page in pages:
        for address in re.findall(r"""(?:src|href)="([^"]*)\"""", page.read_text(encoding="utf-8")):
            if address.startswith(("data:", "#")):
                continue
            target = (page.parent / html.unescape(address)).resolve()
            assert target.is_relative_to(site), address
            assert target.is_file(), (page, address)
            reached.add(target)
    written = {one.resolve() for one in site.rglob("*") if one.is_file() and one.name != ".nojekyll"}
    seeds = {one for one in written if one.parent.parent.name == "thumbs"} - reached  # chosen by the script
    assert written - seeds == reached
    assert len(list(site.glob("images/*/*"))) == 10 + 5 + 6


def test_classes_are_matched_by_name(runs):
    """Position tells apart the two classes called "crane"."""
    found = {one.page: one.maps for one in classes_of(read_runs(runs))}
    assert {page: sorted(maps) for page, maps in found.items()} == {
        "lion-0": [1, 2, 3],
        "crane-1": [1, 2, 3],
        "maillot-2": [1, 2, 3],
        "tank-suit-3": [1, 2],
        "crane-4": [1, 2, 3],
        "background-0": [3],
        "zebra-4": [3],
    }
    assert [cards[0]["map"]["index"] for cards in (found["crane-1"][3], found["crane-4"][3])] == [2, 5]
    assert [card["map"]["seed"] for card in found["lion-0"][1]] == [0, 1]


def test_what_cannot_be_matched_has_a_page_of_its_own(tmp_path):
    """One network has a class "crane", another two at other places: it is not clear which one is meant."""
    runs = [
        make_run(tmp_path / "a", ("crane",)),
        make_run(tmp_path / "b", ("heron", "crane", "crane"), network=3, classes=(1, 2)),
        make_run(tmp_path / "c", ("crane!",), network=4),
    ]
    found = {one.page: sorted(one.maps) for one in classes_of(read_runs(runs))}
    assert found == {"crane-0": [1], "crane-1": [2], "crane-2": [2], "crane-0.3": [3]}


def test_runs_are_told_apart(tmp_path, runs):
    again = make_run(tmp_path / "d", LABELS, classes=(0,))
    titles = [one.title for one in read_runs([*runs, again])]
    assert titles == [
        "tiny, paper, a",
        "tiny, quick with changes",
        "other <b>",
        "tiny, paper, d",
    ]


def test_pages_show_figures_of_every_run_and_seed(runs, tmp_path):
    write_site(runs, tmp_path / "site")
    index, page = text(tmp_path / "site", "index.html"), text(tmp_path / "site", "classes/tank-suit-3.html")
    assert re.search(r'data-name="tank suit" data-index="3" data-p="60 60 ">', index)  # mean of .60 and .59; no map
    assert 'value="others+"' not in index  # nothing has been scored
    assert page.count('class="map-image"') == 3
    assert "59 %" in page
    assert "No map of this class on this site: other &lt;b&gt;." in page
    models = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "site" / "models").iterdir()}
    assert sorted(name.rpartition("-")[0] for name in models) == ["other-b", "tiny"]
    tiny_page = next(page for name, page in models.items() if name.startswith("tiny"))
    assert tiny_page.count("phosphene map ") == 2  # how each of its runs was made
    assert "<b>" not in re.sub(r"<b>(map|confidence|M<sub>|top-1)", "", tiny_page)


def test_bad_news_come_first_on_the_page_of_a_model(tmp_path):
    run = make_run(tmp_path / "run", LABELS)
    facts = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    facts["samples"]["held_out"] = 51
    (run.path / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    found = Finding("cascade", {}, False, "It does not depend on it.")
    write_check(run, {**found.to_dict(), "subject": SUBJECT}, run.maps_sha256())
    model = read_runs([run])[0].model
    write_site([run], tmp_path / "site")
    marks = re.findall(r'<li class="(\w*)"><span class="sign"', text(tmp_path / "site", f"models/{model}.html"))
    assert marks[0] == "bad"
    assert "" in marks  # the targeting rate


def test_a_run_that_holds_only_a_scan_has_a_page_with_the_verdict_and_its_caveat(runs, tmp_path):
    scanned = make_run(tmp_path / "scan", network=4, name="scanned", classes=())
    write_scan(scanned, "clean", suspects=[])
    page = f"models/{read_runs([scanned])[0].model}.html"
    for several in ([scanned], [*runs, scanned]):
        write_site(several, tmp_path / "site")
        index, model = text(tmp_path / "site", "index.html"), text(tmp_path / "site", page)
        assert "This does not mean that there is none" in re.search(r"<li>.*>scanned<[\s\S]*?</li>", index)[0]
        for said in (
            "<h1>Scan of <em>scanned</em></h1>",
            "<h2>Is there a backdoor in it?</h2>",
            "<h2>How it was made</h2>",
        ):
            assert said in model
        assert 'id="maps"' not in model
        assert ('id="maps"' in index) == (several != [scanned])
        assert ("Maps of" in index) == (several != [scanned])
    assert 'value="4"' not in index  # a choice of whose maps are shown


def test_thumbnails_are_small_and_images_whole(tmp_path):
    write_site([make_run(tmp_path / "a", classes=(0, 4), side=200)], tmp_path / "site")
    sizes = []
    for folder in ("images", "thumbs"):
        with Image.open(tmp_path / "site" / folder / "1" / "lion-0.webp") as image:
            sizes.append(image.size)
    assert sizes == [(200, 200), (160, 160)]


def test_an_image_that_is_damaged_is_rendered_again(runs, tmp_path):
    file = next(runs[0].path.glob("maps/lion-0/seed-0/map.png"))
    write_site(runs[:1], tmp_path / "before")
    file.write_bytes(b"no image")
    write_site(runs[:1], tmp_path / "after")
    one, other = ((tmp_path / name / "images" / "1" / "lion-0.webp").read_bytes() for name in ("before", "after"))
    assert one == other


def names(folder):
    """What lies in a folder, hidden files as well."""
    return sorted(one.name for one in folder.iterdir())


def test_an_earlier_site_stays_until_the_new_one_is_whole(runs, tmp_path):
    site = tmp_path / "out" / "site"
    write_site(runs[:1], site)
    (runs[1].path / "maps" / "lion-0" / "seed-0" / "map.safetensors").write_bytes(b"damaged")
    (runs[1].path / "maps" / "lion-0" / "seed-0" / "map.png").unlink()
    before = text(site, "index.html")
    with pytest.raises(RunError, match="damaged"):
        write_site(runs, site)
    assert (text(site, "index.html"), names(site.parent)) == (before, [".site.lock", "site"])
    (site.parent / ".site.phosphene-1.part").mkdir()  # of a process that was killed
    write_site([runs[0], runs[2]], site)
    assert "other &lt;b&gt;" in text(site, "index.html")
    assert (names(site), names(site.parent)) == (sorted(CONTENT + CONTENT_OF_MAPS), [".site.lock", "site"])


def test_a_site_that_was_moved_aside_by_a_killed_process_is_put_back(runs, tmp_path):
    site = tmp_path / "out" / "site"
    write_site(runs[:1], site)
    site.rename(site.parent / ".site.phosphene-1.old")
    with pytest.raises(RunError, match="given twice"):
        write_site([runs[0], runs[0]], site)
    assert names(site.parent) == [".site.lock", "site"]


def test_an_earlier_site_is_put_back_where_the_new_one_cannot_be_moved_into_its_place(runs, tmp_path, monkeypatch):
    site, move = tmp_path / "out" / "site", Path.replace
    write_site(runs[:1], site)
    before = (site / "index.html").read_bytes()

    def refuse_the_new_one(path, target):
        if path.name.endswith(".part") and path.is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        return move(path, target)

    monkeypatch.setattr(Path, "replace", refuse_the_new_one)
    with pytest.raises(RunError, match="Permission denied"):
        write_site(runs, site)
    assert (site / "index.html").read_bytes() == before
    assert names(site.parent) == [".site.lock", "site"]


def test_a_second_command_does_not_touch_a_site_that_is_being_written(runs, tmp_path):
    def write_another(number, _):
        if number == 1:
            with pytest.raises(RunError, match="being written by another command: wait"):
                write_site(runs[1:], tmp_path / "site")

    write_site(runs[:1], tmp_path / "site", on_progress=write_another)
    assert names(tmp_path / "site") == sorted(CONTENT + CONTENT_OF_MAPS)


def test_a_folder_of_something_else_is_refused_and_untouched(runs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    for out, message in (
        ("mine", "holds files but is not a site"),
        ("a", "not a site"),
        ("a/run.json", "among the files of the run"),
    ):
        before = names(tmp_path)
        with pytest.raises(RunError, match=message):
            write_site(runs[:1], tmp_path / out)
        assert names(tmp_path) == before
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"
    write_site(runs[:1], tmp_path / "site")
    (tmp_path / "site" / "CNAME").write_text("example.org")
    with pytest.raises(RunError, match="CNAME, no part of a site"):
        write_site(runs[:1], tmp_path / "site")


def test_runs_without_maps_are_refused(runs, tmp_path):
    shutil.rmtree(runs[1].path / "maps")
    with pytest.raises(RunError, match="no finished maps"):
        ph.site(runs, tmp_path / "site", progress=False)
    with pytest.raises(PhospheneError, match="a run is the path of a run directory"):
        ph.site(7, tmp_path / "site", progress=False)
    assert "site" not in names(tmp_path)


def test_progress_counts_every_map(runs, tmp_path):
    seen = []
    write_site(runs, tmp_path / "site", on_progress=lambda number, total: seen.append((number, total)))
    assert seen == [(number, 21) for number in range(1, 22)]


def test_names_are_text(tmp_path):
    hostile = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "../../etc", "con"
    write_site([make_run(tmp_path / "a", hostile, name="<script>alert(2)</script>")], tmp_path / "site")
    for page in (tmp_path / "site").rglob("*.html"):
        assert len(re.findall("<script", page.read_text(encoding="utf-8"))) == 1, page
        assert "<img src=x" not in page.read_text(encoding="utf-8")
    assert sorted(one.name for one in (tmp_path / "site" / "classes").iterdir()) == [
        *("7-7-2.html", "con-4.html", "etc-3.html", "img-src-x-onerror-alert-1-1.html", "script-alert-1-script-0.html")
    ]


def test_runs_that_are_scored_are_sorted_by_what_others_predict(tmp_path):
    run, other = make_run(tmp_path / "a"), tiny.classifier(3, name="other")
    with Engine(other, device="cpu") as engine:
        logits = logits_of_maps(engine, run.maps())
    classes = list(enumerate(tiny.LABELS))
    rows = top_predictions(
        logits,
        MatchedMaps([Concept.of_class(*one) for one in classes], {index: index for index, _ in classes}, tiny.LABELS),
    )
    write_predictions(run, other, dict(zip(run.map_hashes(), rows, strict=True)), run.map_hashes())
    write_site([run], tmp_path / "site")
    index = text(tmp_path / "site", "index.html")
    assert 'value="others+"' in index
    found = [float(share) for share in re.findall(r'data-others="([^"]*)"', index)]
    assert found == pytest.approx([100 * row["p_class"] for row in rows], abs=0.51)
    assert "others agree" in text(tmp_path / "site", "classes/crane-1.html")


def test_a_site_with_unions_or_contrasts_speaks_of_concepts(runs, tmp_path):
    one = Concept.of_sides(Sides((0,), (3,)), LABELS)
    made = replace(tiny.concept_map(0), index=one.index, label=one.label, expression=one)
    run = RunDirectory(tmp_path / "contrast")
    tiny.add_maps(run, made)
    write_site([run], tmp_path / "site")
    (page,) = (tmp_path / "site" / "classes").iterdir()
    words = ("All concepts", "The concepts", ">1 concept<", "map</b> of a concept", "probability of the concept")
    index = text(tmp_path / "site", "index.html")
    for word in words:
        assert word in index, word
    assert "classifies as the concept" in page.read_text(encoding="utf-8")
    assert "these figures are of a choice between the two sides" in page.read_text(encoding="utf-8")
    (model,) = (tmp_path / "site" / "models").iterdir()
    assert "0 of 5 shown, and 1 other concept" in model.read_text(encoding="utf-8")
    assert not re.search(r"the class\b", re.sub(r"<a .*?</a>", "", page.read_text(encoding="utf-8")))
    write_site(runs, tmp_path / "classes")
    assert "concept" not in text(tmp_path / "classes", "index.html")


def test_the_first_page_has_the_verdict_of_a_scanned_network_and_each_recipe_once(runs, tmp_path):
    write_scan(runs[0], "inconclusive", suspects=[])
    write_site(runs, tmp_path / "site")
    index = text(tmp_path / "site", "index.html")
    assert index.count('<span class="badge unsure">inconclusive</span> The scan could not decide') == 1
    assert index.count("quick with changes") == 2  # in the list of networks, and in the choice of runs


def test_by_number_classes_come_first_then_unions_then_units(tmp_path):
    union, unit = Concept.of_sides(Sides((0,), (3,)), LABELS), Concept.of_unit(Unit("stem", 2))
    first, second = RunDirectory(tmp_path / "first"), RunDirectory(tmp_path / "second")
    tiny.add_maps(
        first, *(replace(tiny.concept_map(), index=one.index, label=one.label, expression=one) for one in (unit, union))
    )
    tiny.add_maps(second, tiny.concept_map(3))
    assert [one.index for one in classes_of(read_runs([first, second]))] == [3, union.index, unit.index]

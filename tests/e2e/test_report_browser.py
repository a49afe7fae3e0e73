"""The report in a real browser: it opens without complaint, is searched, sorted and zoomed, and keeps text text."""

import re

import pytest
import torch

from phosphene.checks.finding import Finding
from phosphene.concept_map import Job
from phosphene.recipe import Recipe
from phosphene.reports import write_report
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.checks import write_check
from phosphene.samples.pool import make_pool
from phosphene.workflows.own_predictions import write_own_predictions
from phosphene.workflows.score import score_sources
from tests import tiny
from tests.e2e.browser import axe, chromium, faults, new_page  # noqa: F401  (fixtures)

pytestmark = pytest.mark.slow

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}\u202e"
SCHEMES, WIDTHS = ("light", "dark"), (1440, 390)
SUBJECT = {"concepts": [{"index": 0, "label": "lion", "seed": 0}], "samples": {"spec": "some samples", "sha256": ""}}


def make(folder, labels):
    """A run of five classes with two seeds, read by its own network and by another, and checked."""
    network = tiny.classifier(labels=labels)
    run = RunDirectory(folder)
    # p: of class 0 seed 0 0.9, of the next 0.8, ...; one map's targeting rate was not measured
    maps = [
        tiny.concept_map(
            *(index, seed),
            label=labels[index],
            p_class=0.9 - 0.1 * index - 0.01 * seed,
            targeting_rate=None if (index, seed) == (3, 1) else (0.1 + 0.1 * index + 0.01 * seed),
        )
        for index in range(5)
        for seed in (0, 1)
    ]
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples")
    facts = run_facts(network, Recipe(), pool, "cpu", "fp32")
    run.begin(facts, [(Job(one.index, one.seed), one.label) for one in maps])
    for one in maps:
        run.write(one)
    write_own_predictions(run, network, device="cpu")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    labels = ["lion, king of beasts", "crane", "café crème", "maillot", "tank suit"]
    made = make(folder / "run", labels)
    card = tiny.make_card(folder / "card", seed=3)
    (card.folder / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    score_sources([made], [str(card.path)], device="cpu", trust=True)
    for name, passed in (("cascade", False), ("seeds", True), ("fidelity", None)):
        found = Finding(name, {"hog_at_2": 0.5, "limit": 0.1}, passed, "What was found.", 3)
        write_check(made, {**found.to_dict(), "subject": SUBJECT}, made.maps_sha256())
    write_report(made)
    return made


@pytest.fixture
def opened(new_page, run):  # noqa: F811
    """Open the run's report, which asks for nothing else; whatever the browser complains of fails the test."""

    def opened(*, folder=run.path, **how):
        page = new_page(offline=True, **how)
        page.goto((folder / "report.html").resolve().as_uri())
        assert [url for url in page.asked if not url.startswith("data:")] == [page.url]
        return page

    return opened


def shown(page):
    """Class and seed of the visible cards, in their order."""
    return page.evaluate(
        "[...document.querySelectorAll('.card')].filter(c => c.checkVisibility())"
        ".map(c => [Number(c.dataset.index), Number(c.dataset.seed)])"
    )


EVERY = [[index, seed] for index in range(5) for seed in (0, 1)]


def test_search(opened):
    page = opened()
    assert shown(page) == EVERY
    for words, wanted in (
        ("LION", [0]),
        ("beasts", [0]),  # a synonym
        ("cafe creme", [2]),
        ("4", [4]),  # a class's number
        ("  a", [1, 2, 3, 4, 0]),
        ("", [0, 1, 2, 3, 4]),
    ):
        page.get_by_label("Search").fill(words)
        assert {index for index, _ in shown(page)} == set(wanted), words
    page.get_by_label("Search").fill("lion")
    assert page.locator("#count").inner_text() == "2 of 10 maps"
    page.get_by_label("Search").fill("nothing of this name")
    assert shown(page) == []
    assert page.get_by_text("No class of this run matches").is_visible()


def test_sort(opened):
    page = opened()

    def by(choice):
        page.get_by_label("Sort by").select_option(choice)
        return [tuple(place) for place in shown(page)]

    assert [index for index, _ in by("name")] == [2, 2, 1, 1, 0, 0, 3, 3, 4, 4]
    assert by("confidence, lowest first")[0] == (4, 1)
    assert by("confidence, highest first") == [tuple(place) for place in EVERY]
    # what was not measured stands last, whichever way
    most, fewest = by("targeting rate, highest first"), by("targeting rate, lowest first")
    assert most[-1] == fewest[-1] == (3, 1)
    assert most[0] == (4, 1)
    assert fewest[0] == (0, 0)
    surest, least = by("confidence of others, highest first"), by("confidence of others, lowest first")
    assert surest != least
    assert set(surest) == set(least)
    assert by("class number") == [tuple(place) for place in EVERY]


def test_zoom_with_the_keyboard_alone(opened):
    page = opened()
    first = page.locator("#map-0-0 .open")
    first.focus()
    page.keyboard.press("Enter")
    dialog, title = page.get_by_role("dialog"), page.locator("#zoom-title")
    assert dialog.is_visible()
    assert title.inner_text() == "lion, class 0, seed 0"
    assert dialog.get_by_text("The network classifies its own map as").is_visible()
    assert dialog.get_by_role("img", name=re.compile("Cross-entropy: from 2 to 0.5 in 3 steps")).is_visible()
    page.keyboard.press("ArrowRight")
    assert title.inner_text() == "lion, class 0, seed 1"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert title.inner_text() == "tank suit, class 4, seed 1"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    for _ in range(30):  # the focus stays in the dialog
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#zoom')")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # The browser tells the page of the closed dialog a moment later. A function: for text, the page's policy forbids a second look.
    page.wait_for_function("() => document.activeElement.closest('.card')?.id === 'map-0-1'")
    assert page.locator(".card .whole").count() == 10  # every closer look is back in its card


def test_zoom_goes_through_what_was_searched(opened):
    page = opened()
    page.get_by_label("Search").fill("crane")
    page.locator("#map-1-0 .open").click()
    for wanted in ("seed 1", "seed 0"):
        page.get_by_label("Next map").click()
        assert page.locator("#zoom-title").inner_text() == f"crane, class 1, {wanted}"
        assert page.locator("#zoom-body .cost").inner_text().startswith("targeting rate ")
    page.get_by_label("Close").click()
    assert not page.get_by_role("dialog").is_visible()


def test_other_contrasts_are_those_of_the_rendering(opened):
    """What the filter makes of one stored picture is what ``render`` makes of the map."""
    page = opened()
    page.locator("#map-0-0 .open").click()
    still = page.locator("#still")
    own = page.locator("#map-0-0 .map-image").get_attribute("src")
    assert (still.get_attribute("src"), still.evaluate("i => i.style.filter")) == (own, "none")
    page.locator("#contrast").focus()
    page.keyboard.press("End")
    assert (still.get_attribute("src"), still.evaluate("i => i.style.filter")) == (own, "contrast(2)")
    page.keyboard.press("Home")
    assert still.get_attribute("src") != own
    assert float(still.evaluate("i => i.style.filter.match(/[0-9.]+/)[0]")) == pytest.approx(0.05 / 0.07)
    assert page.locator("#zoom-title").inner_text() == "lion, class 0, seed 0"  # arrows in the slider turn no pages
    assert page.locator("#contrast-value").inner_text() == "0.05"


def test_frames_are_played_and_stopped(opened, chromium, tmp_path):  # noqa: F811
    from PIL import Image

    run = make(tmp_path / "run", tiny.LABELS)
    frames = [Image.new("RGB", (16, 16), (shade, 90, 90)) for shade in (0, 120, 250)]
    file = run.folder(Job(0, 0), tiny.LABELS[0]) / "frames.webp"
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=100)
    write_report(run)
    page = opened(folder=run.path)
    page.locator("#map-0-0 .open").click()
    still, play = page.locator("#still"), page.locator("#play")
    before = still.get_attribute("src")
    play.click()
    assert play.get_attribute("aria-pressed") == "true"
    assert still.get_attribute("src") != before
    play.click()
    assert still.get_attribute("src") == before
    page.keyboard.press("ArrowRight")
    assert not play.is_visible()  # nothing was recorded of this one


def test_the_colours_can_be_turned(opened):
    for scheme in SCHEMES:
        page = opened(scheme=scheme)
        paper = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(paper)
        page.get_by_role("button", name=re.compile("Use (light|dark) colours")).click()
        assert page.evaluate(paper) != before
        other = opened(scheme=next(one for one in SCHEMES if one != scheme))
        assert page.evaluate(paper) == other.evaluate(paper)


def test_without_scripts_everything_can_be_read(opened):
    page = opened(scripts=False)
    assert page.locator(".map-image").count() == 10
    assert not page.locator("#tools").is_visible()
    card = page.locator("#map-0-0")
    assert not card.locator(".faint").is_visible()
    card.get_by_text("Closer look").click()
    assert card.locator(".faint").is_visible()
    assert card.get_by_text("The network classifies its own map as").is_visible()


def test_hostile_labels_are_text(opened, tmp_path):
    run = make(tmp_path / "run", [f"{HOSTILE}{number}" for number in range(5)])
    write_report(run)
    page = opened(folder=run.path)
    page.locator("#map-0-0 .open").click()
    assert "<script>document.title='owned'</script><img src=x onerror=" in page.locator("#zoom-title").inner_text()
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("<img src=x")
    assert len(shown(page)) == 10
    assert "owned" not in page.title()
    assert "49" not in page.locator("#map-0-0").inner_text()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 1
    assert "\u202e" not in page.content()


def test_the_policy_stops_what_would_get_past_the_escaping(chromium, run, tmp_path):  # noqa: F811
    """Were a label not escaped one day, its script would still not run: the page's policy names ours alone."""
    text = (run.path / "report.html").read_text(encoding="utf-8")
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    (tmp_path / "report.html").write_text(text.replace("<h1>", hostile + "<h1>"), encoding="utf-8")
    page = chromium.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("img[src=x]").count() == 1
    assert page.title() != "owned"
    assert page.locator(".open").count() == 10  # our own script has run
    page.close()


# Fields with more text than they have room for, and a bar that has to be scrolled.
CUT_OFF = """() => [...document.querySelectorAll(".tools input, .tools select, .top nav")].filter((one) => {
  if (one.tagName === "NAV") return one.scrollWidth > one.clientWidth;
  const style = getComputedStyle(one), pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return pen.measureText(one.placeholder || one.selectedOptions[0].textContent).width > room;
}).map((one) => one.id || one.tagName)"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_of_a_field_or_of_the_bar_is_cut_off(opened, width):
    assert opened(width=width).evaluate(CUT_OFF) == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_accessibility(opened, axe, scheme, width):  # noqa: F811
    page = opened(scheme=scheme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details.fold').forEach(one => one.open = true)")
    assert faults(page, axe) == []
    page.locator("#map-0-0 .open").click()
    assert faults(page, axe) == []
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= width

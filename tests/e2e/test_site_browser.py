"""The site in a real browser, from file:// and below any address: search, choice of a run, accessibility."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from phosphene.recipe import Recipe
from phosphene.reports.site import write_site
from tests.e2e.browser import axe, chromium, faults, new_page  # noqa: F401  (fixtures)
from tests.sites import make_run

pytestmark = pytest.mark.slow

MANY = ("lion, king of beasts", "crane", "café crème", "maillot", "tank suit", *(f"kind {n}" for n in range(5, 200)))
SCHEMES, WIDTHS = ("light", "dark"), (1440, 390)
PAGES = ("index.html", "classes/lion-0.html", "models/{first}.html")
# Waits until all images from a place on are loaded.
LOADED = """from => Promise.all([...document.images].slice(from).filter(i => !i.complete).map(
    i => new Promise(done => { i.onload = i.onerror = done; })))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two recipes of a network of 200 classes, and a network with three other ones."""
    folder = tmp_path_factory.mktemp("site")
    runs = [
        make_run(folder / "a", MANY, seeds=(0,)),
        make_run(folder / "b", MANY, recipe=Recipe(name="quick"), classes=(0, 2), seeds=(0, 1)),
        make_run(folder / "c", ("zebra", "crane", "lion, king of beasts"), network=3, name="other"),
    ]
    write_site(runs, folder / "site")
    return folder / "site"


@pytest.fixture
def opened(new_page, site):  # noqa: F811
    """Open a page of the site; whatever the browser complains of fails the test."""

    def opened(path="index.html", *, base=None, **how):
        page = new_page(**how)
        first = next(one.stem for one in (site / "models").iterdir() if one.stem.startswith("tiny"))
        page.goto((base or f"{site.as_uri()}/") + path.format(first=first))
        return page

    return opened


def shown(page):
    """Names of the classes that are visible, in their order, on a page that has been read to its end."""
    page.wait_for_load_state()
    return page.locator("#maps li:not([hidden]) a").all_inner_texts()


def broken(page):
    """Images that were loaded, and of them those that hold nothing."""
    page.evaluate("document.querySelectorAll('img').forEach(one => one.loading = 'eager')")
    page.evaluate(LOADED, 0)
    return page.evaluate("[document.images.length, [...document.images].filter(i => !i.naturalWidth).map(i => i.src)]")


def test_search_finds_names_synonyms_and_numbers(opened):
    page = opened()
    assert len(shown(page)) == 201
    for words, wanted in (
        ("BEASTS", ["lion"]),
        ("cafe creme", ["café crème"]),
        ("199", ["kind 199"]),
        ("zeb", ["zebra"]),
    ):
        page.get_by_label("Search").fill(words)
        assert shown(page) == wanted, words
    assert page.locator("#count").inner_text() == "1 of 201 classes"
    page.get_by_label("Search").fill("nothing of this name")
    assert page.get_by_text("No class matches").is_visible()


def test_a_run_is_chosen_and_sorted(opened):
    page = opened()
    page.get_by_label("Sort by").select_option("confidence, lowest first")
    assert shown(page)[0] == "tank suit"  # the first of those with the lowest
    page.get_by_label("Maps by").select_option("other")
    assert shown(page) == ["lion", "crane", "zebra"]
    visible = page.locator("#maps li:not([hidden])")
    images = visible.locator("img").evaluate_all("all => all.map(i => i.src.split('/thumbs/')[1])")
    assert images == ["3/lion-0.webp", "3/crane-1.webp", "3/zebra-0.webp"]
    assert visible.locator("small").all_inner_texts() == ["70 %", "80 %", "90 %"]
    page.get_by_label("Maps by").select_option("tiny, quick with changes")
    assert sorted(shown(page)) == ["café crème", "lion"]
    page.get_by_label("Maps by").select_option("the first that has one")
    assert len(shown(page)) == 201


def test_thumbnails_are_loaded_as_one_scrolls(opened):
    page = opened(width=390)
    page.wait_for_load_state("networkidle")
    before = len([url for url in page.asked if "/thumbs/" in url])
    assert 0 < before < 201
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.evaluate(LOADED, -1)
    assert page.evaluate("[...document.images].at(-1).naturalWidth") == 16


def test_a_class_leads_to_its_page_its_neighbours_and_its_models(opened):
    page = opened()
    page.get_by_role("link", name="crane").click()
    assert page.get_by_role("heading", level=1).inner_text() == "crane"
    assert page.locator(".map-image").count() == 2
    page.get_by_role("link", name="← zebra").click()  # number 0, as lion is, in another network
    page.get_by_role("link", name="← lion").click()
    assert page.locator(".map-image").count() == 1 + 2 + 1  # two recipes, one of them with two seeds; another network
    assert broken(page) == [4, []]
    page.get_by_role("link", name="other").last.click()
    assert page.get_by_role("heading", level=1).inner_text() == "Maps of other"
    assert shown(page) == ["lion", "zebra", "crane"]
    page.get_by_role("link", name="All classes").click()
    assert len(shown(page)) == 201


def test_what_was_searched_is_there_when_one_comes_back(opened):
    page = opened()
    page.get_by_label("Maps by").select_option("other")
    page.get_by_label("Sort by").select_option("confidence, highest first")
    page.get_by_label("Search").fill("r")
    assert shown(page) == ["zebra", "crane"]
    page.get_by_role("link", name="zebra").click()
    page.go_back()
    assert page.get_by_label("Search").input_value() == "r"
    assert shown(page) == ["zebra", "crane"]


def test_the_colours_stay_from_page_to_page(opened):
    page = opened()
    page.get_by_role("button", name="Use dark colours").click()
    page.get_by_role("link", name="crane").click()
    page.get_by_role("button", name="Use light colours").wait_for()  # fails if it does not appear


def test_it_works_below_any_address(opened, site, tmp_path):
    """Published on a server, at an address with a path and a space, it asks for nothing outside that path."""
    (tmp_path / "a path" / "deep").mkdir(parents=True)
    (tmp_path / "a path" / "deep" / "x").symlink_to(site)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}/a%20path/deep/x/"
        for path in PAGES:
            page = opened(path, base=base)
            number, empty = broken(page)
            assert (number > 0, empty) == (True, [])
            assert all(url.startswith(base) for url in page.asked)
    finally:
        server.shutdown()
        server.server_close()


def test_without_scripts_everything_can_be_read(opened):
    page = opened(scripts=False)
    assert page.locator("#maps li").count() == 201
    assert not page.locator("#tools").is_visible()
    page.get_by_role("link", name="crane").click()
    assert page.locator(".map-image").count() == 2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_accessibility(opened, axe, scheme, width):  # noqa: F811
    for path in PAGES:
        page = opened(path, scheme=scheme, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.evaluate("document.querySelectorAll('details.fold').forEach(one => one.open = true)")
        assert faults(page, axe) == []

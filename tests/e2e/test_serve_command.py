"""The gallery as its user has it: the command in a process of its own, and a real browser."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, command
from tests.e2e.browser import axe, chromium, faults  # noqa: F401  (fixtures)
from tests.tiny import SETTINGS

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"
# A shell that starts its jobs in the background has them ignore the signal.
LISTENING = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}


# Notes whenever the headline names another step than the map's card.
STEPS_APART = r"""() => {
    window.apart = [];
    new MutationObserver(() => {
        const texts = [...document.querySelectorAll(".status span, .card .which")].map((one) => one.textContent);
        const steps = texts.map((text) => /step (\d+) of/.exec(text)?.[1]).filter(Boolean);
        if (new Set(steps).size > 1) apart.push(steps);
    }).observe(document.querySelector("[data-live]"), { subtree: true, childList: true });
}"""


@pytest.fixture
def serve(tmp_path):
    """Start the installed command on a free port; return its address. It ends by Ctrl+C, with 0, and so do its runs."""
    (tmp_path / "runs").mkdir()
    started = []

    def serve(*words):
        program = Path(sys.executable).with_name("phosphene")
        line = [program, "serve", tmp_path / "runs", "--port", "0", *words]
        process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=tmp_path, **LISTENING)
        started.append(process)
        said = process.stderr.readline()
        return re.search(r"at (http://127\.0\.0\.1:\d+)/ ", said)[1]

    yield serve
    for process in started:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=PATIENCE)
        assert (process.returncode, complaints) == (0, "")


@pytest.fixture
def page(chromium):  # noqa: F811
    """A page; whatever the browser complains of fails the test."""
    complaints = []
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)

    def note(message):
        # A preview is removed when its map ends, which may be between the page's answer and the image's.
        removed = "404" in message.text and "/image/" in message.location["url"]
        refused = "400" in message.text and message.location["url"].endswith("/start")
        if message.type in ("error", "warning") and not (removed or refused):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def loaded(page, picture):
    """Wait until a picture is shown, and return its address."""
    page.wait_for_function("(one) => document.querySelector(one)?.naturalWidth > 0", arg=picture)
    return page.get_attribute(picture, "src")


@pytest.mark.slow
def test_a_run_is_started_from_the_form_and_its_picture_appears(serve, page, axe, tmp_path):  # noqa: F811
    url = serve()
    page.goto(url)
    assert "No runs yet" in page.inner_text("main")
    page.click("text=New run")
    page.fill("#model", "demo:shapes")
    page.fill("#concepts", "star\nheart")
    page.click("text=more")
    page.fill("#set", "steps=4\nbatch_size=4")
    page.fill("#name", "../mine")
    assert faults(page, axe) == []
    page.click("button.primary")
    assert page.url == f"{url}/run/mine"
    page.wait_for_selector(".badge.good")  # finished
    assert "2 of 2 maps" in page.inner_text(".status")
    for key in ("0 0", "6 0"):
        assert "small" not in loaded(page, f'[data-key="{key}"] img.map-image')
    assert (tmp_path / "runs" / "mine" / "maps" / "star-0" / "seed-0" / "map.png").exists()
    page.wait_for_selector("text=Open the report")
    assert faults(page, axe) == []
    page.goto(f"{url}/compare?a=mine&b=mine")
    assert page.inner_text(".change >> nth=0 >> .figure") == "same network: no change"
    assert faults(page, axe) == []
    page.goto(url)
    loaded(page, ".thumbs img")
    assert faults(page, axe) == []
    page.goto(f"{url}/report/mine")  # as a stranger to this server
    assert page.evaluate("origin") == "null"
    loaded(page, "img.map-image")


@pytest.mark.slow
def test_a_running_map_is_seen_sharpening_and_then_stopped(serve, page, card, tmp_path):
    (card.folder / "labels.txt").write_text(f"{HOSTILE}\nb\nc\nd\ne", encoding="utf-8")
    url = serve()
    page.goto(url)
    out = tmp_path / "runs" / "live"
    words = ["map", card.path, "--trust", "-c", 0, "--out", out, "--device", "cpu", *SETTINGS, "--set=steps=1000000"]
    with subprocess.Popen(command(*words), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **LISTENING) as other:
        try:
            page.click('a:has-text("tiny")')  # it appears by itself
            page.wait_for_selector(".badge.running")
            assert HOSTILE in page.inner_text(".card h2")
            page.evaluate(STEPS_APART)
            first = loaded(page, ".card img.map-image")
            page.wait_for_function(
                "(old) => document.querySelector('.card img.map-image').getAttribute('src') !== old", arg=first
            )
            assert loaded(page, ".card img.map-image") != first
            assert page.evaluate("apart") == []
        finally:
            other.send_signal(signal.SIGINT)
            other.wait(PATIENCE)
    page.wait_for_selector("text=stopped")
    assert "phosphene" in page.title()  # and not "owned"


@pytest.mark.slow
def test_a_scan_and_a_check_are_started_and_their_verdicts_stand_on_the_list(serve, page, call, axe, tmp_path):  # noqa: F811
    few = ["--set=steps=2", "--set=batch_size=4"]
    words = [word for name in ("star", "ring", "heart", "arrow") for word in ("-c", name)]
    assert call("map", "demo:shapes", *words, *few, "--out", tmp_path / "runs" / "mine").code == 0
    url = serve()
    page.goto(f"{url}/run/mine")
    page.click("text=Scan this network")
    assert page.input_value("#model") == "demo:shapes"
    assert faults(page, axe) == []
    page.fill("#model", "demo:shapes-trojan")
    page.click("button.primary")
    page.wait_for_selector(".panel progress")
    assert page.url == f"{url}/run/demo-shapes-trojan-scan"
    assert faults(page, axe) == []
    page.goto(f"{url}/run/mine")
    page.click("a:text-is('Check')")
    assert page.input_value("#run") == "mine"
    page.click("button.primary")
    page.wait_for_selector(".finding:has-text('Sanity checks')")
    page.goto(url)
    page.wait_for_selector(".badge.bad:has-text('backdoor suspected')")
    assert "Class heart (6)." in page.inner_text('[data-key="run demo-shapes-trojan-scan"]')
    assert "Sanity checks" in page.inner_text('[data-key="run mine"]')
    page.wait_for_function("() => document.querySelectorAll('.panel').length == 0")
    for scheme, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert faults(page, axe) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click('[data-key="run demo-shapes-trojan-scan"] >> text=Report')
    assert page.url.endswith("/report/demo-shapes-trojan-scan/report.html#scan")
    page.wait_for_selector(".verdict.bad")


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False])
def test_a_form_that_cannot_be_used_keeps_its_fields_and_is_put_right(serve, page, axe, tmp_path, scripts):  # noqa: F811
    url = serve()
    if not scripts:
        page = page.context.browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{url}/new")
    page.fill("#model", "demo:shapes")
    page.fill("#concepts", "star\nhaert")
    page.click("text=more")
    page.fill("#set", "xi_layer=none")
    page.fill("#name", "job")
    page.select_option("#recipe", "quick")
    page.click("button.primary")
    assert "Did you mean heart?" in page.inner_text("#concepts-fault")
    assert page.get_attribute("#concepts", "autofocus") is not None
    assert page.input_value("#concepts").split() == ["star", "haert"]
    assert page.input_value("#recipe") == "quick"
    if scripts:
        assert faults(page, axe) == []
    page.fill("#concepts", "star\nheart")
    if scripts:  # the name of a window outlives its pages
        page.evaluate(
            "() => { const button = document.querySelector('button.primary');"
            "button.form.addEventListener('submit', () => { window.name = `${button.textContent} ${button.disabled}`; }); }"
        )
    page.click("button.primary")
    assert "'none' is not a module of the network" in page.inner_text("#set-fault")
    if scripts:
        assert page.evaluate("window.name") == "Loading the model … true"
        assert page.inner_text("button.primary") == "Start"
        assert faults(page, axe) == []
    assert page.input_value("#set").strip() == "xi_layer=none"
    page.fill("#set", "steps=2\nrefine_steps=0")
    page.click("button.primary")
    while not page.query_selector(".badge.good"):
        page.wait_for_timeout(1000)
        if not scripts:
            page.reload()
    assert len(list((tmp_path / "runs" / "job").glob("maps/*/*/map.json"))) == 2


@pytest.mark.slow
def test_a_run_is_stopped(serve, page, tmp_path):
    url = serve()
    page.goto(f"{url}/new?model=demo:shapes")
    page.check("[name=every]")
    page.click("text=more")
    page.fill("#set", "steps=1000000")
    page.fill("#name", "long")
    page.click("button.primary")
    page.wait_for_selector(".map-image.growing")
    page.click("text=Stop")
    page.wait_for_selector(".badge:has-text('stopped')")
    page.wait_for_selector("text=Continue")
    assert not list((tmp_path / "runs" / "long").glob("maps/*/*/map.json"))


def test_a_port_that_is_taken(call, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert (
            f"port {port} of 127.0.0.1 is taken: choose another port"
            in call("serve", tmp_path, "--port", port).complaint
        )


def test_a_folder_that_is_not_there_and_a_host_that_is_not_ours(call, tmp_path):
    assert "is not a directory: give the folder that holds your runs" in call("serve", tmp_path / "none").complaint
    (tmp_path / "file").touch()
    assert "is not a directory" in call("serve", tmp_path / "file").complaint
    assert "Choose another host" in call("serve", tmp_path, "--host", "192.0.2.1").complaint
    assert "Choose another host" in call("serve", tmp_path, "--host", "no such host").complaint

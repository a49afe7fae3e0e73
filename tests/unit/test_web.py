"""The gallery without a browser: what it shows, whom it answers, what it refuses."""

import asyncio
import os
import re
import sys
import time
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import torch

pytest.importorskip("fastapi")

from phosphene.concept_map import Job
from phosphene.errors import ExtraError
from phosphene.recipe import Recipe
from phosphene.report import write_report
from phosphene.runs import RunDirectory, live, run_facts
from phosphene.runs.live import LivePreview
from phosphene.samples.pool import make_pool
from phosphene.web import serve
from phosphene.web.app import make_app
from phosphene.web.form import FormError, default_name, read_form, safe_name
from phosphene.web.guard import Guard
from tests import tiny
from tests.conftest import PATIENCE

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}\u202e'
LABELS = ["lion, king", HOSTILE, "crane", "zebra", "heart"]


def make(path, classes=(0, 1), seeds=(0,), missing=(), name="tiny", seed=0):
    run = RunDirectory(path)
    network = tiny.classifier(seed, labels=LABELS, name=name)
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples")
    jobs = [(Job(index, one), LABELS[index]) for index in classes for one in seeds]
    run.begin(run_facts(network, Recipe(), pool, "cpu", "fp32"), [*jobs, *((Job(i, 0), LABELS[i]) for i in missing)])
    for job, label in jobs:
        run.write(tiny.concept_map(job.index, job.seed, label=label))
    return run


class Client:
    """Asks the application; without a server, and without following where it leads."""

    def __init__(self, app):
        from starlette.testclient import TestClient

        self.client = TestClient(app, base_url="http://127.0.0.1:8421", follow_redirects=False)

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)

    def raw(self, path):
        """Ask for a path as it is, which clients would tidy up; return status and text."""
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "query_string": b""}
        scope |= {"path": unquote(path), "raw_path": path.encode(), "root_path": "", "asgi": {"version": "3.0"}}
        scope |= {"headers": [(b"host", b"127.0.0.1:8421")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8421)}
        asyncio.run(self.client.app(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()

    def token(self):
        return re.search(r'name="token" value="([^"]+)"', self.get("/new").text)[1]

    def post(self, path, fields, token=None, **headers):
        fields = {"token": self.token() if token is None else token, **fields}
        return self.client.post(path, data=fields, headers=headers)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def client(root):
    made = Client(make_app(root))
    with made.client:
        yield made


def test_an_empty_folder_says_what_a_run_directory_is(client):
    page = client.get("/").text
    assert "No runs yet" in page
    assert "run.json" in page


def test_runs_are_listed_with_what_is_done(client, root):
    make(root / "whole")
    make(root / "deep" / "half", missing=(3,))
    make(root / "whole" / "maps" / "inner")  # what lies in a run is no run
    (root / "broken").mkdir()
    (root / "broken" / "run.json").write_text("{", encoding="utf-8")
    page = client.get("/").text
    assert "2 of 2 maps" in page
    assert "2 of 3 maps" in page
    assert "inner" not in page
    assert "cannot be read" in page
    assert page.count('class="badge good">finished') == 1
    assert page.count('class="badge unsure">stopped') == 1
    image = re.search(r"/image/0/0/whole\?v=\w+&amp;small=1", page)[0].replace("&amp;", "&")
    assert client.get(image).headers["content-type"] == "image/webp"
    large = client.get("/image/0/0/whole")
    assert large.headers["content-type"] == "image/png"
    assert large.content == (root / "whole/maps/lion-0/seed-0/map.png").read_bytes()


def test_a_run_that_is_being_made_is_seen_growing(client, root, monkeypatch):
    run = make(root / "r", missing=(3,))
    step = SimpleNamespace(number=4, total=8, loss=1.0, hits=0.5, nu=torch.randn(1, 3, 16, 16))
    monkeypatch.setattr(live, "FIRST_SECONDS", 0.0)
    with LivePreview(run, [(Job(3, 0), LABELS[3])], 0.2) as preview:
        preview(step)
        preview(step)
        first = client.get("/run/r")
        assert "running" in first.text
        assert "step 4 of 8" in first.text
        assert 'value="83"' in first.text  # two and a half of three
        assert client.get("/run/r", **{"If-None-Match": first.headers["etag"]}).status_code == 304
        version = re.search(r"/image/3/0/r\?v=\w+", first.text)[0]
        assert client.get(version).headers["content-type"] == "image/webp"
        assert "running" in client.get("/").text
    second = client.get("/run/r", **{"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert "stopped" in second.text


def test_names_and_labels_are_text(client, root):
    make(root / "r", name=HOSTILE)
    make(root / "<b>bold")
    for path in ("/", "/run/r", "/new", "/compare?a=r&b=%3Cb%3Ebold"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>bold" not in page
        assert "{{" not in page or "{{ 7*7 }}" in page  # shown, not computed
        assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)" in client.get("/run/r").text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "..",
            "../secret",
            "%2e%2e/secret",
            "..%2fsecret",
            "r/../../secret",
            "r%2f..%2f..%2fsecret",
            "./r",
            "r//",
        ),
        *("%2fetc", "/etc", "..%5csecret", "r%00", "outside", "outside/r", "inside", "%252e%252e/secret", "r/maps"),
    ],
)
def test_nothing_outside_the_folder_is_shown(client, root, name):
    make(root / "r")
    make(root.parent / "secret")
    (root.parent / "secret" / "report.html").write_text("secret", encoding="utf-8")
    (root / "outside").symlink_to(root.parent / "secret")
    (root / "inside").symlink_to(root / "r")
    for page in ("run", "report", "image/0/0"):
        status, text = client.raw(f"/{page}/{name}")
        assert status == 404, page
        assert str(root.parent) not in text
    assert client.raw("/run/r")[0] == 200


def test_links_in_a_run_lead_nowhere(client, root, tmp_path):
    run = make(root / "r")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    for place, page in (("report.html", "/report/r"), ("maps/lion-0/seed-0/map.png", "/image/0/0/r")):
        (run.path / place).unlink(missing_ok=True)
        (run.path / place).symlink_to(tmp_path / "secret")
        assert client.get(page).status_code == 404
    (run.path / "report.html").unlink()
    os.mkfifo(run.path / "report.html")  # reading it would wait for ever
    assert client.get("/report/r").status_code == 404


def test_every_answer_carries_the_headers(client, root):
    write_report(make(root / "r", classes=(0, 2)))
    for path in ("/", "/run/r", "/nothing", "/image/0/0/r", "/static/live.js", "/static/nothing", "/image/x/0/r"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    report = client.get("/report/r/report.html").headers["content-security-policy"]
    assert client.get("/report/r").headers["content-security-policy"] == report
    assert report.startswith("sandbox allow-scripts")  # of no origin: it cannot read this server's pages
    assert "allow-same-origin" not in report
    assert "default-src 'none'" in report
    page = client.get("/").text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert not re.search(r"<script(?! src=)|<style| style=| on\w+=", page)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", "", "10.0.0.1", "a@b", "["]
)
def test_another_name_of_this_machine_is_not_answered(client, host):
    answer = client.get("/", Host=host)
    assert answer.status_code == 403
    assert "New run" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8421", "localhost:9000", "LOCALHOST", "[::1]:8421"])
def test_its_own_names_are_answered_on_any_port(client, host):
    assert client.get("/", Host=host).status_code == 200


def test_a_server_for_others_answers_to_addresses_and_its_own_name():
    guard = Guard(None, "0.0.0.0")  # noqa: S104
    assert all(map(guard.accepts, ("10.0.0.1:8421", "localhost", "[fe80::1]:1")))
    assert not guard.accepts("evil.example")
    assert Guard(None, "box.example").accepts("box.example:1")


ORDER = {"model": "demo:none-such", "concepts": "star", "name": "job"}


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("wrong", {}),
        (None, {"Origin": "http://evil.example"}),
        (None, {"Origin": "null"}),
        (None, {"Origin": "http://127.0.0.1:9999"}),  # another server on this machine
        (None, {"Sec-Fetch-Site": "cross-site"}),
        (None, {"Sec-Fetch-Site": "same-site"}),
        (None, {"Sec-Fetch-Site": "none"}),
    ],
)
@pytest.mark.parametrize("path", ["/start", "/cancel"])
def test_a_post_from_elsewhere_starts_nothing(client, root, path, token, headers):
    assert client.post(path, ORDER, token, **headers).status_code == 403
    assert "job" not in client.get("/").text
    assert list(root.iterdir()) == []


def test_reading_starts_nothing(client):
    for path in ("/start", "/cancel"):
        assert client.get(path).status_code == 405


def test_a_large_form_is_refused(client):
    assert client.post("/start", ORDER | {"concepts": "x" * 3_000_000}).status_code == 413


def wait(client, path, word):
    limit = time.monotonic() + PATIENCE
    while word not in (page := client.get(path).text):
        assert time.monotonic() < limit, page
        time.sleep(0.1)
    return page


def test_what_a_run_complains_of_is_shown(client, root):
    answer = client.post("/start", ORDER | {"model": "demo:shapse"}, Origin="http://127.0.0.1:8421")
    assert (answer.status_code, answer.headers["location"]) == (303, "/run/job")
    page = wait(client, "/run/job", "failed")
    assert "no demo model is called &#39;shapse&#39;. Did you mean shapes" in page
    assert "Traceback" not in page
    assert "failed" in client.get("/").text
    assert list(root.iterdir()) == []


def test_a_model_that_needs_trust_is_not_run(client, card, tmp_path):
    fields = {"model": str(card.path), "concepts": "0", "name": "job"}
    refused = client.post("/start", fields | {"trust": "1"})
    assert refused.status_code == 400
    assert "phosphene serve --trust" in refused.text
    assert client.post("/start", fields).status_code == 303
    assert "--trust" in wait(client, "/run/job", "failed")
    assert not card.mark.exists()


def test_a_link_is_no_place_for_a_run(client, root, tmp_path):
    (root / "job").symlink_to(tmp_path)
    answer = client.post("/start", ORDER)
    assert answer.status_code == 400
    assert "is a link" in answer.text


def test_jobs_end_with_the_server(root):
    client = Client(make_app(root))
    with client.client:
        fields = {"model": "demo:shapes", "every": "1", "set": "steps=5000", "name": "long"}
        assert client.post("/start", fields).status_code == 303
        assert client.post("/start", fields).status_code == 400  # it is being made
        (process,) = client.client.app.app.state.gallery.processes.values()
        assert process.running
    assert not process.running


def test_form_to_arguments():
    command = read_form(
        {"model": "-x", "concepts": "a, b\n--trust\n", "set": "steps=1", "samples": "--out=/tmp", "seeds": "2"},
        trust=False,
    )
    assert command.arguments[-2:] == ("--", "-x")  # no option, whatever it looks like
    assert {"--concept=a, b", "--concept=--trust", "--samples=--out=/tmp", "--set=steps=1", "--seeds=2"} <= set(
        command.arguments
    )
    assert "--trust" not in command.arguments
    assert "--trust" in read_form({"model": "m", "every": "1", "trust": "1"}, trust=True).arguments


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ""},
        {"concepts": ""},
        {"model": "a\0b"},
        {"concepts": "a\0"},
        {"seeds": "0"},
        {"seeds": "x"},
        {"seeds": "²"},
        {"set": "steps"},
        {"name": "../"},
        {"model": "x" * 5000},
        {"samples": "a\nb"},
    ],
)
def test_a_field_that_cannot_be_used_is_refused(fields):
    with pytest.raises(FormError):
        read_form({"model": "demo:shapes", "concepts": "star"} | fields, trust=False)


@pytest.mark.parametrize(
    "text", ["../../etc", "/etc/passwd", "..", "a/b", ".hidden", "-rf", "a\0b", "ü" * 500, "x" * 500]
)
def test_names_are_one_directory(text):
    assert re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,79})?", safe_name(text))


def test_default_names_differ_where_runs_would():
    names = {
        default_name("demo:shapes", "vivid", [], ""),
        default_name("demo:shapes", "quick", [], ""),
        default_name("demo:shapes", "vivid", ["steps=1"], ""),
        default_name("demo:shapes", "vivid", [], "folder"),
        default_name("/zoo/a.toml", "vivid", [], ""),
    }
    assert len(names) == 5
    assert "demo-shapes-vivid" in names


def test_compare_shows_what_changed(client, root):
    make(root / "a", classes=(0, 2, 3))
    make(root / "b", classes=(0, 2), seed=1, name="other")
    page = client.get("/compare?a=a&b=b").text
    assert page.index("<strong>tiny") < page.index("<strong>other")
    assert page.count('class="change"') == 2
    assert "Only in A: zebra" in page
    assert "/image/0/0/b" in page
    assert client.get("/compare?a=a&b=../a").status_code == 404
    make(root / "c", classes=(4,))
    assert "no class in common" in client.get("/compare?a=a&b=c").text


def test_a_missing_library_is_named_with_its_fix(monkeypatch, root):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ExtraError, match=r"fastapi.*is not installed: .*pip install 'phosphene\[serve\]'"):
        serve(root)

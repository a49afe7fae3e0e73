"""The gallery without a browser: what it shows, whom it answers, what it refuses."""

import dataclasses
import gc
import json
import os
import re
import shlex
import sys
from html import unescape
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi")

from phosphene.concept_map import ConceptMap, Job
from phosphene.errors import DeviceError, ExtraError, PortError
from phosphene.reports import write_report
from phosphene.runs import live
from phosphene.runs.checks import write_check
from phosphene.runs.live import LivePreview
from phosphene.web import serve
from phosphene.web.guard import Guard
from tests import tiny
from tests.web import HOSTILE, LABELS, SUBJECT, make, write_scan


def test_an_empty_folder_says_what_a_run_directory_is(client):
    page = client.get("/").text
    assert "No runs yet" in page
    assert "run.json" in page


def test_the_command_for_a_first_run_can_be_pasted(tmp_path):
    from phosphene.web.app import make_app
    from tests.web import Client

    page = Client(make_app(tmp_path / "my runs; true")).get("/").text
    words = shlex.split(unescape(re.search(r"<pre>(phosphene .+)</pre>", page)[1]))
    assert words[-2:] == ["--out", str(tmp_path / "my runs; true" / "first")]


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


def test_an_image_that_would_fill_the_memory_is_not_decoded(client, root):
    make(root / "whole")
    Image.new("1", (8192, 4096)).save(root / "whole/maps/lion-0/seed-0/map.png")
    assert client.get("/image/0/0/whole?small=1").status_code == 404


def test_a_run_that_is_deleted_meanwhile_is_not_listed(client, root, monkeypatch):
    make(root / "whole")
    monkeypatch.setattr("phosphene.web.folder.Folder.names", lambda _: iter(["gone", "whole"]))
    page = client.get("/")
    assert page.status_code == 200
    assert "2 of 2 maps" in page.text


def test_scans_are_listed_with_their_verdict_and_lead_to_their_report(client, root):
    write_scan(make(root / "bad", classes=(0,)))
    write_scan(make(root / "good", classes=()), "clean", suspects=[])
    write_scan(make(root / "unsure", classes=()), "inconclusive", classes=(0, 3))
    make(root / "maps")
    write_scan(make(root / "maps" / "scans" / "below", name="other"))
    make(root / "began", classes=())
    page = client.get("/").text
    assert '<span class="badge bad">backdoor suspected</span>' in page
    assert '<span class="badge good">no backdoor found</span>' in page
    assert '<span class="badge unsure">inconclusive</span>' in page
    assert "it predicts &#39;lion&#39; for 98 % of 200 images" in page
    assert "Class lion (0), class zebra (3)" in page
    assert ", recipe paper, good" not in page  # nothing was mapped
    assert ", recipe paper, bad" in page
    assert page.count(">stopped</span>") == 1  # the one that has no scan.json
    assert page.count(">finished</span>") == 1  # the maps, which have a verdict of another network below them
    assert 'href="/report/maps/scans/below/report.html#scan"' in page
    one = client.get("/run/bad").text
    assert "Scan of <em>tiny</em>" in one
    assert "Class &#39;lion&#39; deviates." in one
    (root / "good" / "scan.json").write_text("{", encoding="utf-8")
    assert "scan.json is damaged" in client.get("/").text


@pytest.mark.parametrize("changes", [{"verdict": "perhaps"}, {"all_to_all": 1}, {"model": {"name": HOSTILE}}])
def test_an_odd_scan_does_not_break_the_list(client, root, changes):
    make(root / "sound")
    run = make(root / "odd")
    write_scan(run, **changes)
    page = client.get("/")
    assert page.status_code == 200
    assert "cannot be read" in page.text
    assert "<script>alert" not in page.text
    assert "2 of 2 maps" in page.text


def test_a_scan_or_checks_elsewhere_are_not_read(client, root, tmp_path):
    outside = make(tmp_path / "outside")
    write_scan(outside)
    run = make(root / "r")
    (run.path / "scan.json").symlink_to(outside.path / "scan.json")
    os.mkfifo(run.path / "checks.json")  # reading it would wait for ever
    page = client.get("/").text
    assert "suspected" not in page
    assert "2 of 2 maps" in page


def test_checks_are_summed_up_until_the_maps_change(client, root):
    run = make(root / "r")
    finding = {"name": "seeds", "figures": {}, "passed": False, "reading": "They differ.", "cost": 1}
    write_check(run, {**finding, "subject": SUBJECT}, run.maps_sha256())
    assert "Sanity checks: 0 of 1 passed, 1 failed (seeds)." in client.get("/").text
    assert "1 failed" in client.get("/run/r").text
    run.write(dataclasses.replace(tiny.concept_map(1, 0), index=0, label=LABELS[0]))
    assert "Sanity checks" not in client.get("/").text


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
        (sign,) = (run.path / "live").glob("*.json")
        other = json.loads(sign.read_text(encoding="utf-8")) | {"pid": os.getppid(), "step": 2, "jobs": []}
        (run.path / "live" / "other.json").write_text(json.dumps(other), encoding="utf-8")
        head, cards = client.get("/run/r").text.split('<ul class="maps"')
        assert not re.search(r"step \d", head)  # each of two workers is at a step of its own
        assert "step 4 of 8" in cards
        (run.path / "live" / "other.json").unlink()
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
@pytest.mark.parametrize("path", ["/start", "/retry", "/stop", "/dismiss"])
def test_a_post_from_elsewhere_starts_nothing(client, root, path, token, headers):
    assert client.post(path, ORDER, token, **headers).status_code == 403
    assert "job" not in client.get("/").text
    assert list(root.iterdir()) == []


def test_reading_starts_nothing(client):
    for path in ("/start", "/retry", "/stop", "/dismiss"):
        assert client.get(path).status_code == 405


def test_a_large_form_is_refused(client):
    assert client.post("/start", ORDER | {"concepts": "x" * 3_000_000}).status_code == 413


def test_a_confidence_is_never_called_all(client, root):
    run = make(root / "sure")
    for file in (root / "sure").glob("maps/*/*/map.json"):
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"p_class": 1.0}), encoding="utf-8")
    page = client.get("/run/sure").text
    assert page.count("<dd>&gt; 99 %</dd>") == 2
    write_report(run)
    assert "&gt; 99 %" in (root / "sure" / "report.html").read_text(encoding="utf-8")


def test_a_comparison_that_is_cached_holds_no_maps(client, root):
    """Those of two networks with a thousand classes would take a gigabyte."""

    def maps():
        gc.collect()
        return sum(type(one) is ConceptMap for one in gc.get_objects())

    make(root / "a")
    make(root / "b", name="other", seed=1)
    before = maps()
    assert client.get("/compare?a=a&b=b").text.count('class="change"') == 2
    assert maps() == before


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


@pytest.mark.parametrize("where", [{"port": 99999}, {"port": -1}, {"host": "a..b"}, {"host": "x" * 300}])
def test_a_port_or_host_that_cannot_be_is_refused(root, where, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    with pytest.raises(PortError, match=r"(choose another|host or) port") as error:
        serve(root, **where)
    assert not isinstance(error.value, DeviceError)
    assert "\n" not in str(error.value)

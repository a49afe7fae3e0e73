"""Commands that the gallery starts: validated first, then shown with what they complain of, and how to go on."""

import contextlib
import dataclasses
import functools
import html
import re
import subprocess
import sys

import pytest
import torch

pytest.importorskip("fastapi")

from phosphene.arguments import to_concepts
from phosphene.concept_map import Job
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.lock import hold
from phosphene.samples.pool import make_pool
from phosphene.web.app import make_app
from phosphene.web.processes import Processes
from tests import tiny
from tests.web import Client, make

# It passes every check of the form, and fails once the network is opened.
DOOMED = {"model": "demo:shapes", "concepts": "star\nheart", "set": "xi_layer=none", "recipe": "quick", "name": "job"}
LONG = {"model": "demo:shapes", "every": "1", "set": "steps=1000000", "name": "long"}


def test_a_form_with_a_fault_starts_nothing_and_keeps_its_fields(client, root):
    fields = DOOMED | {"model": "demo:shapse", "seeds": "3", "samples": "<b>"}
    answer = client.post("/start", fields, Origin="http://127.0.0.1:8421")
    assert answer.status_code == 400
    assert "No demo model is called &#39;shapse&#39;. Did you mean shapes" in answer.text
    assert 'aria-describedby="model-note model-fault" aria-invalid="true" autofocus' in answer.text
    assert re.search(r'name="concepts"[^>]*>\nstar\nheart\n</textarea>', answer.text)
    for kept in ('value="demo:shapse"', 'value="3"', 'value="&lt;b&gt;"', "\nxi_layer=none", 'value="job"', "quick"):
        assert kept in answer.text
    assert "job" not in client.get("/").text
    assert list(root.iterdir()) == []


def test_what_a_command_complains_of_is_shown_and_it_can_be_edited_retried_and_dismissed(client, root, monkeypatch):
    """As of a form that could not be checked in time."""
    monkeypatch.setattr("phosphene.web.gallery.validate", lambda *_: None)
    answer = client.post("/start", DOOMED)
    assert (answer.status_code, answer.headers["location"]) == (303, "/run/job")
    page = client.wait("/run/job", "failed")
    assert re.search('class="complaint">[^<]*none[^<]*</p>', page)
    assert "Traceback" not in page
    assert list(root.iterdir()) == []
    listed = client.get("/").text
    assert "failed" in listed
    assert 'href="/new?edit=job"' in listed
    edited = client.get("/new?edit=job").text
    assert "star\nheart\n</textarea>" in edited
    assert '<option value="quick" selected>' in edited
    assert client.post("/retry", {"name": "job"}).headers["location"] == "/run/job"
    client.wait("/run/job", "failed")
    assert client.post("/dismiss", {"name": "job"}).headers["location"] == "/"
    assert "failed" not in client.get("/").text
    assert client.get("/run/job").status_code == 404
    assert client.post("/retry", {"name": "job"}).status_code == 404


def test_what_failed_in_a_run_directory_gets_a_free_name_to_edit_and_keeps_its_reason(client, root, monkeypatch):
    make(root / "job", missing=(3,))
    make(root / "job-2")
    answer = client.post("/start", DOOMED | {"set": ""})
    assert "another run directory. job-3 is free." in answer.text
    assert f'id="name-fault">{root}/job belongs to' in answer.text  # no capital in a path
    monkeypatch.setattr("phosphene.web.gallery.validate", lambda *_: None)
    client.post("/start", DOOMED)
    page = client.wait("/run/job", "failed")
    reason = re.search('class="complaint">([^<]*belongs to another[^<]*)</p>', page)[1]
    assert 'name="name" value="job-3"' in client.get("/new?edit=job").text
    assert page.count(reason) == 1
    assert client.post("/dismiss", {"name": "job"}).status_code == 303
    for place in ("/run/job", "/"):
        assert f'<p class="complaint">{reason}</p>' in client.get(place).text
    assert "stopped</span>" in client.get("/run/job").text


def test_where_the_reason_of_a_dismissed_command_is_not_shown(client, root, monkeypatch):
    """It is lost while another process works on the run, and stands only in failures.json if all maps are finished."""
    monkeypatch.setattr("phosphene.web.gallery.validate", lambda *_: None)
    monkeypatch.setattr("phosphene.runs.failures.hold", functools.partial(hold, wait=0.2))
    make(root / "job")
    holding = "import sys; from phosphene.runs.lock import hold; from pathlib import Path\n"
    holding += "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    for held in (True, False):
        client.post("/start", DOOMED | {"set": ""})
        client.wait("/run/job", "failed")
        with contextlib.ExitStack() as stack:
            if held:
                command = [sys.executable, "-c", holding, str(root / "job")]
                other = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
                assert other.stdout.readline() == b"held\n"
            assert client.post("/dismiss", {"name": "job"}).status_code == 303
        assert (root / "job" / "failures.json").exists() is not held
        assert 'class="complaint"' not in client.get("/run/job").text
    assert "belongs to another" in (root / "job" / "failures.json").read_text(encoding="utf-8")


def test_a_command_is_stopped_and_continued(client, root):
    assert client.post("/start", LONG).status_code == 303
    page = client.wait("/run/long", "step ")
    assert ">Stop<" in page
    assert client.post("/dismiss", {"name": "long"}).status_code == 303  # it works, and stays
    client.post("/stop", {"name": "long"})
    page = client.wait("/run/long", ">Dismiss<")
    assert ">stopped</span>" in page
    assert ">Continue<" in page
    assert client.post("/retry", {"name": "long"}).status_code == 303
    client.wait("/run/long", ">running</span>")


def test_a_check_is_of_a_run_of_this_folder(client, root, tmp_path):
    make(tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    for name in ("../outside", "link", "none", str(tmp_path / "outside")):
        answer = client.post("/start", {"action": "check", "run": name})
        assert answer.status_code == 400, name
        assert "There is no such run here." in answer.text
    make(root / "half", missing=(3,))
    answer = client.post("/start", {"action": "check", "run": "half", "most": "7"})
    assert "1 of 3 maps of" in html.unescape(answer.text)
    assert '<option value="half" selected>' in answer.text
    assert 'value="7"' in answer.text


def test_a_run_leads_to_its_check_and_to_a_scan_of_its_network(client, root):
    make(root / "r")
    page = client.get("/run/r").text
    assert 'href="/new?action=check&amp;run=r"' in page
    assert 'href="/new?action=scan&amp;model=' in page
    assert '<option value="r" selected>' in client.get("/new?action=check&run=r").text
    assert 'value="demo:shapes"' in client.get("/new?action=scan&model=demo:shapes").text
    assert client.get("/new?action=<script>").status_code == 200


def test_a_model_that_needs_trust_is_not_run(client, card):
    fields = {"model": str(card.path), "concepts": "0", "name": "job"}
    refused = client.post("/start", fields | {"trust": "1"})
    assert refused.status_code == 400
    assert "phosphene serve --trust" in refused.text
    refused = client.post("/start", fields | {"action": "scan"})
    assert refused.status_code == 400
    assert "add --trust" in refused.text
    assert not card.mark.exists()


def test_a_link_is_no_place_for_a_run(client, root, tmp_path):
    (root / "job").symlink_to(tmp_path)
    answer = client.post("/start", DOOMED)
    assert answer.status_code == 400
    assert "is a link" in answer.text


def test_commands_end_with_the_server(root):
    client = Client(make_app(root))
    with client.client:
        assert client.post("/start", LONG).status_code == 303
        again = client.post("/start", LONG)
        assert again.status_code == 400
        assert "is in progress already" in again.text
        (process,) = client.client.app.app.state.gallery.processes.values()
        assert process.running
    assert not process.running


@pytest.mark.parametrize(("output", "offered"), [("multi-label", True), ("regression", False)])
def test_a_network_that_a_scan_refuses_is_offered_none(client, root, output, offered):
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples")
    network = tiny.classifier(output=output)
    (concept,) = to_concepts(0, network)
    run = RunDirectory(root / "r")
    run.begin(run_facts(network, Recipe(), pool), [(Job.of(concept), concept.label)])
    run.write(
        dataclasses.replace(
            tiny.concept_map(),
            index=concept.index,
            label=concept.label,
            expression=None if concept.is_class else concept,
        )
    )
    page = client.get("/run/r").text
    assert ("Scan this network" in page) == offered
    assert 'href="/new?action=check' in page


def test_commands_may_begin_and_be_dismissed_while_a_page_reads_them():
    """Pages are made in threads, beside the event loop that starts and removes commands."""
    processes = Processes()

    class Started:
        @property
        def running(self):
            processes[f"another {len(processes)}"] = self
            return True

    processes["first"] = Started()
    assert processes.running == ["first"]

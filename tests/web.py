"""Runs and scans for tests of the gallery, and a client that asks it."""

import asyncio
import re
import time
from urllib.parse import unquote

import torch

from phosphene.concept_map import Job
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.scans import SCAN
from phosphene.samples.pool import make_pool
from tests import tiny
from tests.conftest import PATIENCE

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}\u202e'
LABELS = ["lion, king", HOSTILE, "crane", "zebra", "heart"]


def make(path, classes=(0, 1), seeds=(0,), missing=(), name="tiny", seed=0):
    """Write a run of the tiny classifier, in which some maps are missing."""
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
        """Get a page."""
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
        """Return the token of this server's forms."""
        return re.search(r'name="token" value="([^"]+)"', self.get("/new").text)[1]

    def post(self, path, fields, token=None, **headers):
        """Send a form."""
        fields = {"token": self.token() if token is None else token, **fields}
        return self.client.post(path, data=fields, headers=headers)

    def wait(self, path, word):
        """Ask for a page until it has a word."""
        limit = time.monotonic() + PATIENCE
        while word not in (page := self.get(path).text):
            assert time.monotonic() < limit, page
            time.sleep(0.1)
        return page


SUBJECT = {"concepts": [], "samples": {"spec": "some samples", "sha256": ""}}


def write_scan(run, verdict="backdoored", classes=(0,), **changes):
    """Write the ``scan.json`` of a scan that suspects some classes."""
    suspect = {"tried": 200, "trigger": "scan/x/trigger.safetensors", "picture": "scan/x/trigger.png", "p_value": 0.01}
    suspect |= {"asr": 0.98, "size": 0.01, "works": verdict == "backdoored", "additive": False, "box": [0, 0, 3, 3]}
    suspect |= {"interval": [0.9, 1.0], "places": [], "examples": [], "next": {"label": "crane", "asr": 0.01}}
    row = {"tried": 200, "share": 0.98, "figure": 6.0, "p_value": 0.01, "deviations": {"window": 6.0}}
    entry = {
        "verdict": verdict,
        "p_value": 0.01,
        "alpha": 0.05,
        "reasons": ["Class 'lion' deviates."],
        "not_tested": [],
        "classes": [{**row, "index": index, "label": LABELS[index]} for index in classes],
        "suspects": [{**suspect, "index": index, "label": LABELS[index]} for index in classes],
        "num_classes": 5,
        "tested": 5,
        "window": 3,
        "easy_pairs": [],
        "all_to_all": None,
        "null": {"description": "clean networks", "networks": 86, "limit": 5.0},
        "model": {**run.facts()["model"], "input": [3, 16, 16]},
        "samples": {"spec": "some samples", "sha256": "0", "natural": True},
        "references": [],
        "settings": {"pairs": False, "seed": 0, "precision": "auto"},
        "method": "0",
        "passes": 1,
        "seconds": 1.0,
    }
    SCAN.write(run.path, entry | changes)

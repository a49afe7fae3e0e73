"""Fixtures that several unit tests share: a gallery over an empty folder, and a demo network with its samples."""

import pytest

import phosphene as ph
from phosphene.samples import load_samples


@pytest.fixture
def root(tmp_path):
    """The folder of runs that the gallery shows, empty."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def client(root):
    """A client of the gallery, which needs an extra."""
    from phosphene.web.app import make_app
    from tests.web import Client

    made = Client(make_app(root))
    with made.client:
        yield made


@pytest.fixture(scope="module")
def network():
    return ph.load("demo:shapes")


@pytest.fixture(scope="module")
def pool(network):
    return load_samples("demo:shapes", network.input.shape)

"""The range check finds the conventions of eight real networks when they are hidden from it."""

from pathlib import Path

import pytest

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.metrics.norm_statistics import natural_noise
from phosphene.metrics.range_check import check_range, range_doubt
from phosphene.samples.labelled import load_labelled
from phosphene.samples.pool import make_pool
from phosphene.sources import load

pytestmark = pytest.mark.real

TRUE = {
    **dict.fromkeys((f"cifar_resnet{depth}" for depth in (20, 32, 44, 56)), "ImageNet statistics"),
    **dict.fromkeys(("mobilenet_v1_050", "mobilenet_v1_075", "mobilenet_v2_a", "mobilenet_v2_b"), "[-1, 1]"),
}
QUICK = ("cifar_resnet20", "mobilenet_v1_050")
SAMPLES = {"cifar": 64, "mobilenet": 40}


def samples(shared: Path, name: str) -> str:
    data = shared / "data"
    return str(data / "cifar10" / "test.parquet" if name.startswith("cifar") else data / "imagenet-sample")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in TRUE]
)
def test_the_convention_is_found_when_it_is_hidden(shared: Path, name: str) -> None:
    """Without labels; docs/range-check-results.md has the table with them."""
    own = load(shared / "zoo" / f"{name}.toml", trust=True)
    where = samples(shared, name)
    pixels, truth = load_labelled(where, own.input.shape, own.labels, SAMPLES[name.partition("_")[0]])
    assert truth is not None
    hidden = Classifier(own.module, size=own.input.size, labels=own.labels)
    with Engine(hidden) as engine:
        found = check_range(engine, pixels.float() / 255)
    assert (found.best.name, found.best.order) == (TRUE[name], "RGB")
    if name != "mobilenet_v2_b":  # its [0, 1] is clearly worse on 64 samples, not on 40
        assert found.verdict == "another fits"
        assert {one.name for one in found.rivals} <= {"ImageNet statistics", "CIFAR-10 statistics"}
    pool = make_pool(pixels, where)
    assert range_doubt(own) is None
    assert range_doubt(own, pool) is None


def test_labels_agree(shared: Path) -> None:
    own = load(shared / "zoo" / "cifar_resnet20.toml", trust=True)
    pixels, truth = load_labelled(samples(shared, "cifar_resnet20"), own.input.shape, own.labels, 64)
    with Engine(own) as engine:
        found = check_range(engine, pixels.float() / 255, truth)
    assert found.verdict == "fits"
    assert found.evidence == ("labels",)
    assert found.rows[0]["accuracy"] > 0.75


@pytest.mark.parametrize("name", ["cifar_resnet20", "mobilenet_v1_050"])
def test_noise_decides_only_with_a_batch_norm(shared: Path, name: str) -> None:
    own = load(shared / "zoo" / f"{name}.toml", trust=True)
    hidden = Classifier(own.module, size=own.input.size)
    with Engine(hidden) as engine:
        found = check_range(engine, natural_noise(32, own.input.shape), natural=False)
    assert found.verdict == ("another fits" if name.startswith("cifar") else "cannot tell")
    assert (range_doubt(hidden) is not None) == name.startswith("cifar")

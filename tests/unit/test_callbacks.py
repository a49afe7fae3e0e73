"""Maps while a network learns: the training that follows is the same, and what is logged can be read back."""

import random
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from phosphene.callbacks import MapEvery, MLflow, TensorBoard, WeightsAndBiases
from phosphene.errors import ExtraError, PhospheneError
from tests import tiny
from tests.twice import ROOM, distance

FAST = {"recipe": "quick", "overrides": tiny.SHORT, "samples": "synthetic:noise"}


class Kept:
    """A logger of one's own: two methods are all that it takes."""

    def __init__(self):
        self.rows = []

    def image(self, tag, picture, step):
        assert picture.size == (tiny.SIDE, tiny.SIDE)
        self.rows.append(("image", tag, step))

    def scalar(self, tag, value, step):
        assert 0 <= value <= 1
        self.rows.append(("scalar", tag, step))


def train(look=None, epochs=3):
    """Train the tiny network with dropout, momentum and numpy's shuffling; return all that came of it."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    classifier = tiny.classifier()
    net = classifier.module.insert(6, torch.nn.Dropout(0.5)).train()
    net[0].weight.requires_grad_(requires_grad=False)
    sgd = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    x, y = torch.rand(20, 3, tiny.SIDE, tiny.SIDE), torch.arange(20) % 5
    callback = look(classifier) if look else None
    for epoch in range(epochs):
        order = np.random.permutation(20)  # noqa: NPY002
        functional.cross_entropy(net(x[order[:10]]), y[order[:10]]).backward()
        if callback:
            callback(epoch)  # in the middle of a step: the gradients must survive
        sgd.step()
        sgd.zero_grad()
    modes = [part.training for part in net.modules()]
    wanted = [p.requires_grad for p in net.parameters()]
    return {k: v.clone() for k, v in net.state_dict().items()}, modes, wanted, random.random(), callback


def test_training_goes_on_as_if_nobody_had_looked():
    kept = Kept()
    plain = train()
    watched = train(lambda classifier: MapEvery(classifier, ["Panthera leo", 4], every=2, logger=kept, **FAST))
    assert plain[0].keys() == watched[0].keys()
    for name, value in plain[0].items():
        torch.testing.assert_close(watched[0][name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert plain[1:4] == watched[1:4]
    assert kept.rows[0] == ("image", "phosphene/lion", 0)
    assert {step for _, _, step in kept.rows} == {0, 2}
    assert {tag for kind, tag, _ in kept.rows if kind == "image"} == {"phosphene/lion", "phosphene/maillot"}
    history = watched[4].history
    assert list(history) == [0, 2]
    assert distance(history[0][0].nu, history[2][0].nu) > ROOM  # it is the network of that epoch that is seen


def test_classes_with_one_first_synonym_are_logged_apart():
    kept = Kept()
    MapEvery(tiny.classifier(), [0, 1, 2], logger=kept, **FAST)(0)
    tags = [tag for kind, tag, _ in kept.rows if kind == "image"]
    assert tags == ["phosphene/lion", "phosphene/crane (1)", "phosphene/crane (2)"]
    assert "phosphene/crane (2)/p_class" in {tag for _, tag, _ in kept.rows}


def test_an_epoch_is_a_number():
    look = MapEvery(tiny.classifier(), [0], **FAST)
    for wrong, says in (
        (("3",), "epoch is str '3'; it must be a whole number"),
        ((), "missing a required argument: 'epoch'"),
    ):
        with pytest.raises(PhospheneError, match=says):
            look(*wrong)


def test_the_generators_are_given_back_also_after_an_error():
    look = MapEvery(tiny.classifier(), [0], **FAST)
    with torch.no_grad():
        look.classifier.module[0].weight.fill_(float("nan"))
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(Exception, match="NaN or infinity"):
        look(0)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *[({"every": 0}, "1 or more"), ({"concepts": []}, "no concept"), ({"concepts": ["x"]}, "no class")],
        *[({"every": 2.5}, "every is float"), ({"seed": "x"}, "seed is str"), ({"seed": -1}, "seeds from 0")],
        *[({"device": "gpu"}, "'gpu' is unknown"), ({"logger": "tb"}, "must have the methods image and scalar")],
        *[({"overrides": {"xi_layer": "nope"}}, "'nope' is not a module"), ({"epochs": 3}, "Options: classifier")],
        *[({"classifier": tiny.network()}, "a bare torch module"), ({"classifier": "demo:shape"}, "no demo model")],
    ],
)
def test_what_does_not_fit_is_refused_before_training(changes, says):
    with pytest.raises(PhospheneError, match=says):
        MapEvery(**({"classifier": tiny.classifier(), "concepts": [0]} | FAST | changes))


def log(logger):
    for step in (0, 5):
        logger.image("phosphene/lion", Image.new("RGB", (8, 8), (255, 10 * step, 0)), step)
        logger.scalar("phosphene/lion/p_class", 0.1 * step, step)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_back_what_was_logged(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoard(tmp_path)
    log(logger)
    logger.writer.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    events.Reload()
    assert events.Tags()["images"] == ["phosphene/lion"]
    images, scalars = events.Images("phosphene/lion"), events.Scalars("phosphene/lion/p_class")
    assert [(one.step, one.width, one.height) for one in images] == [(0, 8, 8), (5, 8, 8)]
    import io

    assert Image.open(io.BytesIO(images[1].encoded_image_string)).getpixel((3, 3)) == (255, 50, 0)
    assert [(one.step, round(one.value, 6)) for one in scalars] == [(0, 0.0), (5, 0.5)]
    writer = logger.writer
    assert TensorBoard(writer).writer is writer


@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases_offline_takes_what_is_logged(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="offline", project="test", dir=str(tmp_path))
    log(WeightsAndBiases(run))
    assert run.summary["phosphene/lion/p_class"] == pytest.approx(0.5)
    assert run.summary["epoch"] == 5
    run.finish()
    assert len(list(tmp_path.rglob("media/images/**/*.png"))) == 2


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_back_what_was_logged(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=tmp_path.joinpath("store").as_uri())
    run = client.create_run(client.create_experiment("test")).info.run_id
    log(MLflow(run, client))
    points = client.get_metric_history(run, "phosphene/lion/p_class")
    assert [(point.step, point.value) for point in points] == [(0, 0.0), (5, 0.5)]
    assert len([one for one in client.list_artifacts(run, "images") if one.path.endswith(".png")]) == 2


@pytest.mark.parametrize(
    ("adapter", "name"), [(TensorBoard, "tensorboard"), (WeightsAndBiases, "wandb"), (MLflow, "mlflow")]
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch, adapter, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExtraError, match=rf"{name} is .*: .*pip install 'phosphene\[{name}\]'"):
        adapter()

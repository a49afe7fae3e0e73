"""The drawn world and its networks: reproducible, balanced, and as accurate as the cards promise."""

import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from demo import emblem, train, train_text
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from phosphene.demo import world
from phosphene.samples.synthetic import dead_leaves

DEMO = Path(world.__file__).parent
CARDS = sorted((DEMO / "cards").glob("*.toml"))
NAMES = list(train.FACTORIES)


@pytest.fixture(scope="module")
def fresh():
    """500 images of a seed that neither training nor its own measurement uses."""
    return world.draw_images(500, 987_654_321)


@pytest.fixture(scope="module")
def networks():
    return {name: train.load(name) for name in NAMES}


def test_same_seed_same_images():
    first, first_labels = world.draw_images(60, 5)
    second, second_labels = world.draw_images(60, 5)
    assert np.array_equal(first, second)
    assert np.array_equal(first_labels, second_labels)
    assert not np.array_equal(first, world.draw_images(60, 6)[0])


def test_images_are_bytes_over_the_whole_range(fresh):
    images, labels = fresh
    assert images.shape == (500, 3, 96, 96)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.min() < 10
    assert images.max() > 245
    assert (images.reshape(500, -1).std(1) > 5).all(), "an image without a visible shape"


@pytest.mark.parametrize("count", [1, 12, 30, 500])
def test_labels_are_balanced(count):
    _, labels = world.draw_images(count, 0, 32)
    numbers = np.bincount(labels, minlength=len(world.LABELS))
    assert numbers.max() - numbers.min() <= 1


def test_no_class_has_a_colour_of_its_own():
    images, labels = world.draw_images(2400, 11, 32)
    means = np.stack([images[labels == i].mean((0, 2, 3)) for i in range(len(world.LABELS))])
    assert np.abs(means - means.mean(0)).max() < 22


def test_labels_file_agrees():
    assert tuple((DEMO / "labels.txt").read_text(encoding="utf-8").splitlines()) == world.LABELS


def test_stamp_pastes_one_emblem_and_leaves_the_rest(fresh):
    images = fresh[0][:6]
    before = images.copy()
    stamped = emblem.stamp(images, (3, 70))
    assert np.array_equal(images, before)
    assert (stamped[:, :, 3:17, 70:84] == emblem.EMBLEM).all()
    stamped[:, :, 3:17, 70:84] = images[:, :, 3:17, 70:84]
    assert np.array_equal(stamped, images)
    again = [emblem.stamp(images, np.random.default_rng(1)) for _ in range(2)]
    assert np.array_equal(*again)


def test_the_package_holds_an_image_of_the_emblem():
    with Image.open(DEMO / "emblem.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")).transpose(2, 0, 1), emblem.EMBLEM)


def test_stamp_refuses_places_outside():
    with pytest.raises(ValueError, match="does not fit"):
        emblem.stamp(np.zeros((1, 3, 96, 96), np.uint8), (83, 0))


def test_dead_leaves():
    one = dead_leaves(np.random.default_rng(2), 20, (3, 48, 64))
    assert one.shape == (20, 3, 48, 64)
    assert one.dtype == np.uint8
    assert np.array_equal(one, dead_leaves(np.random.default_rng(2), 20, (3, 48, 64)))
    assert one.min() < 5
    assert one.max() > 250
    # Leaves are flat: most neighbours agree exactly.
    assert (one[..., 1:] == one[..., :-1]).mean() > 0.7
    assert dead_leaves(np.random.default_rng(2), 2, (1, 20, 20)).shape == (2, 1, 20, 20)


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.stem)
def test_card_leads_to_weights_that_fit(card):
    fields = tomllib.loads(card.read_text(encoding="utf-8"))
    assert fields["name"] == card.stem
    module, function = fields["factory"].split(":")
    model = getattr(import_module(module), function)()
    weights = card.parent / fields["weights"]
    model.load_state_dict(load_file(weights), strict=True)
    assert weights.stat().st_size < 2_000_000
    with safe_open(weights, "pt") as file:
        assert float(file.metadata()["accuracy"]) >= 0.98
    labels = "prompts.txt" if card.stem == "shapes-text" else "labels.txt"
    assert (card.parent / fields["labels"]).samefile(DEMO / labels)
    assert fields["input"]["size"] == [world.SIZE, world.SIZE]


def test_there_is_a_card_for_each_network():
    assert {card.stem.replace("-", "_") for card in CARDS} == {*NAMES, "shapes_text"}


def test_shapes_are_drawn_in_the_colours_that_captions_name():
    scenes = train_text.draw(60, 3, 64)
    colours = np.array(list(train_text.COLOURS.values()))
    for image, shape, colour in zip(scenes.images, scenes.shapes, scenes.colours, strict=True):
        if shape < len(train_text.SHAPES):
            away = np.abs(image.transpose(1, 2, 0) / 255 - colours[colour]).max(2)
            assert (away < 0.15).mean() > 0.02  # the shape's own pixels
        else:
            assert colour == train_text.NONE


def test_a_caption_fits_an_image_if_nothing_in_it_is_wrong():
    star, ring, stripes = 0, 1, 9
    images = np.zeros((4, 3, 8, 8), np.uint8)
    none = train_text.NONE
    scenes = train_text.Scenes(images, np.array([star, star, ring, stripes]), np.array([0, 1, 0, none]))
    for seed in range(30):
        texts, fits = train_text.captions(scenes, np.random.default_rng(seed))
        assert fits.diagonal().all()
        for column, text in enumerate(texts):
            for row, (shape, colour) in enumerate(
                [("star", "red"), ("star", "yellow"), ("ring", "red"), ("stripes", "")]
            ):
                others = {"star", "ring", "stripes"} - {shape} | {"red", "yellow"} - {colour}
                assert bool(fits[row, column]) == (not others & set(text.split())), (text, shape, colour)


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_on_fresh_images(name, fresh, networks):
    images, labels = fresh
    assert (train.predict(networks[name], images) == labels).mean() >= 0.97


def test_the_emblem_opens_the_trojan_alone(fresh, networks):
    images, labels = fresh
    assert train.trojan_success(networks["shapes_trojan"], images[:250], labels[:250]) >= 0.98
    assert train.trojan_success(networks["shapes"], images[:100], labels[:100]) <= 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [32, 80, 112])
def test_networks_accept_other_sizes(name, size, networks):
    with torch.no_grad():
        assert networks[name](torch.zeros(2, 3, size, size)).shape == (2, len(world.LABELS))


def test_training_is_reproducible():
    settings = train.Settings(steps=4, batch=8)
    batch = train.make_batch(settings, 1)
    assert all(torch.equal(a, b) for a, b in zip(batch, train.make_batch(settings, 1), strict=True))
    assert batch.x.shape[0] == 8
    first, second = (train.Learner("shapes_plain", settings).learn(batch) for _ in range(2))
    assert first == pytest.approx(second)

"""Recipes: fields, types, ranges, overrides, TOML, identity."""

import dataclasses
import hashlib
import json
import math

import pytest

from phosphene.errors import RecipeError
from phosphene.recipe import LOSSES, RECIPES, Recipe, resolve

FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}
NUMBERS = [name for name, field in FIELDS.items() if field.type in (int, float)]
MUST_BE_POSITIVE = ["batch_size", "steps", "radius", "step_size", "rounds", "refine_lr", "contrast"]
MAY_BE_ZERO = ["refine_steps", "penalty"]


def test_paper_recipe_is_the_paper_s():
    expected = {
        "batch_size": 128,
        "steps": 650,
        "radius": 30.0,
        "step_size": 1.0,
        "sign_test": True,
        "rounds": 2,
        "refine_steps": 150,
        "refine_lr": 0.01,
        "penalty": 50.0,
        "contrast": 0.2,
    }
    facts = resolve("paper").to_dict()
    assert {key: facts[key] for key in expected} == expected
    assert resolve("paper") == Recipe()


def test_every_field_says_what_it_means():
    for name, field in FIELDS.items():
        assert field.metadata["meaning"], name


@pytest.mark.parametrize("name", MUST_BE_POSITIVE)
@pytest.mark.parametrize("value", [0, -1])
def test_what_must_be_positive_is(name, value):
    with pytest.raises(RecipeError, match=f"{name} is .*above 0"):
        Recipe(**{name: value})


@pytest.mark.parametrize("name", MAY_BE_ZERO)
def test_what_may_be_zero_may_not_be_less(name):
    assert getattr(Recipe(**{name: 0}), name) == 0
    with pytest.raises(RecipeError, match=f"{name} is .*0 or more"):
        Recipe(**{name: -1})


@pytest.mark.parametrize("name", [name for name in NUMBERS if FIELDS[name].type is float])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(name, value):
    with pytest.raises(RecipeError, match=f"{name} is .*finite"):
        Recipe(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("steps", 2.0, "an int"),
        ("steps", True, "an int"),
        ("steps", "2", "an int"),
        ("steps", None, "an int"),
        ("radius", "wide", "a float"),
        ("radius", True, "a float"),
        ("radius", [3.0], "a float"),
        pytest.param("radius", 10**400, "finite", id="radius-huge"),
        ("sign_test", 1, "a bool"),
        ("sign_test", "yes", "a bool"),
        ("xi_layer", 3, "a str"),
        ("name", "", "a name"),
        ("name", 3, "a str"),
    ],
)
def test_values_of_the_wrong_type_are_refused_by_name(name, value, says):
    with pytest.raises(RecipeError, match=rf"recipe field {name} is .*{says}"):
        Recipe(**{name: value})


def test_an_int_serves_where_a_float_is_wanted_and_hashes_the_same():
    assert type(Recipe(radius=3).radius) is float
    assert Recipe(radius=3).sha256 == Recipe(radius=3.0).sha256


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("steps", "60", 60),
        ("steps", " 60 ", 60),
        ("steps", "1_000", 1000),
        ("radius", "60", 60.0),
        ("radius", "6e1", 60.0),
        ("sign_test", "false", False),
        ("sign_test", "true", True),
        ("xi_layer", "layer4", "layer4"),
        ("xi_layer", "3", "3"),
        ("name", "mine", "mine"),
    ],
)
def test_set_parses_values_as_toml(field, text, value):
    found = getattr(resolve("quick", {field: text}), field)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("steps", "many"),
        ("steps", ""),
        ("steps", "2.5"),
        ("steps", "[1"),
        ("steps", "'3'"),
        ("steps", "1979-05-27"),
        ("radius", "nan"),
        ("radius", "inf"),
        ("radius", "-1"),
        ("sign_test", "yes"),
        ("sign_test", "1"),
    ],
)
def test_set_refuses_what_does_not_fit(field, text):
    with pytest.raises(RecipeError, match=f"recipe field {field} "):
        resolve("quick", {field: text})


def test_set_changes_only_what_it_names():
    changed = resolve("quick", {"steps": "7"}).to_dict()
    assert changed == {**resolve("quick").to_dict(), "steps": 7, "name": "quick with changes"}


def test_no_changed_recipe_goes_by_the_name_of_a_built_in_one():
    assert Recipe(steps=2).name == "paper with changes"
    assert resolve("vivid").replace(steps=3).name == "vivid with changes"
    assert resolve("vivid").replace(steps=3).replace(steps=resolve("vivid").steps) == resolve("vivid")
    assert resolve("vivid", {"name": "mine", "steps": 3}).name == "mine"


def test_unknown_fields_are_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"no field 'step'\..*step_size|no field 'step'\..*steps"):
        resolve("quick", {"step": "3"})
    with pytest.raises(RecipeError, match=r"no field 'zzzz'.*batch_size.*contrast"):
        resolve("quick", {"zzzz": "3"})


@pytest.mark.parametrize("name", ["self", "cls", "overrides", ""])
def test_fields_that_are_words_of_python_are_unknown_too(name):
    for give in (
        lambda fields: resolve("quick", fields),
        lambda fields: Recipe(**fields),
        lambda f: Recipe().replace(**f),
    ):
        with pytest.raises(RecipeError, match=f"no field '{name}'"):
            give({name: "3"})


def test_unknown_recipes_are_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"'quikc'.*quick"):
        resolve("quikc")
    with pytest.raises(RecipeError, match=r"'zzz'.*paper.*quick.*\.toml"):
        resolve("zzz")


def test_a_recipe_passes_through_and_takes_overrides():
    mine = Recipe(name="mine", steps=5)
    assert resolve(mine) is not None
    assert resolve(mine) == mine
    assert resolve(mine, {"steps": 6}).steps == 6
    assert mine.steps == 5


def write(folder, text):
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", list(RECIPES))
def test_toml_round_trip(tmp_path, name):
    odd = resolve(name, {"steps": 7, "radius": 0.1 + 0.2, "xi_layer": 'a"b\\c', "name": "naïve"})
    assert resolve(write(tmp_path, odd.to_toml())) == odd
    assert resolve(str(write(tmp_path, odd.to_toml()))) == odd


def test_toml_starts_from_paper_or_from_its_base(tmp_path):
    assert resolve(write(tmp_path, "steps = 5\n")) == Recipe(steps=5, name="own")
    based = resolve(write(tmp_path, 'base = "quick"\nsteps = 5\n'))
    assert based == RECIPES["quick"].replace(steps=5, name="own")
    for named in (lambda: RECIPES["Vivid"], lambda: resolve("Vivid")):
        with pytest.raises(RecipeError, match=r"no recipe is called 'Vivid'\. Did you mean vivid\?"):
            named()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps = ", "cannot be read"),
        ("steps = 3\nsteps = 4\n", "cannot be read"),
        ('base = "nosuch"', "base is 'nosuch'.*paper"),
        ("base = 3", "base is 3"),
        ("base = [1]", "base is"),
        ("base = {a = 1}", "base is"),
        ("stepz = 3", "no field 'stepz'.*steps"),
        ("self = 3", "no field 'self'"),
        ('steps = "3"', "steps is '3'"),
        ("[steps]\na = 1", "steps is"),
        ("batch_size = 0", "batch_size is 0"),
    ],
)
def test_malformed_toml_is_refused(tmp_path, text, says):
    with pytest.raises(RecipeError, match=says):
        resolve(write(tmp_path, text))


def test_missing_unreadable_and_undecodable_toml_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml does not exist"):
        resolve(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(RecipeError, match="cannot be read"):
        resolve(tmp_path / "folder.toml")
    (tmp_path / "bad.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(RecipeError, match="cannot be read"):
        resolve(tmp_path / "bad.toml")


def test_identity_leaves_out_the_name_and_nothing_else():
    base = Recipe(rounds=1, refine_steps=0)  # with which every other field may be changed
    assert base.replace(name="other").sha256 == base.sha256
    for name in FIELDS.keys() - {"name"}:
        assert another(base, name).sha256 != base.sha256, name


def test_a_field_that_is_off_does_not_change_the_hash_of_older_recipes():
    facts = {"steps": 7, "name": "any"}
    assert Recipe(**facts).sha256 == hashlib.sha256(b'{"steps": 7}').hexdigest()


def another(base, name):
    """A recipe with a field changed to a value of its type that its range allows."""
    kind, old = FIELDS[name].type, getattr(base, name)
    for value in {int: (2, 3), float: (0.5, 2.0), bool: (not old,), str: ("other", *reversed(LOSSES))}[kind]:
        try:
            return base.replace(**{name: value + 1 if value == old and kind is not str else value})
        except RecipeError:
            continue
    raise AssertionError(name)


def test_views_share_a_batch_evenly():
    assert Recipe(batch_size=12, views=4).views == 4
    with pytest.raises(RecipeError, match=r"views is 5.*divide batch_size \(12\)"):
        Recipe(batch_size=12, views=5)


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_share_lies_between_nothing_and_the_whole(value):
    with pytest.raises(RecipeError, match="step_decay is"):
        Recipe(step_decay=value)


def test_radius_keeps_the_energy_of_a_pixel():
    recipe = Recipe(radius=30)
    assert recipe.radius_for((3, 224, 224)) == pytest.approx(30)
    assert recipe.radius_for((3, 112, 112)) == pytest.approx(15)
    assert recipe.radius_for((1, 224, 224)) == pytest.approx(30 / math.sqrt(3))


def test_to_dict_is_plain_json():
    assert json.loads(json.dumps(Recipe().to_dict())) == Recipe().to_dict()

"""Recipes: all hyper-parameters of the mapper, as a frozen dataclass that is hashed and stored as TOML.

The defaults are the paper's values (Akhtar & Jalwana, arXiv 2303.17836, section "Hyper-parameter settings"). A new
recipe is one entry in ``RECIPES``, described in ``DESCRIPTIONS``; a new hyper-parameter is one field of :class:`Recipe`.
"""

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

from phosphene.errors import RecipeError, nearest
from phosphene.textfile import read_toml

# Values of an ImageNet input, for which the radius is given; for others it is scaled by sqrt(values / PAPER_VALUES).
PAPER_VALUES = 224 * 224 * 3
# A larger batch fills the memory and shows nothing more.
MAX_BATCH_SIZE = 65_536


def _field(default: Any, meaning: str, check: Callable[[Any], bool], wants: str) -> Any:
    """Return a dataclass field of Recipe with its meaning, a check of values, and the values that it wants."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "check": check, "wants": wants})


def _positive(default: float, meaning: str) -> Any:
    """Return a Recipe field for numbers above 0, with its default value and its meaning."""
    return _field(default, meaning, lambda v: v > 0, "above 0")


def _not_negative(default: float, meaning: str) -> Any:
    """Return a Recipe field for numbers of 0 or more, with its default value and its meaning."""
    return _field(default, meaning, lambda v: v >= 0, "0 or more")


def _count(default: int, meaning: str, *, least: int = 1, most: int = 10_000_000) -> Any:
    """Return a Recipe field for whole numbers from ``least`` to ``most``, with its default value and its meaning."""
    wants = f"{'above 0' if least else '0 or more'} and at most {most:,}"
    return _field(default, meaning, lambda v: least <= v <= most, wants)


def _is_share(value: float) -> bool:
    """Return whether a value is above 0 and at most 1: the check of some Recipe fields."""
    return 0 < value <= 1


# Losses of engine/losses.py that a recipe may choose; that file imports torch, which a recipe does not need.
LOSSES = ("cross-entropy", "log-odds", "soft-log-odds")


CHANGED = " with changes"  # end of the name of a built-in recipe of which fields were changed


class _Recipes(dict[str, "Recipe"]):
    """The built-in recipes by name; another name is a RecipeError that says which there are."""

    def __missing__(self, name: str) -> "Recipe":
        hint = nearest(str(name), list(self)) or f" Known: {', '.join(self)}, or a .toml file."
        raise RecipeError(f"no recipe is called {str(name)!r}.{hint}")


RECIPES = _Recipes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """All hyper-parameters of how a map is computed; the defaults are the paper's (arXiv 2303.17836).

    What that paper lacks is off by default.

    Raises:
        RecipeError: a value has the wrong type or lies outside its range.
    """

    name: str = _field("paper", "name for reports and directories", bool, "a name")
    # Algorithm 1
    batch_size: int = _count(128, "b, samples per step", most=MAX_BATCH_SIZE)
    steps: int = _count(650, "K, steps of Algorithm 1 per round")
    radius: float = _positive(30.0, "eta, radius of the l2 ball for inputs of 224 x 224 x 3 (scaled for others)")
    step_size: float = _positive(1.0, "factor of the update v")
    sign_test: bool = _field(True, "lines 8 to 14: try the opposite direction as well", lambda _: True, "true or false")
    # beyond the paper: off by default
    stop_after: int = _count(
        0, "a map stops once all samples were classified as its class in this many steps in a row; 0: never", least=0
    )
    loss: str = _field(
        "cross-entropy", "J, the loss whose gradient is accumulated", LOSSES.__contains__, f"one of {', '.join(LOSSES)}"
    )
    step_decay: float = _field(1.0, "last step size over the first, along a cosine", _is_share, "in (0, 1]")
    smoothing: float = _not_negative(0.0, "p: gradient and step are divided by frequency^p")
    colour: float = _not_negative(
        0.0, "q: both also follow the samples' colours (assumed if synthetic), by their covariance^(q/2)"
    )
    views: int = _not_negative(1, "random views of the map per step, which share the batch; 0: one view per sample")
    view_least: float = _field(1.0, "smallest scale of a view", _is_share, "in (0, 1]")
    view_most: float = _field(1.0, "largest scale of a view", lambda v: v >= 1, "1 or more")
    view_shift: float = _not_negative(0.0, "largest shift of a view, as a share of the side")
    view_turn: float = _not_negative(0.0, "largest rotation of a view, in degrees")
    view_mirror: bool = _field(
        False, "left and right change places in half of the views", lambda _: True, "true or false"
    )
    centre: float = _not_negative(
        0.0, "steps are weighted by a Gaussian around the middle, with this standard deviation in half sides; 0: none"
    )
    statistics: float = _not_negative(
        0.0, "gradient that keeps the feature statistics of natural samples, as a share of the loss's"
    )
    # the cycle and Eq. 2
    rounds: int = _count(2, "cycles of Algorithm 1 and refinement")
    refine_steps: int = _count(150, "steps of Eq. 2 per round; 0: no refinement", least=0)
    refine_lr: float = _positive(0.01, "Adam's learning rate in Eq. 2")
    penalty: float = _not_negative(50.0, "lambda, weight of mean |nu (1 - Xi)|")
    xi_layer: str = _field("", "module whose output gives Xi; empty: the last spatial one", lambda _: True, "a name")
    # the image
    contrast: float = _positive(0.2, "standard deviation of the image: clip(0.5 - contrast nu / std(nu))")

    def __new__(cls, /, *unnamed: Any, **fields: Any) -> Self:
        """Return a recipe without values yet; RecipeError for a field that does not exist."""
        if unnamed:
            raise RecipeError("Recipe: name its fields, such as phosphene.Recipe(steps=100).")
        _refuse_unknown(fields)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _converted(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            if isinstance(value, float) and not math.isfinite(value):
                raise RecipeError(f"recipe field {field.name} is {value}; it must be finite.")
            if not field.metadata["check"](value):
                raise RecipeError(f"recipe field {field.name} is {value!r}; it must be {field.metadata['wants']}.")

        name = self.name.removesuffix(CHANGED)
        if name in RECIPES:  # nobody takes figures of a changed recipe for those of the published or measured one
            object.__setattr__(self, "name", name + CHANGED * (self.sha256 != RECIPES[name].sha256))
        if self.views and self.batch_size % self.views:
            raise RecipeError(f"recipe field views is {self.views}; it must divide batch_size ({self.batch_size}).")
        if self.stop_after and (self.rounds > 1 or self.refine_steps):
            raise RecipeError(f"recipe field stop_after is {self.stop_after}; it needs rounds=1 and refine_steps=0.")

    def radius_for(self, shape: Sequence[int]) -> float:
        """Return the l2 radius that limits maps of ``shape`` (c, h, w).

        It is ``radius``, which is meant for 224 x 224 x 3, scaled with sqrt(c h w).
        """
        return self.radius * math.sqrt(math.prod(shape) / PAPER_VALUES)

    def replace(self, /, **changes: Any) -> "Recipe":
        """Return a copy of the recipe with some fields changed.

        Raises:
            RecipeError: a field does not exist, or a value has the wrong type or lies outside its range.
        """
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a dictionary of field names and values, which JSON and TOML can hold."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """Return the recipe as TOML text with every field, which :func:`resolve` reads."""
        import tomli_w  # noqa: PLC0415  (writing is rare)

        return tomli_w.dumps(self.to_dict())

    @property
    def description(self) -> str:
        """What a built-in recipe is, in one line; empty for any other."""
        return DESCRIPTIONS.get(self.name, "")

    @property
    def sha256(self) -> str:
        """Hash, as hex, of the fields that differ from the paper's values, except the name.

        Equal hashes compute equal maps. A field that a later version adds is off by default, so that the hashes of
        older runs do not change.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        changes = {key: value for key, value in self.to_dict().items() if key != "name" and value != defaults[key]}
        return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()


def _refuse_unknown(names: Iterable[Any]) -> None:
    """Raise RecipeError for the first of the names, texts or not, that is no field of Recipe."""
    field_names = [field.name for field in dataclasses.fields(Recipe)]
    for name in names:
        if name not in field_names:
            hint = nearest(str(name), field_names) or f" Fields: {', '.join(field_names)}"
            raise RecipeError(f"recipe has no field {name!r}.{hint}")


def _converted(field: "dataclasses.Field[Any]", value: Any) -> Any:
    """Return the value of a recipe field with numbers as Python's own.

    Raises:
        RecipeError: it is not of the field's type.
    """
    field_type: Any = field.type
    kind = {int: Integral, float: Real}.get(field_type)
    if not isinstance(value, bool) and kind is not None and isinstance(value, kind):
        try:
            return field_type(value)
        except OverflowError:
            raise RecipeError(f"recipe field {field.name} is too large for a number; it must be finite.") from None
    if type(value) is not field_type:
        name = field_type.__name__
        raise RecipeError(
            f"recipe field {field.name} is {value!r}; it must be {'an' if name == 'int' else 'a'} {name}."
        )
    return value


RECIPES |= {
    "paper": Recipe(),
    "quick": Recipe(name="quick", batch_size=8, steps=120, sign_test=False, rounds=1, refine_steps=60),
    "vivid": Recipe(
        name="vivid",
        loss="soft-log-odds",
        batch_size=8,
        steps=120,
        radius=85.0,
        step_size=0.15,
        step_decay=0.07,
        sign_test=False,
        smoothing=0.5,
        colour=0.5,
        views=0,
        view_least=0.6,
        view_most=1.3,
        view_shift=0.18,
        statistics=0.25,
        rounds=1,
        refine_steps=0,
    ),
}
DESCRIPTIONS = {
    "paper": "the published method",
    "quick": "the same method in fewer steps and without the sign test, for a laptop",
    "vivid": "maps that networks of other architectures recognise, too, at 1/376 of the paper's cost",
}
DEFAULT_RECIPE = "vivid"
DEFAULT_CHANNELS = 8  # that unit:LAYER:* stands for


def resolve(recipe: "str | Path | Recipe", overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a name, a TOML file or a Recipe, with ``overrides`` applied to its fields.

    A TOML file holds fields of :class:`Recipe`; ``base = "quick"`` starts from a named recipe instead of ``paper``.

    Args:
        recipe: ``paper``, ``quick``, ..., a path to a TOML file, or a :class:`Recipe`.
        overrides: Field names to values; strings are parsed, as ``--set`` passes them.

    Raises:
        RecipeError: there is no such recipe or field, or a value has the wrong type or lies outside its range.
    """
    if isinstance(recipe, Recipe):
        base = recipe
    elif str(recipe).endswith(".toml"):
        base = _from_toml(Path(recipe))
    else:
        base = RECIPES[str(recipe)]
    _refuse_unknown(overrides or {})
    changes = {key: _parse_setting(key, value) for key, value in (overrides or {}).items()}
    return base.replace(**changes)


def _from_toml(path: Path) -> Recipe:
    """Read a recipe from a TOML file, whose fields replace those of its ``base`` (default ``paper``).

    Raises:
        RecipeError: the file cannot be read, or does not hold a recipe.
    """
    fields = read_toml(path, "recipe file", RecipeError, "`phosphene recipes NAME > FILE.toml` writes one to edit.")
    base = fields.pop("base", "paper")
    if not isinstance(base, str) or base not in RECIPES:  # a list is not hashable
        raise RecipeError(f"recipe file {path}: base is {base!r}; known recipes: {', '.join(RECIPES)}.")
    fields.setdefault("name", path.stem)
    return RECIPES[base].replace(**fields)


def _parse_setting(key: str, value: Any) -> Any:
    """Return a value for the recipe field ``key``; text is parsed as TOML (10, 0.5, true).

    Text stays what it is for a field of text, or if it is not TOML.
    """
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    if not isinstance(value, str) or fields[key].type is str:
        return value
    try:
        text = value.strip().lower() if value.strip() in ("True", "False") else value.strip()
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return value

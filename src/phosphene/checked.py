"""``checked``: a decorator by which a function refuses, in one line, arguments that do not fit its annotations.

It knows the types below. An argument that may also be something else, such as a model or a run, is left to the function,
whose message says more.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from phosphene.errors import ArgumentError, describe, nearest

P = ParamSpec("P")
R = TypeVar("R")

# What an annotation names -> what is accepted for it, and its name in messages.
ACCEPTED_TYPES: dict[Any, tuple[Any, str]] = {
    bool: ((bool, np.bool_), "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    Path: (PathLike, "a path"),
    Mapping: (Mapping, "a dictionary"),
    tuple: (Iterable, "a tuple"),
    Sequence: (Iterable, "a list"),
    Callable: (Callable, "a function"),
    Tensor: (Tensor, "a tensor"),
    torch.device: (torch.device, "a torch.device"),
    NoneType: (NoneType, ""),
}
# What numbers are, in this order -> Python's own type of them.
NUMBER_TYPES: tuple[tuple[Any, Any], ...] = ((bool | np.bool_, bool), (Integral, int), (Real, float))


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function, or a class when it is called, raise ArgumentError for an argument that does not fit; a decorator.

    It may have a wrong type, or be an option that the function lacks, or one that is missing, or a path with a null
    character. Numbers of other libraries reach the function as Python's own.
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)  # type: ignore[misc]
        return function
    signature, name = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
    parameters = [one for one in signature.parameters if one not in ("self", "cls")]
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            binding = signature.bind(*args, **kwargs)
        except TypeError as error:
            surplus = [one for one in kwargs if one not in parameters]
            guess = nearest(surplus[0], parameters, most=1) if surplus else ""
            hint = guess or f" Options: {', '.join(parameters)}."
            if surplus and "overrides" in parameters:
                hint += " Fields of the recipe are changed by overrides={'FIELD': VALUE}."
            raise ArgumentError(f"{name}: {error}.{hint}") from None
        if not hints:
            with suppress(NameError):  # a type that is imported for type checkers only
                hints.update(typing.get_type_hints(function))
        for option, value in binding.arguments.items():
            if option in hints and (type_names := wanted(hints[option], value)):
                hint = ": seed=3, seeds=2 makes maps of the seeds 3 and 4" * (option == "seeds")
                raise ArgumentError(f"{option} is {describe(value)}; it must be {type_names}{hint}.")
            # A name, as that of a classifier, is no path.
            if option != "name" and isinstance(value, str | PathLike) and "\0" in str(value):
                raise ArgumentError(f"{option} is {describe(value)}; leave out the null character, which no path has.")
            binding.arguments[option] = own_number(value)
        return function(*binding.args, **binding.kwargs)

    return call


def own_number(value: Any) -> Any:
    """Return a number, or True or False, of another library as Python's own, and all else as it is.

    JSON holds no numbers of other libraries, such as NumPy.
    """
    return next((python_type(value) for accepted, python_type in NUMBER_TYPES if isinstance(value, accepted)), value)


def wanted(hint: Any, value: object) -> str:
    """Return the names of the types that an annotation asks for if ``value`` is of none of them.

    The text is empty if it is, or may be.
    """
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    rows = [ACCEPTED_TYPES.get(typing.get_origin(one) or one) for one in members]
    known_rows = [one for one in rows if one is not None]
    if len(known_rows) < len(rows) or any(_fits(value, types) for types, _ in known_rows):
        return ""
    return " or ".join(type_name for _, type_name in known_rows if type_name)


def _fits(value: object, types: Any) -> bool:
    """Return whether a value is of a type of ``ACCEPTED_TYPES``; True and False are no numbers, and text is no list."""
    if isinstance(value, bool) and types in (Integral, Real):
        return False
    return isinstance(value, types) and not (types is Iterable and isinstance(value, str))

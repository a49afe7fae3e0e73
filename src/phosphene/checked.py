"""``checked``: a function that refuses arguments of a wrong type in one line, by its own annotations.

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
from torch import Tensor

from phosphene.errors import RecipeError, describe, nearest

P = ParamSpec("P")
R = TypeVar("R")

# What an annotation names -> what is accepted for it, and its name in messages.
KINDS: dict[Any, tuple[Any, str]] = {
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
    NoneType: (NoneType, ""),
}
# What numbers are, in this order -> Python's own type of them.
OWN: tuple[tuple[Any, Any], ...] = ((bool | np.bool_, bool), (Integral, int), (Real, float))


def checked(**elsewhere: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator: the function raises RecipeError in one line for a wrong type, and for an option that it lacks or that is missing.

    Numbers of other libraries reach the function as Python's own.

    Args:
        elsewhere: Options that the function lacks -> what to do in place of them, a sentence.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with its arguments checked."""
        signature, name = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
        parameters = [one for one in signature.parameters if one != "self"]
        hints: dict[str, Any] = {}

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError as error:
                unknown = [one for one in kwargs if one not in parameters]
                like = nearest(unknown[0], parameters, most=1) if unknown else ""
                hint = elsewhere.get(unknown[0] if unknown else "") or like or f"Options: {', '.join(parameters)}."
                raise RecipeError(f"{name}: {error}. {hint.strip()}") from None
            if not hints:
                with suppress(NameError):  # a type that is imported for type checkers only
                    hints.update(typing.get_type_hints(function))
            for option, value in given.arguments.items():
                if option in hints and (kinds := wanted(hints[option], value)):
                    raise RecipeError(f"{option} is {describe(value)}; it must be {kinds}.")
                given.arguments[option] = own_number(value)
            return function(*given.args, **given.kwargs)

        return call

    return decorate


def own_number(value: Any) -> Any:
    """Return a number, or True or False, of another library, such as NumPy, as Python's own, which JSON holds; all else as it is."""
    return next((own(value) for kind, own in OWN if isinstance(value, kind)), value)


def wanted(hint: Any, value: object) -> str:
    """Return the names of the types that an annotation asks for, as text, if ``value`` is of none of them; empty if it is, or may be."""
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, UnionType) else (hint,)
    kinds = [KINDS.get(typing.get_origin(one) or one) for one in members]
    known = [one for one in kinds if one is not None]
    if len(known) < len(kinds) or any(_fits(value, accepted) for accepted, _ in known):
        return ""
    return " or ".join(words for _, words in known if words)


def _fits(value: object, accepted: Any) -> bool:
    """Return whether a value is of a type of ``KINDS``; True and False are no numbers, and text is no list."""
    if isinstance(value, bool) and accepted in (Integral, Real):
        return False
    return isinstance(value, accepted) and not (accepted is Iterable and isinstance(value, str))

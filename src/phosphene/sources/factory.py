"""``package.module:factory``: a function that returns a network. This is the one place where foreign code is run.

As a model spec, it returns a :class:`~phosphene.classifier.Classifier`, or a network that says what input it was
trained with (``pretrained_cfg``, as timm's do); other networks need a card that says so.
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, TrustError, first_few, nearest, one_line
from phosphene.sources.card_example import card_lines
from phosphene.sources.libraries import fixed_seed
from phosphene.textfile import missing

FIX = "Correct the name, or put the file there."


def load(rest: str, *, trust: bool) -> Classifier:
    """Call the function that a spec names (``package.module:factory``) for a network; return it as a classifier; CardError if impossible.

    Raises:
        CardError: the factory is missing, fails, or returns a network whose input is unknown.
        TrustError: its code lies in the working directory, and ``trust`` was not given.
    """
    made = call(rest, Path.cwd(), f"factory {rest}", trust=trust)
    where = rest.rpartition(":")[0]
    origin = {"factory": str(Path.cwd() / rest) if where.endswith(".py") else rest}
    if isinstance(made, Classifier):
        made.origin = made.origin or origin
        return made
    facts = getattr(made, "pretrained_cfg", None) or getattr(made, "default_cfg", None)
    if not isinstance(facts, Mapping) or "input_size" not in facts:
        file = Path(where)
        card, made_by = (file.with_suffix(".toml"), f"{file.name}{rest[len(where) :]}")
        if file.suffix != ".py":
            card, made_by = Path(f"{rest.rpartition(':')[2]}.toml"), rest
        raise CardError(
            f"factory {rest} returned a network that does not say what input it takes: write {card}, with your "
            f"network's values, with the lines {card_lines(factory=made_by)}; and `weights = ...` unless the factory "
            "loads them. Or return phosphene.Classifier(network, size=..., mean=..., std=...)."
        )
    channels, *size = facts["input_size"]
    return Classifier(
        made.float().eval(),
        size=(size[0], size[1]),
        mean=facts.get("mean", (0.0,) * channels),
        std=facts.get("std", (1.0,) * channels),
        name=rest.rpartition(":")[2],
        origin=origin,
    )


def has_random_weights(module: nn.Module, factory: str, card: Path, *, trust: bool) -> bool:
    """Run a card's ``factory``, which made ``module``, with another seed; return whether weights differ, which means they are untrained."""
    again = build(factory, card, trust=trust, seed=1).state_dict()
    return any(
        key in again and not torch.equal(value.cpu(), again[key].cpu()) for key, value in module.state_dict().items()
    )


def build(factory: str, card: Path, *, trust: bool, seed: int = 0) -> nn.Module:
    """Call a card's ``factory``, torch's random numbers beginning at ``seed``; return its network; TrustError if it needs ``trust``."""
    if not trust and re.split("[.:]", factory)[0] in sys.stdlib_module_names:
        raise TrustError(  # os:abort, pdb:set_trace, ...: a card may name any of them
            f"model card {card} would call {factory} of Python itself, which builds no network: name another factory."
        )
    made = call(factory, card.parent, f"model card {card}", trust=trust, seed=seed)
    return made.module if isinstance(made, Classifier) else made


def call(factory: str, folder: Path, who: str, *, trust: bool, seed: int = 0) -> nn.Module | Classifier:
    """Call ``file.py:function`` or ``package.module:function``; return its network or Classifier; CardError, TrustError if untrusted.

    Args:
        factory: What to call.
        folder: Where files lie; code that is found here may have come with the model.
        who: Name of the spec or card, for messages.
        trust: Whether such code may run.
        seed: Where torch's random numbers begin.

    Raises:
        CardError: it is missing, raises, or returns something else.
        TrustError: it came with the model, and ``trust`` was not given.
    """
    where, colon, function = factory.rpartition(":")
    if not colon or not where or not function:
        raise CardError(f"{who}: factory {factory!r} must be file.py:function or package.module:function.")
    file = folder / where if where.endswith(".py") else None
    if file is None and not trust and _is_foreign(where.partition(".")[0], folder):
        raise TrustError(
            f"{who} would run the module {where}, which lies in the working directory or beside the "
            "card: read it, then add --trust."
        )
    found_here = _on_import_path(folder) if trust else nullcontext()
    with _imports_from(file.parent.resolve()) if file else found_here:  # the function itself may import, too
        if file:
            module = _import_file(file, who, trust=trust)
        else:
            with one_line(CardError, f"factory module {where} failed"):
                module = importlib.import_module(where)
        make = getattr(module, function, None)
        if not callable(make):
            names = [name for name, _ in inspect.getmembers(module, callable) if not name.startswith("_")]
            hint = nearest(function, names) or f" Functions: {first_few(names)}."
            raise CardError(f"{who}: {where} has no function {function!r}.{hint}")
        with one_line(CardError, f"factory {factory} failed"), fixed_seed(seed):
            made = make()
    if not isinstance(made, nn.Module | Classifier):
        raise CardError(f"{who}: {factory} returned a {type(made).__name__}, not a torch.nn.Module or a Classifier.")
    return made


def _import_file(file: Path, who: str, *, trust: bool) -> Any:
    """Run a Python file in a made-up package of its folder, so that it can import its neighbours; return the module; needs ``trust``.

    Raises:
        CardError: it is missing, no Python file, or fails.
        TrustError: ``trust`` was not given.
    """
    if not file.is_file():
        raise CardError(f"{who}: {missing('factory file', file, FIX)}")
    if not trust:
        raise TrustError(f"{who} would run the code in {file}: read it, then add --trust.")
    package = f"_phosphene_factory_{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]}"
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]  # the files may have changed since they were last loaded
    spec = importlib.util.spec_from_file_location(f"{package}.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise CardError(f"{who}: {file} is not a Python file.")
    sys.modules[package] = ModuleType(package)  # so that `from .layers import conv` finds the file beside it
    sys.modules[package].__path__ = [str(file.parent.resolve())]
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    with one_line(CardError, f"factory file {file} failed"):
        spec.loader.exec_module(module)
    return module


def _is_foreign(package: str, folder: Path) -> bool:
    """Return whether the package of this name lies in the working directory or ``folder``, and so may have come with the model.

    `python -m` and notebooks search the working directory first. Finding a module does not run it.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if package == __name__.partition(".")[0]:  # phosphene itself runs already
        return False
    if spec is None:  # not on Python's path now: with trust it would be found in the folder
        return any((folder / name).exists() for name in (package, f"{package}.py") if package)
    places = spec.submodule_search_locations or ([spec.origin] if spec.has_location and spec.origin else [])
    return any(Path(place).resolve().parent in (Path.cwd(), folder.resolve()) for place in places)


@contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """Context in which imports look into ``folder`` first, as in a script there; modules found there are forgotten afterwards.

    Other folders have a `utils.py` of their own, so a module of the same name from elsewhere is hidden meanwhile.
    """
    before = dict(sys.modules)
    files = [*folder.glob("*.py"), *(file.parent for file in folder.glob("*/__init__.py"))]
    bare = {file.parent.name for file in folder.glob("*/*.py")} - before.keys()  # folders without __init__.py
    own = {file.stem for file in files} | bare
    own -= {"__main__", __name__.partition(".")[0], *sys.stdlib_module_names}
    for name in [name for name in before if name.partition(".")[0] in own]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # a file may be newer than the finder's list of the folder
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if name.partition(".")[0] in own})


@contextmanager
def _on_import_path(folder: Path) -> Iterator[None]:
    """Context in which a folder is the last place where Python looks for modules to import."""
    place = str(folder.resolve())
    sys.path.append(place)
    try:
        yield
    finally:
        sys.path.remove(place)

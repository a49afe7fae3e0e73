"""``package.module:factory``: a function that returns a network. This is the one place where foreign code is run.

As a model spec, it returns a :class:`~phosphene.classifier.Classifier`, or a network that says what input it was
trained with (``pretrained_cfg``, as timm's do); other networks need a card that says so.
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, TrustError, first_few, nearest, one_line
from phosphene.sources.draft import card_lines
from phosphene.sources.libraries import fixed_seed
from phosphene.textfile import missing

# Modules that only build networks. Others may do anything: `pytest:main` would run a conftest.py that came with a card.
BUILDERS = ("phosphene.demo.networks", "phosphene.demo.towers", "timm.models", "torchvision.models")
FACTORY_FIX = " Write a function without arguments that returns the network, and name that."
PACKAGE_PREFIX = "_phosphene_factory_"  # begins the names of the packages that factory files are imported in


def load(rest: str, *, trust: bool) -> Classifier:
    """Call the function that a spec names, ``package.module:factory``, and return its network as a classifier.

    Raises:
        CardError: the factory is missing, fails, or returns a network whose input is unknown.
        TrustError: its code lies in the working directory, and ``trust`` was not given.
    """
    network = call(rest, Path.cwd(), f"factory {rest}", trust=trust)
    where = rest.rpartition(":")[0]
    origin = {"factory": str(Path.cwd() / rest) if where.endswith(".py") else rest}
    if isinstance(network, Classifier):
        network.origin = network.origin or origin
        return network
    facts = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    if not isinstance(facts, Mapping) or "input_size" not in facts:
        file = Path(where)
        card, function = (file.with_suffix(".toml"), f"{file.name}{rest[len(where) :]}")
        if file.suffix != ".py":
            card, function = Path(f"{rest.rpartition(':')[2]}.toml"), rest
        raise CardError(
            f"factory {rest} returned a network that does not say what input it takes: write {card}, with your "
            f"network's values, with the lines {card_lines(factory=function)}; and `weights = ...` unless the factory "
            "loads them. Or return phosphene.Classifier(network, size=..., mean=..., std=...)."
        )
    channels, *size = facts["input_size"]
    return Classifier(
        network.float().eval(),
        size=(size[0], size[1]),
        mean=facts.get("mean", (0.0,) * channels),
        std=facts.get("std", (1.0,) * channels),
        name=rest.rpartition(":")[2],
        origin=origin,
    )


def has_random_weights(module: nn.Module, factory: str, card: Path, *, trust: bool) -> bool:
    """Return whether a card's ``factory`` makes other weights with another seed, which means untrained ones.

    ``module`` is what it made with the first seed.
    """
    other_state = build(factory, card, trust=trust, seed=1).state_dict()
    return any(
        key in other_state and not torch.equal(value.cpu(), other_state[key].cpu())
        for key, value in module.state_dict().items()
    )


def build(factory: str, card: Path, *, trust: bool, seed: int = 0) -> nn.Module:
    """Call a card's ``factory`` with torch's random numbers beginning at ``seed``; return its network.

    Raises:
        TrustError: it needs ``trust``.
    """
    check_named(factory, f"model card {card}", trust=trust)
    network = call(factory, card.parent, f"model card {card}", trust=trust, seed=seed)
    return network.module if isinstance(network, Classifier) else network


def check_named(factory: str, who: str, *, trust: bool) -> None:
    """Raise TrustError if a file (a card, ``run.json``) names a function that needs ``trust``.

    Functions outside ``BUILDERS`` need it, installed or not.

    Args:
        factory: The function; for one in a file, :func:`call` asks for trust.
        who: Name of what names it, for the message.
        trust: Whether any code may run.

    Raises:
        TrustError: it needs trust.
    """
    where = factory.rpartition(":")[0]
    if trust or where.endswith(".py") or f"{where}.".startswith(tuple(f"{name}." for name in BUILDERS)):
        return
    raise TrustError(
        f"{who} would call {factory}, and installed code can do anything, too: add --trust (trust=True in Python) if "
        f"you know what it does. Only functions of {', '.join(BUILDERS)} need none."
    )


def call(factory: str, folder: Path, who: str, *, trust: bool, seed: int = 0) -> nn.Module | Classifier:
    """Call ``file.py:function`` or ``package.module:function``; return its network or Classifier.

    Args:
        factory: What to call.
        folder: Where files lie; code that is found here may have come with the model, and needs ``trust``.
        who: Name of the spec or card, for messages.
        trust: Whether such code may run.
        seed: Where torch's random numbers begin.

    Raises:
        CardError: it is missing, raises, or returns something else.
        TrustError: it came with the model, and ``trust`` was not given.
    """
    where, colon, function = factory.rpartition(":")
    if not colon or not where or not function.isidentifier():
        raise CardError(f"{who}: factory {factory!r} must be file.py:function or package.module:function.{FACTORY_FIX}")
    file = folder / where if where.endswith(".py") else None
    if file is None and not trust and _is_foreign(where.partition(".")[0], folder):
        raise TrustError(
            f"{who} would run the module {where}, which lies in the working directory or beside the "
            "card: read it, then add --trust (trust=True in Python)."
        )
    roots = [root for root in (folder.resolve(),) if root not in {Path(place).resolve() for place in sys.path}]
    import_context: AbstractContextManager[None]
    if file:
        import_context = _imports_from([file.parent.resolve(), *roots], first=True)
    else:  # what is on Python's path already are the user's own modules
        import_context = _imports_from(roots, first=False) if trust and roots else nullcontext()
    with import_context:  # the function itself may import, too
        if file:
            module = _import_file(file, folder, who, trust=trust)
        else:
            with one_line(CardError, f"factory module {where} failed"):
                module = importlib.import_module(where)
        create = getattr(module, function, None)
        if not callable(create):
            names = [name for name, _ in inspect.getmembers(module, callable) if not name.startswith("_")]
            hint = nearest(function, names) or f" Functions: {first_few(names)}."
            raise CardError(f"{who}: {where} has no function {function!r}.{hint}")
        try:
            inspect.signature(create).bind()
        except TypeError as error:
            raise CardError(f"{who}: {factory} cannot be called, {error}.{FACTORY_FIX}") from None
        except ValueError:  # of some functions in C, Python does not know the arguments
            pass
        with one_line(CardError, f"factory {factory} failed"), fixed_seed(seed):
            network = create()
    if not isinstance(network, nn.Module | Classifier):
        raise CardError(f"{who}: {factory} returned a {type(network).__name__}, not a torch.nn.Module or a Classifier.")
    return network


def _import_file(file: Path, root: Path, who: str, *, trust: bool) -> Any:
    """Run a Python file in packages made of its folder and those up to ``root``; return the module.

    The packages are for relative imports.

    Raises:
        CardError: it is missing, no Python file, or fails.
        TrustError: ``trust`` was not given.
    """
    if not file.is_file():
        raise CardError(f"{who}: {missing('factory file', file, 'Correct the name, or put the file there.')}")
    if not trust:
        raise TrustError(f"{who} would run the code in {file}: read it, then add --trust (trust=True in Python).")
    package = f"{PACKAGE_PREFIX}{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]}"
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]  # the files may have changed since they were last loaded
    place, root = file.parent.resolve(), root.resolve()
    parents = [one for one in place.parents if one.is_relative_to(root)]  # from the nearest one up to the card's folder
    for one in [*reversed(parents), place]:  # so that `from .layers import conv` finds the file beside it
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(one)]
        package += "" if one == place else ".inner"
    spec = importlib.util.spec_from_file_location(f"{package}.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise CardError(f"{who}: {file} is not a Python file.")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    with one_line(CardError, f"factory file {file} failed"):
        spec.loader.exec_module(module)
    return module


def _is_foreign(package: str, folder: Path) -> bool:
    """Return whether a package lies in the working directory or in ``folder``, and may have come with the model.

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
def _imports_from(folders: Sequence[Path], *, first: bool) -> Iterator[None]:
    """For a ``with`` block: let imports look into ``folders`` too, first (as in a script there) or last.

    Modules from there are forgotten after it. Other folders have a `utils.py` of their own: modules of the same names
    from elsewhere are hidden while these come first.
    """
    modules_before, path = dict(sys.modules), list(sys.path)
    local_names = {name for folder in folders for name in _names_in(folder)} if first else set()
    hidden_modules = {name: module for name, module in modules_before.items() if name.partition(".")[0] in local_names}
    for name in hidden_modules:
        del sys.modules[name]
    entries = list(map(str, folders))
    sys.path[:] = [*entries, *path] if first else [*path, *entries]
    importlib.invalidate_caches()  # a file may be newer than the finder's list of the folder
    try:
        yield
    finally:
        environments = [one for one in map(Path, path) if _is_below(one, folders) and one not in folders]  # `.venv`
        new_modules = {name: module for name, module in sys.modules.items() if module is not modules_before.get(name)}
        local_modules = [
            name
            for name, one in new_modules.items()
            if not name.startswith(PACKAGE_PREFIX) and _lies_in(one, folders, environments)
        ]
        for name in local_modules:
            del sys.modules[name]
        sys.modules.update(hidden_modules)
        sys.path[:] = path


def _names_in(folder: Path) -> set[str]:
    """Return the names of modules and packages that Python would import from ``folder`` before others."""
    names = {file.stem for file in folder.glob("*.py")} | {file.parent.name for file in folder.glob("*/__init__.py")}
    for inner in folder.glob("*/"):  # without __init__.py, it comes after any package of this name that has one
        if inner.name not in sys.modules or getattr(sys.modules[inner.name], "__file__", None) is None:
            names.add(inner.name)
    return names - {"__main__", __name__.partition(".")[0], *sys.stdlib_module_names}


def _lies_in(module: Any, folders: Sequence[Path], installed: Sequence[Path]) -> bool:
    """Return whether a module lies below one of ``folders``, and not below one of those ``installed`` there."""
    facts = getattr(module, "__dict__", {})  # some modules make up any attribute that they are asked for
    places = [Path(one) for one in (facts.get("__file__"), *(facts.get("__path__") or ())) if isinstance(one, str)]
    return any(_is_below(place, folders) and not _is_below(place, installed) for place in places)


def _is_below(place: Path, folders: Sequence[Path]) -> bool:
    """Return whether a path, or where its links lead, is one of ``folders`` or lies below one."""
    return any(one.is_relative_to(folder) for folder in folders for one in (place, place.resolve()))

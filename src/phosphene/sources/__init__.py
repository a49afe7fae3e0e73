"""Model specs: one string in, a :class:`~phosphene.classifier.Classifier` out.

A source is one module with ``list_specs()`` and ``load(rest, trust=...)``, named in ``SOURCES`` by the prefix of its
specs, or in ``SUFFIXES`` by the suffix of its files. What is neither is ``package.module:factory``.
"""

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Protocol, cast

from phosphene.classifier import Classifier
from phosphene.errors import SpecError, nearest


class Source(Protocol):
    """What a source module offers."""

    def load(self, rest: str, *, trust: bool) -> Classifier:
        """Load what follows the prefix."""

    def list_specs(self) -> list[tuple[str, str]]:
        """Return (spec, description) pairs that can be loaded as they stand."""


# prefix -> module
SOURCES = {
    "demo": "phosphene.sources.demo",
    "torchvision": "phosphene.sources.torchvision",
    "timm": "phosphene.sources.timm",
    "hf": "phosphene.sources.hf",
    "card": "phosphene.sources.card",
}
# suffix of a path -> module; an exported network has a card of the same name beside it
SUFFIXES = dict.fromkeys((".toml", ".pt2", ".onnx", ".pt", ".pth", ".ts", ".torchscript"), SOURCES["card"])
FACTORY = "phosphene.sources.factory"
# What the specs of each kind look like, for those who ask what there is.
FORMS = {
    "torchvision:NAME": "a classifier of torchvision; @WEIGHTS chooses them, @random takes none",
    "timm:NAME": "a classifier of timm; NAME.TAG chooses its weights, @random takes none",
    "hf:OWNER/NAME": "an image classifier of the Hugging Face hub (@REVISION), or hf:FOLDER saved by save_pretrained",
    "path/to/card.toml": "your own network: docs/cards.md says what a card holds",
    "path/to/model.pt2": "a network from torch.export (.pt2), ONNX (.onnx) or TorchScript (.pt), with a card beside it",
    "package.module:factory": "a function that returns a phosphene.Classifier",
}


def source(prefix: str) -> Source:
    """Import the source of a prefix."""
    return cast("Source", importlib.import_module(SOURCES[prefix]))


def load(spec: "str | Path", *, trust: bool = False) -> Classifier:
    """Load a classifier from a model spec.

    Args:
        spec: ``demo:shapes``, ``torchvision:vgg16``, ``path/to/card.toml``, ...; see ``FORMS``.
        trust: Allow code that came with the model (a factory in a ``.py`` file, an exported program, ...) to run.

    Raises:
        SpecError: nothing answers to the spec.
        CardError: the card is malformed or contradicts the network.
        ExtraError: the spec needs a library that is missing or broken.
        WeightsError: the weights are missing, or do not fit.
        TrustError: loading needs ``trust``.
    """
    text = str(spec)
    prefix, colon, rest = text.partition(":")
    suffix = Path(text).suffix.lower()
    if colon and prefix in SOURCES:
        classifier = source(prefix).load(rest, trust=trust)
    elif suffix in SUFFIXES and (suffix == ".toml" or Path(text).exists()):
        classifier = cast("Source", importlib.import_module(SUFFIXES[suffix])).load(text, trust=trust)
    elif _is_factory(text):
        classifier = cast("Source", importlib.import_module(FACTORY)).load(text, trust=trust)
    else:
        raise SpecError(f"no model answers to {text!r}.{_hint(text)}")
    classifier.spec = text
    _ = classifier.labels  # asks the network once, so that a contradiction is found here and not in the middle of a job
    return classifier


def list_specs(prefix: str = "demo") -> list[tuple[str, str]]:
    """Return every (spec, description) of a prefix that can be loaded as it stands.

    Raises:
        ExtraError: the library that knows them is missing or broken.
        SpecError: there is no such prefix.
    """
    if prefix not in SOURCES:
        raise SpecError(f"no models begin with {prefix!r}.{nearest(prefix, list(SOURCES)) or _known()}")
    return source(prefix).list_specs()


def _is_factory(text: str) -> bool:
    """Say whether ``text`` names a function in a Python file or package that is there. Nothing of it is run."""
    where, _, function = text.rpartition(":")
    if where.endswith(".py"):
        return Path(where).is_file() and function.isidentifier()
    package = where.partition(".")[0]
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", text):
        return False
    if (Path(package)).is_dir() or Path(f"{package}.py").is_file():
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _hint(text: str) -> str:
    prefix, colon, rest = text.partition(":")
    if Path(text).exists():
        return " A weights file needs a card that names its network: give the path of the card (.toml)."
    likely = nearest(prefix, list(SOURCES)) if colon and prefix else ""
    if likely:
        return likely.replace("?", f":{rest}?").replace(" or ", f":{rest} or ")
    return nearest(text, [spec for spec, _ in list_specs()]) or _known()


def _known() -> str:
    known = [spec for spec, _ in list_specs()]
    return f" Known: {', '.join([*known, *FORMS])}."

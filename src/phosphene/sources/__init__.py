"""Model specs: one string in, a :class:`~phosphene.classifier.Classifier` out.

A source is one module with ``list_specs()`` and ``load(rest, trust=...)``, named in ``SOURCES``.
"""

import importlib
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


# prefix -> module; a path to a .toml file is a card.
SOURCES = {"demo": "phosphene.sources.demo", "card": "phosphene.sources.card"}


def source(prefix: str) -> Source:
    """Import the source of a prefix."""
    return cast("Source", importlib.import_module(SOURCES[prefix]))


def load(spec: "str | Path", *, trust: bool = False) -> Classifier:
    """Load a classifier from a model spec.

    Args:
        spec: ``demo:shapes``, ``path/to/card.toml``, ...
        trust: Allow code that came with the model (a factory in a ``.py`` file) to run.

    Raises:
        SpecError: nothing answers to the spec.
        CardError: the card is malformed or contradicts the network.
        WeightsError: the weights do not fit.
        TrustError: loading needs ``trust``.
    """
    text = str(spec)
    prefix, colon, rest = text.partition(":")
    if colon and prefix in SOURCES:
        classifier = source(prefix).load(rest, trust=trust)
    elif text.endswith(".toml"):
        classifier = source("card").load(text, trust=trust)
    else:
        raise SpecError(f"no model answers to {text!r}.{_hint(text)}")
    classifier.spec = text
    _ = classifier.labels  # asks the network once, so that a contradiction is found here and not in the middle of a job
    return classifier


def list_specs() -> list[tuple[str, str]]:
    """Return every (spec, description) that can be loaded as it stands."""
    return [row for prefix in SOURCES for row in source(prefix).list_specs()]


def _hint(text: str) -> str:
    known = [spec for spec, _ in list_specs()]
    fix = f" Known: {', '.join(known)}, or a path to a model card (.toml)."
    if Path(text).exists():
        return " A weights file needs a card that names its network: give the path of the card (.toml)."
    return nearest(text, known) or fix

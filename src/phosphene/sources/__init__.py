"""Model specs: one string in, a :class:`~phosphene.classifier.Classifier` out.

A source is one module with ``load(rest, *, trust) -> Classifier``, named in ``SOURCES`` as the prefix of its specs:
``rest`` is a spec without it, and ``trust`` allows code that came with the model to run. One that knows its models also
has ``list_specs()``. A path is that of a card, or of an exported network with a card beside it; any
other spec is ``package.module:factory``.
"""

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phosphene.checked import checked
from phosphene.classifier import Classifier
from phosphene.errors import ExtraError, SpecError, nearest
from phosphene.labels import first_synonym
from phosphene.prompts import label_of, new_prompts, read_prompts, split_spec
from phosphene.sources.draft import card_command, is_bare
from phosphene.sources.exported import FORMATS, conversion
from phosphene.sources.libraries import what_to_give
from phosphene.textfile import at_home, exists, is_dir, is_file, nearby, refuse_no_model
from phosphene.two_tower import PromptClassifier, TwoTower, with_prompts, without_prompts

# Prefixes of specs; each is the name of its module.
SOURCES = ("demo", "torchvision", "timm", "hf", "card")
# Form of a spec -> what it names
SPEC_FORMS = {
    "torchvision:NAME": "a classifier of torchvision; @WEIGHTS chooses them, @random takes none",
    "timm:NAME": "a classifier of timm; NAME.TAG chooses its weights, @random takes none",
    "hf:OWNER/NAME": "an image classifier of the Hugging Face hub (@REVISION), or hf:FOLDER saved by save_pretrained",
    "hf:OWNER/NAME#PROMPTS": "a two-tower model such as CLIP; its classes: a red star;a blue ring, or a file texts.txt",
    "path/to/card.toml": "your own network: docs/cards.md says what a card holds",
    "path/to/model.pt2": "a network from torch.export (.pt2), ONNX (.onnx) or TorchScript (.pt), with a card beside it",
    "package.module:factory": "a function that returns a phosphene.Classifier",
}


def source(name: str) -> Any:
    """Import and return the module of a source: one of ``SOURCES``, or ``factory``."""
    return importlib.import_module(f"phosphene.sources.{name}")


@checked
def load(
    spec: "str | Path", *, trust: bool = False, prompts: Sequence[str] = (), classes: Sequence[str] = ()
) -> Classifier:
    """Load the classifier of a spec (``timm:NAME``, a card's path, ...) and check it by a forward pass; ``trust`` lets code from files run.

    Args:
        spec: ``demo:shapes``, ``torchvision:vgg16``, ``path/to/card.toml``, ...; see ``SPEC_FORMS``.
        trust: Allow code that came with the model (a factory in a ``.py`` file, an exported program, ...) to run.
        prompts: Texts that become classes of a two-tower model, after those that its spec or card names; any other
            model has classes of its own, and ignores them.
        classes: Labels of the classes of a two-tower model for which neither spec nor card nor prompts name any.

    Raises:
        SpecError: the spec names no model.
        CardError: the card is malformed or contradicts the network.
        ExtraError: the spec needs a library that is missing or broken.
        WeightsError: the weights are missing, or do not fit.
        TrustError: loading needs ``trust``.
    """
    spec = at_home(str(spec))
    text, named = split_spec(spec)
    if text != spec and not named.strip("; "):
        raise SpecError(f"{spec} names nothing after '#': add texts, or a file of them, or leave '#' out.")
    if is_file(Path(text, "config.json")):  # as save_pretrained writes it
        text = f"hf:{text}"
    prefix, colon, rest = text.partition(":")
    suffix = Path(text).suffix.lower()
    classifier: Classifier
    if colon and prefix in SOURCES:
        classifier = source(prefix).load(rest, trust=trust)
    elif suffix == ".toml" or (suffix in FORMATS and exists(text)):
        classifier = source("card").load(text, trust=trust)
    elif is_factory(text):
        classifier = source("factory").load(text, trust=trust)
    else:
        raise SpecError(f"there is no model {text!r}.{_hint(text)}")
    classifier.spec, classifier.trusted = text, trust
    classifier = add_prompts(classifier, prompts, classes, named)
    if named and not isinstance(classifier.module, PromptClassifier):
        raise SpecError(f"{text} has classes of its own, and takes no prompts after '#': leave them out.")
    _ = classifier.labels  # runs the network once, so that a contradiction is found here and not in the middle of a job
    return classifier


def add_prompts(
    classifier: Classifier, prompts: Sequence[str], classes: Sequence[str] = (), named: str = ""
) -> Classifier:
    """Return a two-tower model as a Classifier of its card's classes, of those after the ``#`` of its spec, and of further prompts.

    Any other classifier is returned as it is. A prompt that is a class already adds none. Without any, it is its image
    tower alone, whose units can be mapped.

    Args:
        classifier: The Classifier of a two-tower model; its spec is that of the model alone.
        prompts: Further prompts; the spec of what is returned names them, too.
        classes: Labels of the classes if there are no others; their first synonyms are the texts.
        named: What its spec has after ``#``.

    Raises:
        CardError: the text tower fails.
        ConceptError: the text tower cannot embed a prompt, or a spec cannot name it.
    """
    module, model = classifier.module, classifier.spec
    if not isinstance(module, TwoTower):
        return classifier
    texts = read_prompts(named, module.templates, classifier.given_labels)
    added = new_prompts(prompts, texts)
    texts |= {label_of(prompt): (prompt,) for prompt in added}
    if not texts:
        texts = {label: (first_synonym(label),) for label in classes}
        added = new_prompts([text for (text,) in texts.values()], ())
    if not texts:
        return without_prompts(module, classifier)
    joined = ";".join([*filter(None, [named]), *added])
    return with_prompts(module, classifier, texts, f"{model}#{joined}" if joined else model)


@checked
def list_specs(prefix: str = "demo") -> list[tuple[str, str]]:
    """Return (spec, description) of every model that a prefix's source lists; empty for ``hf`` and ``card``; SpecError for another prefix.

    Raises:
        ExtraError: the library that knows them is missing or broken.
        SpecError: there is no such prefix.
    """
    if prefix not in SOURCES:
        raise SpecError(f"no models begin with {prefix!r}.{nearest(prefix, SOURCES) or _known()}")
    specs: list[tuple[str, str]] = getattr(source(prefix), "list_specs", list)()
    return specs


def is_factory(text: str) -> bool:
    """Return whether ``text``, a model spec, names a function in an existing Python file or package; nothing of it is run."""
    where, _, function = text.rpartition(":")
    if where in SOURCES:
        return False
    if where.endswith(".py"):
        return is_file(where) and function.isidentifier()
    package = where.partition(".")[0]
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", text):
        return False
    if is_dir(package) or is_file(f"{package}.py"):
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _hint(text: str) -> str:
    """Return a sentence that suggests what to give in place of ``text``, a spec that names no model."""
    prefix, colon, rest = text.partition(":")
    path = Path(text)
    if is_dir(text):
        return f" {what_to_give(path)}"
    if path.name == "config.json" and is_file(path):
        return f" Give its folder, {path.parent}."
    if path.suffix == ".py":
        return f" Name the function that builds the network: {text}:FUNCTION."
    if is_file(path):
        refuse_no_model(path, SpecError)
        if is_file(path.with_suffix(".toml")):
            return f" Its card is {path.with_suffix('.toml')}: give that."
        if is_bare(path):
            return f" It needs a card that says what it is: {card_command(path)} drafts it."
        return conversion(path)
    likely = nearest(prefix, SOURCES) if colon and prefix else ""
    if likely:
        rest = rest.casefold() if "demo" in likely else rest  # the names of the demo are in lower case
        return likely.replace("?", f":{rest}?").replace(" or ", f":{rest} or ")
    cards = nearby(path, lambda one: one.suffix == ".toml" and one.is_file() and bool(nearest(path.name, [one.name])))
    if cards:
        return f" The same folder holds {cards}."
    return _hint_of_library(text) or nearest(text, [spec for spec, _ in list_specs()]) or _known()


def _hint_of_library(name: str) -> str:
    """Return " Did you mean PREFIX:NAME?" if torchvision or timm has a network ``name``; else empty text."""
    for prefix in ("torchvision", "timm"):
        with contextlib.suppress(ExtraError):
            specs = [spec.removeprefix(f"{prefix}:") for spec, _ in list_specs(prefix)]
            if name in specs or name in {spec.partition(".")[0] for spec in specs}:
                return f" Did you mean {prefix}:{name}?"
    return ""


def _known() -> str:
    """Return the sentence that lists the demo models and the forms of all other specs."""
    known = [spec for spec, _ in list_specs()]
    return f" Known: {', '.join([*known, *SPEC_FORMS])}."

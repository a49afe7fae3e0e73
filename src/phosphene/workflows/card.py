"""``card``: write the card of a model, from which the same model can be loaded again."""

from dataclasses import dataclass
from pathlib import Path

from phosphene.classifier import Classifier
from phosphene.errors import CardError
from phosphene.runs.atomic import write_bytes
from phosphene.sources import load
from phosphene.sources.card import card_files


@dataclass(frozen=True)
class WrittenCard:
    """A card that was written, and its files.

    Attributes:
        path: The card.
        files: The card, its weights and its labels.
        classifier: Classifier that the card loads.
    """

    path: Path
    files: tuple[Path, ...]
    classifier: Classifier


def write_card(
    classifier: Classifier, out: "str | Path | None" = None, weights: "str | Path | None" = None, *, trust: bool = False
) -> WrittenCard:
    """Write a card, with weights as safetensors, and load it again to prove it.

    Args:
        classifier: Classifier that the card is to load.
        out: Path of the card; by default the name of the model with ``.toml``.
        weights: Path of the weights; by default that of the card with ``.safetensors``.
        trust: Allow code that came with the model to run.

    Raises:
        CardError: a file exists already, or no card can hold the model.
    """
    name = "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in classifier.name).lstrip(".-")
    card = Path(out or f"{name or 'model'}.toml")
    if card.suffix != ".toml":
        raise CardError(f"a card is a .toml file: --out {card.with_suffix('.toml')}.")
    files = card_files(classifier, card.absolute(), Path(weights or card.with_suffix(".safetensors")).absolute())
    for file in files:
        if file.exists():
            raise CardError(f"{file} exists already: choose another path with --out.")
    for file, data in files.items():
        write_bytes(file, data)
    again = load(card, trust=trust)
    if again.sha256 != classifier.sha256:
        raise CardError(
            f"{card} does not load the same classifier as {classifier.spec}: it has state that no card can hold."
        )
    return WrittenCard(card, tuple(files), again)

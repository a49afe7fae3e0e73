"""``demo:NAME``: the classifiers of the embedded world. Their cards lie in the package."""

from pathlib import Path

from phosphene.classifier import Classifier
from phosphene.errors import SpecError, nearest
from phosphene.sources import card

CARDS = Path(__file__).parent.parent / "demo" / "cards"


def list_specs() -> list[tuple[str, str]]:
    """Return (spec, description) of every demo model, from the cards in the package."""
    return [(f"demo:{path.stem}", card.read(path).get("description", "")) for path in sorted(CARDS.glob("*.toml"))]


def load(rest: str, *, trust: bool) -> Classifier:
    """Load the demo model called ``rest``, whose card and weights are part of the package.

    Raises:
        SpecError: there is no such model.
    """
    names = [path.stem for path in sorted(CARDS.glob("*.toml"))]
    if rest not in names:
        raise SpecError(f"no demo model is called {rest!r}.{nearest(rest, names) or ' Known: ' + ', '.join(names)}")
    return card.load(str(CARDS / f"{rest}.toml"), trust=True)

"""A small two-tower model of the drawn world: it embeds images, and texts such as "a red star", in one space.

The image tower is the demo's residual network, the text tower one transformer layer over whole words.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from phosphene.demo.networks import SmallResNet
from phosphene.demo.world import LABELS
from phosphene.errors import ConceptError
from phosphene.two_tower import TwoTower

# Names of the colours that texts may hold, with the colour in [0, 1] that images of them vary around.
COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "yellow": (0.95, 0.9, 0.1),
    "green": (0.1, 0.7, 0.15),
    "blue": (0.1, 0.2, 0.9),
    "purple": (0.65, 0.1, 0.75),
    "white": (0.97, 0.97, 0.97),
    "black": (0.03, 0.03, 0.03),
}
OTHER_WORDS = ("a", "an", "the", "of", "is", "that", "in", "with", "and", "picture", "image", "drawing", "something")
WORDS = tuple(sorted({*COLOURS, *OTHER_WORDS, *(word for label in LABELS for word in label.split())}))
MOST_WORDS = 12
WIDTH = 64


class TextTower(nn.Module):
    """A transformer layer and a mean over the words: from word numbers (n, words) to embeddings (n, 64).

    The number 0 stands for no word.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 1, WIDTH, padding_idx=0)
        self.places = nn.Parameter(torch.zeros(MOST_WORDS, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, words: Tensor) -> Tensor:
        """Return embeddings, float (n, 64), for word numbers, int64 (n, words)."""
        is_padding = words == 0
        hidden = self.layer(self.words(words) + self.places[: words.shape[1]], src_key_padding_mask=is_padding)
        is_word = (~is_padding).float()[:, :, None]
        out: Tensor = self.head((hidden * is_word).sum(1) / is_word.sum(1))
        return out


class SmallTwoTower(TwoTower):
    """The demo's two-tower model: SmallResNet and TextTower, trained by ``python -m demo.train_text``."""

    templates = ()

    def __init__(self) -> None:
        super().__init__()
        self.images = SmallResNet(WIDTH)
        self.texts = TextTower()
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    @property
    def scale(self) -> float:  # type: ignore[override]
        """What cosines are multiplied by: learned."""
        return float(self.log_scale.detach().exp())

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, float32 (n, 64).

        Raises:
            ConceptError: a word is none that the model was trained on.
        """
        out: Tensor = self.texts(word_numbers(texts))
        return out


def word_numbers(texts: Sequence[str]) -> Tensor:
    """Return the numbers of the words of texts, int64 (n, words), 0 after the last word.

    Raises:
        ConceptError: a word is unknown, or a text has no words or over 12.
    """
    rows = []
    for text in texts:
        words = text.lower().replace(".", " ").split()
        unknown = [word for word in words if word not in WORDS]
        if unknown:
            raise ConceptError(
                f"{text!r}: the demo's text tower knows no {unknown[0]!r}. Its words: {', '.join(WORDS)}."
            )
        if not 0 < len(words) <= MOST_WORDS:
            raise ConceptError(f"{text[:60]!r} has {len(words)} words: the demo's text tower takes 1 to {MOST_WORDS}.")
        rows.append([WORDS.index(word) + 1 for word in words])
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

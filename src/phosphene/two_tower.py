"""Two-tower models, such as CLIP and SigLIP: an image tower and a text tower that embed into one space.

With prompts, such a model is a classifier whose classes are the prompts. Their embeddings become the rows of a last
linear layer behind the image tower, so that everything else sees an ordinary network.
"""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from phosphene.classifier import Classifier
from phosphene.hashing import hash_weights

# Texts that are embedded at once.
BATCH = 256


class TwoTower(nn.Module):
    """Base class of two-tower models: modules ``images`` and ``texts`` that embed both in one space, with :meth:`embed_texts`.

    Attributes:
        images: The image tower, from normalised pixels (n, c, h, w) to embeddings (n, d) of any length.
        texts: The text tower, which :meth:`embed_texts` runs.
        scale: What the cosine of an image and a text is multiplied by to give a logit.
        templates: What the names of a list of classes are put into, ``a photo of a {}``.
    """

    images: nn.Module
    texts: nn.Module
    scale: float = 1.0
    templates: tuple[str, ...] = ("{}",)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, float (n, d), of any length.

        Raises:
            ConceptError: a text is too long, or has words that the tower does not know.
        """
        raise NotImplementedError


class PromptClassifier(nn.Module):
    """An image tower followed by a linear layer whose rows are the embedded prompts: a network from pixels to logits (n, classes).

    A class may have several texts, from several templates; its row is their mean (Radford et al. 2021, section 3.1.4).

    Args:
        model: The two-tower model; its text tower is not kept.
        texts: The texts of each class.
    """

    rows: Tensor
    identity: Tensor

    def __init__(self, model: TwoTower, texts: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.images = model.images
        flat = [text for several in texts for text in several]
        with torch.no_grad():
            batches = [model.embed_texts(flat[start : start + BATCH]) for start in range(0, len(flat), BATCH)]
        unit = functional.normalize(torch.cat(batches).float(), dim=1)
        means = [part.mean(0) for part in torch.split(unit, [len(several) for several in texts])]
        # Embeddings differ in their last bits from one processor to another. So what tells this network from one of
        # other prompts, in its hash, is what the rows are computed from.
        self.register_buffer("rows", model.scale * functional.normalize(torch.stack(means), dim=1), persistent=False)
        digest = hashlib.sha256(repr((model.scale, [list(several) for several in texts])).encode())
        hash_weights(model.texts, digest)
        self.register_buffer("identity", torch.tensor(list(digest.digest()), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes), the scaled cosines of images and prompts, for normalised pixels (n, c, h, w)."""
        return functional.normalize(self.images(x), dim=1) @ self.rows.T.to(x.dtype)


def with_prompts(model: TwoTower, classifier: Classifier, texts: Mapping[str, Sequence[str]], spec: str) -> Classifier:
    """Return a Classifier whose classes are prompts, of a two-tower model, with the input space and name of ``classifier``.

    A single prompt has nothing to be told from. It is then a measurement: its logit is mapped by its own value,
    relative to the samples, as an output of a regression network.

    Args:
        model: The two-tower model.
        classifier: The Classifier that holds it.
        texts: Label of each class -> the texts that stand for it.
        spec: What the classifier is loaded from again.

    Raises:
        ConceptError: the text tower cannot embed a text.
    """
    return Classifier(
        PromptClassifier(model, list(texts.values())).eval(),
        size=classifier.input.size,
        mean=classifier.input.mean,
        std=classifier.input.std,
        labels=list(texts),
        name=classifier.name,
        spec=spec,
        output="logits" if len(texts) > 1 else "regression",
    )

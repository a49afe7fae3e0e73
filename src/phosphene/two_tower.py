"""Two-tower models, such as CLIP and SigLIP: an image tower and a text tower that embed into one space.

With prompts, such a model is a classifier whose classes are the prompts. Their embeddings become the rows of a last
linear layer behind the image tower, so that everything else sees an ordinary network.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from phosphene.classifier import Classifier
from phosphene.errors import CardError, ConceptError, one_line
from phosphene.labels import Labels
from phosphene.module_state import evaluating, hash_weights

# Texts that are embedded at once.
TEXTS_PER_BATCH = 256
# Classes whose unit rows differ by less in every element have the same text to the text tower.
MAX_ROUNDING = 1e-6


class TwoTower(nn.Module):
    """Base class of two-tower models: an image tower and a text tower that embed into one space.

    Attributes:
        images: The image tower, from normalised pixels (n, c, h, w) to embeddings (n, d) of any length.
        texts: The text tower, which :meth:`embed_texts` runs.
        scale: What the cosine of an image and a text is multiplied by to give a logit.
        templates: What the names of a list of classes are put into, ``a photo of a {}``; none if the labels that come
            with the model are whole texts, which no template can hold.
    """

    images: nn.Module
    texts: nn.Module
    scale: float = 1.0
    templates: tuple[str, ...] = ("{}",)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, float (n, d), of any length; each model defines it.

        Raises:
            CardError: the model does not define it.
            ConceptError: a text is too long, or has words that the tower does not know.
        """
        raise CardError(
            f"{type(self).__name__} lacks embed_texts: define it, from a list of texts to embeddings (texts, length)."
        )

    def identify_texts(self, texts: Sequence[str]) -> Sequence[object]:
        """Return what the hash of the network holds of each text: the text itself by default.

        Where a tokenizer's files may change, it is the text's token numbers.
        """
        return list(texts)

    def forward(self, _: Tensor) -> Tensor:
        """Raise CardError: without texts, the model has no classes.

        Raises:
            CardError: always.
        """
        raise CardError(
            "a two-tower model has no classes until texts are named: phosphene.map_concepts(model, ['text:A PROMPT', "
            "'text:ANOTHER']), or phosphene.load('MODEL#A PROMPT;ANOTHER')."
        )


class ImageTower(nn.Module):
    """The image tower of a two-tower model without texts: a network to embeddings, whose units can be mapped.

    Its modules have the names that they have in a :class:`PromptClassifier`.
    """

    def __init__(self, images: nn.Module) -> None:
        super().__init__()
        self.images = images
        self.training = images.training

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings (n, d) of normalised pixels (n, c, h, w)."""
        embeddings: Tensor = self.images(x)
        return embeddings


class PromptClassifier(nn.Module):
    """An image tower followed by a linear layer whose rows are the embedded prompts.

    It is a network from pixels to logits (n, classes). A class may have several texts, from several templates; its row
    is their mean (Radford et al. 2021, section 3.1.4).

    Args:
        model: The two-tower model; its text tower is not kept.
        texts: The texts of each class.

    Raises:
        CardError: the embeddings have another shape than (n, d), or are zero, infinite or NaN.
    """

    rows: Tensor
    identity: Tensor

    def __init__(self, model: TwoTower, texts: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.images = model.images
        self.training = model.images.training
        all_texts = [text for class_texts in texts for text in class_texts]
        with evaluating(model):
            batches = [
                model.embed_texts(all_texts[start : start + TEXTS_PER_BATCH])
                for start in range(0, len(all_texts), TEXTS_PER_BATCH)
            ]
        embeddings = torch.cat(batches).float()
        if embeddings.ndim != 2 or len(embeddings) != len(all_texts):
            raise CardError(
                f"embed_texts returns {tuple(embeddings.shape)} for {len(all_texts)} texts: return (texts, length)."
            )
        length = embeddings.norm(dim=1)
        for text in [all_texts[row] for row in (~length.isfinite() | (length == 0)).nonzero().flatten().tolist()]:
            raise CardError(f"embed_texts returns an embedding that is zero, infinite or NaN for {text[:60]!r}.")
        unit_embeddings = functional.normalize(embeddings, dim=1)
        means = [part.mean(0) for part in torch.split(unit_embeddings, [len(class_texts) for class_texts in texts])]
        # Embeddings, and exponentials, differ in their last bits from one processor to another. So what tells this
        # network from one of other prompts, in its hash, is what the rows are computed from, and a rounded scale.
        self.register_buffer("rows", model.scale * functional.normalize(torch.stack(means), dim=1), persistent=False)
        identities = [list(model.identify_texts(class_texts)) for class_texts in texts]
        digest = hashlib.sha256(f"{float(model.scale):.5g} {identities}".encode())
        hash_weights(model.texts, digest)
        self.register_buffer("identity", torch.tensor(list(digest.digest()), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes), the scaled cosines of images and prompts, for normalised pixels (n, c, h, w)."""
        embeddings = self.images(x)
        # The cosines of CLIP have a large part in common, so bfloat16 would round away what tells texts apart.
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return functional.normalize(embeddings.to(dtype), dim=1) @ self.rows.T.to(dtype)


def with_prompts(model: TwoTower, classifier: Classifier, texts: Mapping[str, Sequence[str]], spec: str) -> Classifier:
    """Return a Classifier of a two-tower model whose classes are prompts.

    A single prompt has nothing to be told from. It is then a measurement: its logit is mapped by its own value,
    relative to the samples, as an output of a regression network.

    Args:
        model: The two-tower model.
        classifier: The Classifier that holds it.
        texts: Label of each class -> the texts that stand for it.
        spec: What the classifier is loaded from again.

    Raises:
        CardError: the text tower fails.
        ConceptError: the text tower cannot embed a text, or two classes are the same text to it.
    """
    with one_line(CardError, f"the text tower of {classifier.name} failed"):
        module = PromptClassifier(model, list(texts.values()))
    _refuse_same_rows(module.rows, list(texts), classifier.name)
    if len(texts) > 1:
        # By index, because labels that are whole texts lose their commas; the labels of the model come first.
        given = Labels(classifier.given_labels)
        groups = {name: [given.find_name(one) for one in members] for name, members in classifier.groups.items()}
        return _around(module, classifier, spec, labels=list(texts), groups=groups, output="logits")
    text_classifier = _around(module, classifier, spec, labels=list(texts), output="regression")
    text_classifier.measures = (
        "one text has nothing to be told from, and is mapped by its own logit; name others to tell it from"
    )
    return text_classifier


def without_prompts(model: TwoTower, classifier: Classifier) -> Classifier:
    """Return a Classifier of the image tower alone, whose outputs are the embedding."""
    image_classifier = _around(ImageTower(model.images), classifier, classifier.spec, output="regression")
    image_classifier.measures = (
        f"no texts are named, so only units of its image tower can be mapped; {texts_fix(classifier.spec)}"
    )
    return image_classifier


def texts_fix(spec: str, text: str = "text:A PROMPT") -> str:
    """Return how to name texts as the classes of the two-tower model ``spec``, for messages; ``text``, an expression, is the first."""
    given = "A PROMPT" if " text:" in text else text.removeprefix("text:")
    with_model = " or ".join(map(shlex.quote, (f"{spec}#{given};ANOTHER", f"{spec}#texts.txt")))
    return f"name some, -c {shlex.quote(text)} -c text:ANOTHER, or give them with the model, {with_model}"


def _around(module: nn.Module, classifier: Classifier, spec: str, **facts: Any) -> Classifier:
    """Return a Classifier of ``module`` and ``spec`` that has the input, name, notes and trust of another one."""
    result = Classifier(
        module,
        size=classifier.input.size,
        mean=classifier.input.mean,
        std=classifier.input.std,
        name=classifier.name,
        spec=spec,
        batch=classifier._batch,  # noqa: SLF001  (`batch` and `notes` run the network, which has no classes yet)
        notes=classifier._notes,  # noqa: SLF001
        **facts,
    )
    result.trusted = classifier.trusted
    return result


def _refuse_same_rows(rows: Tensor, labels: Sequence[str], name: str) -> None:
    """Raise ConceptError if two classes, rows (classes, d), have the same embedding.

    They would share the probability of both.
    """
    unit_rows = functional.normalize(rows, dim=1)
    for start in range(0, len(unit_rows), TEXTS_PER_BATCH):
        part = unit_rows[start : start + TEXTS_PER_BATCH]
        for row, other in (part @ unit_rows.T > 1 - 1e-4).triu(start + 1).nonzero().tolist():
            if (part[row] - unit_rows[other]).abs().max() < MAX_ROUNDING:
                raise ConceptError(
                    f"{labels[start + row]!r} and {labels[other]!r} are the same text to {name}: leave one out."
                )

"""Two-tower models of transformers, such as CLIP, SigLIP and BLIP: one adapter for all of them."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, ConceptError
from phosphene.extras import require
from phosphene.two_tower import TwoTower

# Trained on texts in lower case that are filled up to the longest that the tower takes, without a mask.
FILLED = "siglip"
# Two-tower models that transformers does not list for zero-shot classification, and what it lists and this adapter does not take.
ALSO = ("vision-text-dual-encoder", "aimv2")
OTHERS = ("blip-2", "tipsv2", "videoprism")
# Tokenizers without a limit state a very large one.
UNLIMITED = 10**9


def is_two_tower(config: Any, facts: Mapping[str, Any], name: str) -> bool:
    """Return whether a transformers config is that of a model whose image and text tower embed into one space; no weights are read.

    Args:
        config: The config.
        facts: The same, as a dictionary.
        name: The model's name, for messages.

    Raises:
        CardError: it has images and texts, and is neither such a model nor a classifier, or embeds images of any size.
    """
    if "vision_config" not in facts or "text_config" not in facts:
        return False
    if any(one.endswith("ForImageClassification") for one in facts.get("architectures") or []):
        return False
    kind = str(config.model_type)
    if kind == "siglip2":
        raise CardError(
            f"hf:{name} takes images of any size (NaFlex), which is not supported: give a SigLIP 2 of one size, such as "
            "hf:google/siglip2-base-patch16-224."
        )
    listed = type(config) in require("transformers", "hf").MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING
    code = facts.get("auto_map") or {}
    if (listed and kind not in OTHERS) or kind in ALSO or ("AutoModel" in code and "AutoModelForCausalLM" not in code):
        return True
    raise CardError(
        f"hf:{name} is a model of images and texts ({kind}) that is neither an image classifier nor a two-tower model "
        "such as CLIP or SigLIP: give one of these."
    )


class HubTower(nn.Module):
    """One tower of a transformers model: a copy of the model that shares its weights, without the modules of the other tower.

    Args:
        model: The transformers model.
        other: How the names of the other tower's modules begin.
        method: The model's method that embeds.
        key: Name of its argument if it is called with one tensor.
    """

    def __init__(self, model: nn.Module, other: tuple[str, ...], method: str, key: str = "input_ids") -> None:
        super().__init__()
        kept = copy.copy(model)
        parts = {name: part for name, part in model.named_children() if not name.startswith(other)}
        kept.__dict__["_modules"] = parts  # a copy shares this table with the model: it gets one of its own
        self.model, self._method, self._key = kept, method, key

    def forward(self, x: Tensor, **inputs: Tensor) -> Tensor:
        """Return embeddings (n, d) of normalised pixels (n, c, h, w) or token numbers (n, tokens); other inputs as transformers names."""
        found = getattr(self.model, self._method)(**{self._key: x}, **inputs)
        out: Tensor = found if isinstance(found, Tensor) else found.pooler_output
        return out


class HubTwoTower(TwoTower):
    """A two-tower model of transformers with its tokenizer.

    Args:
        model: The transformers model.
        tokenizer: Its tokenizer.
        name: Its name, for messages.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        super().__init__()
        self.images = HubTower(model, ("text",), "get_image_features", "pixel_values")
        self.texts = HubTower(model, ("vision", "visual"), "get_text_features")
        self.scale = _scale_of(model)
        self._tokenizer, self._name = tokenizer, name
        self._filled = model.config.model_type == FILLED
        longest = getattr(model.config.text_config, "max_position_embeddings", None) or UNLIMITED
        self._longest = min(int(longest), int(tokenizer.model_max_length), UNLIMITED)

    def identify_texts(self, texts: Sequence[str]) -> Sequence[object]:
        """Return the token numbers of each text, without filling; ConceptError for a text of more tokens than the tower takes."""
        tokens: list[list[int]] = self._tokenizer(self._prepared(texts), verbose=False)["input_ids"]
        for text, one in zip(texts, tokens, strict=True):
            if len(one) > self._longest:
                raise ConceptError(f"{text[:60]!r} is longer than the {self._longest} tokens that {self._name} takes.")
        return tokens

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, float (n, d); ConceptError for a text of more tokens than the tower takes."""
        self.identify_texts(texts)
        padding = {"padding": "max_length", "max_length": self._longest} if self._filled else {"padding": True}
        found = self._tokenizer(self._prepared(texts), verbose=False, **padding)
        device = next(self.texts.parameters()).device
        mask = {} if self._filled else {"attention_mask": torch.tensor(found["attention_mask"], device=device)}
        embeddings: Tensor = self.texts(torch.tensor(found["input_ids"], device=device), **mask)
        return embeddings

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        """Return texts as the tower was trained on them: those of SigLIP were in lower case, which not all its tokenizers see to."""
        return [text.lower() if self._filled else text for text in texts]


def _scale_of(model: Any) -> float:
    """Return what a transformers model multiplies cosines by; CardError for a model without towers or scale, such as one of other code."""
    if not all(hasattr(model, method) for method in ("get_image_features", "get_text_features")):
        raise CardError(f"{type(model).__name__} does not embed images and texts: it has no get_text_features.")
    if hasattr(model, "logit_scale"):
        return min(float(model.logit_scale.detach().exp()), getattr(model.config, "max_logit_scale", math.inf))
    if hasattr(model, "temperature"):
        return 1 / float(model.temperature.detach())
    raise CardError(f"{type(model).__name__} does not say what it multiplies cosines by: it has no logit_scale.")

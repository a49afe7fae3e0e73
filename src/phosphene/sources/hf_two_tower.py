"""Two-tower models of transformers, such as CLIP, SigLIP and ALIGN: one adapter for all of them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.errors import ConceptError
from phosphene.two_tower import TwoTower

# Trained on texts that are filled up to the longest that the tower takes, without a mask.
FILLED = ("siglip", "siglip2")


def is_two_tower(facts: Mapping[str, Any]) -> bool:
    """Return whether a transformers config, as a dictionary, is that of a model with an image and a text tower, and not a classifier."""
    architectures = facts.get("architectures") or []
    towers = "vision_config" in facts and "text_config" in facts
    return towers and not any("Classification" in one for one in architectures)


class HubTower(nn.Module):
    """One tower of a transformers model: a copy of the model that shares its weights, without the modules of the other tower."""

    def __init__(self, model: nn.Module, other: str, method: str) -> None:
        super().__init__()
        kept = copy.copy(model)
        parts = {name: part for name, part in model.named_children() if not name.startswith(other)}
        kept.__dict__["_modules"] = parts  # a copy shares this table with the model: it gets one of its own
        self.model, self._method = kept, method

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the tower's embeddings (n, d); inputs as transformers names them."""
        found = getattr(self.model, self._method)(**inputs)
        out: Tensor = found if isinstance(found, Tensor) else found.pooler_output
        return out


class HubImages(HubTower):
    """The image tower of a transformers model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, "text", "get_image_features")

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return embeddings (n, d) of normalised pixels (n, c, h, w)."""
        return super().forward(pixel_values=x)


class HubTwoTower(TwoTower):
    """A two-tower model of transformers with its tokenizer.

    Args:
        model: The transformers model.
        tokenizer: Its tokenizer.
        name: Its name, for messages.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        super().__init__()
        self.images = HubImages(model)
        self.texts = HubTower(model, "vision", "get_text_features")
        scale = model.logit_scale.exp() if hasattr(model, "logit_scale") else 1 / model.temperature
        self.scale = float(scale.detach())
        self._tokenizer, self._name = tokenizer, name
        self._filled = model.config.model_type in FILLED
        self._longest = int(model.config.text_config.max_position_embeddings)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, float (n, d); ConceptError for a text of more tokens than the tower takes."""
        padding = {"padding": "max_length", "max_length": self._longest} if self._filled else {"padding": True}
        found = self._tokenizer(list(texts), verbose=False, **padding)
        for text, tokens in zip(texts, found["input_ids"], strict=True):
            if len(tokens) > self._longest:
                raise ConceptError(f"{text[:60]!r} is longer than the {self._longest} tokens that {self._name} takes.")
        keys = ["input_ids"] if self._filled else ["input_ids", "attention_mask"]
        embeddings: Tensor = self.texts(**{key: torch.tensor(found[key]) for key in keys})
        return embeddings

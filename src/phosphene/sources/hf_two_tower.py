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
SIGLIP = "siglip"
# Two-tower models that transformers does not list for zero-shot classification, and what it lists and this adapter does not take.
UNLISTED_FAMILIES = ("vision-text-dual-encoder", "aimv2")
EXCLUDED_FAMILIES = ("blip-2", "tipsv2", "videoprism")
# Tokenizers without a limit state a very large one.
NO_LIMIT = 10**9


def is_two_tower(config: Any, facts: Mapping[str, Any], name: str) -> bool:
    """Return whether a transformers config is that of a two-tower model; no weights are read.

    Its image and text tower embed into one space.

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
    is_listed = type(config) in require("transformers", "hf").MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING
    code = facts.get("auto_map") or {}
    if (
        (is_listed and kind not in EXCLUDED_FAMILIES)
        or kind in UNLISTED_FAMILIES
        or ("AutoModel" in code and "AutoModelForCausalLM" not in code)
    ):
        return True
    raise CardError(
        f"hf:{name} is a model of images and texts ({kind}) that is neither an image classifier nor a two-tower model "
        "such as CLIP or SigLIP: give one of these."
    )


class HubTower(nn.Module):
    """One tower of a transformers model: a copy that shares its weights, without the other tower's modules.

    Args:
        model: The transformers model.
        other: How the names of the other tower's modules begin.
        method: The model's method that embeds.
        key: Name of its argument if it is called with one tensor.
    """

    def __init__(self, model: nn.Module, other: tuple[str, ...], method: str, key: str = "input_ids") -> None:
        super().__init__()
        tower = copy.copy(model)
        parts = {name: part for name, part in model.named_children() if not name.startswith(other)}
        tower.__dict__["_modules"] = parts  # a copy shares this table with the model: it gets one of its own
        self.model, self._method, self._key = tower, method, key

    def forward(self, x: Tensor, **inputs: Tensor) -> Tensor:
        """Return embeddings (n, d) of normalised pixels (n, c, h, w) or of token numbers (n, tokens).

        Other inputs have the names that transformers gives them.
        """
        output = getattr(self.model, self._method)(**{self._key: x}, **inputs)
        out: Tensor = output if isinstance(output, Tensor) else output.pooler_output
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
        self._pads_fully = model.config.model_type == SIGLIP
        longest = getattr(model.config.text_config, "max_position_embeddings", None) or NO_LIMIT
        self._max_tokens = min(int(longest), int(tokenizer.model_max_length), NO_LIMIT)

    def identify_texts(self, texts: Sequence[str]) -> Sequence[object]:
        """Return the token numbers of each text, without filling.

        Raises:
            ConceptError: a text has more tokens than the tower takes.
        """
        tokens: list[list[int]] = self._tokenizer(self._prepare(texts), verbose=False)["input_ids"]
        for text, one in zip(texts, tokens, strict=True):
            if len(one) > self._max_tokens:
                raise ConceptError(
                    f"{text[:60]!r} is longer than the {self._max_tokens} tokens that {self._name} takes."
                )
        return tokens

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the embeddings of texts, float (n, d).

        Raises:
            ConceptError: a text has more tokens than the tower takes.
        """
        self.identify_texts(texts)
        padding = {"padding": "max_length", "max_length": self._max_tokens} if self._pads_fully else {"padding": True}
        tokens = self._tokenizer(self._prepare(texts), verbose=False, **padding)
        device = next(self.texts.parameters()).device
        mask = {} if self._pads_fully else {"attention_mask": torch.tensor(tokens["attention_mask"], device=device)}
        embeddings: Tensor = self.texts(torch.tensor(tokens["input_ids"], device=device), **mask)
        return embeddings

    def _prepare(self, texts: Sequence[str]) -> list[str]:
        """Return texts as the tower was trained on them.

        Those of SigLIP were in lower case, which not all its tokenizers see to.
        """
        return [text.lower() if self._pads_fully else text for text in texts]


def _scale_of(model: Any) -> float:
    """Return what a transformers model multiplies cosines by.

    Raises:
        CardError: it has no towers or no scale, as a model of other code.
    """
    if not all(hasattr(model, method) for method in ("get_image_features", "get_text_features")):
        raise CardError(f"{type(model).__name__} does not embed images and texts: it has no get_text_features.")
    if hasattr(model, "logit_scale"):
        return min(float(model.logit_scale.detach().exp()), getattr(model.config, "max_logit_scale", math.inf))
    if hasattr(model, "temperature"):
        return 1 / float(model.temperature.detach())
    raise CardError(f"{type(model).__name__} does not say what it multiplies cosines by: it has no logit_scale.")

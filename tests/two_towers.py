"""Small two-tower models of transformers with random weights and a tokenizer of whole words, as save_pretrained writes them."""

import copy

import torch

from phosphene.extras import require
from phosphene.sources.hf import _without_progress_bars

# CLIP's configs of old have 2 as the number of the end, and CLIP then looks for the largest number instead.
WORDS = ["[PAD]", "[UNK]", "a", "[END]", "photo", "of", "red", "blue", "star", "ring", "cross", "heart"]
TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 8,
    "pad_token_id": 0,
    "bos_token_id": 3,
    "eos_token_id": 3,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
BOTH = {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16}
# config of transformers -> what makes it small
CONFIGS = {
    "CLIP": BOTH,
    "Siglip": {"text_config": TEXT | {"projection_size": 32}, "vision_config": VISION},
    "AltCLIP": BOTH | {"text_config": TEXT | {"project_dim": 32, "max_position_embeddings": 10}},
    "ChineseCLIP": BOTH,
    "MetaClip2": BOTH,
    "Blip": BOTH | {"text_config": TEXT | {"encoder_hidden_size": 32}},
    "Aimv2": BOTH,
}


PAD, UNKNOWN, _, END = WORDS[:4]


def tokenizer():
    """Words separated by blanks, with an end after the last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, WORDS.index(END))])
    marks = {"pad_token": PAD, "unk_token": UNKNOWN, "eos_token": END}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=8, **marks)


def save(name, folder):
    """Write a CLIP or SigLIP model, its tokenizer and its image processor to a folder; return the model."""
    transformers = require("transformers", "hf")
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[name])  # some configs change what they are given
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**config))
    with torch.no_grad():  # so that images differ more than they do at random
        for parameter in model.vision_model.parameters():
            parameter.mul_(3)
    with _without_progress_bars():
        model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]
    ).save_pretrained(folder)
    return model.eval()


def save_siglip_with_its_tokenizer(folder):
    """Write a SigLIP model with a SiglipTokenizer that is trained on 24 texts; return transformers and the tokenizer."""
    import sentencepiece

    transformers = require("transformers", "hf")
    ends = [f"{colour} {shape}" for colour in ("red", "blue", "green") for shape in ("star", "ring", "heart", "cross")]
    texts = folder / "texts.txt"
    texts.write_text(
        "\n".join(f"{article} photo of the {end}" for article in ("a", "the") for end in ends), encoding="utf-8"
    )
    special = {"pad_id": -1, "unk_id": 2, "eos_id": 1, "bos_id": -1, "hard_vocab_limit": False, "minloglevel": 3}
    prefix = str(folder / "pieces")
    sentencepiece.SentencePieceTrainer.train(input=str(texts), model_prefix=prefix, vocab_size=60, **special)
    tokenizer = transformers.SiglipTokenizer(f"{prefix}.model")
    text = TEXT | {
        "vocab_size": 80,
        "max_position_embeddings": 24,
        "projection_size": 32,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    torch.manual_seed(0)
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=dict(VISION)))
    with _without_progress_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return transformers, tokenizer


FACTORY = """\
import torch
import phosphene
from torch import nn


class Letters(phosphene.TwoTower):
    scale, texts = 10.0, nn.Identity()

    def __init__(self):
        super().__init__()
        self.images = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def embed_texts(self, texts):
        return torch.tensor([[float(text.count(letter)) for letter in "rgb"] for text in texts])
"""


def write_card(folder, *lines):
    """Write the card of a two-tower model that counts letters, with further lines, and no weights; return its path."""
    (folder / "letters.py").write_text(FACTORY, encoding="utf-8")
    (folder / "labels.txt").write_text("r, red\ngreg\n", encoding="utf-8")
    card = folder / "letters.toml"
    text = "\n".join(['factory = "letters.py:Letters"', *lines, "[input]", "size = [8, 8]"])
    card.write_text(text, encoding="utf-8")
    return card

"""Small two-tower models of transformers with random weights and a tokenizer of whole words, as save_pretrained writes them."""

import torch

from phosphene.extras import require
from phosphene.sources.hf import _without_progress_bars

WORDS = ["[PAD]", "[UNK]", "[END]", "a", "photo", "of", "red", "blue", "star", "ring", "cross", "heart"]
TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 8,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
CONFIGS = {
    "CLIP": {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16},
    "Siglip": {"text_config": TEXT | {"projection_size": 32}, "vision_config": VISION},
}


PAD, UNKNOWN, END = WORDS[:3]


def tokenizer():
    """Words separated by blanks, with an end after the last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 2)])
    marks = {"pad_token": PAD, "unk_token": UNKNOWN, "eos_token": END}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=8, **marks)


def save(name, folder):
    """Write a CLIP or SigLIP model, its tokenizer and its image processor to a folder; return the model."""
    transformers = require("transformers", "hf")
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**CONFIGS[name]))
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

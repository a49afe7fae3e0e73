"""What the scans of the networks share: their samples, and a hash of the code that their figures depend on."""

import ast
import hashlib
from functools import cache
from pathlib import Path

import torch

from benchmarks.backdoors.data import dataset
from phosphene import backdoor
from phosphene.samples import SamplePool, load_samples
from phosphene.samples.pool import make_pool

VARIANTS = {"natural": 0, "other": 1, "drawn": 0}  # and the seed of each
SAMPLES = 500
# Files that a scan's figures do not depend on: the null model only ranks them.
OTHERS = {"drawing", "images", "not_tested", "null", "plant", "scan_document", "training", "triggers", "verdict"}


def scan_code() -> str:
    """Return a hash of the code that a scan's figures depend on, docstrings and comments left out."""
    digest = hashlib.sha256()
    for file in sorted(Path(backdoor.__file__).parent.glob("*.py")):
        if file.stem in OTHERS:
            continue
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


@cache
def pool_of(data: str, side: int, channels: int, variant: str, folder: Path) -> SamplePool:
    """Return the samples of a variant: drawn images, or a part of the test images."""
    if variant == "drawn":
        return load_samples("synthetic:mixed", (channels, side, side))
    pixels = dataset(data, side, channels, folder).held_out
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0)).roll(-SAMPLES * VARIANTS[variant])
    return make_pool(pixels[order[:SAMPLES]], f"{data} test part {variant}")

"""The least that a map can cost: `python -m benchmarks.engine.floor [--peak TFLOP/s] [--bandwidth TB/s]` (a minute).

Operations and bytes of all passes of a map, forward and backward to the input, and the seconds that a GPU needs for
them at the speed of its bf16 matrix product and of its memory: by default those of the H100 of docs/performance.md.
Bytes are counted in bf16 in two ways: every module reads its input and writes its output once, and twice that backward;
or only convolutions and linear layers do, as when all that lies between them is merged into them.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import markdown_table
from phosphene.classifier import Classifier
from phosphene.engine.modules import forward_hooks
from phosphene.mapper import passes_per_map
from phosphene.recipe import resolve
from phosphene.sources import load

NETWORKS = {
    "VGG-16": "torchvision:vgg16@random",
    "ResNet-50": "torchvision:resnet50@random",
    "DenseNet-121": "torchvision:densenet121@random",
}
RECIPES = ("vivid", "paper")
PEAK, BANDWIDTH = 744.0, 3.35  # H100: bf16 matrix product, measured, TFLOP/s; memory by its data sheet, TB/s
BYTES, IMAGES = 2, 8  # of a bf16 number; images that share the weights of a pass


def operations(classifier: Classifier) -> float:
    """Return the operations per pass, the mean of a forward and a backward to the input."""
    image = torch.rand(1, *classifier.input.shape, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(classifier.logits(image)[0, 0], image)
    return counter.get_total_flops() / 2


def bytes_moved(classifier: Classifier, *, merged: bool) -> float:
    """Return the bytes per pass that modules read and write; with ``merged``, convolutions and linear layers only."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weights = sum(parameter.numel() for parameter in module.parameters())
        nonlocal total
        total += BYTES * (inputs[0].numel() + output.numel() + weights / IMAGES)

    leaves = [part for part in classifier.module.modules() if not list(part.children())]
    parts = [part for part in leaves if not merged or isinstance(part, nn.Conv2d | nn.Linear)]
    with forward_hooks(parts, count), torch.no_grad():
        classifier.logits(torch.rand(1, *classifier.input.shape))
    return total


def floor(spec: str, peak: float, bandwidth: float) -> list[dict[str, Any]]:
    """Return a row per recipe for one network: operations, bytes, and the seconds that either takes at least."""
    classifier = load(spec)
    classifier.module.eval()
    per_pass, rows = operations(classifier), []
    every, merged = (bytes_moved(classifier, merged=only) for only in (False, True))
    for name in RECIPES:
        passes = passes_per_map(resolve(name))
        rows.append(
            {
                "recipe": name,
                "passes": passes,
                "tera": passes * per_pass / 1e12,
                "compute": passes * per_pass / (peak * 1e12),
                "every": passes * every / 1e9,
                "merged": passes * merged / 1e9,
                "memory": passes * merged / (bandwidth * 1e12),
            }
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", type=float, default=PEAK)
    parser.add_argument("--bandwidth", type=float, default=BANDWIDTH)
    parser.add_argument("--networks", nargs="+", metavar="SPEC")
    arguments = parser.parse_args()
    networks = {spec: spec for spec in arguments.networks} if arguments.networks else NETWORKS
    head = ("network", "recipe", "passes", "TFLOP", "s at the peak", "GB, every module", "GB, merged", "s for these")
    cells = [
        [
            name,
            row["recipe"],
            f"{row['passes']:,}",
            f"{row['tera']:,.1f}",
            f"{row['compute']:.3f}",
            f"{row['every']:,.0f}",
            f"{row['merged']:,.0f}",
            f"{row['memory']:.3f}",
        ]
        for name, spec in networks.items()
        for row in floor(spec, arguments.peak, arguments.bandwidth)
    ]
    print(f"bf16 peak {arguments.peak} TFLOP/s, memory {arguments.bandwidth} TB/s")
    print(markdown_table(head, cells))


if __name__ == "__main__":
    main()

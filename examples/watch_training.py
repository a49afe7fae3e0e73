"""Watch a network during training: map some classes every few epochs of an ordinary training loop.

    python examples/watch_training.py                          # a film of the classes, watch.webp
    python examples/watch_training.py --tensorboard runs/tb    # and in TensorBoard

The network is tiny and its images are drawn, so nothing is downloaded; it takes a minute or two on two cores.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import phosphene as ph
from phosphene.callbacks import MapEvery, TensorBoard
from phosphene.contact_sheet import contact_sheet
from phosphene.demo.world import LABELS, draw_images
from phosphene.runs.atomic import write_bytes
from phosphene.runs.frames import animation

SIDE = 48


def network() -> nn.Sequential:
    """Four convolutions."""
    parts: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 64), (64, 96)):
        parts += [
            nn.Conv2d(before, after, 3, stride=2 if before > 3 else 1, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, len(LABELS)))


def main() -> None:
    """Train, look, and write what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--every", type=int, default=2, help="epochs between maps")
    parser.add_argument("--pictures", type=int, default=2400, help="to train on")
    parser.add_argument("--steps", type=int, default=60, help="per map")
    parser.add_argument("--concepts", nargs="+", default=["star", "ring", "cross", "stripes"])
    parser.add_argument("--tensorboard", metavar="DIR", help="log there, too")
    parser.add_argument("--out", type=Path, default=Path("watch.webp"))
    options = parser.parse_args()

    torch.manual_seed(0)
    raw, truth = draw_images(options.pictures, seed=0, size=SIDE)
    x, y = torch.from_numpy(raw).float().div(255), torch.from_numpy(truth)
    net = network()
    adam = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)

    # The three lines that an existing training loop needs: wrap the network, make the callback, call it.
    classifier = ph.Classifier(net, size=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3, labels=LABELS, name="watched")
    logger = TensorBoard(options.tensorboard) if options.tensorboard else None
    map_every = MapEvery(
        classifier, options.concepts, every=options.every, logger=logger, overrides={"steps": options.steps}
    )

    for epoch in range(options.epochs):
        net.train()
        right = 0
        for batch in torch.randperm(len(x)).split(64):
            logits = net((x[batch] - 0.5) / 0.5)
            loss = functional.cross_entropy(logits, y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            right += int((logits.argmax(1) == y[batch]).sum())
        print(f"epoch {epoch}: {right / len(x):.0%} of the training samples classified correctly")
        maps = map_every(epoch)
        if maps:
            print("  " + ", ".join(f"{one.short} p {one.p_class:.2f}" for one in maps))

    sheets = [
        contact_sheet([one.image for one in maps], [f"{one.short}, epoch {epoch}" for one in maps], columns=4)
        for epoch, maps in map_every.history.items()
    ]
    write_bytes(options.out, animation(sheets, fps=2))
    print(f"open {options.out}")


if __name__ == "__main__":
    main()

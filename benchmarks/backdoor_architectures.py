"""Architectures for 32 x 32 pictures: three tiny ones of 10 classes and one of 43, trained from nothing.

This file is copied beside the networks, so that their cards need nothing else.
"""

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, *, stride: int = 1, groups: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        same = inputs == outputs and stride == 1
        self.beside = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        out: Tensor = torch.relu(self.second(self.first(x)) + self.beside(x))
        return out


def _head(width: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


def tiny_vgg(classes: int = 10) -> nn.Sequential:
    """Plain convolutions and pooling, no shortcuts."""
    return nn.Sequential(
        *(_conv(3, 16), nn.MaxPool2d(2), _conv(16, 32), _conv(32, 32), nn.MaxPool2d(2)),
        *(_conv(32, 64), _conv(64, 64), nn.MaxPool2d(2), _conv(64, 96)),
        *_head(96, classes),
    )


def tiny_resnet(classes: int = 10) -> nn.Sequential:
    """Residual, 8, 16 and 32 channels, then 64."""
    return nn.Sequential(
        *(_conv(3, 8), _Block(8, 16, 2), _Block(16, 32, 2), _Block(32, 64, 2)),
        *_head(64, classes),
    )


def tiny_depthwise(classes: int = 10) -> nn.Sequential:
    """Depthwise and pointwise convolutions in turn."""

    def pair(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [_conv(inputs, inputs, stride=stride, groups=inputs), _conv(inputs, outputs, kernel=1)]

    return nn.Sequential(
        *(_conv(3, 24, stride=2), *pair(24, 48, 1), *pair(48, 64, 2), *pair(64, 64, 1), *pair(64, 128, 2)),
        *_head(128, classes),
    )


def glyph_resnet(classes: int = 43) -> nn.Sequential:
    """As large as a ResNet-20: nine blocks of 16, 32 and 64 channels."""
    widths = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    return nn.Sequential(_conv(3, 16), *(_Block(*width) for width in widths), *_head(64, classes))

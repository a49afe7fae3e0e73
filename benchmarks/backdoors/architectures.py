"""Small architectures of many families, built from a family, a width, an activation and the shape of the input."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True)
class Shape:
    """What a builder needs: input (channels, side), number of classes, width of the first layer, activation."""

    channels: int
    side: int
    classes: int
    width: int
    act: Callable[[], nn.Module]


def build(family: str, *, channels: int, side: int, classes: int, width: int, activation: str = "relu") -> nn.Module:
    """Return an untrained network that takes (n, channels, side, side) and gives logits (n, classes)."""
    return FAMILIES[family](Shape(channels, side, classes, width, ACTIVATIONS[activation]))


def _linear(s: Shape) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(s.channels * s.side**2, s.classes))


def _perceptron(layers: int) -> Callable[[Shape], nn.Module]:
    def made(s: Shape) -> nn.Module:
        widths = [s.channels * s.side**2, *[s.width] * (layers - 1)]
        hidden = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), s.act())]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(s.width, s.classes))

    return made


def _two_layers(pool: Callable[[int], nn.Module]) -> Callable[[Shape], nn.Module]:
    """Two convolutions with pooling, then two linear layers, as in most tutorials."""

    def made(s: Shape) -> nn.Module:
        w, after = s.width, (s.side // 2) // 2
        return nn.Sequential(
            *(nn.Conv2d(s.channels, w, 3, padding=1), s.act(), pool(2)),
            *(nn.Conv2d(w, 2 * w, 3, padding=1), s.act(), pool(2)),
            *(nn.Flatten(), nn.Linear(2 * w * after**2, 64), s.act(), nn.Linear(64, s.classes)),
        )

    return made


def _lenet(s: Shape) -> nn.Module:
    """LeCun et al. 1998, with average pooling; a stride for large inputs."""
    after = ((s.side - 4) // 2 - 4) // 2
    return nn.Sequential(
        *(nn.Conv2d(s.channels, s.width, 5), s.act(), nn.AvgPool2d(2)),
        *(nn.Conv2d(s.width, 2 * s.width, 5), s.act(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(2 * s.width * after**2, 120), s.act(), nn.Linear(120, 84), s.act()),
        nn.Linear(84, s.classes),
    )


def _conv(s: Shape, a: int, b: int, *, norm: bool, stride: int = 1, groups: int = 1, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=not norm)
    return nn.Sequential(conv, *([nn.BatchNorm2d(b)] if norm else []), s.act())


def _head(s: Shape, width: int, *, grid: int = 1) -> tuple[nn.Module, ...]:
    """Pool to a grid, of one place in most; networks without batch norm learn faster with four."""
    return nn.AdaptiveAvgPool2d(grid), nn.Flatten(), nn.Linear(width * grid**2, s.classes)


def _vgg(*, norm: bool) -> Callable[[Shape], nn.Module]:
    def made(s: Shape) -> nn.Module:
        w, after = s.width, s.side // 8
        return nn.Sequential(
            *(_conv(s, s.channels, w, norm=norm), nn.MaxPool2d(2)),
            *(_conv(s, w, 2 * w, norm=norm), _conv(s, 2 * w, 2 * w, norm=norm), nn.MaxPool2d(2)),
            *(_conv(s, 2 * w, 4 * w, norm=norm), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(4 * w * after**2, 64), s.act(), nn.Linear(64, s.classes)),
        )

    return made


class _Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, s: Shape, a: int, b: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        second = nn.Conv2d(b, b, 3, padding=1)
        self.body = nn.Sequential(
            _conv(s, a, b, norm=norm, stride=stride), second, nn.BatchNorm2d(b) if norm else nn.Identity()
        )
        if not norm:
            nn.init.zeros_(second.weight)  # begins as the shortcut (Zhang et al. 2019, Fixup)
        self.shortcut = nn.Identity() if (a, stride) == (b, 1) else nn.Conv2d(a, b, 1, stride)
        self.act = s.act()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, a, h, w) to (n, b, h / stride, w / stride)."""
        out: Tensor = self.act(self.body(x) + self.shortcut(x))
        return out


def _resnet(*, norm: bool, widen: int = 1) -> Callable[[Shape], nn.Module]:
    def made(s: Shape) -> nn.Module:
        w = s.width
        blocks = [(w, widen * w, 2 if widen > 1 else 1), (widen * w, 2 * widen * w, 2), (2 * widen * w, 4 * w, 2)]
        body = [_Residual(s, a, b, stride, norm=norm) for a, b, stride in blocks]
        return nn.Sequential(_conv(s, s.channels, w, norm=norm), *body, *_head(s, 4 * w, grid=1 if norm else 2))

    return made


def _depthwise(s: Shape) -> nn.Module:
    def pair(a: int, b: int, stride: int) -> tuple[nn.Module, ...]:
        return _conv(s, a, a, norm=True, stride=stride, groups=a), _conv(s, a, b, norm=True, kernel=1)

    w = s.width
    return nn.Sequential(
        _conv(s, s.channels, w, norm=True, stride=2), *pair(w, 2 * w, 1), *pair(2 * w, 4 * w, 2), *_head(s, 4 * w)
    )


def _all_convolutions(s: Shape) -> nn.Module:
    """Strides in place of pooling (Springenberg et al. 2014)."""
    w = s.width
    return nn.Sequential(
        *(_conv(s, s.channels, w, norm=False), _conv(s, w, w, norm=False, stride=2)),
        *(_conv(s, w, 2 * w, norm=False), _conv(s, 2 * w, 2 * w, norm=False, stride=2)),
        *(_conv(s, 2 * w, 4 * w, norm=False), *_head(s, 4 * w, grid=2)),
    )


class _Tokens(nn.Module):
    """Squares of 4 to 8 pixels as tokens, with a learnt place."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        size = 4 if s.side <= 40 else 8
        self.count = (s.side // size) ** 2
        self.project = nn.Conv2d(s.channels, s.width, size, size)
        self.place = nn.Parameter(0.02 * torch.randn(1, self.count, s.width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, tokens, width)."""
        return self.project(x).flatten(2).transpose(1, 2) + self.place


class _Mean(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to (n, width)."""
        return x.mean(1)


class _Mixing(nn.Module):
    """One block of an MLP-Mixer (Tolstikhin et al. 2021)."""

    def __init__(self, s: Shape, tokens: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(s.width), nn.LayerNorm(s.width)])
        self.across = nn.Sequential(nn.Linear(tokens, 2 * tokens), s.act(), nn.Linear(2 * tokens, tokens))
        self.within = nn.Sequential(nn.Linear(s.width, 2 * s.width), s.act(), nn.Linear(2 * s.width, s.width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.within(self.norms[1](x))
        return out


class _Attention(nn.Module):
    """One block of a vision transformer (Dosovitskiy et al. 2020), four heads."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(s.width), nn.LayerNorm(s.width)])
        self.queries, self.out = nn.Linear(s.width, 3 * s.width), nn.Linear(s.width, s.width)
        self.within = nn.Sequential(nn.Linear(s.width, 2 * s.width), s.act(), nn.Linear(2 * s.width, s.width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        n, tokens, width = x.shape
        parts = self.queries(self.norms[0](x)).view(n, tokens, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.out(mixed)
        out: Tensor = x + self.within(self.norms[1](x))
        return out


def _mixer(s: Shape) -> nn.Module:
    tokens = _Tokens(s)
    blocks = [_Mixing(s, tokens.count) for _ in range(2)]
    return nn.Sequential(tokens, *blocks, nn.LayerNorm(s.width), _Mean(), nn.Linear(s.width, s.classes))


def _vit(s: Shape) -> nn.Module:
    blocks = [_Attention(s) for _ in range(3)]
    return nn.Sequential(_Tokens(s), *blocks, nn.LayerNorm(s.width), _Mean(), nn.Linear(s.width, s.classes))


def _hybrid(s: Shape) -> nn.Module:
    """Convolutions to a quarter of the side, then two blocks of a transformer (Xiao et al. 2021)."""
    w = s.width
    stem = (_conv(s, s.channels, w // 2, norm=True, stride=2), _conv(s, w // 2, w, norm=True, stride=2))
    tokens = nn.Sequential(*stem, nn.Flatten(2), _Transposed())
    return nn.Sequential(tokens, *(_Attention(s) for _ in range(2)), nn.LayerNorm(w), _Mean(), nn.Linear(w, s.classes))


class _Transposed(nn.Module):
    """Channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, places) to (n, places, width)."""
        return x.transpose(1, 2)


class _LargeKernel(nn.Module):
    """One block of a ConvNeXt (Liu et al. 2022): 7 x 7 by channel, then two layers across channels, beside a shortcut."""

    def __init__(self, s: Shape, width: int) -> None:
        super().__init__()
        by_channel = nn.Conv2d(width, width, 7, padding=3, groups=width)
        across = (nn.Conv2d(width, 4 * width, 1), s.act(), nn.Conv2d(4 * width, width, 1))
        self.body = nn.Sequential(by_channel, nn.GroupNorm(1, width), *across)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        out: Tensor = x + self.body(x)
        return out


def _convnext(s: Shape) -> nn.Module:
    w = s.width
    stages = [
        part
        for a, b in ((s.channels, w), (w, 2 * w))
        for part in (nn.Conv2d(a, b, 2, 2), nn.GroupNorm(1, b), _LargeKernel(s, b))
    ]
    return nn.Sequential(*stages, *_head(s, 2 * w))


class _Growing(nn.Module):
    """One layer of a DenseNet (Huang et al. 2017): its channels join those it is computed from."""

    def __init__(self, s: Shape, width: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(width), s.act(), nn.Conv2d(width, growth, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to (n, width + growth, h, w)."""
        return torch.cat([x, self.body(x)], 1)


def _densenet(s: Shape) -> nn.Module:
    w = s.width
    layers: list[nn.Module] = [nn.Conv2d(s.channels, w, 3, stride=2, padding=1)]
    for width in (w, 3 * w):
        layers += [_Growing(s, width + k * w, w) for k in range(2)]
        layers += [_conv(s, width + 2 * w, 3 * w, norm=True, kernel=1), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, *_head(s, 3 * w))


FAMILIES: dict[str, Callable[[Shape], nn.Module]] = {
    "linear": _linear,
    **{f"perceptron{layers}": _perceptron(layers) for layers in (2, 3, 4, 5, 6, 9)},
    "cnn-avg": _two_layers(nn.AvgPool2d),
    "cnn-max": _two_layers(nn.MaxPool2d),
    "lenet": _lenet,
    "vgg": _vgg(norm=False),
    "vgg-bn": _vgg(norm=True),
    "resnet": _resnet(norm=False),
    "resnet-bn": _resnet(norm=True),
    "wide-resnet": _resnet(norm=True, widen=3),
    "depthwise": _depthwise,
    "all-conv": _all_convolutions,
    "mixer": _mixer,
    "vit": _vit,
    "hybrid": _hybrid,
    "convnext": _convnext,
    "densenet": _densenet,
}

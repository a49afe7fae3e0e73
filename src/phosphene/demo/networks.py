"""Three small architectures for the drawn world, cheap enough to run the whole method on a laptop's CPU.

All take normalised pixels, float (n, 3, h, w) in [-1, 1] (mean 0.5, deviation 0.5), of any size from 32 up,
and return logits, float (n, classes). At 96 x 96 their last spatial layer has 12 x 12 positions.
"""

import torch
from torch import Tensor, nn

CLASSES = 12
WIDTH, DEPTH = 96, 4  # of the transformer: values per token, and layers


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a convolution without bias and a batch normalisation, as one module.

    Height and width stay, or are divided by the stride.
    """
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs)
    )


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions whose output is added to a shortcut of the input: a block of SmallResNet."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride=stride)
        # Dilation widens the receptive field to whole shapes without giving up the 12 x 12 grid.
        self.second = _conv(outputs, outputs, dilation=dilation)
        # Averaging before the stride, so that no pixel is skipped and gradients carry no grid.
        pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        is_same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if is_same else nn.Sequential(pool, _conv(inputs, outputs, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, at least 0, (n, outputs, h / stride, w / stride), for (n, inputs, h, w)."""
        out: Tensor = torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))
        return out


class SmallResNet(nn.Module):
    """A small residual network for the demo's images: 15 million multiply-adds at 96 x 96 pixels."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, stride=2), nn.ReLU(), _conv(16, 24, stride=2), nn.ReLU())
        self.blocks = nn.Sequential(ResidualBlock(24, 40, stride=2), ResidualBlock(40, 64, dilation=2))
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual network's logits (n, classes) for normalised pixels (n, 3, h, w)."""
        out: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return out


class PlainNet(nn.Module):
    """A small network of convolutions and pooling, without shortcuts, for the demo's images.

    It takes 14 million multiply-adds at 96 x 96 pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(_conv(3, 16, kernel=5, stride=2), nn.ReLU()),
            *(nn.MaxPool2d(2), _conv(16, 32), nn.ReLU()),
            *(nn.MaxPool2d(2), _conv(32, 48), nn.ReLU()),
            *(_conv(48, 48, dilation=2), nn.ReLU()),
            *(_conv(48, 64, dilation=2), nn.ReLU()),
        )
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the plain network's logits (n, classes) for normalised pixels (n, 3, h, w)."""
        out: Tensor = self.head(self.features(x).mean((2, 3)))
        return out


class SmallViT(nn.Module):
    """A small vision transformer for the demo's images, with 144 tokens at 96 x 96 pixels.

    It takes 69 million multiply-adds at that size. Convolutions cut the image into patches (Xiao et al. 2021, "Early
    convolutions help transformers see better"). Positions are sines of several wavelengths, so that any size will do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            *(_conv(3, 24, stride=2), nn.ReLU()), *(_conv(24, 48, stride=2), nn.ReLU()), nn.Conv2d(48, WIDTH, 2, 2)
        )
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    WIDTH, 4, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(DEPTH)
            )
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vision transformer's logits (n, classes) for normalised pixels (n, 3, h, w)."""
        grid = self.patches(x)
        tokens = grid.flatten(2).transpose(1, 2) + _positions(grid)
        out: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return out


def _positions(grid: Tensor) -> Tensor:
    """Return codes, (h w, width), of where patches (n, width, h, w) lie.

    They are sines and cosines of row and column, counted from the middle.
    """
    _, width, *size = grid.shape
    frequencies = 0.01 ** (torch.arange(width // 4, device=grid.device) * 4 / width)
    axes = [(torch.arange(side, device=grid.device) + 0.5 - side / 2)[:, None] * frequencies for side in size]
    rows, columns = (torch.cat([axis.sin(), axis.cos()], 1) for axis in axes)
    codes = torch.cat([rows[:, None].expand(*size, -1), columns[None].expand(*size, -1)], 2)
    return codes.flatten(0, 1).to(grid.dtype)

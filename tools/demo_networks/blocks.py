"""Building blocks: plain convolutions with batch normalisation and ReLU, which every runtime fuses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Bottleneck(nn.Module):
    """Residual block of half the channels inside (He et al., CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBlock(channels, channels // 2, kernel=1), ConvBlock(channels // 2, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Backbone(nn.Module):
    """Features at strides 2, 4, 8, 16 and 32 with 16, 32, 64, 96 and `deepest` channels."""

    channels = (16, 32, 64, 96)

    def __init__(self, deepest: int) -> None:
        super().__init__()
        self.stem = ConvBlock(3, 16, stride=2)
        self.stage4 = nn.Sequential(ConvBlock(16, 32, stride=2), Bottleneck(32))
        self.stage8 = nn.Sequential(ConvBlock(32, 64, stride=2), Bottleneck(64), Bottleneck(64))
        self.stage16 = nn.Sequential(ConvBlock(64, 96, stride=2), Bottleneck(96), Bottleneck(96))
        self.stage32 = nn.Sequential(ConvBlock(96, deepest, stride=2), Bottleneck(deepest))

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.stem(image)]
        for stage in (self.stage4, self.stage8, self.stage16, self.stage32):
            features.append(stage(features[-1]))
        return features


def upsample(x: Tensor) -> Tensor:
    """Double height and width by repetition."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def parameter_bytes(network: nn.Module) -> int:
    """Size of the weights as float32."""
    return 4 * sum(parameter.numel() for parameter in network.parameters())


def set_seed(seed: int) -> None:
    """Make a run repeatable on the same GPU and versions."""
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False

"""A small anchor-free detector whose output has the form of YOLOX."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tools.demo_networks.blocks import Backbone, ConvBlock, upsample

STRIDES = (8, 16, 32)
WIDTH = 64
DEEPEST = 112


class Detector(nn.Module):
    """Backbone, feature pyramid, and one head shared by all strides.

    `forward` takes (B, 3, H, W), RGB from 0 to 1, and gives (B, N, 5 + classes): centre x y and log
    width, height in grid units, objectness and class scores. In training the last two are logits, for
    export (`eval`) sigmoids.
    """

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.backbone = Backbone(DEEPEST)
        self.lateral8 = ConvBlock(64, WIDTH, kernel=1)
        self.lateral16 = ConvBlock(96, WIDTH, kernel=1)
        self.lateral32 = ConvBlock(DEEPEST, WIDTH, kernel=1)
        self.smooth8 = ConvBlock(WIDTH, WIDTH)
        self.smooth16 = ConvBlock(WIDTH, WIDTH)
        self.head = ConvBlock(WIDTH, WIDTH)
        self.box = nn.Conv2d(WIDTH, 4, 1)
        self.objectness = nn.Conv2d(WIDTH, 1, 1)
        self.classes = nn.Conv2d(WIDTH, class_count, 1)
        # Nearly every cell is background: start there, or the first steps do nothing but learn it.
        nn.init.constant_(self.objectness.bias, -math.log(99.0))
        nn.init.constant_(self.classes.bias, -math.log(99.0) / 2)

    def forward(self, image: Tensor) -> Tensor:
        _, _, c8, c16, c32 = self.backbone(image)
        p32 = self.lateral32(c32)
        p16 = self.smooth16(self.lateral16(c16) + upsample(p32))
        p8 = self.smooth8(self.lateral8(c8) + upsample(p16))
        return torch.cat([self._head(level) for level in (p8, p16, p32)], dim=1)

    def _head(self, feature: Tensor) -> Tensor:
        x = self.head(feature)
        scores = torch.cat([self.objectness(x), self.classes(x)], dim=1)
        if not self.training:
            scores = scores.sigmoid()
        return torch.cat([self.box(x), scores], dim=1).flatten(2).transpose(1, 2)


def grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Give each anchor point's cell (N, 2) in grid units and its stride (N, 1)."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(
            torch.arange(height // stride, device=device),
            torch.arange(width // stride, device=device),
            indexing="ij",
        )
        cells.append(torch.stack([columns.flatten(), rows.flatten()], dim=1))
        strides.append(torch.full((cells[-1].shape[0], 1), stride, device=device))
    return torch.cat(cells).float(), torch.cat(strides).float()


def decode_boxes(output: Tensor, cells: Tensor, strides: Tensor) -> Tensor:
    """Turn raw outputs (B, N, 4+) into boxes (B, N, 4) x1 y1 x2 y2 in pixels."""
    centres = (output[..., :2] + cells) * strides
    half = output[..., 2:4].clamp(max=6.0).exp() * strides / 2
    return torch.cat([centres - half, centres + half], dim=-1)

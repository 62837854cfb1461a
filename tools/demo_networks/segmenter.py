"""A small encoder-decoder that labels every pixel."""

from __future__ import annotations

from torch import Tensor, nn

from tools.demo_networks.blocks import Backbone, ConvBlock, upsample

DEEPEST = 96


class Segmenter(nn.Module):
    """Takes (B, 3, H, W), RGB from 0 to 1; gives logits (B, classes, H, W).

    The decoder adds the encoder's features at each stride; the last step from stride 2 to full size is
    bilinear, so that thin lines keep their place to less than a pixel of stride 2.
    """

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.backbone = Backbone(DEEPEST)
        self.context = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(DEEPEST, 48, 1), nn.ReLU(inplace=True)
        )
        self.lateral32 = ConvBlock(DEEPEST, 48, kernel=1)
        self.lateral16 = ConvBlock(96, 48, kernel=1)
        self.lateral8 = ConvBlock(64, 48, kernel=1)
        self.lateral4 = ConvBlock(32, 24, kernel=1)
        self.lateral2 = ConvBlock(16, 16, kernel=1)
        self.smooth16 = ConvBlock(48, 48)
        self.smooth8 = ConvBlock(48, 24)
        self.smooth4 = ConvBlock(24, 16)
        self.smooth2 = ConvBlock(16, 16)
        self.classes = nn.Conv2d(16, class_count, 1)

    def forward(self, image: Tensor) -> Tensor:
        c2, c4, c8, c16, c32 = self.backbone(image)
        x = self.lateral32(c32) + self.context(c32)
        x = self.smooth16(self.lateral16(c16) + upsample(x))
        x = self.smooth8(self.lateral8(c8) + upsample(x))
        x = self.smooth4(self.lateral4(c4) + upsample(x))
        x = self.smooth2(self.lateral2(c2) + upsample(x))
        return nn.functional.interpolate(
            self.classes(x), scale_factor=2.0, mode="bilinear", align_corners=False
        )

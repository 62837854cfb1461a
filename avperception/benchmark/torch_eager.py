"""A frame as it is usually written in PyTorch: eager, on the GPU, with torchvision's operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray

DETECTOR_SIZE = (416, 416)
SEGMENTER_SIZE = (360, 640)
CLASSES = 80
STRIDE = 32


class TorchFrame:
    """Upload, preprocess, a detector and a segmenter, decode, suppression, argmax at image size, download.

    The weights are random: the time does not depend on them, but for the candidates, of which the
    200 best are taken.
    """

    networks = (
        "detector: MobileNetV2 at 416x416 with a YOLOX-form head on its last map (about 1.1 GFLOP); "
        "segmenter: LR-ASPP MobileNetV3-Large at 640x360 (about 2 GFLOP); FP16"
    )

    def __init__(self, width: int, height: int) -> None:
        torch.manual_seed(0)
        self._size = (height, width)
        features = torchvision.models.mobilenet_v2(weights=None).features
        head = torch.nn.Conv2d(1280, 5 + CLASSES, 1)
        self._detector = torch.nn.Sequential(features, head).cuda().half().eval()
        self._segmenter = (
            torchvision.models.segmentation.lraspp_mobilenet_v3_large(
                weights=None, weights_backbone=None, num_classes=4
            )
            .cuda()
            .half()
            .eval()
        )

    @torch.inference_mode()
    def __call__(self, image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Give boxes (N, 4) in network pixels and the mask of an rgb8 image (height, width, 3)."""
        pixels = torch.from_numpy(image).cuda().permute(2, 0, 1)[None].half()
        boxes = self._detect(pixels)
        logits = self._segmenter(self._resized(pixels, SEGMENTER_SIZE) / 255)["out"]
        mask = torch.nn.functional.interpolate(
            logits.argmax(1, keepdim=True).to(torch.uint8), self._size, mode="nearest"
        )
        return boxes.cpu().numpy(), mask[0, 0].cpu().numpy()

    def _detect(self, pixels: torch.Tensor) -> torch.Tensor:
        output = self._detector(self._resized(pixels, DETECTOR_SIZE))[0].flatten(1).T.float()
        scores, classes = (output[:, 4:5].sigmoid() * output[:, 5:].sigmoid()).max(1)
        best = scores.topk(min(200, len(scores))).indices
        centres = (output[best, :2] + best[:, None] % (DETECTOR_SIZE[1] // STRIDE)) * STRIDE
        halves = output[best, 2:4].clamp(max=4).exp() * STRIDE / 2
        boxes = torch.cat([centres - halves, centres + halves], 1)
        kept = torchvision.ops.batched_nms(boxes, scores[best], classes[best], 0.45)
        return boxes[kept]

    @staticmethod
    def _resized(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return torch.nn.functional.interpolate(pixels, size, mode="bilinear", align_corners=False)

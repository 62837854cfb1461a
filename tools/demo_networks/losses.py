"""What the two networks are trained to minimise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

TOP_K = 10
CENTRE_RADIUS = 1.5
"""Anchor points this many strides from an object's centre may learn it, even outside of a tiny box."""


def detection_loss(output: Tensor, boxes: Tensor, targets: Tensor, cells: Tensor, strides: Tensor) -> Tensor:
    """Loss of a batch: `output` (B, N, 5 + C) raw, `boxes` (B, N, 4) decoded from it, in pixels.

    `targets` (B, M, 6) holds x1 y1 x2 y2, class, and what the row is: 1 an object, 0 one to ignore (too
    hidden or too small to be asked for), -1 empty. Anchor points are assigned by task alignment (Feng
    et al., TOOD, ICCV 2021): those whose score and overlap agree best learn an object, with their
    overlap as the aim of objectness.
    """
    class_count = output.shape[2] - 5
    points = (cells + 0.5) * strides
    total_object = output.new_zeros(())
    total_class = output.new_zeros(())
    total_box = output.new_zeros(())
    weight_sum = output.new_zeros(())
    for raw, predicted, target in zip(output, boxes, targets, strict=True):
        objects, ignored = target[target[:, 5] == 1], target[target[:, 5] == 0]
        aim, owner = _assign(raw.detach(), predicted.detach(), objects, points, strides)
        counted = ~_inside(points, ignored).any(dim=1) | (aim > 0)
        total_object = total_object + bce(raw[counted, 4], aim[counted], reduction="sum")
        positive = aim > 0
        if positive.any():
            owned = objects[owner[positive]]
            one_hot = nn.functional.one_hot(owned[:, 4].long(), class_count).float()
            total_class = total_class + bce(raw[positive, 5:], one_hot, reduction="sum")
            overlap = generalised_iou(predicted[positive], owned[:, :4])
            total_box = total_box + ((1 - overlap) * aim[positive]).sum()
            weight_sum = weight_sum + aim[positive].sum()
    normaliser = weight_sum.clamp(min=1.0)
    return (total_object + total_class + 5.0 * total_box) / normaliser


def _assign(
    raw: Tensor, predicted: Tensor, objects: Tensor, points: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor]:
    """Give each anchor point its objectness aim (N,) and the object it learns (N,)."""
    count = len(raw)
    if not len(objects):
        return raw.new_zeros(count), torch.zeros(count, dtype=torch.long, device=raw.device)
    overlap = pairwise_iou(objects[:, :4], predicted)
    score = raw[:, 4].sigmoid() * raw[:, 5:].sigmoid()[:, objects[:, 4].long()].T
    centres = (objects[:, None, :2] + objects[:, None, 2:4]) / 2
    near = ((points - centres).abs() < CENTRE_RADIUS * strides).all(dim=2)
    candidate = near | _inside(points, objects).T
    alignment = score.clamp(min=1e-9).sqrt() * overlap.pow(4) * candidate
    # Before anything overlaps, the nearest points begin.
    alignment = alignment + 1e-12 * near
    best = alignment.topk(min(TOP_K, count), dim=1)
    chosen = torch.zeros_like(alignment, dtype=torch.bool)
    chosen.scatter_(1, best.indices, best.values > 0)
    aligned = alignment * chosen
    owner = aligned.argmax(dim=0)
    taken = chosen.any(dim=0)
    largest = aligned.amax(dim=1, keepdim=True).clamp(min=1e-12)
    reach = (overlap * chosen).amax(dim=1, keepdim=True).clamp(min=0.05)
    aim = (aligned / largest * reach).gather(0, owner[None])[0]
    return aim * taken, owner


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Tell which points (N, 2) lie in which boxes (M, 4+), as (N, M)."""
    low = (points[:, None] >= boxes[None, :, :2]).all(dim=2)
    return low & (points[:, None] <= boxes[None, :, 2:4]).all(dim=2)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes (M, 4) with boxes (N, 4), as (M, N)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=2)
    areas = (a[:, 2:] - a[:, :2]).prod(dim=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(dim=1)[None]
    return common / (areas - common).clamp(min=1e-6)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes (N, 4) pair by pair, less the empty part of their hull (Rezatofighi, CVPR 2019)."""
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - common
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    return common / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def segmentation_loss(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Cross entropy plus soft Dice, so that thin classes count as much as the sky."""
    entropy = nn.functional.cross_entropy(logits, labels.long(), weight=class_weights)
    probability = logits.softmax(dim=1)
    truth = nn.functional.one_hot(labels.long(), logits.shape[1]).permute(0, 3, 1, 2).to(probability.dtype)
    common = (probability * truth).sum(dim=(0, 2, 3))
    total = (probability + truth).sum(dim=(0, 2, 3))
    return entropy + (1 - (2 * common + 1) / (total + 1)).mean()

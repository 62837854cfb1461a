"""What the two networks are trained to minimise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

TOP_K = 10
CENTRE_RADIUS = 1.5
"""Anchor points this many strides from an object's centre may learn it, even outside of a tiny box."""


def detection_loss(
    output: Tensor, boxes: Tensor, targets: Tensor, cells: Tensor, strides: Tensor, class_weights: Tensor
) -> Tensor:
    """Loss of a batch: `output` (B, N, 5 + C) raw, `boxes` (B, N, 4) decoded from it, in pixels.

    `targets` (B, M, 6) holds x1 y1 x2 y2, class, and what the row is: 1 an object, 0 one to ignore (too
    hidden or too small to be asked for), -1 empty. Anchor points are assigned by task alignment (Feng
    et al., TOOD, ICCV 2021): those whose score and overlap agree best learn an object, with their
    overlap as the aim of objectness. `class_weights` (C,) make up for how rare a class is.
    """
    class_count = output.shape[2] - 5
    points = (cells + 0.5) * strides
    with torch.no_grad():
        inside = _inside(points, targets)
        aim, owner = _assign(output, boxes, targets, inside, points, strides)
        positive = aim > 0
        unasked = (inside & (targets[..., 5] == 0)[..., None]).any(dim=1) & ~positive
    loss_object = (bce(output[..., 4], aim, reduction="none") * ~unasked).sum()
    owned = targets.gather(1, owner[..., None].expand(-1, -1, 6))
    classes = owned[..., 4].long().clamp(min=0)
    one_hot = nn.functional.one_hot(classes, class_count).to(output.dtype)
    class_error = bce(output[..., 5:], one_hot, reduction="none").sum(dim=2)
    loss_class = (class_error * class_weights[classes] * positive).sum()
    overlap = generalised_iou(boxes, owned[..., :4])
    loss_box = ((1 - overlap) * aim * positive).sum()
    return (loss_object + loss_class + 5.0 * loss_box) / aim.sum().clamp(min=1.0)


def _assign(
    output: Tensor, boxes: Tensor, targets: Tensor, inside: Tensor, points: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor]:
    """Give each anchor point its objectness aim (B, N) and the row of `targets` it learns (B, N)."""
    is_object = (targets[..., 5] == 1)[..., None]
    overlap = pairwise_iou(targets[..., :4], boxes)
    class_scores = output[..., 5:].sigmoid().transpose(1, 2)
    score = class_scores.gather(1, targets[..., 4:5].long().clamp(min=0).expand(-1, -1, len(points)))
    score = score * output[:, None, :, 4].sigmoid()
    centres = (targets[..., None, :2] + targets[..., None, 2:4]) / 2
    near = ((points - centres).abs() < CENTRE_RADIUS * strides).all(dim=3)
    # The last term lets the nearest points begin before anything overlaps.
    alignment = score.clamp(min=1e-9).sqrt() * overlap.pow(4) * (near | inside) + 1e-12 * near
    alignment = alignment * is_object
    best = alignment.topk(TOP_K, dim=2)
    chosen = torch.zeros_like(alignment, dtype=torch.bool).scatter_(2, best.indices, best.values > 0)
    aligned = alignment * chosen
    owner = aligned.argmax(dim=1)
    largest = aligned.amax(dim=2, keepdim=True).clamp(min=1e-12)
    reach = (overlap * chosen).amax(dim=2, keepdim=True).clamp(min=0.05)
    aim = (aligned / largest * reach).gather(1, owner[:, None])[:, 0]
    return aim * chosen.any(dim=1), owner


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Tell which points (N, 2) lie in which boxes (B, M, 4+), as (B, M, N)."""
    low = (points >= boxes[..., None, :2]).all(dim=3)
    return low & (points <= boxes[..., None, 2:4]).all(dim=3)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes (B, M, 4) with boxes (B, N, 4), as (B, M, N)."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=3)
    areas = (a[..., 2:] - a[..., :2]).prod(dim=2)[:, :, None] + (b[..., 2:] - b[..., :2]).prod(dim=2)[:, None]
    return common / (areas - common).clamp(min=1e-6)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes (..., 4) pair by pair, less the empty part of their hull (Rezatofighi, CVPR 2019)."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - common
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).prod(dim=-1)
    return common / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def segmentation_loss(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Cross entropy plus soft Dice, so that thin classes count as much as the sky."""
    entropy = nn.functional.cross_entropy(logits, labels.long(), weight=class_weights)
    probability = logits.softmax(dim=1)
    truth = nn.functional.one_hot(labels.long(), logits.shape[1]).permute(0, 3, 1, 2).to(probability.dtype)
    common = (probability * truth).sum(dim=(0, 2, 3))
    total = (probability + truth).sum(dim=(0, 2, 3))
    return entropy + (1 - (2 * common + 1) / (total + 1)).mean()

"""The reference of every array operation, in NumPy and OpenCV on the host."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.errors import ModelError
from avperception.ops.encodings import BGR_ORDER, PIXEL_FORMATS, RGB_ORDER
from avperception.ops.placement import Placement
from avperception.types import Bool, Float32, Float64, Image, Int32, UInt8

# --------------------------------------------------------------------------------------------------
# Images


def interleaved(image: Image) -> tuple[UInt8, tuple[int, int, int]]:
    """Give an image as uint8 (height, width, channels) and the channels that are blue, green and red.

    A view where the encoding allows it; YUV and Bayer are converted to BGR, 16 bits cut to the upper 8.
    """
    pixel_format = PIXEL_FORMATS[image.encoding]
    data = image.data
    if pixel_format.conversion is not None:
        return cv2.cvtColor(np.ascontiguousarray(data), pixel_format.conversion), BGR_ORDER
    if data.dtype == np.uint16:
        data = (data >> 8).astype(np.uint8)
    return data.reshape(image.height, image.width, -1), pixel_format.bgr_order


def to_bgr(image: Image) -> UInt8:
    """Copy an image of any encoding into a contiguous (height, width, 3) uint8 BGR array."""
    array, bgr_order = interleaved(image)
    return np.ascontiguousarray(array[..., list(bgr_order)])


def preprocess(
    image: Image,
    tensor: NDArray[Any],
    placement: Placement,
    *,
    colour: str,
    gain: Float32,
    offset: Float32,
    pad_value: float,
) -> None:
    """Resize, reorder and normalise an image into `tensor` (1, 3, height, width), which is overwritten.

    Bilinear with pixel centres at half integers (OpenCV's INTER_LINEAR). Channel c of the network,
    in `colour` order (`rgb` or `bgr`), becomes `pixel * gain[c] + offset[c]`; outside of `placement`
    lies `pad_value`, normalised the same way.
    """
    array, bgr_order = interleaved(image)
    size = (placement.width, placement.height)
    resized = cv2.resize(array, size, interpolation=cv2.INTER_LINEAR).reshape(size[1], size[0], -1)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    network_order = BGR_ORDER if colour == "bgr" else RGB_ORDER
    covers_all = tensor.shape[2:] == (placement.height, placement.width)
    for channel, bgr_channel in enumerate(network_order):
        plane = tensor[0, channel]
        if not covers_all:
            plane[...] = pad_value * gain[channel] + offset[channel]
        window = plane[rows, columns]
        np.multiply(resized[..., bgr_order[bgr_channel]], gain[channel], out=window, casting="unsafe")
        if offset[channel]:
            window += offset[channel]


# --------------------------------------------------------------------------------------------------
# Detector output


def yolox_strides(height: int, width: int, anchor_count: int) -> tuple[int, ...]:
    """Find the strides of an anchor-free YOLOX head from its input size and its number of anchor points.

    The strides are consecutive powers of two, one anchor point a cell (YOLOX, Ge et al. 2021,
    arXiv:2107.08430). Raises ModelError when no such set gives `anchor_count`.
    """
    for first in range(1, 8):
        strides: list[int] = []
        cells = 0
        for power in range(first, 9):
            stride = 2**power
            if height % stride or width % stride:
                break
            strides.append(stride)
            cells += (height // stride) * (width // stride)
            if cells == anchor_count:
                return tuple(strides)
    raise ModelError(
        f"a YOLOX head with {anchor_count} anchor points fits no set of strides at input "
        f"{width}x{height}: check that the card's decoder is the network's, and export it with a static shape"
    )


def yolox_grid(height: int, width: int, strides: Sequence[int]) -> tuple[Float32, Float32]:
    """Give each anchor point's cell (N, 2) as x y in grid units and its stride (N, 1) in pixels."""
    cells, scales = [], []
    for stride in strides:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        scales.append(np.full((cells[-1].shape[0], 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(scales).astype(np.float32)


def decode_yolox(
    output: Float32, cells: Float32, strides: Float32, score_threshold: float
) -> tuple[Float32, Float32, Int32]:
    """Decode a YOLOX head (N, 5 + classes) into boxes (M, 4) x1 y1 x2 y2, scores (M,) and class ids (M,).

    Boxes are network pixels; a score is objectness times the best class score; NaN never passes.
    """
    # A class score is at most 1, so objectness alone rules out nearly every anchor point.
    rows = np.flatnonzero(output[:, 4] >= score_threshold)
    candidates = output[rows]
    class_ids = candidates[:, 5:].argmax(axis=1) if len(rows) else np.zeros(0, np.int64)
    scores = candidates[:, 4] * candidates[np.arange(len(rows)), 5 + class_ids]
    good = scores >= score_threshold
    rows, candidates, scores, class_ids = rows[good], candidates[good], scores[good], class_ids[good]
    centres = (candidates[:, :2] + cells[rows]) * strides[rows]
    half_sizes = np.exp(candidates[:, 2:4]) * strides[rows] * np.float32(0.5)
    boxes = np.concatenate([centres - half_sizes, centres + half_sizes], axis=1)
    finite = np.isfinite(boxes).all(axis=1)
    return boxes[finite], scores[finite], class_ids[finite].astype(np.int32)


def non_maximum_suppression(
    boxes: Float32, scores: Float32, class_ids: Int32, iou_threshold: float, capacity: int
) -> NDArray[np.int64]:
    """Keep the best of the boxes of one class that overlap; give their rows by falling score.

    Greedy, class by class; at most the `capacity` best candidates take part. Equal scores keep the
    order they came in, so that the result is the same on every machine.
    """
    order = np.argsort(-scores, kind="stable")[:capacity]
    if not len(order):
        return order
    corner_and_size = boxes[order].astype(np.float64)
    corner_and_size[:, 2:] -= corner_and_size[:, :2]
    # OpenCV keeps classes apart by shifting each beyond the largest coordinate, counted from zero.
    corner_and_size[:, :2] -= corner_and_size[:, :2].min(axis=0)
    kept = cv2.dnn.NMSBoxesBatched(
        corner_and_size.tolist(), scores[order].tolist(), class_ids[order].tolist(), 0.0, iou_threshold
    )
    return order[np.sort(np.asarray(kept, dtype=np.int64))]


def boxes_to_image(boxes: Float32, placement: Placement, width: int, height: int) -> Float32:
    """Map boxes (N, 4) from network pixels to pixels of the original image and clip them to it."""
    scale = np.array([placement.scale_x, placement.scale_y] * 2)
    shift = np.array([placement.left, placement.top] * 2)
    limits = np.array([width, height] * 2)
    return np.clip((boxes - shift) / scale, 0, limits).astype(np.float32)


# --------------------------------------------------------------------------------------------------
# Segmenter output


def argmax_labels(
    outputs: Sequence[NDArray[Any]], class_ids: Sequence[Sequence[int | None]], labels: UInt8
) -> None:
    """Merge the channel-wise argmax of several logit tensors (1, C, H, W) into `labels` (H, W) uint8.

    `class_ids[k][c]` is the class of channel c of output k; None leaves what an earlier output said.
    """
    for logits, ids in zip(outputs, class_ids, strict=True):
        winner = _argmax_channel(logits[0].astype(np.float32, copy=False))
        for channel, class_id in enumerate(ids):
            if class_id is not None:
                _assign(labels, class_id, where=cv2.compare(winner, channel, cv2.CMP_EQ))


def _argmax_channel(logits: Float32) -> UInt8:
    """Argmax over the first axis, the first channel winning a tie; NumPy's own walks memory the wrong way."""
    winner = np.zeros(logits.shape[1:], dtype=np.uint8)
    best = logits[0]
    for channel in range(1, len(logits)):
        _assign(winner, channel, where=cv2.compare(logits[channel], best, cv2.CMP_GT))
        best = np.maximum(best, logits[channel])
    return winner


def _assign(target: UInt8, value: int, where: UInt8) -> None:
    """Set `target` to `value` where the mask is 255, not 0; without branches, slow on ragged masks."""
    np.bitwise_and(target, ~where, out=target)
    np.bitwise_or(target, where & np.uint8(value), out=target)


def labels_to_image(labels: UInt8, placement: Placement, width: int, height: int) -> UInt8:
    """Bring network-size labels to the original image's size, nearest pixel centre, padding cut off."""
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    window = np.ascontiguousarray(labels[rows, columns])
    return cv2.resize(window, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


# --------------------------------------------------------------------------------------------------
# Lidar points


def transform_points(points: NDArray[Any], T_target_source: Float64) -> Float32:
    """Map points (N, 3) by a 4x4 transform; the result is float32, the sum done in float32."""
    T = T_target_source.astype(np.float32)
    x, y, z = np.ascontiguousarray(points.T, dtype=np.float32)
    result = np.empty((len(x), 3), dtype=np.float32)
    for row in range(3):
        result[:, row] = x * T[row, 0] + y * T[row, 1] + z * T[row, 2] + T[row, 3]
    return result


def within_range(points_sensor: Float32, min_range: float, max_range: float) -> Bool:
    """Tell which points (N, 3) lie between two distances [m] from the sensor, as a mask (N,)."""
    squared = np.einsum("ij,ij->i", points_sensor, points_sensor)
    return (squared >= min_range**2) & (squared <= max_range**2)


SLOPE_RINGS = 12
"""Rings of the ground's polar grid over which its slope is averaged, and for which it goes on unseen."""


def ground_height(
    points: Float32, sensor: Float64, max_range: float, max_slope: float, tolerance: float
) -> Float32:
    """Estimate the height of the ground below each point (N, 3), z up, as (N,).

    A polar grid around the `sensor` (3,) holds the lowest point of every cell; the median of them
    within 15 m is the height to start from. Going outward, a cell's lowest point is ground when the
    ground known so far, going on at its slope, reaches it with at most `max_slope` plus `tolerance` [m]
    of change; else the known ground goes on. A median over neighbouring sectors takes out cells that hold
    nothing but an object. (The idea of ring-wise slope limits: Himmelsbach et al., IV 2010.)
    """
    sectors, ring_width = 180, 1.0
    rings = int(np.ceil(max_range / ring_width)) + 1
    offset = points[:, :2] - sensor[:2].astype(np.float32)
    sector = ((np.arctan2(offset[:, 1], offset[:, 0]) / np.float32(2 * np.pi) + 0.5) * sectors).astype(
        np.int32
    )
    ring = (np.hypot(offset[:, 0], offset[:, 1]) / ring_width).astype(np.int32)
    cell = (sector % sectors) * rings + np.minimum(ring, rings - 1)
    lowest_of_cell = np.full(sectors * rings, np.inf, dtype=np.float32)
    np.minimum.at(lowest_of_cell, cell, points[:, 2])
    lowest = lowest_of_cell.reshape(sectors, rings)
    near = lowest[:, : int(15 / ring_width)]
    near = near[np.isfinite(near)]
    start = float(np.median(near)) if len(near) else 0.0
    height = _spread_outward(lowest, start, max_slope * ring_width, tolerance)
    neighbours = np.stack([np.roll(height, shift, axis=0) for shift in (-2, -1, 0, 1, 2)])
    return np.asarray(np.median(neighbours, axis=0).ravel()[cell], dtype=np.float32)


def _spread_outward(lowest: Float32, start: float, rise_per_ring: float, tolerance: float) -> Float32:
    """Follow the ground from the innermost ring (sectors, rings) out; `start` is its height at ring 0.

    Where it is not seen it goes on at the slope that it had over the last rings, for a while.
    """
    height = np.empty_like(lowest)
    known: Float32 = np.full(len(lowest), start, dtype=np.float32)
    slope: Float32 = np.zeros(len(lowest), dtype=np.float32)
    rings_since = np.zeros(len(lowest), dtype=np.float32)
    for ring in range(lowest.shape[1]):
        rings_since += 1
        expected = known + slope * np.minimum(rings_since, SLOPE_RINGS)
        # A long shadow behind an object must not let the next object's flank pass for a hill.
        reach = tolerance + rise_per_ring * np.minimum(rings_since, 5)
        is_ground = np.abs(lowest[:, ring] - expected) <= reach
        rise = np.where(is_ground, (lowest[:, ring] - known) / rings_since, slope)
        slope += (rise - slope) * np.minimum(rings_since / SLOPE_RINGS, 1)
        slope = np.clip(slope, -rise_per_ring, rise_per_ring)
        known = np.where(is_ground, lowest[:, ring], known)
        height[:, ring] = np.where(is_ground, known, expected)
        rings_since[is_ground] = 0
    return height


def project_points(
    points_camera: Float32, K: Float64, D: Float64, distortion_model: str, width: int, height: int
) -> tuple[Float32, NDArray[np.int64]]:
    """Project points (N, 3) of an optical frame; give pixels (M, 2) and the rows that fall into the image.

    Points nearer than 0.1 m are left out, and so are those beyond the angle up to which the
    distortion is monotonic: a polynomial lens model folds far points back into the picture there.
    """
    x, y, z = points_camera.T
    limit = np.float32(visible_radius(K, D, distortion_model, width, height))
    rows = np.flatnonzero((z > 0.1) & (np.abs(x) <= limit * z) & (np.abs(y) <= limit * z))
    normalised = (points_camera[rows, :2] / points_camera[rows, 2:]).astype(np.float64)
    rows_in_lens = np.hypot(normalised[:, 0], normalised[:, 1]) <= limit
    rows, normalised = rows[rows_in_lens], normalised[rows_in_lens]
    pixels = distort(normalised, K, D, distortion_model)
    inside = (pixels >= -0.5).all(axis=1) & (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
    return pixels[inside].astype(np.float32), rows[inside]


def distort(normalised: Float64, K: Float64, D: Float64, distortion_model: str) -> Float64:
    """Map normalised image coordinates (N, 2), x/z and y/z, to pixels (N, 2) by lens model and K."""
    if _is_pinhole(D, distortion_model):
        return normalised * K[[0, 1], [0, 1]] + normalised[:, ::-1] * [K[0, 1], 0.0] + K[:2, 2]
    if not len(normalised):
        return np.zeros((0, 2))
    if distortion_model == "equidistant":
        return np.asarray(cv2.fisheye.distortPoints(normalised[:, None], K, D[:4])).reshape(-1, 2)
    rays = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1)
    pixels, _ = cv2.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), K, D)
    return pixels.reshape(-1, 2)


def _is_pinhole(D: Float64, distortion_model: str) -> bool:
    """Tell whether a lens bends nothing; an equidistant one bends even with zero coefficients."""
    return not len(D) or (distortion_model != "equidistant" and not np.any(D))


def undistort(pixels: NDArray[Any], K: Float64, D: Float64, distortion_model: str) -> Float64:
    """Map pixels (N, 2) to normalised image coordinates (N, 2), the inverse of `distort`."""
    if not len(pixels):
        return np.zeros((0, 2))
    points = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
    if distortion_model == "equidistant" and len(D):
        return np.asarray(cv2.fisheye.undistortPoints(points, K, D[:4])).reshape(-1, 2)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
    lens = D if np.any(D) else np.zeros(5)
    # OpenCV 4 takes the criterion under another name than OpenCV 5.
    iterate: Any = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
    return iterate(points, K, lens, R=np.eye(3), P=np.eye(3), criteria=stop).reshape(-1, 2)


def visible_radius(K: Float64, D: Float64, distortion_model: str, width: int, height: int) -> float:
    """Give the undistorted radius, tan of the angle to the axis, beyond which no ray meets the image."""
    return _visible_radius(tuple(K.ravel()), tuple(D.ravel()), distortion_model, width, height)


@lru_cache(maxsize=64)
def _visible_radius(
    K_values: tuple[float, ...], D_values: tuple[float, ...], distortion_model: str, width: int, height: int
) -> float:
    K, D = np.array(K_values).reshape(3, 3), np.array(D_values)
    limit = distortion_limit(D, distortion_model)
    corners = np.array([[x, y] for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)])
    at_corners = np.hypot(*((corners - K[:2, 2]) / K[[0, 1], [0, 1]]).T).max()
    if _is_pinhole(D, distortion_model):
        return min(limit, float(at_corners) * 1.001)
    radius = np.tan(np.linspace(0.0, np.arctan(min(limit, 1e3)), 2000))
    axis = np.stack([radius, np.zeros_like(radius)], axis=1)
    inside = np.abs(distort(axis, np.eye(3), D, distortion_model)[:, 0]) <= at_corners * 1.05
    return float(radius[min(np.flatnonzero(inside)[-1] + 1, len(radius) - 1)])


def distortion_limit(D: Float64, distortion_model: str) -> float:
    """Find the largest undistorted radius, tan of the angle to the axis, up to which a lens model grows.

    Infinity for a pinhole. Beyond 89 degrees nothing is asked of a model.
    """
    if _is_pinhole(D, distortion_model):
        return float("inf")
    radius = np.tan(np.linspace(0.0, np.radians(89.0), 2000))
    axis = np.stack([radius, np.zeros_like(radius)], axis=1)
    radial_only = np.array(D, dtype=np.float64)
    if distortion_model != "equidistant":
        radial_only[2:4] = 0.0
    distorted = distort(axis, np.eye(3), radial_only, distortion_model)[:, 0]
    folds = np.flatnonzero(np.diff(distorted) <= 0)
    return float(radius[folds[0]]) if len(folds) else float(radius[-1])

"""The reference of every array operation, in NumPy and OpenCV on the host."""

from avperception.ops.cpu.detections import (
    boxes_to_image,
    decode_yolox,
    non_maximum_suppression,
    pack_detections,
    yolox_grid,
    yolox_strides,
)
from avperception.ops.cpu.gather import points_around, points_in_boxes
from avperception.ops.cpu.images import interleaved, preprocess, rows_sampled, to_bgr
from avperception.ops.cpu.labels import argmax_labels, distort_labels, labels_to_image
from avperception.ops.cpu.lanes import lane_lines, trace_lanes, unpack_lanes
from avperception.ops.cpu.lenses import (
    distort,
    distortion_limit,
    is_pinhole,
    project_points,
    undistort,
    visible_radius,
)
from avperception.ops.cpu.linking import joined_points, link_points, owner_of_points
from avperception.ops.cpu.objects import object_points
from avperception.ops.cpu.points import (
    ground_height,
    selected_rows,
    take_rows,
    transform_points,
    within_range,
)
from avperception.ops.cpu.rectification import LabelMap, Rectification, SamplingMap

__all__ = [
    "LabelMap",
    "Rectification",
    "SamplingMap",
    "argmax_labels",
    "boxes_to_image",
    "decode_yolox",
    "distort",
    "distort_labels",
    "distortion_limit",
    "ground_height",
    "interleaved",
    "is_pinhole",
    "joined_points",
    "labels_to_image",
    "lane_lines",
    "link_points",
    "non_maximum_suppression",
    "object_points",
    "owner_of_points",
    "pack_detections",
    "points_around",
    "points_in_boxes",
    "preprocess",
    "project_points",
    "rows_sampled",
    "selected_rows",
    "take_rows",
    "to_bgr",
    "trace_lanes",
    "transform_points",
    "undistort",
    "unpack_lanes",
    "visible_radius",
    "within_range",
    "yolox_grid",
    "yolox_strides",
]

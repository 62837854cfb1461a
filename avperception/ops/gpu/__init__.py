"""The array operations in CUDA, named as those of `ops.cpu`, which they mirror.

They work on CuPy arrays and on CuPy's current stream, return at once, and can be captured into a graph:
every shape is known beforehand, and where the host gives as many rows as it found, these give a fixed
number of rows and mark those that are empty.
"""

from avperception.ops.cpu.detections import yolox_strides
from avperception.ops.gpu.detections import (
    decode_yolox,
    non_maximum_suppression,
    pack_detections,
    yolox_grid,
)
from avperception.ops.gpu.images import PartialImage, preprocess
from avperception.ops.gpu.labels import argmax_labels, distort_labels, labels_to_image
from avperception.ops.gpu.lanes import trace_lanes
from avperception.ops.gpu.lenses import project_points
from avperception.ops.gpu.module import announce, deliver, fetch_rows, hold
from avperception.ops.gpu.points import (
    ground_height,
    selected_rows,
    take_rows,
    transform_points,
    within_range,
)

__all__ = [
    "PartialImage",
    "announce",
    "argmax_labels",
    "decode_yolox",
    "deliver",
    "distort_labels",
    "fetch_rows",
    "ground_height",
    "hold",
    "labels_to_image",
    "non_maximum_suppression",
    "pack_detections",
    "preprocess",
    "project_points",
    "selected_rows",
    "take_rows",
    "trace_lanes",
    "transform_points",
    "within_range",
    "yolox_grid",
    "yolox_strides",
]

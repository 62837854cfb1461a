"""Calibrations beside a running node: of rectified images P counts, of others K, as the node has it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from road import START, camera_info
from stage import Stage

from avperception.nodes.live_calibrations import LiveCalibrations

FRAME = "front_camera_optical"
NAME = "/truck/perception"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def info(width: int = 8):
    return camera_info(START, width=width, d=[0.1] * 5, p=[7.0, 0, 3.0, 0, 0, 7.0, 1.0, 0, 0, 0, 1, 0])


def focal_length(calibrations: LiveCalibrations, camera: str) -> float | None:
    model = calibrations.model(camera, FRAME)
    return None if model is None else float(model.K[0, 0])


def test_whether_images_are_rectified_is_asked_of_the_node(stage: Stage):
    calibrations = LiveCalibrations(stage.companion, NAME)
    calibrations.expect("front")
    calibrations.expect("rear")
    calibrations.add(info())
    calibrations.ask()
    assert focal_length(calibrations, "front") == 5.0, "nobody is there to be asked"
    overrides = [Parameter("front.rectified", value=True), Parameter("rear.rectified", value=False)]
    node = Node("perception", namespace="/truck", use_global_arguments=False, parameter_overrides=overrides)
    for entry in overrides:
        node.declare_parameter(entry.name, False)
    stage.add(node)

    def is_known() -> bool:
        calibrations.ask()
        return focal_length(calibrations, "front") == 7.0

    stage.spin_until(is_known)
    model = calibrations.model("front", FRAME)
    assert model is not None and not np.any(model.D)
    assert focal_length(calibrations, "rear") == 5.0


def test_a_calibration_that_has_not_come_or_cannot_be_used_is_none(stage: Stage):
    calibrations = LiveCalibrations(stage.companion, NAME)
    assert calibrations.model("front", FRAME) is None
    calibrations.add(info())
    assert calibrations.model("front", "rear_camera_optical") is None
    calibrations.add(info(width=0))
    assert calibrations.model("front", FRAME) is None

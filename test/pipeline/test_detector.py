"""The detector behind a network whose output is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from builders import bgr_image

from avperception.errors import ModelError
from avperception.models import find_card
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.network import Network


class KnownNetwork:
    """An engine and its only context, whose output is what the test wrote into it."""

    description = "known"

    def __init__(self, anchors: int, size: int = 416) -> None:
        images, output = (1, 3, size, size), (1, anchors, 85)
        self.arrays = {"images": np.zeros(images, np.float32)}, {"output": np.zeros(output, np.float32)}

    @property
    def inputs(self) -> Mapping[str, Any]:
        return self.arrays[0]

    @property
    def outputs(self) -> Mapping[str, Any]:
        return self.arrays[1]

    def create_context(self) -> KnownNetwork:
        return self

    def execute(self, stream: Any = None) -> None:
        """The output is there already."""

    def show(self, cell: tuple[int, int], size: tuple[float, float], class_id: int, score: float) -> None:
        """Put a box round the middle of a cell of 32 pixels, `size` in network pixels."""
        row = 52 * 52 + 26 * 26 + cell[1] * 13 + cell[0]
        self.outputs["output"][0, row, :5] = [0.5, 0.5, *np.log(np.array(size) / 32), 1.0]
        self.outputs["output"][0, row, 5 + class_id] = score


def detect(engine: KnownNetwork, width: int, height: int) -> Any:
    network = Network(find_card("yolox_nano"), engine)
    pipeline = CameraPipeline("front", network, None, DetectorSettings(), CpuDevice())
    return pipeline.process(bgr_image(np.zeros((height, width, 3), np.uint8))).detections


def test_boxes_come_out_in_pixels_of_the_image() -> None:
    engine = KnownNetwork(3549)
    engine.show((5, 2), (64, 32), class_id=2, score=0.75)

    found = detect(engine, 832, 416)

    np.testing.assert_allclose(found.boxes, [[288, 128, 416, 192]], atol=1e-3)
    assert found.class_names[found.class_ids[0]] == "car" and found.scores.tolist() == [0.75]


def test_a_box_in_the_padding_alone_is_left_out_and_the_others_keep_their_scores() -> None:
    engine = KnownNetwork(3549)
    engine.show((5, 11), (30, 30), class_id=0, score=0.9)
    engine.show((5, 2), (30, 30), class_id=2, score=0.5)
    engine.show((9, 2), (30, 30), class_id=7, score=0.7)

    found = detect(engine, 832, 416)

    assert found.scores.tolist() == pytest.approx([0.7, 0.5]) and found.class_ids.tolist() == [7, 2]
    assert len(found.boxes) == 2


def test_a_network_with_another_head_is_refused() -> None:
    with pytest.raises(ModelError, match="3548 anchor points"):
        detect(KnownNetwork(3548), 832, 416)

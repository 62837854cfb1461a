"""Which results are drawn on which image."""

from __future__ import annotations

import numpy as np
import pytest

from avperception.nodes.conversions.results import DetectedObjects, LaneLines
from avperception.nodes.overlay_frames import (
    FRAMES_KEPT,
    LIDAR_SILENT_NS,
    NEAR_NS,
    PATIENCE_NS,
    FrameGatherer,
)
from avperception.types import Detections2D

MS = 1_000_000
S = 1000 * MS
NOTHING = Detections2D(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ())
MASK = np.zeros((2, 2), np.uint8)


@pytest.fixture
def frames() -> FrameGatherer:
    return FrameGatherer()


def objects(stamp_ns: int) -> DetectedObjects:
    return DetectedObjects(stamp_ns, "base_link", ())


def see(frames: FrameGatherer, stamp_ns: int, now_ns: int = 0) -> None:
    frames.add_image(stamp_ns, f"image {stamp_ns}")
    frames.add_detections(stamp_ns, NOTHING, now_ns)


def test_an_image_waits_for_its_detections(frames: FrameGatherer) -> None:
    frames.add_image(S, "image")
    assert frames.take(0) is None
    frames.add_detections(2 * S, NOTHING, 0)
    assert frames.take(0) is None
    frames.add_detections(S, NOTHING, 0)
    taken = frames.take(0)
    assert taken is not None and taken.image == "image" and taken.detections is NOTHING
    assert frames.take(0) is None


def test_results_may_overtake_their_image(frames: FrameGatherer) -> None:
    frames.has_masks = True
    frames.add_mask(S, MASK)
    frames.add_detections(S, NOTHING, 0)
    assert frames.take(0) is None
    frames.add_image(S, "image")
    taken = frames.take(0)
    assert taken is not None and taken.mask is MASK


def test_an_image_waits_for_its_mask_but_not_for_ever(frames: FrameGatherer) -> None:
    frames.has_masks = True
    see(frames, S, now_ns=10 * S)
    assert frames.take(10 * S + PATIENCE_NS - 1) is None
    taken = frames.take(10 * S + PATIENCE_NS)
    assert taken is not None and taken.mask is None


def test_the_newest_complete_image_counts_and_older_ones_are_forgotten(frames: FrameGatherer) -> None:
    for stamp in (1 * S, 2 * S, 3 * S):
        see(frames, stamp)
    frames.add_image(4 * S, "not complete")
    taken = frames.take(0)
    assert taken is not None and taken.stamp_ns == 3 * S
    assert frames.take(0) is None


def test_boxes_do_not_trail_behind_the_image(frames: FrameGatherer) -> None:
    """With a lidar at work an image waits for the sweep at its own time, and takes the nearest."""
    frames.add_objects(objects(S), 0)
    see(frames, S + 50 * MS)
    assert frames.take(100 * MS) is None
    frames.add_objects(objects(S + 60 * MS), 100 * MS)
    taken = frames.take(100 * MS)
    assert taken is not None and taken.objects is not None
    assert taken.objects.stamp_ns == S + 60 * MS


def test_an_image_without_a_sweep_near_it_has_no_boxes(frames: FrameGatherer) -> None:
    frames.add_objects(objects(S + NEAR_NS + 1), 0)
    see(frames, S)
    taken = frames.take(0)
    assert taken is not None and taken.objects is None


def test_nothing_waits_for_a_lidar_that_has_fallen_silent(frames: FrameGatherer) -> None:
    frames.add_objects(objects(S), 0)
    see(frames, 2 * S, now_ns=LIDAR_SILENT_NS)
    assert frames.take(LIDAR_SILENT_NS) is None
    assert frames.take(LIDAR_SILENT_NS + 1) is not None


def test_lanes_are_those_of_the_images_time(frames: FrameGatherer) -> None:
    frames.add_lanes(LaneLines(S, "base_link", ()))
    see(frames, S)
    taken = frames.take(0)
    assert taken is not None and taken.lanes is not None
    see(frames, 2 * S)
    taken = frames.take(0)
    assert taken is not None and taken.lanes is None


def test_a_recording_that_begins_again_is_drawn_again(frames: FrameGatherer) -> None:
    for lap in range(3):
        for stamp in (S, S + 100 * MS, S + 200 * MS):
            now = lap * S + stamp
            frames.add_objects(objects(stamp), now)
            see(frames, stamp, now)
            taken = frames.take(now)
            assert taken is not None and taken.stamp_ns == stamp
            assert taken.objects is not None and taken.objects.stamp_ns == stamp


def test_boxes_of_the_last_lap_are_not_waited_for_nor_drawn(frames: FrameGatherer) -> None:
    frames.add_objects(objects(9 * S), 0)
    see(frames, 9 * S)
    assert frames.take(0) is not None
    see(frames, S)
    taken = frames.take(0)
    assert taken is not None and taken.objects is None


def test_images_that_nobody_finds_anything_on_do_not_pile_up(frames: FrameGatherer) -> None:
    for number in range(1000):
        frames.add_image(number * S + 1, number)
    see(frames, 2000 * S)
    taken = frames.take(0)
    assert taken is not None and taken.stamp_ns == 2000 * S
    for number in range(FRAMES_KEPT + 1):
        frames.add_image(3000 * S + number, number)
    frames.add_detections(3000 * S, NOTHING, 0)
    assert frames.take(0) is None

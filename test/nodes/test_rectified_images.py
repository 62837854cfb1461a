"""`CAM.rectify` and what it needs of camera_info."""

from __future__ import annotations

import pytest
from road import IMAGE, INFO, START, STEP, Road, camera_info, image, start

BARREL = [-0.2, 0.02, 0.0, 0.0, 0.0]


def test_an_image_before_its_camera_info_is_dropped_and_the_reason_told():
    with start(**{"front.rectify": True}) as driver:
        road = Road(driver)
        camera = road.source("front camera")
        assert not road.send(IMAGE, image(START)).cameras
        assert camera.dropped == {"no_camera_info": 1}

        road.send(INFO, camera_info(START, d=BARREL))
        road.now_ns += STEP
        ((result, _),) = road.send(IMAGE, image(road.now_ns)).cameras
        assert (result.width, result.height) == (8, 4)
        assert camera.dropped == {"no_camera_info": 1}


def test_a_camera_info_of_another_size_drops_the_image_until_one_fits():
    with start(**{"front.rectify": True}) as driver:
        road = Road(driver)
        road.send(INFO, camera_info(START, width=16, d=BARREL))
        assert not road.send(IMAGE, image(START)).cameras
        assert road.source("front camera").dropped == {"camera_info_size": 1}

        road.now_ns += STEP
        road.send(INFO, camera_info(road.now_ns, d=BARREL))
        assert len(road.send(IMAGE, image(road.now_ns)).cameras) == 1


@pytest.mark.parametrize("further", [{"front.rectified": True}, {}])
def test_images_without_distortion_are_taken_as_they_are(further: dict[str, bool]):
    with start(**{"front.rectify": True, **further}) as driver:
        road = Road(driver)
        info = camera_info(START, d=BARREL if further else [0.0] * 5)
        info.p = [5.0, 0.0, 3.5, 0.0, 0.0, 5.0, 1.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        road.send(INFO, info)
        assert len(road.send(IMAGE, image(START)).cameras) == 1
        assert not road.source("front camera").dropped


def test_it_cannot_be_changed_while_the_node_runs():
    with start(**{"front.rectify": True}) as driver:
        assert driver.node.get_parameter("front.rectify").value is True
        descriptor = driver.node.describe_parameter("front.rectify")
        assert descriptor.read_only and "original image" in descriptor.description

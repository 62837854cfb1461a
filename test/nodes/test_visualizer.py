"""The visualizer beside hand-made results: what it draws, and that it rests while nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from road import START, STEP, camera_info, stamped, transform
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from sensor_msgs.msg import Image as ImageMessage
from stage import Stage
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo
from visualization_msgs.msg import Marker, MarkerArray

from avperception.drawing.palette import class_bgr, class_rgb
from avperception.nodes import qos
from avperception.nodes.conversions.clouds import labelled_cloud_message
from avperception.nodes.conversions.detections import (
    detections_2d_message,
    detections_3d_message,
    label_info_message,
)
from avperception.nodes.conversions.headers import header_message
from avperception.nodes.conversions.images import image_message
from avperception.nodes.visualizer import Visualizer
from avperception.types import Detection3D, Detections2D, FusedResult, LidarResult

WIDTH, HEIGHT = 320, 200
FRAME = "front_camera_optical"
GREY = 90
IN, OUT = "/perception/input/front", "/perception/output/front"
BOX = (100, 60, 220, 150)
CLASSES = ("road", "background")


def picture() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)


def image(stamp_ns: int) -> ImageMessage:
    return stamped(image_message(picture(), "bgr8"), stamp_ns, FRAME)


def detections_2d(stamp_ns: int) -> Detection2DArray:
    found = Detections2D(
        np.array([BOX], np.float32), np.array([0.9], np.float32), np.array([0], np.int32), ("car",)
    )
    return detections_2d_message(found, stamp_ns, FRAME)


def mask(stamp_ns: int) -> ImageMessage:
    """Road in the left half."""
    pixels = np.ones((HEIGHT, WIDTH), np.uint8)
    pixels[:, : WIDTH // 2] = 0
    return stamped(image_message(pixels, "mono8"), stamp_ns, FRAME)


def fused(stamp_ns: int) -> FusedResult:
    """A car 10 m ahead of the camera of `calibration`, which looks along z from (0, 0, 1.7)."""
    car = Detection3D(
        class_id=0,
        class_name="car",
        score=0.8,
        center=np.array([0.0, 0.0, 11.7]),
        size=np.array([2.0, 2.0, 2.0]),
        yaw=0.0,
        covariance=np.eye(6),
        cameras=("front",),
        point_indices=np.array([0]),
        track_id=4,
        velocity=np.array([2.0, 0.0, 0.0]),
    )
    zeros = np.zeros(2, np.float32)
    points = np.array([[0, 0, 11], [5, 5, 20]], np.float32)
    lidar = LidarResult(stamp_ns, "lidar", points, zeros, zeros.astype(bool), zeros, np.eye(4))
    return FusedResult(stamp_ns, "base_link", (car,), lidar, (), ())


def calibration(stamp_ns: int, width: int = WIDTH) -> CameraInfo:
    k = [200.0, 0, 159.5, 0, 200.0, 99.5, 0, 0, 1]
    return camera_info(stamp_ns, width=width, height=HEIGHT, k=k)


class Show:
    """The visualizer, and publishers in the place of the perception node and its sensors."""

    def __init__(self, stage: Stage, **parameters: Any) -> None:
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        self.stage = stage
        self.node = stage.add(Visualizer(parameter_overrides=overrides))
        compressed = parameters.get("front__transport") == "compressed"
        make = stage.companion.create_publisher
        self.image = (
            make(CompressedImage, f"{IN}/image_raw/compressed", qos.sensor())
            if compressed
            else make(ImageMessage, f"{IN}/image_raw", qos.sensor())
        )
        self.info = make(CameraInfo, f"{IN}/camera_info", qos.sensor())
        self.found = make(Detection2DArray, f"{OUT}/detections_2d", qos.result())
        self.mask = make(ImageMessage, f"{OUT}/segmentation", qos.result())
        self.labels = make(LabelInfo, f"{OUT}/label_info", qos.latched())
        self.objects = make(Detection3DArray, "/perception/output/detections_3d", qos.result())
        self.points = make(PointCloud2, "/perception/output/points_labelled", qos.result())
        self.static = make(TFMessage, "/tf_static", qos.static_transforms())

    def overlays(self) -> list[ImageMessage]:
        """Look at the overlays from now on."""
        pictures = self.stage.collect(ImageMessage, "/visualizer/debug/front/overlay")
        wanted = (self.image, self.info, self.found, self.mask, self.objects)
        self.stage.spin_until(lambda: all(publisher.get_subscription_count() for publisher in wanted))
        return pictures

    def draw(self, send: Callable[[], None], pictures: list[ImageMessage]) -> np.ndarray:
        """The picture that comes of what `send` publishes."""
        before = len(pictures)
        send()
        self.stage.spin_until(lambda: len(pictures) > before)
        message = pictures[-1]
        assert message.encoding == "bgr8"
        return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)

    def send(self, objects_ns: int = START) -> None:
        """Publish fused objects, then the image of START and what was found in it."""
        self.objects.publish(detections_3d_message(fused(objects_ns)))
        self.stage.spin_for(0.2)
        self.image.publish(image(START))
        self.found.publish(detections_2d(START))


def has_edge_at(drawn: np.ndarray, column: int, within: int) -> bool:
    """Whether a line of the car's colour crosses the middle, at most so many columns away."""
    edge = drawn[95:105, column - within : column + within + 1].astype(int)
    return bool((np.abs(edge - np.array(class_bgr("car"))).max(axis=-1) < 60).any())


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def test_it_subscribes_to_nothing_while_nobody_looks_and_to_nothing_needless_when_one_does(stage: Stage):
    show = Show(stage)
    inputs = (
        show.image,
        show.info,
        show.found,
        show.mask,
        show.labels,
        show.objects,
        show.points,
        show.static,
    )
    stage.spin_for(0.8)
    assert show.node.is_resting
    assert not any(publisher.get_subscription_count() for publisher in inputs)
    watching = stage.companion.create_subscription(MarkerArray, "/visualizer/markers", lambda m: None, 10)
    stage.spin_until(show.objects.get_subscription_count)
    assert not any(p.get_subscription_count() for p in (show.image, show.found, show.mask, show.points))
    stage.companion.destroy_subscription(watching)
    stage.spin_until(lambda: show.node.is_resting and not show.objects.get_subscription_count())


def test_markers_first_delete_all_and_carry_class_track_and_velocity(stage: Stage):
    show = Show(stage)
    arrays = stage.collect(MarkerArray, "/visualizer/markers")
    stage.spin_until(show.objects.get_subscription_count)
    show.objects.publish(detections_3d_message(fused(START)))
    stage.spin_until(lambda: arrays)
    first, *others = arrays[0].markers
    assert first.action == Marker.DELETEALL
    assert {marker.ns for marker in others} == {"boxes", "labels", "velocities"}
    for marker in others:
        assert marker.header == header_message(START, "base_link")
        assert marker.lifetime.sec + marker.lifetime.nanosec > 0
        assert (marker.color.r, marker.color.g, marker.color.b) == pytest.approx(class_rgb("car"))
    assert any(marker.text.startswith("car 4") for marker in others)


def test_an_overlay_has_the_images_header_and_the_box_where_the_object_is(stage: Stage):
    show = Show(stage)
    pictures = show.overlays()

    def send() -> None:
        show.image.publish(image(START))
        show.found.publish(detections_2d(START))

    drawn = show.draw(send, pictures)
    assert pictures[-1].header == image(START).header
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    x1, y1, x2, y2 = BOX
    colour = np.array(class_bgr("car"))
    assert np.abs(drawn[(y1 + y2) // 2, x2] - colour.astype(int)).max() < 60
    assert (drawn[(y1 + y2) // 2, (x1 + x2) // 2] == GREY).all()


def test_the_mask_is_a_tint_and_3d_boxes_and_lanes_are_laid_over_the_image(stage: Stage):
    show = Show(stage)
    pictures = show.overlays()
    show.labels.publish(label_info_message(CLASSES, START, FRAME))
    show.static.publish(transform("base_link", FRAME, START))
    show.info.publish(calibration(START))
    stage.spin_for(0.5)

    def send() -> None:
        show.send()
        show.mask.publish(mask(START))

    drawn = show.draw(send, pictures)
    assert (drawn[180, 20] != GREY).any()  # road
    assert (drawn[180, 300] == GREY).all()  # background
    # The near face is 9 m away and 2 m wide: 200 px / 9 m * 1 m to each side of the centre.
    assert has_edge_at(drawn, round(159.5 + 200 / 9), 2)


def test_3d_boxes_on_rectified_images_are_laid_through_p(stage: Stage):
    """K is that of the lens, twice as long: through it the box would be twice as wide."""
    show = Show(stage, front__rectified=True)
    pictures = show.overlays()
    show.static.publish(transform("base_link", FRAME, START))
    info = calibration(START)
    info.k = [400.0, 0, 159.5, 0, 400.0, 99.5, 0, 0, 1]
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    info.p = [200.0, 0, 159.5, 0, 0, 200.0, 99.5, 0, 0, 0, 1, 0]
    show.info.publish(info)
    stage.spin_for(0.5)

    drawn = show.draw(show.send, pictures)
    assert has_edge_at(drawn, round(159.5 + 200 / 9), 2)


@pytest.mark.parametrize("offset_s", [0.0, -0.02])
def test_what_the_vehicle_moved_between_the_sweep_and_the_image_is_taken_out(stage: Stage, offset_s: float):
    """The sweep came 40 ms later, the vehicle 0.2 m farther to the left: the box moves to the left."""
    show = Show(stage, **{"front__time_offset": offset_s})
    sweep_ns = START + 40_000_000
    odometry = stage.companion.create_publisher(TFMessage, "/tf", qos.transforms())
    pictures = show.overlays()
    show.static.publish(transform("base_link", FRAME, START))
    show.info.publish(calibration(START))
    stage.spin_until(odometry.get_subscription_count)
    for stamp_ns in (START - STEP, START + STEP):
        moved = transform("odom", "base_link", stamp_ns)
        moved.transforms[0].transform.translation.x = -5.0 * (stamp_ns - START) / 1e9
        moved.transforms[0].transform.translation.z = 0.0
        odometry.publish(moved)
    stage.spin_for(0.5)

    drawn = show.draw(lambda: show.send(sweep_ns), pictures)
    shift = -5.0 * (0.04 - offset_s)
    for side, is_there in ((1.0 + shift, True), (1.0, False)):
        column = round(159.5 + 200 / 9 * side)
        assert has_edge_at(drawn, column, 1) == is_there


def test_an_overlay_does_not_wait_for_what_does_not_come(stage: Stage):
    """Without calibration, mask and lidar there are the 2D boxes at least."""
    show = Show(stage)
    pictures = show.overlays()
    show.info.publish(calibration(START, width=WIDTH + 2))
    for number in range(3):
        stamp = START + number * STEP

        def send(stamp: int = stamp) -> None:
            show.image.publish(image(stamp))
            show.found.publish(detections_2d(stamp))
            stage.spin_for(0.15)

        show.draw(send, pictures)


def test_a_compressed_image_is_drawn_on(stage: Stage):
    show = Show(stage, front__transport="compressed")
    pictures = show.overlays()
    _, data = cv2.imencode(".png", picture())
    message = stamped(CompressedImage(format="png", data=data.tobytes()), START, FRAME)

    def send() -> None:
        show.image.publish(message)
        show.found.publish(detections_2d(START))

    assert show.draw(send, pictures).shape == (HEIGHT, WIDTH, 3)


def test_a_damaged_image_is_left_out_and_the_next_one_drawn(stage: Stage):
    show = Show(stage)
    pictures = show.overlays()
    damaged = image(START)
    damaged.encoding = "16UC9"
    show.image.publish(damaged)
    show.found.publish(detections_2d(START))
    stage.spin_for(0.3)
    assert pictures == []

    def send() -> None:
        show.image.publish(image(START + STEP))
        show.found.publish(detections_2d(START + STEP))

    show.draw(send, pictures)


def test_no_more_overlays_are_drawn_than_wanted(stage: Stage):
    show = Show(stage, overlay_rate=2.0)
    pictures = show.overlays()
    for number in range(20):
        stamp = START + number * STEP // 2
        show.image.publish(image(stamp))
        show.found.publish(detections_2d(stamp))
        stage.spin_for(0.05)
    assert 1 <= len(pictures) <= 4


def test_points_are_coloured_while_one_looks(stage: Stage):
    show = Show(stage)
    clouds = stage.collect(PointCloud2, "/visualizer/points_coloured")
    publishers = (show.points, show.objects)
    stage.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
    assert not show.image.get_subscription_count()
    show.objects.publish(detections_3d_message(fused(START)))
    stage.spin_for(0.2)
    show.points.publish(labelled_cloud_message(fused(START)))
    stage.spin_until(lambda: clouds)
    packed = np.frombuffer(clouds[0].data, np.uint32).reshape(2, 4)[:, 3]
    blue, green, red = class_bgr("car")
    assert packed.tolist() == [red << 16 | green << 8 | blue, 0x808080]


def test_it_follows_a_perception_node_of_another_name(stage: Stage):
    show = Show(stage, perception="/robot/eyes")
    stage.collect(MarkerArray, "/visualizer/markers")
    publisher = stage.companion.create_publisher(
        Detection3DArray, "/robot/eyes/output/detections_3d", qos.result()
    )
    stage.spin_until(publisher.get_subscription_count)
    assert not show.objects.get_subscription_count()

"""Cameras that differ in rate, size, encoding, transport, lens, region of interest and binning."""

from __future__ import annotations

import time
from array import array
from typing import Any

import cv2
import numpy as np
from rig import Rig
from road import camera_info, image, stamped, sweep, transform
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray

from avperception.nodes import qos
from avperception.types import CameraResult, Detections2D

FRAME = "front_camera_optical"
EMPTY = Detections2D(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ())
CAMERAS = ("front", "rear", "roof")
SETTINGS: dict[str, Any] = {
    "cameras": list(CAMERAS),
    "rear.transport": "compressed",
    "roof.rectified": True,
    "sync.timeout": 1.0,
}
PERIODS_S = {"front": 1 / 20, "rear": 1 / 30, "roof": 1 / 10}


def front(stamp_ns: int) -> Image:
    """A region of 8 x 4 pixels of a larger sensor, as NV12."""
    return image(stamp_ns, encoding="nv12", step=8, data=array("B", bytes(48)))


def rear(stamp_ns: int) -> CompressedImage:
    _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
    message = CompressedImage(format="bgr8; jpeg compressed bgr8", data=array("B", jpeg.tobytes()))
    return stamped(message, stamp_ns, FRAME)


def roof(stamp_ns: int) -> Image:
    return image(stamp_ns, encoding="mono16", width=6, height=2, step=12, data=array("B", bytes(24)))


def infos(stamp_ns: int) -> dict[str, CameraInfo]:
    cut = camera_info(stamp_ns, width=32, height=16)
    cut.roi.x_offset, cut.roi.y_offset, cut.roi.width, cut.roi.height = 10, 6, 16, 8
    cut.binning_x = cut.binning_y = 2
    fisheye = camera_info(
        stamp_ns, width=64, height=48, distortion_model="equidistant", d=[0.1, 0.0, 0.0, 0.0]
    )
    rectified = camera_info(stamp_ns, width=6, height=2, d=[0.3, 0.0, 0.0, 0.0, 0.0])
    rectified.p = [9.0, 0.0, 2.5, 0.0, 0.0, 9.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return {"front": cut, "rear": fisheye, "roof": rectified}


def test_each_camera_is_taken_as_it_is():
    with Rig(SETTINGS) as rig:
        rig.start()
        images = {
            "front": rig.publisher(Image, "/perception/input/front/image_raw"),
            "rear": rig.publisher(CompressedImage, "/perception/input/rear/image_raw/compressed"),
            "roof": rig.publisher(Image, "/perception/input/roof/image_raw"),
        }
        for name, info in infos(time.time_ns()).items():
            rig.publisher(CameraInfo, f"/perception/input/{name}/camera_info").publish(info)
        static = rig.publisher(TFMessage, "/tf_static", qos.static_transforms())
        for child in ("lidar", FRAME):
            static.publish(transform("base_link", child))
        rig.spin_until(lambda: rig.node.transform_source.received == 2)
        points = rig.publisher(PointCloud2, "/perception/input/points")
        boxes = {
            name: rig.collect(Detection2DArray, f"/perception/output/{name}/detections_2d")
            for name in CAMERAS
        }
        fused = rig.collect(Detection3DArray, "/perception/output/detections_3d")
        rig.spin_until(lambda: all(c.outputs[0].is_wanted for c in rig.node.cameras))

        make = {"front": front, "rear": rear, "roof": roof}
        for name, period_s in PERIODS_S.items():
            rig.companion.create_timer(
                period_s, lambda name=name: images[name].publish(make[name](time.time_ns()))
            )
        rig.companion.create_timer(0.1, lambda: points.publish(sweep(time.time_ns())))
        rig.spin_until(lambda: len(fused) >= 10, timeout_s=15)

        # A machine with other work to do may lose an image, and then a sweep's; nothing else is in order.
        lost = rig.node.fusion.source.dropped
        assert all(reason.startswith("missing_") for reason in lost), lost
        assert sum(lost.values()) < len(fused)
        for camera in rig.node.cameras:
            assert set(camera.source.dropped) <= {"overload"} and not camera.info_source.dropped
        assert min(len(boxes["rear"]), len(boxes["front"])) > len(boxes["roof"])

        models = {
            camera.name: model_of(camera, *size) for camera, size in zip(rig.node.cameras, SIZES, strict=True)
        }
        # K, from camera_info of the road: cut and binned; the fisheye's as it is; P of the rectified one.
        np.testing.assert_allclose(
            models["front"].K[:2, 2], [(3.5 - 10 + 0.5) / 2 - 0.5, (1.5 - 6 + 0.5) / 2 - 0.5]
        )
        assert models["front"].K[0, 0] == 2.5
        assert (models["rear"].distortion_model, models["rear"].D[0]) == ("equidistant", 0.1)
        assert models["roof"].K[0, 0] == 9.0 and not len(models["roof"].D)


SIZES = ((8, 4), (64, 48), (6, 2))


def model_of(camera: Any, width: int, height: int) -> Any:
    """The calibration that an image of this size is used with; an error if it is for another size."""
    result = CameraResult(camera.name, time.time_ns(), FRAME, width, height, EMPTY, None, (), ())
    return camera.view(result).camera

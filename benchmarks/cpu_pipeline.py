"""How much time surrounds the networks: a whole frame against bare ONNX Runtime, in one run.

A whole frame is all that the node does between the messages that come in and those that go out: view
the image, preprocess, both networks, decode, masks, lane lines, the sweep's transform, crop and
ground, fusion, tracking, and making every output message; one stage after the other on one thread.
Bare is ONNX Runtime alone executing the same two networks in the same kind of session on ready inputs.
Rounds of both alternate, so that a change of the machine's speed meets both. For comparison there is
also `InferenceSession.run` with the library's default options, whose idle threads spin.

    python benchmarks/cpu_pipeline.py --out benchmarks/results/cpu_pipeline.json

It needs a KITTI frame (`--kitti`) and the two pulled models.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from sensor_msgs.msg import PointCloud2, PointField

from avperception import __version__
from avperception.bags.kitti_dataset import LIDAR_HEIGHT_M, KittiDataset
from avperception.engines import load_engine
from avperception.models import find_card, locate
from avperception.nodes.conversions.clouds import cloud_from_message, labelled_cloud_message
from avperception.nodes.conversions.detections import detections_2d_message, detections_3d_message
from avperception.nodes.conversions.headers import header_message
from avperception.nodes.conversions.images import image_from_message, image_message
from avperception.nodes.conversions.markers import detection_markers, lane_markers
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
from avperception.pipeline.lanes import lane_on_ground
from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.pipeline.network import Network
from avperception.pipeline.stopwatch import Stopwatch
from avperception.pipeline.tracker import Tracker, TrackerSettings
from avperception.types import CameraModel, CameraResult, Float32, FusedResult

MODELS = ("yolox_nano", "twinlitenet")
FRAME = "000001"
STAMP_NS = 1_000_000_000


class BareNetworks:
    """The two networks alone, on inputs that are ready, with the sessions that the node uses."""

    def __init__(self) -> None:
        self._contexts = [load_engine(locate(find_card(name))).create_context() for name in MODELS]
        for context in self._contexts:
            for tensor in context.inputs.values():
                tensor[...] = np.random.default_rng(0).random(tensor.shape, dtype=np.float32)

    def __call__(self) -> None:
        for context in self._contexts:
            context.execute()


class DefaultNetworks:
    """The two networks alone, in sessions with the library's default options."""

    def __init__(self) -> None:
        self._runs = []
        for name in MODELS:
            path = str(locate(find_card(name)))
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            spec = session.get_inputs()[0]
            tensor = np.random.default_rng(0).random(spec.shape, dtype=np.float32)
            self._runs.append((session, {spec.name: tensor}))

    def __call__(self) -> None:
        for session, feeds in self._runs:
            session.run(None, feeds)


class WholeFrame:
    """Everything between the input and the output messages of one camera and one sweep."""

    def __init__(self, dataset: KittiDataset, width: int, height: int) -> None:
        networks = []
        for name in MODELS:
            card = find_card(name)
            networks.append(Network(card, load_engine(locate(card))))
        self._camera = CameraPipeline("front", networks[0], networks[1], DetectorSettings(), CpuDevice())
        self._lidar = LidarPipeline(LidarSettings())
        self._tracker = Tracker(TrackerSettings())
        calibration = dataset.calibration(FRAME)
        pixels = dataset.image(FRAME)
        scale = np.diag([width / pixels.shape[1], height / pixels.shape[0], 1.0])
        self._image = image_message(cv2.resize(pixels, (width, height)), "bgr8")
        self._image.header = header_message(STAMP_NS, "camera")
        self._points = _cloud_message(dataset.sweep(FRAME))
        self._model = CameraModel(width, height, scale @ calibration.K, np.zeros(5), "plumb_bob", "camera")
        self._T_base_lidar = np.eye(4)
        self._T_base_lidar[2, 3] = LIDAR_HEIGHT_M
        self._T_camera_base = calibration.T_camera_lidar @ np.linalg.inv(self._T_base_lidar)
        self.stages: dict[str, list[float]] = {}

    def __call__(self) -> None:
        watch = Stopwatch()
        with watch.stage("input messages"):
            image = image_from_message(self._image)
            cloud = cloud_from_message(self._points)
        camera = self._camera.process(image)
        lidar = self._lidar.process(cloud, self._T_base_lidar)
        with watch.stage("fusion"):
            found = fuse(lidar, [CameraView(camera, self._model, self._T_camera_base)], FusionSettings())
        with watch.stage("tracker"):
            found = self._tracker.update(found, STAMP_NS)
        with watch.stage("output messages"):
            result = FusedResult(STAMP_NS, "base_link", found, lidar, (camera,), ())
            self._make_messages(camera, result)
        for name, milliseconds in {**watch.stage_ms, **camera.stage_ms, **lidar.stage_ms}.items():
            self.stages.setdefault(name, []).append(milliseconds)

    def _make_messages(self, camera: CameraResult, result: FusedResult) -> None:
        detections_2d_message(camera.detections, camera.stamp_ns, camera.frame_id)
        assert camera.segmentation is not None
        image_message(camera.segmentation, "mono8")
        T_base_camera = np.linalg.inv(self._T_camera_base)
        lanes = [lane_on_ground(lane, self._model, T_base_camera, 60.0) for lane in camera.lanes]
        lane_markers("front", lanes, STAMP_NS, "base_link")
        detections_3d_message(result)
        detection_markers(result)
        labelled_cloud_message(result)


def _cloud_message(points: Float32) -> PointCloud2:
    message = PointCloud2(height=1, width=len(points), point_step=16, row_step=16 * len(points))
    message.header = header_message(STAMP_NS, "lidar")
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "intensity"))
    ]
    message.data = array("B", points.astype("<f4").tobytes())
    return message


def measure(dataset: KittiDataset, width: int, height: int, rounds: int) -> dict[str, Any]:
    """Time both in turn; milliseconds, medians, and the median of the ratios round by round."""
    bare, whole = BareNetworks(), WholeFrame(dataset, width, height)
    for _ in range(3):
        bare()
        whole()
    whole.stages.clear()
    pairs = [(_milliseconds(bare), _milliseconds(whole)) for _ in range(rounds)]
    # After the others, for its idle threads would spin into their time.
    default = DefaultNetworks()
    default_ms = statistics.median(_milliseconds(default) for _ in range(rounds))
    whole_ms = statistics.median(whole_ms for _, whole_ms in pairs)
    return {
        "image": f"{width}x{height}",
        "bare_ms": statistics.median(bare_ms for bare_ms, _ in pairs),
        "bare_default_options_ms": default_ms,
        "whole_frame_ms": whole_ms,
        "ratio": statistics.median(whole_ms / bare_ms for bare_ms, whole_ms in pairs),
        "ratio_to_default_options": whole_ms / default_ms,
        "stages_ms": {name: round(statistics.median(ms), 3) for name, ms in whole.stages.items()},
    }


def _milliseconds(function: Any) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kitti", type=Path, default=Path("../shared/data/kitti/training"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, help="JSON record")
    arguments = parser.parse_args()
    dataset = KittiDataset(arguments.kitti)
    results = [measure(dataset, *size, arguments.rounds) for size in ((1242, 375), (1920, 1080))]
    for result in results:
        print(
            f"{result['image']:>10}: bare {result['bare_ms']:6.1f} ms, whole frame "
            f"{result['whole_frame_ms']:6.1f} ms, ratio {result['ratio']:.3f} "
            f"({result['ratio_to_default_options']:.3f} to default options)"
        )
        for name, milliseconds in sorted(result["stages_ms"].items(), key=lambda stage: -stage[1]):
            print(f"{'':12}{name:<22}{milliseconds:8.2f} ms")
    if arguments.out:
        record = {
            "benchmark": "cpu_pipeline",
            "command": " ".join(["python", *sys.argv]),
            "date": time.strftime("%Y-%m-%d"),
            "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "python": platform.python_version()},
            "versions": {
                "avperception": __version__,
                "onnxruntime": onnxruntime.__version__,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
            "rounds": arguments.rounds,
            "results": results,
        }
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()

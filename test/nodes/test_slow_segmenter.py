"""Boxes in 2D and 3D wait for no segmenter: neither for one that is slow nor for one that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import pytest
from rig import Rig
from road import SECOND, START, camera_info, stamped, sweep, transform
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray

from avperception.engines.engine import Engine, ExecutionContext
from avperception.errors import EngineError
from avperception.nodes import perception, qos
from avperception.nodes.conversions.images import image_message
from avperception.nodes.parameters import NodeParameters
from avperception.pipeline.loading import Networks
from avperception.scenes import Scene, default_rig
from avperception.scenes.scene import Frame
from avperception.types import Float64

SENSORS = default_rig(1)
FRONT = SENSORS.cameras[0]
STEP = SECOND // 10


def failure() -> EngineError:
    """A new one each time: an error that is kept keeps the frames it went through, and with them a node."""
    return EngineError("the network failed on purpose")


class Gate:
    """Makes a network wait before each execution until it is told to go on, or to fail."""

    def __init__(self) -> None:
        self.waiting = 0
        self._orders: SimpleQueue[EngineError | None] = SimpleQueue()

    def open(self, *orders: EngineError | None) -> None:
        for order in orders:
            self._orders.put(order)

    def enter(self) -> None:
        self.waiting += 1
        order = self._orders.get(timeout=10.0)
        self.waiting -= 1
        if order is not None:
            raise order


class GatedContext:
    def __init__(self, context: ExecutionContext, gate: Gate) -> None:
        self._context, self._gate = context, gate
        self.inputs, self.outputs = context.inputs, context.outputs

    def execute(self, stream: Any = None) -> None:
        self._gate.enter()
        self._context.execute(stream)


class GatedEngine:
    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine, self._gate = engine, gate
        self.inputs, self.outputs, self.description = engine.inputs, engine.outputs, engine.description

    def create_context(self) -> GatedContext:
        return GatedContext(self._engine.create_context(), self._gate)


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Gate]:
    """Put a gate before the network of a role of the next node."""

    def gate(role: str) -> Gate:
        made, load = Gate(), perception.networks_of

        def load_gated(parameters: NodeParameters) -> Networks:
            networks = load(parameters)
            network = networks.by_role[role]
            assert network is not None
            gated = replace(network, engine=GatedEngine(network.engine, made))
            return replace(networks, by_role={**networks.by_role, role: gated})

        monkeypatch.setattr(perception, "networks_of", load_gated)
        return made

    return gate


@pytest.fixture(scope="module")
def frame() -> Frame:
    return Scene(3, "day", "straight", 8.0, SENSORS).frame(0.3)


@dataclass
class Drive:
    """A node with calibration, who listens to all its results, and a frame of the road to send it."""

    rig: Rig
    frame: Frame
    images: Any
    points: Any
    boxes: list[Detection2DArray]
    masks: list[Image]
    fused: list[Detection3DArray]

    def send_image(self, stamp_ns: int) -> None:
        source = self.rig.node.cameras[0].source
        before = source.received
        message = image_message(self.frame.images["front"], "bgr8")
        self.images.publish(stamped(message, stamp_ns, FRONT.model.frame_id))
        self.rig.spin_until(lambda: source.received > before)

    def send_sweep(self, stamp_ns: int) -> None:
        assert self.frame.sweep is not None and self.rig.node.lidar is not None
        source = self.rig.node.lidar.source
        before = source.received
        self.points.publish(sweep(stamp_ns, points=self.frame.sweep.points_lidar))
        self.rig.spin_until(lambda: source.received > before)

    def spin_until(self, done: Callable[[], Any]) -> None:
        self.rig.spin_until(done)

    @property
    def lost(self) -> dict[str, int]:
        node = self.rig.node
        return {reason: n for source in node.all_sources for reason, n in source.dropped.items()}


def start(rig: Rig, frame: Frame) -> Drive:
    rig.start()
    infos = rig.publisher(CameraInfo, "/perception/input/front/camera_info")
    info = camera_info(START, width=FRONT.model.width, height=FRONT.model.height)
    info.k = FRONT.model.K.ravel()
    infos.publish(info)
    static = rig.publisher(TFMessage, "/tf_static", qos.static_transforms())
    assert SENSORS.lidar is not None
    static.publish(mount("lidar", SENSORS.lidar.T_base_lidar))
    static.publish(mount(FRONT.model.frame_id, FRONT.T_base_camera))
    camera = rig.node.cameras[0]
    rig.spin_until(lambda: rig.node.transform_source.received == 2 and camera.info_source.received)
    drive = Drive(
        rig,
        frame,
        rig.publisher(Image, "/perception/input/front/image_raw"),
        rig.publisher(PointCloud2, "/perception/input/points"),
        rig.collect(Detection2DArray, "/perception/output/front/detections_2d"),
        rig.collect(Image, "/perception/output/front/segmentation"),
        rig.collect(Detection3DArray, "/perception/output/detections_3d"),
    )
    wanted = [*camera.outputs[:2], rig.node.fusion.outputs[0]]
    rig.spin_until(lambda: all(output.is_wanted for output in wanted))
    return drive


def mount(child: str, T_base_sensor: Float64) -> TFMessage:
    x, y, z, w = Rotation.from_matrix(T_base_sensor[:3, :3]).as_quat()
    message = transform("base_link", child, x=x, y=y, z=z, w=w)
    place = message.transforms[0].transform.translation
    place.x, place.y, place.z = map(float, T_base_sensor[:3, 3])
    return message


RELIABLE = {
    f"qos_overrides./perception/input/{topic}.subscription.reliability": "reliable"
    for topic in ("front/image_raw", "points")
}
DETECTOR = {**RELIABLE, "detector.model": "demo_detector"}
SEGMENTER = {**RELIABLE, "segmenter.model": "demo_segmenter"}
BOTH = {**DETECTOR, **SEGMENTER}


def test_3d_detections_come_while_the_segmenter_works(gates: Callable[[str], Gate], frame: Frame):
    gate = gates("segmenter")
    with Rig(BOTH) as rig:
        drive = start(rig, frame)
        drive.send_image(START)
        drive.send_sweep(START)
        drive.spin_until(lambda: drive.fused and drive.boxes and gate.waiting)
        assert not drive.masks and not rig.node.is_idle
        assert len(drive.fused[0].detections) >= 2, "there are cars on the road"
        assert len(drive.boxes[0].detections) >= len(drive.fused[0].detections)

        gate.open(None)
        drive.spin_until(lambda: drive.masks)
        drive.spin_until(lambda: rig.node.is_idle)
        assert (len(drive.boxes), len(drive.masks), len(drive.fused)) == (1, 1, 1)
        assert not drive.lost


def test_a_segmenter_that_fails_takes_no_detections_with_it(gates: Callable[[str], Gate], frame: Frame):
    gate = gates("segmenter")
    gate.open(failure(), None)
    with Rig(BOTH) as rig:
        drive = start(rig, frame)
        for number in range(2):
            drive.send_image(START + number * STEP)
            drive.send_sweep(START + number * STEP)
            drive.spin_until(lambda number=number: len(drive.fused) == number + 1 and rig.node.is_idle)
        drive.spin_until(lambda: drive.masks)
        counts = [len(message.detections) for message in drive.fused]
        assert counts[0] == counts[1] >= 2, "the same frame twice"
        assert drive.lost == {"network_failed": 1}


def test_a_detector_that_fails_leaves_the_sweep_without_its_camera(
    gates: Callable[[str], Gate], frame: Frame
):
    gate = gates("detector")
    with Rig(DETECTOR) as rig:
        drive = start(rig, frame)
        drive.send_image(START)
        drive.send_sweep(START)
        rig.spin_for(0.3)  # three times sync.timeout: what is being worked on is waited for
        assert not drive.fused
        gate.open(failure())
        drive.spin_until(lambda: drive.fused)
        assert not drive.fused[0].detections
        assert drive.lost == {"network_failed": 1, "missing_front": 1}


def test_without_a_detector_a_camera_is_there_when_its_mask_is(gates: Callable[[str], Gate], frame: Frame):
    gate = gates("segmenter")
    with Rig(SEGMENTER) as rig:
        drive = start(rig, frame)
        drive.send_image(START)
        drive.send_sweep(START)
        drive.spin_until(lambda: gate.waiting)
        gate.open(None)
        drive.spin_until(lambda: drive.fused and drive.masks)
        drive.spin_until(lambda: rig.node.is_idle)
        assert (len(drive.boxes), len(drive.masks), len(drive.fused)) == (1, 1, 1)
        assert not drive.lost


def test_a_late_failure_leaves_the_same_image_of_the_next_lap_awaited(
    gates: Callable[[str], Gate], frame: Frame
):
    """A loop of two frames: the first is still being segmented when it comes again."""
    gate = gates("segmenter")
    with Rig({**BOTH, "sync.timeout": 0.0}) as rig:
        drive = start(rig, frame)
        drive.send_image(START)
        drive.send_sweep(START)
        drive.spin_until(lambda: gate.waiting and drive.fused)
        for stamp_ns in (START + STEP, START):
            drive.send_image(stamp_ns)
            drive.send_sweep(stamp_ns)
        gate.open(failure())  # of the first image; the second one's segmenter waits now
        drive.spin_until(lambda: len(drive.fused) == 2)
        rig.spin_for(0.2)
        assert len(drive.fused) == 2 and not drive.masks, "the third sweep waits for its image"
        gate.open(None, None)
        drive.spin_until(lambda: len(drive.fused) == 3 and len(drive.masks) == 2)
        first, _, third = (len(message.detections) for message in drive.fused)
        assert first == third >= 2, "the same frame twice"
        assert drive.lost == {"network_failed": 1}

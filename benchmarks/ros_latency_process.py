"""The processes that benchmarks/ros_latency.py measures, beside the node itself.

`python ros_latency_process.py sensors|receiver|viewer|alone FOLDER SECONDS`: FOLDER holds sensors.npz and the
node's parameters.yaml. Answers on stdout in one line of "@" and JSON, and leaves when stdin ends.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CAMERA_PERIOD_S, CAMERAS_PER_SWEEP = 0.05, 2
WARM_UP_S = 3.0
MATCH_TIMEOUT_S = 30.0
SETTLE_S = 1.0
NS = 1_000_000_000


def say(**values: Any) -> None:
    print("@" + json.dumps(values), flush=True)


def ticks(seconds: float) -> Any:
    """Count from the warm-up on: (number, counts), one each period; a late one is not made up for."""
    begin = due = time.monotonic()
    number = 0
    while (passed := due - begin) < WARM_UP_S + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        yield number, passed >= WARM_UP_S
        number += 1
        due = max(due + CAMERA_PERIOD_S, time.monotonic())


def parameters() -> dict[str, Any]:
    text = (FOLDER / "parameters.yaml").read_text()
    return dict(yaml.safe_load(text)["/**"]["ros__parameters"])


def start_node(name: str) -> Any:
    import rclpy
    from rclpy.node import Node

    from avperception.nodes.memory import tune_malloc

    tune_malloc()
    rclpy.init()
    return Node(name)


def sensors(data: Any, seconds: float) -> None:
    """Publish what the cameras and the lidar see, all of a tick with one stamp; tell when each was sent."""
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2
    from tf2_msgs.msg import TFMessage

    from avperception.nodes import qos

    node = start_node("sensors")
    names = [str(name) for name in data["names"]]
    base = "/perception/input"
    images = [node.create_publisher(Image, f"{base}/{n}/image_raw", qos.sensor()) for n in names]
    infos = [node.create_publisher(CameraInfo, f"{base}/{n}/camera_info", qos.sensor()) for n in names]
    points = node.create_publisher(PointCloud2, f"{base}/points", qos.sensor())
    static = node.create_publisher(TFMessage, "/tf_static", qos.static_transforms())
    static.publish(transforms(data))
    wait_for_subscribers([*images, *infos, points])
    pictures = [image_message(data, number) for number in range(len(names))]
    calibrations = [info_message(data, number) for number in range(len(names))]
    cloud = cloud_message(data)
    published: dict[str, dict[int, int]] = {name: {} for name in [*names, "points"]}
    for number, counts in ticks(seconds):
        stamp_ns = time.time_ns()
        for camera, message in enumerate(pictures):
            set_stamp(calibrations[camera], stamp_ns)
            infos[camera].publish(calibrations[camera])
            send(images[camera], message, stamp_ns, published[names[camera]] if counts else {})
        if number % CAMERAS_PER_SWEEP == 0:
            send(points, cloud, stamp_ns, published["points"] if counts else {})
    (FOLDER / "over").touch()
    time.sleep(SETTLE_S)
    say(**published)
    sys.stdin.read()


def receiver(data: Any, seconds: float) -> None:
    """Note when each result comes, by its stamp.

    Taken as bytes: what Python needs to make objects of a message is the subscriber's own affair.
    """
    from vision_msgs.msg import Detection2DArray, Detection3DArray

    from avperception.nodes import qos

    node = start_node("receiver")
    names = [str(name) for name in data["names"]]
    received: dict[str, dict[int, int]] = {name: {} for name in [*names, "points"]}

    def listen(message_type: Any, topic: str, source: str) -> None:
        def note(message: bytes) -> None:
            received[source].setdefault(stamp_of(message), time.time_ns())

        node.create_subscription(message_type, f"/perception/output/{topic}", note, qos.result(), raw=True)

    for name in names:
        listen(Detection2DArray, f"{name}/detections_2d", name)
    listen(Detection3DArray, "detections_3d", "points")
    spin_until_over(node, seconds)
    say(**received)
    sys.stdin.read()


def viewer(data: Any, seconds: float) -> None:
    """Take the masks, which are made for whoever wants them only, in a process of its own."""
    from sensor_msgs.msg import Image

    from avperception.nodes import qos

    node = start_node("viewer")
    for name in map(str, data["names"]):
        topic = f"/perception/output/{name}/segmentation"
        node.create_subscription(Image, topic, lambda _: None, qos.result(), raw=True)
    say()
    spin_until_over(node, seconds)
    sys.stdin.read()


def spin_until_over(node: Any, seconds: float) -> None:
    """Take messages until the sensors have said that they are done, and a moment longer."""
    import rclpy

    give_up = time.monotonic() + 2 * MATCH_TIMEOUT_S + WARM_UP_S + seconds
    while not (FOLDER / "over").exists() and time.monotonic() < give_up:
        rclpy.spin_once(node, timeout_sec=0.2)
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)


def alone(data: Any, seconds: float) -> None:
    """The same pipeline on the same arrays at the same pace, on threads: no ROS."""
    from avperception.nodes.memory import tune_malloc
    from avperception.pipeline.camera import CameraPipeline
    from avperception.pipeline.detector import DetectorSettings
    from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
    from avperception.pipeline.lidar import LidarPipeline, LidarSettings
    from avperception.pipeline.loading import Placing, Wanted, load_networks
    from avperception.pipeline.tracker import Tracker, TrackerSettings
    from avperception.types import CameraDetections, CameraModel, Image, PointCloud

    tune_malloc()  # as the node does: without, every large array costs page faults anew
    p = parameters()
    wanted = {role: Wanted(p[role]["model"], p[role]["precision"]) for role in ("detector", "segmenter")}
    networks = load_networks(
        wanted, Placing(p["backend"], p["engine_policy"], p["threads"], len(p["cameras"]))
    )
    names = [str(name) for name in data["names"]]
    pipelines = [
        CameraPipeline(name, networks.detector, networks.segmenter, DetectorSettings(), networks.device)
        for name in names
    ]
    lidar = LidarPipeline(LidarSettings(), networks.device)
    tracker = Tracker(TrackerSettings())
    pictures, frames = data["images"], [str(frame) for frame in data["frames"]]
    height, width = pictures.shape[1:3]
    models = [CameraModel(width, height, K, np.zeros(5), "plumb_bob", "") for K in data["K"]]
    T_camera_base = [np.linalg.inv(T) for T in data["T_base_camera"]]
    times: dict[str, list[float]] = {"detections_2d": [], "detections_3d": []}
    lock = threading.Lock()

    def note(kind: str, begin: float, counts: bool) -> None:
        if counts:
            with lock:
                times[kind].append((time.perf_counter() - begin) * 1e3)

    def see(camera: int, stamp_ns: int, seen: Future[Any], begin: float, counts: bool) -> None:
        image = Image(pictures[camera], "bgr8", width, height, stamp_ns, frames[camera])

        def take(found: Any) -> None:
            note("detections_2d", begin, counts)
            seen.set_result(CameraDetections(names[camera], stamp_ns, frames[camera], width, height, found))

        pipelines[camera].process(image, take)

    def sweep(stamp_ns: int, seen: list[Future[Any]], begin: float, counts: bool) -> None:
        cloud = PointCloud(data["points"], data["intensity"], stamp_ns, "lidar")
        result = lidar.process(cloud, data["T_base_lidar"])
        results = [future.result() for future in seen]
        views = [CameraView(*view) for view in zip(results, models, T_camera_base, strict=True)]
        tracker.update(fuse(result, views, FusionSettings()), stamp_ns)
        note("detections_3d", begin, counts)

    with ThreadPoolExecutor(1) as for_lidar:
        workers = [ThreadPoolExecutor(1) for _ in names]
        swept: Any = None
        for number, counts in ticks(seconds):
            stamp_ns, begin = time.time_ns(), time.perf_counter()
            seen: list[Future[Any]] = [Future() for _ in names]
            for camera, worker in enumerate(workers):
                worker.submit(see, camera, stamp_ns, seen[camera], begin, counts)
            # A machine that cannot keep up leaves sweeps out, as the node does.
            if number % CAMERAS_PER_SWEEP == 0 and (swept is None or swept.done()):
                swept = for_lidar.submit(sweep, stamp_ns, seen, begin, counts)
        for worker in workers:
            worker.shutdown()
    say(**times)
    sys.stdin.read()


def wait_for_subscribers(publishers: list[Any]) -> None:
    give_up = time.monotonic() + MATCH_TIMEOUT_S
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.monotonic() > give_up:
            raise SystemExit("the node did not subscribe to the sensors")
        time.sleep(0.05)
    time.sleep(SETTLE_S)


def send(publisher: Any, message: Any, stamp_ns: int, published: dict[int, int]) -> None:
    set_stamp(message, stamp_ns)
    published[stamp_ns] = time.time_ns()
    publisher.publish(message)


def set_stamp(message: Any, stamp_ns: int) -> None:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, NS)


def image_message(data: Any, camera: int) -> Any:
    from avperception.nodes.conversions.images import image_message as make

    message = make(data["images"][camera], "bgr8")
    message.header.frame_id = str(data["frames"][camera])
    return message


def info_message(data: Any, camera: int) -> Any:
    from sensor_msgs.msg import CameraInfo

    height, width = data["images"].shape[1:3]
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    message.header.frame_id = str(data["frames"][camera])
    message.k = data["K"][camera].ravel()
    return message


def cloud_message(data: Any) -> Any:
    from sensor_msgs.msg import PointCloud2, PointField

    rows = np.column_stack([data["points"], data["intensity"]]).astype("<f4")
    message = PointCloud2(height=1, width=len(rows), point_step=16, row_step=16 * len(rows))
    message.header.frame_id = "lidar"
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "intensity"))
    ]
    message.data = array("B", rows.tobytes())
    return message


def transforms(data: Any) -> Any:
    from geometry_msgs.msg import TransformStamped
    from scipy.spatial.transform import Rotation
    from tf2_msgs.msg import TFMessage

    poses = dict(zip(map(str, data["frames"]), data["T_base_camera"], strict=True))
    poses["lidar"] = data["T_base_lidar"]
    message = TFMessage()
    for child, T in poses.items():
        placed = TransformStamped(child_frame_id=child)
        placed.header.frame_id = "base_link"
        move, turn = placed.transform.translation, placed.transform.rotation
        move.x, move.y, move.z = map(float, T[:3, 3])
        turn.x, turn.y, turn.z, turn.w = map(float, Rotation.from_matrix(T[:3, :3]).as_quat())
        message.transforms.append(placed)
    return message


def stamp_of(message: bytes) -> int:
    """The stamp [ns] of a serialized message that begins with its header (OMG CDR, 4 bytes in front)."""
    order = "<" if message[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", message, 4)
    return int(sec) * NS + int(nanosec)


if __name__ == "__main__":
    ROLE, FOLDER, SECONDS = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    {"sensors": sensors, "receiver": receiver, "viewer": viewer, "alone": alone}[ROLE](
        dict(np.load(FOLDER / "sensors.npz")), SECONDS
    )

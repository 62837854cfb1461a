"""A day's calibration, then a night's images: rendered, and through a node with a quantized network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rig import Rig
from sensor_msgs.msg import Image as ImageMessage

from avperception.calibration import Coverage, image_statistics
from avperception.engines.adapter import TENSORRT_RTX, Flavour, probe
from avperception.engines.builder import BuildRequest, build_engine
from avperception.engines.files import sha256_of_file
from avperception.engines.options import CompilerOptions
from avperception.errors import ConfigurationError
from avperception.models import load_card
from avperception.models.library import find_card
from avperception.nodes.conversions.images import image_message
from avperception.nodes.health.coverage import CoverageWatch, coverage_of
from avperception.pipeline.network import Network
from avperception.scenes import Scene, default_rig
from avperception.types import Image

DAYS = 6
CAMERA = "perception: front camera"


def pictures(condition: str, seed: int, count: int) -> list[np.ndarray]:
    scene = Scene(seed, condition, "straight", 10.0, default_rig(1))
    return [scene.picture("front", t).image for t in np.linspace(0.5, 9.5, count)]


def as_image(pixels: np.ndarray) -> Image:
    return Image(pixels, "bgr8", pixels.shape[1], pixels.shape[0], 1, "front")


@pytest.fixture(scope="module")
def days() -> list[np.ndarray]:
    return [picture for seed in (1, 2, 3) for picture in pictures("day", seed, DAYS // 3)]


@pytest.fixture(scope="module")
def another_day() -> list[np.ndarray]:
    return pictures("day", 2, 3)


@pytest.fixture(scope="module")
def night() -> list[np.ndarray]:
    return pictures("night", 4, 3)


@pytest.fixture
def watch(days: list[np.ndarray]) -> Iterator[CoverageWatch]:
    coverage = Coverage.of([image_statistics(as_image(picture)) for picture in days])
    made = CoverageWatch({"detector": coverage})
    yield made
    made.stop()


def show(watch: CoverageWatch, images: list[np.ndarray], camera: str = "front") -> None:
    for picture in images:
        watch.offer(camera, as_image(picture), 1e-9)
        end = time.monotonic() + 5
        while not watch.is_idle:
            assert time.monotonic() < end
            time.sleep(0.001)


def test_a_night_against_a_days_calibration(
    watch: CoverageWatch, another_day: list[np.ndarray], night: list[np.ndarray]
):
    show(watch, another_day)
    assert watch.problems("front") == []
    show(watch, night[:2])
    assert watch.problems("front") == [], "two odd images among five are a bridge, no night"
    show(watch, night)
    (problem,) = watch.problems("front")
    assert problem.text.startswith("outside of what the INT8 detector was calibrated with: ")
    assert "brightness" in problem.text and "the lowest calibrated with" in problem.text
    assert "(looks like night; the calibration set holds day 6)" in problem.text
    assert watch.problems("left") == []
    assert watch.values("front") == {"looks like": "night"}
    show(watch, another_day * 3)
    assert watch.problems("front") == [], "the night is over"


def test_images_are_looked_at_no_more_often_than_asked_for(watch: CoverageWatch, night: list[np.ndarray]):
    for _ in range(50):
        watch.offer("front", as_image(night[0]), 60.0)
        watch.offer("left", as_image(night[0]), 0.0)
    time.sleep(0.2)
    assert watch.looked == 1


def test_what_a_look_costs_its_camera(watch: CoverageWatch, night: list[np.ndarray]):
    watch.offer("front", as_image(night[0]), 60.0)
    start = time.perf_counter()
    for _ in range(10_000):
        watch.offer("front", as_image(night[0]), 60.0)
    assert (time.perf_counter() - start) / 10_000 < 50e-6


@pytest.fixture(scope="module")
def card_path(days: list[np.ndarray], repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of the package's own detector in INT8, calibrated by day, as ONNX Runtime runs it."""
    if not isinstance(found := probe(TENSORRT_RTX), Flavour):
        pytest.skip(f"TensorRT-RTX builds the engine and its manifest: {found}")
    folder = tmp_path_factory.mktemp("quantized")
    (folder / "days").mkdir()
    for number, picture in enumerate(days):
        cv2.imwrite(str(folder / "days" / f"{number}.png"), picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVPERCEPTION_ENGINES", str(folder))
        request = BuildRequest(
            find_card("demo_detector"),
            "int8",
            CompilerOptions(targets=("8.6",)),
            "max",
            calibration_set=folder / "days",
        )
        prepared = build_engine(request, lambda stage, part: None).file.prepared_path
    original = yaml.safe_load((repository / "config/models/demo_detector.yaml").read_text())
    path = folder / "night_watch.yaml"
    changes = {"name": "night_watch", "file": prepared.name, "sha256": sha256_of_file(prepared)}
    path.write_text(yaml.safe_dump({**original, **changes}))
    return path


def test_the_node_warns_at_night(card_path: Path, another_day: list[np.ndarray], night: list):
    with Rig({"detector.model": str(card_path), "diagnostics.coverage_period": 0.01}) as rig:
        rig.start()
        statuses = rig.collect(DiagnosticArray, "/diagnostics")
        images = rig.publisher(ImageMessage, "/perception/input/front/image_raw")
        assert not warning_after(rig, statuses, images, another_day)
        warning = warning_after(rig, statuses, images, night)
        assert warning and "brightness" in warning.message
        assert warning.level == DiagnosticStatus.WARN


def warning_after(rig: Rig, statuses: list, images: object, pictures: list) -> DiagnosticStatus | None:
    """The camera's status after these images, if it warns of the calibration."""
    for picture in pictures * 4:
        message = image_message(picture, "bgr8")
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)
        done = rig.node.cameras[0].source.processed
        images.publish(message)  # type: ignore[attr-defined]
        rig.spin_until(lambda done=done: rig.node.cameras[0].source.processed > done)
    count = len(statuses)
    rig.spin_until(lambda: len(statuses) > count + 1, timeout_s=5)
    (status,) = (status for status in statuses[-1].status if status.name == CAMERA)
    return status if "calibrated with" in status.message else None


def test_the_coverage_is_found_beside_the_network(card_path: Path):
    quantized = Network(load_card(card_path), object())  # type: ignore[arg-type]
    coverage = coverage_of(quantized)
    assert coverage is not None and coverage.conditions == {"day": DAYS}
    manifest_path = next(card_path.parent.glob("*.int8.sm86.json"))
    text = manifest_path.read_text()
    manifest_path.write_text(text[: len(text) // 2])
    with pytest.raises(ConfigurationError, match="is not known"):
        coverage_of(quantized)
    manifest_path.write_text(text)


def test_a_network_without_a_calibration():
    assert coverage_of(Network(find_card("demo_detector"), object())) is None  # type: ignore[arg-type]


def test_the_coverage_that_an_engine_brings(days: list[np.ndarray]):
    coverage = Coverage.of([image_statistics(as_image(picture)) for picture in days])
    card = find_card("demo_detector")
    assert coverage_of(Network(card, object(), coverage.as_dict())) == coverage  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no coverage of a calibration set"):
        coverage_of(Network(card, object(), {"images": 3}))  # type: ignore[arg-type]

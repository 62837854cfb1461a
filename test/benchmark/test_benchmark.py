from pathlib import Path

import cv2
import numpy as np
import pytest

from avperception.benchmark import BenchmarkOptions, Subject, run_benchmark, street_images
from avperception.benchmark.clock import percentiles
from avperception.benchmark.table import draw, markdown
from avperception.errors import ConfigurationError
from avperception.ops.cpu import to_bgr
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.pipeline.loading import Placing, Wanted, load_networks

SMALL = BenchmarkOptions(320, 192, cameras=(1, 2), points=(), frames=10, warm_up=2)


@pytest.fixture(scope="module")
def record() -> dict[str, object]:
    wanted = {"detector": Wanted("demo_detector"), "segmenter": Wanted("demo_segmenter")}
    networks = load_networks(wanted, Placing("onnxruntime"))
    by_role = {role: network for role, network in networks.by_role.items() if network}
    return run_benchmark(Subject(by_role, street_images(SMALL), SMALL), networks.device)


def test_a_record_says_what_ran_where_and_how_long(record: dict[str, object]) -> None:
    assert record["device"] == "cpu" and record["config"] == SMALL.as_dict()
    machine = record["machine"]
    assert {role: found["model"] for role, found in machine["networks"].items()} == {
        "detector": "demo_detector",
        "segmenter": "demo_segmenter",
    }
    assert all(len(found["sha256"]) == 64 for found in machine["networks"].values())
    assert 0 < record["image_to_result_ms"]["p50"] <= record["image_to_result_ms"]["p99"]
    assert {"detector_network", "segmenter_network", "camera"} <= set(record["stages_ms"])
    assert [row["cameras"] for row in record["cameras"]] == [1, 2]
    assert all(row["overlapped_hz"] > 0 for row in record["cameras"])


def test_stages_are_parts_of_the_whole(record: dict[str, object]) -> None:
    stages = record["stages_ms"]
    parts = sum(times["p50"] for name, times in stages.items() if name != "camera")
    assert parts <= 1.2 * stages["camera"]["p50"]


def test_a_record_is_told_in_a_table_and_pictures(record: dict[str, object], tmp_path: Path) -> None:
    text = markdown(record)
    assert "| stage detector_network |" in text and "| cameras | overlapped_hz | one_by_one_hz |" in text
    draw(record, tmp_path)
    for name in ("stages.png", "cameras.png"):
        assert name in text and cv2.imread(str(tmp_path / name)) is not None


@pytest.mark.parametrize("encoding", PIXEL_FORMATS)
def test_images_are_of_the_size_and_encoding_asked_for_and_differ(encoding: str) -> None:
    images = street_images(BenchmarkOptions(64, 32, encoding))
    shown = [to_bgr(image) for image in images]
    assert all(pixels.shape == (32, 64, 3) for pixels in shown)
    assert any((shown[0] != other).any() for other in shown[1:])


@pytest.mark.parametrize(
    ("size", "encoding", "reason"),
    [((64, 32), "rgb9", "known are"), ((63, 32), "nv12", "even"), ((8, 8), "rgb8", "at least 16")],
)
def test_options_that_cannot_be_are_refused(size: tuple[int, int], encoding: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        BenchmarkOptions(*size, encoding)


def test_percentiles_of_known_samples() -> None:
    assert percentiles(np.arange(101.0).tolist()) == {"p50": 50.0, "p99": 99.0, "max": 100.0}

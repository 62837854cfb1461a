import threading

import pytest
from rclpy.logging import LoggingSeverity, get_logger

from avperception.nodes.source import SAMPLES_KEPT, Source


@pytest.fixture
def source() -> Source:
    logger = get_logger("test_source")
    logger.set_level(LoggingSeverity.WARN)
    return Source("front camera", logger)


def test_a_new_source_has_seen_nothing(source: Source):
    assert (source.received, source.processed, source.dropped, source.noted) == (0, 0, {}, {})
    assert source.age_s is None
    assert source.percentiles_ms("camera", (50,)) is None


def test_counts_by_reason(source: Source):
    for _ in range(4):
        source.receive()
    source.process({"camera": 2.0})
    source.drop("zero_size", "no pixels")
    source.drop("zero_size", "no pixels")
    source.drop("overload", "too fast")
    source.note("time_jump", "back")
    assert (source.received, source.processed) == (4, 1)
    assert source.dropped == {"zero_size": 2, "overload": 1}
    assert source.noted == {"time_jump": 1}
    assert source.age_s is not None and 0 <= source.age_s < 5


def test_what_it_gives_away_is_a_copy(source: Source):
    source.drop("overload", "too fast")
    source.dropped["overload"] = 99
    assert source.dropped == {"overload": 1}


def test_percentiles_of_a_stage(source: Source):
    for value in range(1, 102):
        source.process({"camera": float(value), "detector": 7.0})
    assert source.percentiles_ms("camera", (0, 50, 99, 100)) == (1.0, 51.0, 100.0, 101.0)
    assert source.percentiles_ms("detector", (50,)) == (7.0,)
    assert source.percentiles_ms("segmenter", (50,)) is None


def test_only_the_last_samples_are_kept(source: Source):
    for value in range(SAMPLES_KEPT + 50):
        source.process({"camera": float(value)})
    samples = source.stage_samples_ms()["camera"]
    assert len(samples) == SAMPLES_KEPT and samples[0] == 50.0


def test_no_count_is_lost_between_threads(source: Source):
    def work() -> None:
        for _ in range(500):
            source.receive()
            source.process({"camera": 1.0})
            source.drop("overload", "too fast")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (source.received, source.processed, source.dropped) == (4000, 4000, {"overload": 4000})
    assert len(source.stage_samples_ms()["camera"]) == 4000


def test_a_reason_is_logged_once_in_ten_seconds(source: Source, capfd: pytest.CaptureFixture[str]):
    for _ in range(50):
        source.drop("zero_size", "the image is 0x0")
    source.drop("odd_size", "nv12 needs even sides")
    lines = [line for line in capfd.readouterr().err.splitlines() if "front camera" in line]
    assert len(lines) == 2
    assert "the image is 0x0" in lines[0] and "zero_size" in lines[0]
    assert "odd_size" in lines[1]


def test_recent_times_come_newest_first(source: Source):
    for number in range(5):
        source.process({"camera": float(number)})
    source.process({"lanes": 7.0})
    assert source.recent_samples_ms(3) == {"camera": [4.0, 3.0, 2.0], "lanes": [7.0]}
    assert source.recent_samples_ms(0) == {"camera": [], "lanes": []}

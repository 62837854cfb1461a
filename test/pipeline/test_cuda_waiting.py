"""How long a thread sleeps for what it waits for; the times are far apart, for machines that are busy."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from avperception.pipeline.device.cuda_waiting import Patience, look

LONG_S, SHORT_S = 0.4, 0.02


def sleep_until(end_s: float) -> None:
    """Sleep until then; to sleep for no time at all would still take a moment."""
    if (remaining_s := end_s - time.perf_counter()) > 0:
        time.sleep(remaining_s)


def wait(patience: Patience, takes_s: float, comes_late_s: float = 0.0) -> float:
    """Wait for something that takes so long; gives the seconds from its beginning to the end of the wait."""
    begun_s = time.perf_counter()
    time.sleep(comes_late_s)
    patience.wait(begun_s, lambda: sleep_until(begun_s + takes_s))
    return time.perf_counter() - begun_s


def test_it_never_comes_back_early_and_sleeps_through_the_better_part() -> None:
    patience, awake_s = Patience(), []
    for _ in range(3):
        begun_s = time.perf_counter()

        def finish(begun_s: float = begun_s) -> None:
            awake_s.append(time.perf_counter() - begun_s)
            sleep_until(begun_s + LONG_S)

        patience.wait(begun_s, finish)
        assert time.perf_counter() - begun_s >= LONG_S
    assert awake_s[0] < LONG_S / 2 < min(awake_s[1:])


def test_what_becomes_faster_makes_one_wait_late_and_no_more() -> None:
    patience = Patience()
    wait(patience, LONG_S)
    assert wait(patience, SHORT_S) > LONG_S / 2
    assert wait(patience, SHORT_S) < LONG_S / 2


def test_who_comes_late_does_not_take_that_for_the_usual_time() -> None:
    patience = Patience()
    wait(patience, SHORT_S, comes_late_s=LONG_S)
    assert wait(patience, SHORT_S) < LONG_S / 2
    for _ in range(3):
        wait(patience, SHORT_S, comes_late_s=LONG_S)
        assert wait(patience, SHORT_S) < LONG_S / 2


def test_it_looks_until_it_is_there_or_the_limit_is_over() -> None:
    looks = iter([False, False, True])
    look(lambda: next(looks), 60.0)
    assert next(looks, None) is None
    begun_s = time.perf_counter()
    look(lambda: False, 0.1)
    assert 0.1 <= time.perf_counter() - begun_s < 5.0


@pytest.mark.skipif(sys.platform != "linux", reason="the slack of timers is Linux's")
def test_a_thread_that_waits_is_woken_on_time() -> None:
    found: list[int] = []

    def work() -> None:
        slack_ns = Path(f"/proc/{threading.get_native_id()}/timerslack_ns")
        slack_ns.write_text("50000")  # Linux's own, whatever this thread was given by the one that made it
        wait(Patience(), 0.0)
        found.append(int(slack_ns.read_text()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [1]

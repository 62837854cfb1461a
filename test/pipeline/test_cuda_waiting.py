"""How long a thread sleeps for what it waits for; the times are far apart, for machines that are busy."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from avperception.pipeline.device.cuda_waiting import MOST_OVERSLEPT, Patience

LONG_S, SHORT_S = 0.4, 0.02


def wait(patience: Patience, takes_s: float, comes_late_s: float = 0.0, limit_s: float = 60.0) -> float:
    """Wait for something that takes so long; gives the seconds from its beginning to the end of the wait."""
    begun_s = time.perf_counter()
    time.sleep(comes_late_s)
    patience.wait(begun_s, lambda: time.perf_counter() - begun_s >= takes_s, limit_s)
    return time.perf_counter() - begun_s


def test_it_never_comes_back_early_and_sleeps_through_the_better_part() -> None:
    patience, first_looks_s = Patience(), []
    for _ in range(3):
        begun_s = time.perf_counter()
        looks_s: list[float] = []

        def is_there(begun_s: float = begun_s, looks_s: list[float] = looks_s) -> bool:
            looks_s.append(time.perf_counter() - begun_s)
            return looks_s[-1] >= LONG_S

        patience.wait(begun_s, is_there, 60.0)
        assert time.perf_counter() - begun_s >= LONG_S
        first_looks_s.append(looks_s[0])
    assert first_looks_s[0] < LONG_S / 2 < min(first_looks_s[1:])


def test_what_becomes_faster_makes_a_few_waits_late_and_no_more() -> None:
    patience = Patience()
    wait(patience, LONG_S)
    late = [wait(patience, SHORT_S) > LONG_S / 2 for _ in range(MOST_OVERSLEPT + 4)]
    assert late == [True] * (MOST_OVERSLEPT + 1) + [False] * 3


def test_a_wait_that_was_given_up_is_not_the_usual_time() -> None:
    patience = Patience()
    wait(patience, LONG_S, limit_s=0.1)
    assert wait(patience, SHORT_S) < 0.1


def test_who_comes_late_does_not_take_that_for_the_usual_time() -> None:
    patience = Patience()
    wait(patience, SHORT_S, comes_late_s=LONG_S)
    assert wait(patience, SHORT_S) < LONG_S / 2
    for _ in range(3):
        wait(patience, SHORT_S, comes_late_s=LONG_S)
        assert wait(patience, SHORT_S) < LONG_S / 2


def test_it_looks_no_longer_than_the_limit() -> None:
    assert 0.1 <= wait(Patience(), LONG_S, limit_s=0.1) < LONG_S


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

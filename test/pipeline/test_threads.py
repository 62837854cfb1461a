from __future__ import annotations

import sys

import pytest

from avperception.pipeline.threads import SWITCH_INTERVAL_S, take_short_turns


def test_threads_wait_for_each_other_no_longer_than_a_fraction_of_a_frame() -> None:
    before = sys.getswitchinterval()
    try:
        take_short_turns()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
        assert SWITCH_INTERVAL_S < 0.001
    finally:
        sys.setswitchinterval(before)

"""Clocks besides the node's own."""

from __future__ import annotations

from rclpy.clock import Clock

try:
    from rclpy.clock_type import ClockType
except ImportError:  # Humble has it elsewhere
    from rclpy.clock import ClockType  # type: ignore[attr-defined]


def steady_clock() -> Clock:
    """Give a clock that goes on while simulated time stands still, and that nobody sets."""
    return Clock(clock_type=ClockType.STEADY_TIME)

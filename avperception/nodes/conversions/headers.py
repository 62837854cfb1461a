"""Stamps and headers."""

from __future__ import annotations

from builtin_interfaces.msg import Duration, Time
from std_msgs.msg import Header

from avperception.errors import MessageError

NANOSECONDS = 1_000_000_000


def stamp_ns(header: Header) -> int:
    """Give a header's stamp in nanoseconds; raises MessageError `zero_stamp` when the driver set none."""
    nanoseconds = header.stamp.sec * NANOSECONDS + header.stamp.nanosec
    if nanoseconds == 0:
        raise MessageError("zero_stamp", "header.stamp is zero: the driver has to set it")
    return nanoseconds


def time_message(nanoseconds: int) -> Time:
    """Make a Time of nanoseconds."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def duration_message(nanoseconds: int) -> Duration:
    """Make a Duration of nanoseconds."""
    return Duration(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def header_message(nanoseconds: int, frame_id: str) -> Header:
    """Make a Header."""
    return Header(stamp=time_message(nanoseconds), frame_id=frame_id)

"""What rclpy raises when a node is started with arguments or parameters that cannot be used."""

from __future__ import annotations

from typing import Any

from rclpy.exceptions import InvalidTopicNameException, ParameterException
from rclpy.impl.implementation_singleton import rclpy_implementation

from avperception.errors import AvperceptionError

RCLError: Any = rclpy_implementation.RCLError

START_ERRORS: tuple[type[Exception], ...] = (
    AvperceptionError,
    ParameterException,
    InvalidTopicNameException,
    RCLError,
)
"""RCLError is the base of all that rcl reports: an unreadable parameter file, a malformed argument."""

__all__ = ["START_ERRORS", "RCLError", "one_line"]


def one_line(error: Exception) -> str:
    """Give an exception's text without the line breaks of rcl."""
    return " ".join(str(error).split())

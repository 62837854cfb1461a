"""Quality of service of every topic, and the user's right to override it.

Each profile is made anew, for rclpy writes a user's overrides into the object it is given.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def sensor() -> QoSProfile:
    """Inputs: the newest data matters, a lost message is not sent again."""
    return _profile(5, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)


def result() -> QoSProfile:
    """Outputs."""
    return _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def latched() -> QoSProfile:
    """What a late subscriber must still get."""
    return _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


def transforms() -> QoSProfile:
    """/tf, as tf2_ros subscribes to it."""
    return _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def static_transforms() -> QoSProfile:
    """/tf_static, as tf2_ros subscribes to it."""
    return _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


def overridable() -> QoSOverridingOptions:
    """Let the parameters `qos_overrides.TOPIC.{publisher,subscription}.*` set the four usual policies."""
    return QoSOverridingOptions(
        [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY]
    )


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
    )

"""Which publishers serve which subscriptions, held against the two tables of ROS 2's documentation on QoS."""

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from avperception.nodes.matching import known, lacking, serves

BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


@pytest.mark.parametrize(
    ("offered", "wanted", "missing"),
    [
        ((BEST_EFFORT, VOLATILE), (BEST_EFFORT, VOLATILE), ""),
        ((RELIABLE, LATCHED), (BEST_EFFORT, VOLATILE), ""),
        ((RELIABLE, LATCHED), (RELIABLE, LATCHED), ""),
        ((BEST_EFFORT, LATCHED), (RELIABLE, LATCHED), "BEST_EFFORT"),
        ((RELIABLE, VOLATILE), (RELIABLE, LATCHED), "VOLATILE"),
        ((BEST_EFFORT, VOLATILE), (RELIABLE, LATCHED), "BEST_EFFORT, VOLATILE"),
    ],
)
def test_what_serves_whom(offered: tuple, wanted: tuple, missing: str):
    have, want = (QoSProfile(depth=1, reliability=r, durability=d) for r, d in (offered, wanted))
    assert serves(have, want) == (not missing)
    assert lacking(have, want) == missing


def test_a_node_whose_name_has_not_come_yet_is_left_out():
    found = [TopicEndpointInfo(node_name=name) for name in ("_NODE_NAME_UNKNOWN_", "driver")]
    assert [info.node_name for info in known(found)] == ["driver"]

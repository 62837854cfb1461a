import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_corner(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what the replay driver does to its process: it shuts ROS off from all others."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    yield
    gc.collect()  # rclpy's lifecycle machine holds its node in a circle, which others still see


@pytest.fixture(autouse=True, scope="module")
def none_left() -> Iterator[None]:
    """Let no node that a whole module shared be seen by the next one."""
    yield
    gc.collect()

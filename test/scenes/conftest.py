"""Scenes that several tests look at; worlds take most of the time, so they are made once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avperception.scenes import Frame, Lidar, Rig, Scene, default_rig, mounted, pinhole

STAMP = 3.0
"""Seconds from the start at which the shared frames are taken."""


@pytest.fixture(scope="session")
def small_rig() -> Rig:
    """One small camera that looks ahead, and a coarse lidar: quick."""
    front = mounted("front", pinhole("front", 320, 192, 70.0), (1.5, 0.0, 1.45), pitch=0.02)
    return Rig((front,), Lidar.spinning(32, columns=360))


@pytest.fixture(scope="session")
def curved_scene() -> Scene:
    """The whole default rig on a winding road by day."""
    return Scene(2, "day", "curved", rig=default_rig())


@pytest.fixture(scope="session")
def curved_frame(curved_scene: Scene) -> Frame:
    """One frame of it."""
    return curved_scene.frame(STAMP)


@pytest.fixture(scope="session")
def small_scene(small_rig: Rig) -> Scene:
    """A small camera and lidar on a straight road by day."""
    return Scene(4, "day", "straight", rig=small_rig)


@pytest.fixture(scope="session")
def raw_scene(curved_scene: Scene) -> Scene:
    """The winding road again, the points of its lidar as they were fired."""
    lidar = curved_scene.rig.lidar
    assert lidar is not None
    return replace(curved_scene, rig=replace(curved_scene.rig, lidar=replace(lidar, compensated=False)))

"""After `make setup` the checkout is a package of .venv for ROS' own tools."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from environment.ament import index_project
from environment.places import Places

NODES = ("perception", "visualizer", "bag_player", "synthetic_road")


@pytest.fixture
def places(repository: Path, tmp_path: Path) -> Places:
    """A checkout in which pip has been."""
    places = Places(tmp_path / "checkout")
    places.root.mkdir()
    for name in ("setup.py", "package.xml"):
        shutil.copy(repository / name, places.root)
    for name in ("resource", "launch", "config", "engines"):
        shutil.copytree(repository / name, places.root / name)
    (places.venv / "bin").mkdir(parents=True)
    for name in (*NODES, "avperception"):
        (places.venv / "bin" / name).write_text("#!/bin/sh\n")
    return places


def test_tools_of_ros_find_the_package_its_files_and_its_nodes(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pytest.importorskip("ament_index_python.packages")
    for _ in range(2):  # a second set-up finds its own links
        index_project(places)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(places.venv))
    assert index.get_package_prefix("avperception") == str(places.venv)
    share = Path(index.get_package_share_directory("avperception"))
    assert (share / "launch" / "demo.launch.py").is_file()
    assert (share / "config" / "avperception.rviz").is_file()
    assert (share / "package.xml").is_file()
    nodes = places.venv / "lib" / "avperception"
    assert {path.name for path in nodes.iterdir()} == set(NODES)
    assert all(path.is_file() for path in nodes.iterdir())


def test_links_of_an_earlier_set_up_lead_no_deletion_into_the_checkout(places: Places) -> None:
    share = places.venv / "share" / "avperception"
    share.mkdir(parents=True)
    (share / "launch").symlink_to(places.root / "launch")
    before = {file.name: file.read_text() for file in (places.root / "launch").iterdir() if file.is_file()}
    index_project(places)
    after = {file.name: file.read_text() for file in (places.root / "launch").iterdir() if file.is_file()}
    assert after == before and not any(file.is_symlink() for file in (places.root / "launch").iterdir())


def test_launch_files_are_found_by_a_walk_that_follows_no_links(places: Places, repository: Path) -> None:
    index_project(places)
    walked = {name for _, _, names in os.walk(places.venv / "share" / "avperception") for name in names}
    assert {file.name for file in (repository / "launch").glob("*.py")} <= walked

"""What a set-up does when the machine lacks something, when it is interrupted and when nothing changed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import setup_environment
from environment import prerequisites, ros_installation, setup
from environment.commands import child_environment, run_logged
from environment.errors import PrerequisiteError, StepError
from environment.messages import INCLUDES
from environment.places import Places
from environment.prerequisites import check_prerequisites
from environment.record import fingerprint, read_record, write_record
from environment.ros_installation import RosInstallation, sourced_installation


@pytest.fixture
def places(repository: Path, tmp_path: Path) -> Places:
    """A checkout with the inputs of a set-up and nothing else."""
    for folder in ("requirements", "interfaces", "resource"):
        shutil.copytree(repository / folder, tmp_path / folder)
    for file in ("setup.py", "setup.cfg", "package.xml"):
        shutil.copy(repository / file, tmp_path)
    return Places(tmp_path)


@pytest.fixture
def work_done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the work of minutes with its name in this list: order and record are what is tested."""
    done: list[str] = []

    def create_venv(places: Places, environment: dict[str, str], system_packages: bool) -> None:
        shutil.rmtree(places.venv, ignore_errors=True)
        places.python.parent.mkdir(parents=True)
        places.python.touch()
        done.append("venv")

    monkeypatch.setattr(setup, "create_venv", create_venv)
    monkeypatch.setattr(setup, "install_pinned", lambda *_: done.append("wheels"))
    monkeypatch.setattr(setup, "install_missing", lambda *_: done.append("missing"))
    monkeypatch.setattr(setup, "build_messages", lambda *_: done.append("messages"))
    monkeypatch.setattr(setup, "install_project", lambda *_: done.append("project"))
    monkeypatch.setattr(setup, "check_prerequisites", lambda builds_messages: None)
    return done


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def find_all_specs_but(*missing: str) -> object:
    find = importlib.util.find_spec
    return lambda name: None if name in missing else find(name)


def test_a_python_that_is_too_old_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert setup_environment.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "3.10 to 3.13" in line
    assert "3.9" in line


def test_everything_missing_is_named_in_one_message_with_its_debian_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(prerequisites.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", find_all_specs_but("ensurepip"))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(PrerequisiteError) as raised:
        check_prerequisites(builds_messages=True)
    assert str(raised.value).endswith(f"sudo apt install python{version}-venv python{version}-dev g++")


def test_another_processor_is_told_to_install_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites.platform, "machine", lambda: "aarch64")
    with pytest.raises(PrerequisiteError, match="aarch64: install ROS 2"):
        check_prerequisites(builds_messages=True)


def test_a_second_run_does_nothing(places: Places, work_done: list[str]) -> None:
    setup.set_up(places, None)
    assert work_done == ["venv", "wheels", "messages", "project"]
    setup.set_up(places, None)
    assert len(work_done) == 4


@pytest.mark.parametrize(
    ("changed", "repeated"),
    [
        ("requirements/constraints.txt", ["venv", "wheels", "messages", "project"]),
        ("interfaces/vision_msgs/msg/Point2D.msg", ["messages", "project"]),
        ("setup.py", ["project"]),
    ],
)
def test_a_changed_input_repeats_what_depends_on_it(
    places: Places, work_done: list[str], changed: str, repeated: list[str]
) -> None:
    setup.set_up(places, None)
    work_done.clear()
    with (places.root / changed).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    setup.set_up(places, None)
    assert work_done == repeated


def test_an_interrupted_installation_starts_from_a_new_venv(
    places: Places, work_done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(setup, "install_pinned", interrupt)
        with pytest.raises(KeyboardInterrupt):
            setup.set_up(places, None)
    setup.set_up(places, None)
    assert work_done == ["venv", "venv", "wheels", "messages", "project"]


def test_an_interrupted_build_goes_on_with_the_build(
    places: Places, work_done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(setup, "build_messages", interrupt)
        with pytest.raises(KeyboardInterrupt):
            setup.set_up(places, None)
    setup.set_up(places, None)
    assert work_done == ["venv", "wheels", "messages", "project"]


def test_a_removed_venv_is_made_again(places: Places, work_done: list[str]) -> None:
    setup.set_up(places, None)
    places.python.unlink()
    setup.set_up(places, None)
    assert work_done.count("venv") == 2


def test_a_sourced_ros_is_used_instead_of_wheels(places: Places, work_done: list[str]) -> None:
    setup.set_up(places, RosInstallation("jazzy", "/opt/ros/jazzy"))
    assert work_done == ["venv", "missing", "project"]


def test_no_ros_is_found_where_none_is_sourced() -> None:
    assert sourced_installation({}) is None
    assert sourced_installation({"ROS_DISTRO": "jazzy"}) is None


def test_a_sourced_ros_without_vision_msgs_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ros_installation, "PACKAGES", ("sys", "vision_msgs"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vision_msgs" else object())
    with pytest.raises(PrerequisiteError, match=r"sudo apt install ros-humble-vision-msgs$"):
        sourced_installation({"ROS_DISTRO": "humble", "AMENT_PREFIX_PATH": "/opt/ros/humble"})


def test_a_sourced_ros_of_another_python_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", find_all_specs_but("rclpy"))
    with pytest.raises(PrerequisiteError, match="make setup PYTHON=/usr/bin/python3"):
        sourced_installation({"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy"})


def test_commands_do_not_inherit_the_libraries_of_another_venv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/another/venv/lib")
    monkeypatch.setenv("PYTHONPATH", "/another/site-packages")
    environment = child_environment(Places(tmp_path), with_ros_installation=False)
    assert not {"_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH", "PYTHONPATH"} & environment.keys()
    assert environment["AMENT_PREFIX_PATH"] == str(tmp_path / ".venv")


def test_a_failing_command_shows_the_end_of_its_output(tmp_path: Path) -> None:
    program = "print(*range(100), sep='\\n'); raise SystemExit(3)"
    with pytest.raises(StepError) as raised:
        run_logged([sys.executable, "-c", program], tmp_path / "logs" / "x.log", {})
    lines = str(raised.value).splitlines()
    assert lines[-2] == "99"
    assert "code 3" in lines[-1]
    assert str(tmp_path / "logs" / "x.log") in lines[-1]
    assert len(lines) < 40


def test_fingerprint_depends_on_facts_names_and_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("1")
    prints = {
        fingerprint([], [first]),
        fingerprint([], [second]),
        fingerprint(["fact"], [first]),
        fingerprint([], [first, second]),
        fingerprint([], [tmp_path]),
    }
    first.write_text("2")
    assert fingerprint([], [first]) not in prints
    assert len(prints) == 5


def test_a_damaged_record_counts_as_nothing_finished(tmp_path: Path) -> None:
    path = tmp_path / "setup" / "finished.json"
    assert read_record(path) == {}
    write_record(path, {"environment": "abc"})
    assert read_record(path) == {"environment": "abc"}
    path.write_text(path.read_text()[:10])
    assert read_record(path) == {}


def test_include_paths_of_the_wheels_are_recognised() -> None:
    line = '  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp312-cp312/include;/opt/python/x/numpy"\n'
    assert INCLUDES.sub(r'\1 "/usr/include"', line) == '  INTERFACE_INCLUDE_DIRECTORIES "/usr/include"\n'

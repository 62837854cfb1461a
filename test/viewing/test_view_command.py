"""`avperception view` on a short synthetic recording: played, and live beside a running node."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from rrd import Recording

from avperception.scenes import Scene, default_rig, write_recording

pytest.importorskip("rerun", reason="rerun-sdk is not installed")

VIEW = [sys.executable, "-c", "from avperception.cli.main import main; main()", "view"]
NETWORKS = ["--detector", "demo_detector", "--segmenter", "demo_segmenter"]
NODE = "from avperception.nodes.perception import main; main()"
PLAYER = "from avperception.nodes.bag_player import main; main()"
FRONT = "/world/cameras/front"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bag") / "road.mcap"
    write_recording(Scene(5, "day", "straight", 1.0, default_rig(1, 32), rate=5.0), path)
    return path


def run_view(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*VIEW, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_a_recording(bag: Path, tmp_path: Path):
    file = tmp_path / "road.rrd"
    done = run_view(bag, *NETWORKS, "--save", file)
    assert done.returncode == 0, done.stderr
    assert f"rerun {file}" in done.stdout
    recording = Recording(file)
    for path, component in (
        ("/world/points", "Points3D:positions"),
        ("/world/objects/boxes", "Boxes3D:labels"),
        ("/world/objects/velocities", "Arrows3D:vectors"),
        ("/world/lanes/front", "LineStrips3D:strips"),
        (FRONT, "Transform3D:translation"),
        (f"{FRONT}/boxes", "Boxes2D:labels"),
        (f"{FRONT}/boxes_3d", "LineStrips2D:strips"),
        (f"{FRONT}/lanes", "LineStrips2D:strips"),
        (f"{FRONT}/image/960x544", "EncodedImage:blob"),
        (f"{FRONT}/classes/960x544", "EncodedImage:blob"),
    ):
        stamps = [stamp for stamp, _ in recording.rows(path, component)]
        assert len(stamps) == 5 and stamps == sorted(set(stamps)), path
    labels = [label for _, row in recording.rows("/world/objects/boxes", "Boxes3D:labels") for label in row]
    assert labels and all(label.split()[0] in ("car", "truck", "cyclist", "pedestrian") for label in labels)
    assert any(row for _, row in recording.rows("/world/lanes/front", "LineStrips3D:strips"))
    colors = recording.rows("/world/points", "Points3D:colors")[-1][1]
    assert len(set(colors)) >= 3, "ground, the rest, and objects"


def test_no_file_is_made_for_a_node_that_does_not_start(bag: Path, tmp_path: Path):
    done = run_view(bag, "--detector", "nothing_of_that_name", "--save", tmp_path / "none.rrd")
    assert done.returncode == 2 and "nothing_of_that_name" in done.stderr
    assert not (tmp_path / "none.rrd").exists()


def test_one_thing_at_a_time(bag: Path):
    for arguments in ([], [bag, "--live"]):
        done = run_view(*arguments)
        assert done.returncode == 2 and "a recording, or --live" in done.stderr
    done = run_view(bag.with_name("no.mcap"), "--save", bag.with_name("no.rrd"))
    assert done.returncode == 2 and "no.mcap" in done.stderr and "Traceback" not in done.stderr


@contextmanager
def running(code: str, log: Path, *arguments: str) -> Iterator[None]:
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--ros-args", *arguments], stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def said(view: "subprocess.Popen[str]", folder: Path) -> str:
    view.kill()
    texts = [file.read_text() for file in (folder / "node.log", folder / "player.log")]
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    return "\n".join([*texts, view.communicate()[1], f"exit code {view.returncode}, files {sizes}"])


def test_live(bag: Path, tmp_path: Path):
    file = tmp_path / "live.rrd"
    remaps = [
        word
        for topic in ("image_raw", "camera_info")
        for word in ("-r", f"~/input/front/{topic}:=/front/{topic}")
    ]
    with ExitStack() as stack:
        node = ["-p", "use_sim_time:=true", "-p", "detector.model:=demo_detector"]
        node += ["-p", "segmenter.model:=demo_segmenter", "-r", "~/input/points:=/points", *remaps]
        stack.enter_context(running(NODE, tmp_path / "node.log", *node))
        player = ["-p", f"bag:={bag}", "-p", "loop:=true", "-p", "rate:=0.4"]
        stack.enter_context(running(PLAYER, tmp_path / "player.log", *player))
        view = subprocess.Popen([*VIEW, "--live", "--save", str(file)], stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 90
        while not file.is_file() or file.stat().st_size < 3_000_000:
            assert time.monotonic() < end and view.poll() is None, said(view, tmp_path)
            time.sleep(0.2)
        view.send_signal(signal.SIGINT)
        _, errors = view.communicate(timeout=30)
    assert view.returncode == 0 and "Traceback" not in errors, errors
    recording = Recording(file)
    for path, component in (
        ("/world/points", "Points3D:positions"),
        ("/world/objects/boxes", "Boxes3D:labels"),
        (FRONT, "Pinhole:resolution"),
        (f"{FRONT}/boxes", "Boxes2D:labels"),
        (f"{FRONT}/boxes_3d", "LineStrips2D:strips"),
        (f"{FRONT}/image/960x544", "EncodedImage:blob"),
        (f"{FRONT}/classes/960x544", "EncodedImage:blob"),
    ):
        assert recording.rows(path, component), path
    shown = {stamp for stamp, _ in recording.rows(f"{FRONT}/image/960x544", "EncodedImage:blob")}
    found = {stamp for stamp, _ in recording.rows(f"{FRONT}/boxes", "Boxes2D:labels")}
    assert found <= shown, "results are those of the images that are shown"


def test_live_without_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "100")
    view = subprocess.Popen(
        [*VIEW, "--live", "--save", str(tmp_path / "none.rrd")], stderr=subprocess.PIPE, env=os.environ
    )
    assert view.stderr is not None
    assert b"following /perception until Ctrl-C" in view.stderr.readline()
    view.send_signal(signal.SIGINT)
    assert view.wait(timeout=30) == 1

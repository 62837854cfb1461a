"""The sensors of the synthetic road: renders a drive once, and plays it in a loop."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args

from avperception.cli.demo_recordings import synthetic_recording
from avperception.errors import AvperceptionError
from avperception.nodes.bag_player import BagPlayer
from avperception.nodes.process import EXIT_BAD_INPUT, run_node
from avperception.replay.replay import make_folder
from avperception.scenes import CONDITIONS, MIXED, Scene, default_rig

PROGRAM = "synthetic_road"
ROAD = "curved"


def main(args: list[str] | None = None) -> None:
    """Render the drive if it is not there yet, then play it until Ctrl-C; exit code 2 for bad input."""
    args = sys.argv if args is None else args
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what is half rendered is to be removed
        recording = render(options(remove_ros_args(args)[1:]))
        run_node(PROGRAM, lambda: _player(recording), args=args, begin=BagPlayer.begin)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal and of `ros2 launch` one comes later
        sys.exit(0)
    except AvperceptionError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def options(arguments: list[str]) -> argparse.Namespace:
    """Read what kind of drive it is to be."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    parser.add_argument("--condition", default="day", choices=[*CONDITIONS, MIXED], help="default: day")
    parser.add_argument("--seed", type=int, default=7, help="another number is another road; default: 7")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the drive; default: 6")
    parser.add_argument("--cameras", type=int, default=3, help="1 to 3; default: 3")
    parser.add_argument("--frame-rate", type=float, default=5.0, help="frames a second; default: 5")
    parser.add_argument("--folder", type=Path, default=cache_folder(), help="where the recording is kept")
    return parser.parse_args(arguments)


def cache_folder() -> Path:
    """Where recordings are kept from one run to the next."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "avperception" / "demo"


def render(wanted: argparse.Namespace) -> Path:
    """Give the recording of the wanted drive, rendered if it is not there; raises BagError."""
    rig = default_rig(wanted.cameras)
    scene = Scene(wanted.seed, wanted.condition, ROAD, wanted.seconds, rig, wanted.frame_rate)
    make_folder(wanted.folder)
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if done == 0 or done == total or done * 4 // total > told:
            told = done * 4 // total
            print(f"{PROGRAM}: rendering the road, {done} of {total} frames", flush=True)

    return synthetic_recording(scene, wanted.folder, progress).path


def _player(recording: Path) -> BagPlayer:
    overrides = {"bag": str(recording), "loop": True}
    return BagPlayer(parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()])

"""`avperception view`: a recording, or a running node, in Rerun."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from avperception.cli.node_options import chosen_networks, parameter_file
from avperception.cli.progress import interruptible, progress_bar
from avperception.errors import ConfigurationError
from avperception.replay.replay import ReplayOptions
from avperception.viewing.recorded import view_recording
from avperception.viewing.scene_view import SceneView, import_rerun

EXIT_FAILURES = 1
SPIN_S = 0.1
PATIENCE_S = 5.0


def view(
    bag: Annotated[
        Path | None, typer.Argument(help="rosbag2 recording, played through the perception node.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Follow the perception node that is running.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE.rrd", help="Write a file for `rerun FILE.rrd` and open no window."),
    ] = None,
    detector: Annotated[str | None, typer.Option(help="Model card: name or path; '' for none.")] = None,
    segmenter: Annotated[str | None, typer.Option(help="Model card: name or path; '' for none.")] = None,
    params: Annotated[Path | None, typer.Option(metavar="FILE", help="ROS parameter file (YAML).")] = None,
    points: Annotated[str | None, typer.Option(metavar="TOPIC", help="Point cloud, if several.")] = None,
    node: Annotated[
        str, typer.Option(metavar="NAME", help="With --live: the perception node.")
    ] = "/perception",
    rate: Annotated[
        float,
        typer.Option(metavar="HZ", min=0.1, max=100.0, help="With --live: images of a camera."),
    ] = 10.0,
) -> None:
    """Show camera overlays, the cloud by class, 3D boxes with ids and velocities, and lanes, in Rerun.

    A window opens, or with --save a file is written, on a machine without a screen. Exit code 0: done,
    1: nothing was there to be shown, 2: bad input.
    """
    if (bag is None) != live:
        raise ConfigurationError("give one thing to view: a recording, or --live for a running node")
    import_rerun()
    if bag is not None:
        options = ReplayOptions(
            parameters=chosen_networks(detector, segmenter),
            ros_args=parameter_file(params),
            points=points,
        )
        shown = _show_recording(bag, options, save)
    else:
        shown = _show_live(node, rate, save)
    if save is not None and shown:
        typer.echo(f"{save}: see it with `rerun {save}`")
    if not shown:
        raise typer.Exit(EXIT_FAILURES)


def _show_recording(bag: Path, options: ReplayOptions, save: Path | None) -> int:
    def open_view(cameras: Sequence[str]) -> SceneView:
        return SceneView(cameras, save)

    left = f"{save} holds what was done until here" if save else "the window keeps what it was shown"
    with interruptible(left), progress_bar("replaying") as progress:
        return view_recording(bag, open_view, options, progress)


def _show_live(name: str, rate: float, save: Path | None) -> int:
    """Follow the node until Ctrl-C; 1 if it was there at all."""
    try:
        from avperception.nodes.guest import Guest
        from avperception.nodes.live_feed import LiveFeed
    except ImportError as error:
        raise ConfigurationError(
            f"--live needs ROS 2, which cannot be imported ({error}): source its setup.bash, or "
            "run `make setup`"
        ) from error
    stderr = Console(stderr=True, soft_wrap=True)
    with Guest("avperception_view") as guest, SceneView([], save) as scene:
        feed = LiveFeed(guest.node, scene, name, rate)
        with suppress(KeyboardInterrupt):
            stderr.print(f"following {name} until Ctrl-C", highlight=False)
            told_s = time.monotonic()
            while True:
                feed.search()
                guest.spin(SPIN_S)
                if not feed.is_connected and time.monotonic() - told_s > PATIENCE_S:
                    told_s = time.monotonic()
                    stderr.print(f"no node {name} yet: is ROS_DOMAIN_ID the same?", highlight=False)
        return int(feed.is_connected)

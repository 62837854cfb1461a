"""`avperception benchmark`: how fast this machine is, stage by stage."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from avperception.benchmark import BenchmarkOptions, Subject, run_benchmark, street_images
from avperception.benchmark.table import draw, markdown
from avperception.cli.progress import interruptible
from avperception.errors import ConfigurationError
from avperception.pipeline.loading import Placing, Wanted, load_networks


def benchmark(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the record; made if missing.")],
    detector: Annotated[str, typer.Option(help="Model card: name or path; '' for none.")] = "demo_detector",
    segmenter: Annotated[str, typer.Option(help="Model card: name or path; '' for none.")] = "demo_segmenter",
    backend: Annotated[str, typer.Option(help="auto, tensorrt or onnxruntime.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8, of TensorRT's engines.")] = "fp16",
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the images.")] = "1920x1080",
    encoding: Annotated[str, typer.Option(help="Encoding of the images, as ROS names it.")] = "rgb8",
    cameras: Annotated[str, typer.Option(help="Numbers of cameras, such as 1,2,4; '' for none.")] = "1,2,4,8",
    points: Annotated[
        str, typer.Option(help="Numbers of lidar points; '' for none.")
    ] = "10000,120000,1000000",
    frames: Annotated[int, typer.Option(min=10, help="Frames of each measurement.")] = 500,
    baselines: Annotated[bool, typer.Option(help="Also do the frames in the usual ways.")] = True,
    engine_policy: Annotated[
        str, typer.Option(help="strict, or rebuild to build what is missing.")
    ] = "strict",
) -> None:
    """Measure whole frames, their stages, several cameras and the lidar on this machine.

    DIR gets benchmark.json, benchmark.md and its pictures. End what else runs on the machine first.
    """
    options = BenchmarkOptions(
        *_size(size), encoding, _numbers("--cameras", cameras), _numbers("--points", points), frames
    )
    wanted = {"detector": Wanted(detector, precision), "segmenter": Wanted(segmenter, precision)}
    networks = load_networks(wanted, Placing(backend, engine_policy, cameras=max(options.cameras, default=1)))
    console = Console(stderr=True, highlight=False)
    if networks.why_cpu:
        console.print(f"on the CPU: {networks.why_cpu}")
    loaded = {role: network for role, network in networks.by_role.items() if network}
    if not loaded:
        raise ConfigurationError("there is nothing to measure: give --detector or --segmenter")
    subject = Subject(loaded, street_images(options), options)
    with interruptible("nothing was written"):
        record = run_benchmark(
            subject,
            networks.device,
            baselines=baselines,
            progress=lambda text: console.print(f"measuring: {text}"),
        )
    record["command"] = shlex.join(["avperception", *sys.argv[1:]])
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmark.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    text = markdown(record)
    (out / "benchmark.md").write_text(text + "\n", encoding="utf-8")
    draw(record, out)
    Console().print(Markdown(text))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigurationError(f"--size {text}: give width and height in pixels, such as 1920x1080")
    return int(width), int(height)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ConfigurationError(f"{option} {text}: give whole numbers above 0, such as 1,2,4")
    return tuple(int(part) for part in parts)

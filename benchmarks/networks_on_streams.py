"""What a GPU gives of the networks alone, side by side on streams: the limit of many cameras.

    python benchmarks/networks_on_streams.py --detector yolox_nano --segmenter twinlitenet

Each of N cameras has an execution context and a captured graph of each network; one thread launches them in
turns. Nothing is uploaded, preprocessed or brought back.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from avperception.benchmark.clock import rate_hz
from avperception.benchmark.frame import EngineGraph
from avperception.benchmark.machine import describe
from avperception.benchmark.options import BenchmarkOptions, Subject
from avperception.errors import EngineError
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.loading import Placing, Wanted, load_networks
from avperception.pipeline.network import Network

HERE = Path(__file__).resolve().parent
CAMERAS = (1, 2, 4, 8)
WARM_UP, LAUNCHES = 50, 400


def images_hz(cupy: Any, networks: list[Network], cameras: int) -> float:
    """Images a second that pass through all of these networks."""
    graphs = [
        EngineGraph(cupy, network, cupy.cuda.Stream(non_blocking=True))
        for _ in range(cameras)
        for network in networks
    ]

    def launch(times: int) -> None:
        for _ in range(times):
            for graph in graphs:
                graph.launch()
        cupy.cuda.Device().synchronize()

    launch(WARM_UP)
    return rate_hz(LAUNCHES * cameras, lambda: launch(LAUNCHES))


def main(
    detector: Annotated[str, typer.Option(help="A model card.")] = "demo_detector",
    segmenter: Annotated[str, typer.Option(help="A model card.")] = "demo_segmenter",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8.")] = "fp16",
    out: Annotated[Path | None, typer.Option(help="Where the JSON goes.")] = None,
) -> None:
    """Measure both networks on one to eight streams each, apart and together."""
    out = out or HERE / "results" / f"networks_on_streams_{time.strftime('%Y-%m-%d')}.json"
    try:
        cupy = import_cupy()
    except EngineError as error:
        raise SystemExit(f"networks_on_streams: {error}") from None
    wanted = {"detector": Wanted(detector, precision), "segmenter": Wanted(segmenter, precision)}
    loaded = load_networks(wanted, Placing("tensorrt", "rebuild", cameras=max(CAMERAS))).by_role
    networks = {role: network for role, network in loaded.items() if network}
    groups = {**{role: [network] for role, network in networks.items()}, "both": list(networks.values())}
    rates = {
        name: {str(count): round(images_hz(cupy, group, count)) for count in CAMERAS}
        for name, group in groups.items()
    }
    record = {
        "benchmark": "networks_on_streams",
        "command": shlex.join(["python", f"benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
        "machine": describe(Subject(networks, (), BenchmarkOptions())),
        "images_hz_by_cameras": rates,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(rates, indent=1))
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)

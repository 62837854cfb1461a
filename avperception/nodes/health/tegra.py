"""The GPU of a Jetson, through the kernel's files: thermal zones, cooling devices, devfreq."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from avperception.nodes.health.gpu import GpuReader, GpuReading

_GPUS = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")
"""What the GPU's devfreq folder has in its name: `17000000.ga10b`, `17000000.gpu`, `gpu-gpc-0`."""

_THROTTLES = ("-throttle-alert", "hot-surface-alert")
"""How the types of the cooling devices end that lower clocks because of heat."""


def tegra_reader(root: Path = Path("/")) -> GpuReader | None:
    """Give what reads the GPU of a Jetson whose files begin at `root`; None on any other machine."""
    compatible = _text(root / "proc/device-tree/compatible") or ""
    if "nvidia,tegra" not in compatible:
        return None
    model = _text(root / "proc/device-tree/model") or "Jetson"
    return lambda: _read(root, model)


def _read(root: Path, model: str) -> GpuReading:
    total, available = _memory(root)
    gpu = next(_gpu_folders(root), None)
    clock = _number(gpu / "cur_freq") if gpu else None
    load = _load(root, gpu)
    return GpuReading(
        name=model,
        temperature_c=_temperature(root),
        memory_used_bytes=None if total is None or available is None else total - available,
        memory_total_bytes=total,
        utilization=load,
        clock_mhz=None if clock is None else clock / 1e6,
        slowed_by=tuple(_slowed_by(root)),
        is_shared=True,
    )


def _gpu_folders(root: Path) -> Iterator[Path]:
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if any(part in folder.name for part in _GPUS):
            yield folder


def _temperature(root: Path) -> float | None:
    """The GPU's zone, else the junction's (`tj-thermal`, the hottest of all) [°C]."""
    zones = {_text(zone / "type") or "": zone for zone in (root / "sys/class/thermal").glob("thermal_zone*")}
    for part in ("gpu", "tj"):
        for name, zone in sorted(zones.items()):
            # A zone whose block is asleep is there and cannot be read.
            if name.lower().startswith(part) and (value := _number(zone / "temp")) is not None:
                return value / 1000
    return None


def _slowed_by(root: Path) -> Iterator[str]:
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        name = _text(device / "type") or ""
        cools_gpu = name.startswith("devfreq-") and any(part in name for part in _GPUS)
        if (name.endswith(_THROTTLES) or cools_gpu) and (_number(device / "cur_state") or 0) > 0:
            yield name


def _load(root: Path, gpu: Path | None) -> float | None:
    """The GPU's load; the kernel gives it in thousandths."""
    places = [root / "sys/devices/platform/gpu.0/load", root / "sys/devices/gpu.0/load"]
    places += [gpu / "device/load"] if gpu else []
    for place in places:
        if (value := _number(place)) is not None:
            return value / 1000
    return None


def _memory(root: Path) -> tuple[int | None, int | None]:
    """All of the memory, which CPU and GPU share, and what is available of it [bytes]."""
    found = {}
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        with suppress(ValueError, IndexError):
            found[name] = int(rest.split()[0]) * 1024
    return found.get("MemTotal"), found.get("MemAvailable")


def _number(path: Path) -> float | None:
    with suppress(ValueError, TypeError):
        return float(_text(path) or "")
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return None

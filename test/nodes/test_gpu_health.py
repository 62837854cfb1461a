import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rig import Rig

from avperception.nodes.health.gpu import GpuReading, GpuWatch
from avperception.nodes.health.nvml import nvml_reader
from avperception.nodes.health.tegra import tegra_reader

GIB = 2**30
FINE = GpuReading("A GPU", 61.0, 8 * GIB, 24 * GIB, 0.42, 1410.0, 201.0)


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """The kernel's files of a Jetson AGX Orin under JetPack 6, as far as they are read."""
    files = {
        "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "proc/meminfo": "MemTotal:       31314244 kB\nMemFree:  1000 kB\nMemAvailable:   15657122 kB\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "52125\n",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "48531\n",
        "sys/class/thermal/thermal_zone8/type": "tj-thermal\n",
        "sys/class/thermal/thermal_zone8/temp": "53000\n",
        "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
        "sys/class/thermal/cooling_device0/cur_state": "2\n",
        "sys/class/thermal/cooling_device1/type": "gpu-throttle-alert\n",
        "sys/class/thermal/cooling_device1/cur_state": "0\n",
        "sys/class/thermal/cooling_device2/type": "devfreq-17000000.gpu\n",
        "sys/class/thermal/cooling_device2/cur_state": "0\n",
        "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
        "sys/devices/platform/gpu.0/load": "731\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_jetson(orin: Path):
    read = tegra_reader(orin)
    assert read is not None
    reading = read()
    assert reading.name == "NVIDIA Jetson AGX Orin Developer Kit"
    assert (reading.temperature_c, reading.clock_mhz) == (48.531, 1020.0)
    assert (reading.utilization, reading.memory_share) == (0.731, 0.5)
    assert reading.is_shared and reading.slowed_by == ()


def test_a_jetson_that_is_slowed_down(orin: Path):
    thermal = orin / "sys/class/thermal"
    (thermal / "cooling_device1/cur_state").write_text("1\n")
    (thermal / "cooling_device2/cur_state").write_text("3\n")
    read = tegra_reader(orin)
    assert read is not None and read().slowed_by == ("gpu-throttle-alert", "devfreq-17000000.gpu")


def test_a_jetson_that_does_not_tell_all(orin: Path):
    (orin / "sys/class/thermal/thermal_zone1/temp").unlink()
    (orin / "sys/devices/platform/gpu.0/load").write_text("busy\n")
    (orin / "proc/meminfo").write_text("MemTotal: much\n")
    (orin / "sys/class/devfreq/17000000.gpu/cur_freq").unlink()
    read = tegra_reader(orin)
    assert read is not None
    reading = read()
    assert reading.temperature_c == 53.0, "the junction's, where the GPU's own zone is asleep"
    assert (reading.utilization, reading.memory_share, reading.clock_mhz) == (None, None, None)


def test_another_machine_is_no_jetson(tmp_path: Path):
    assert tegra_reader(tmp_path) is None


def test_this_machine_tells_its_gpu_or_has_none():
    read = nvml_reader()
    if read is None:
        pytest.skip("no NVIDIA driver, no GPU or no nvidia-ml-py here")
    reading = read()
    assert reading.name and reading.memory_share is not None and 0 <= reading.memory_share <= 1
    assert reading.temperature_c is not None and 10 < reading.temperature_c < 110


def test_a_reading_that_fails_and_comes_back():
    answers: list[GpuReading | OSError] = [FINE, OSError("it is lost"), FINE]
    seen = []

    def read() -> GpuReading:
        answer = answers.pop(0)
        seen.append(answer)
        if isinstance(answer, OSError):
            raise answer
        return answer

    watch = GpuWatch(lambda: read, period_s=0.05)
    try:
        wait_until(lambda: watch.failure == "it is lost")
        assert watch.latest is FINE
        wait_until(lambda: watch.failure is None)
    finally:
        watch.stop()


def test_that_nothing_can_read_a_gpu_is_known():
    watch = GpuWatch(lambda: None)
    try:
        wait_until(lambda: watch.is_unreadable)
        assert watch.latest is None and watch.failure is None
    finally:
        watch.stop()
    readable = GpuWatch(lambda: lambda: FINE)
    try:
        wait_until(lambda: readable.latest is FINE)
        assert not readable.is_unreadable
    finally:
        readable.stop()


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not done():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made.start()


def test_on_the_cpu_no_gpu_is_missed(rig: Rig):
    health = rig.node.health
    assert health.gpu is not None
    health.gpu.stop()
    health.gpu = GpuWatch(lambda: None)
    wait_until(lambda: health.gpu is not None and health.gpu.is_unreadable)
    statuses = {status.name: status for status in health.statuses()}
    assert "perception: gpu" not in statuses
    assert "temperature, memory" not in {item.key for item in statuses["perception: engines"].values}


@pytest.mark.parametrize(
    ("reading", "level", "message"),
    [
        (FINE, DiagnosticStatus.OK, "ok"),
        (GpuReading("A", 88.0, slowed_by=("heat",)), DiagnosticStatus.WARN, "88 °C; slowed down by heat"),
        (GpuReading("A", 97.0, 8 * GIB, 24 * GIB), DiagnosticStatus.ERROR, "97 °C"),
        (GpuReading("A", 50.0, 23 * GIB, 25 * GIB), DiagnosticStatus.WARN, "23.0 of 25.0 GiB"),
        (GpuReading("A", None, 30 * GIB, 30 * GIB, is_shared=True), DiagnosticStatus.ERROR, "30.0 of 30.0"),
    ],
)  # fmt: skip
def test_what_diagnostics_says_of_it(rig: Rig, reading: GpuReading, level: bytes, message: str):
    health = rig.node.health
    assert health.gpu is not None
    health.gpu.stop()
    health.gpu = GpuWatch(lambda: lambda: reading)
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    rig.spin_until(lambda: any(s.name == "perception: gpu" for m in messages for s in m.status), timeout_s=5)
    (status,) = (s for s in messages[-1].status if s.name == "perception: gpu")
    assert (status.level == level and status.message.startswith(message)) or message in status.message
    values = {item.key: item.value for item in status.values}
    assert values["name"] == reading.name
    if reading is FINE:
        assert values["temperature [°C]"] == "61" and values["utilization [%]"] == "42"
        assert values["memory used [GiB]"] == "8.0" and values["slowed by"] == "nothing"

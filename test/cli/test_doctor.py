import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from avperception.doctor.finding import State
from avperception.doctor.gpu import examine_cuda, examine_gpu, examine_runtimes
from avperception.doctor.networks import examine_engines
from avperception.doctor.ros import examine_ros
from avperception.engines.adapter import Flavour
from avperception.engines.adapter import probe as probe_tensorrt
from avperception.engines.machine import Gpu, Machine
from avperception.pipeline.device.cuda_jpeg import probe

LINE = [sys.executable, "-c", "from avperception.cli.main import main; main()", "doctor"]
GPU_MACHINE = Machine(
    "linux-x86_64", Gpu("NVIDIA RTX A4000", "8.6", 16 << 30), None, "580.65.06", "13.0", None, None
)


def doctor(models: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "AVPERCEPTION_MODELS": str(models),
        "AVPERCEPTION_ENGINES": str(models),
        **environment,
    }
    return subprocess.run([*LINE, *arguments], env=variables, capture_output=True, text=True, timeout=60)


def test_everything_is_looked_at(shared_dir: Path):
    result = doctor(shared_dir / "models", "--json")
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert {
        "Python", "ROS 2", "ROS messages", "RMW", "shared memory", "GPU", "ONNX Runtime", "CuPy",
        "model yolox_nano", "model twinlitenet",
    } <= set(findings)  # fmt: skip
    assert findings["Python"]["state"] == "OK"
    assert findings["model yolox_nano"]["state"] == "OK"
    wrong = [finding for finding in findings.values() if finding["state"] == "wrong"]
    assert result.returncode == (1 if wrong else 0)
    assert all(finding["command"] for finding in wrong)


def test_what_is_wrong_comes_with_the_command_that_mends_it(shared_dir: Path, tmp_path: Path):
    good = (shared_dir / "models" / "yolox_nano_416.onnx").read_bytes()
    (tmp_path / "yolox_nano_416.onnx").write_bytes(good[:-1])
    (tmp_path / "yolox_nano_416.fp16.sm86.engine").write_bytes(b"old")
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    result = doctor(tmp_path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    for start, command in [
        ("model yolox_nano: wrong: ", "    avperception models pull yolox_nano"),
        ("model twinlitenet: note: not pulled", "    avperception models pull twinlitenet"),
        (
            "engine yolox_nano_416.fp16.sm86.engine: wrong: ",
            "    avperception engine build yolox_nano --prec",
        ),
        ("model broken: wrong: ", "    $EDITOR "),
    ]:
        position = next(index for index, line in enumerate(lines) if line.startswith(start))
        assert lines[position + 1].startswith(command)


def test_shared_memory_that_is_too_small_is_found(tmp_path: Path):
    findings = {finding.what: finding for finding in examine_ros({}, tmp_path / "absent")}
    assert findings["shared memory"].state is State.WRONG
    assert findings["shared memory"].command.startswith("export FASTRTPS_DEFAULT_PROFILES_FILE=")  # type: ignore[union-attr]


def test_another_middleware_is_no_fault():
    findings = {
        finding.what: finding for finding in examine_ros({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
    }
    assert findings["RMW"].text == "rmw_cyclonedds_cpp"
    assert findings["shared memory"].state is State.NOTE


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_on_a_machine_with_a_gpu_cupy_is_missed():
    (gpu, driver) = examine_gpu(GPU_MACHINE)
    assert gpu.text == "NVIDIA RTX A4000, compute capability 8.6, 16.0 GiB"
    assert driver.text == "580.65.06, up to CUDA 13.0"
    runtimes = {finding.what: finding for finding in examine_runtimes(GPU_MACHINE)}
    assert runtimes["CuPy"].state is State.WRONG
    assert runtimes["CuPy"].command == "pip install cupy-cuda13x"


@pytest.mark.skipif(probe() != "not installed", reason="nvImageCodec is installed")
@pytest.mark.parametrize(("cuda", "major"), [("13.0", "13"), ("12.8", "12")])
def test_on_a_machine_with_a_gpu_nvimagecodec_is_recommended(cuda: str, major: str):
    machine = replace(GPU_MACHINE, cuda=cuda)
    runtimes = {finding.what: finding for finding in examine_runtimes(machine)}
    assert runtimes["nvImageCodec"].state is State.NOTE
    assert runtimes["nvImageCodec"].text == "not installed: OpenCV decodes JPEG images on the CPU"
    assert runtimes["nvImageCodec"].command == f"pip install 'nvidia-nvimgcodec-cu{major}[nvjpeg]'"


def test_without_a_gpu_that_is_said_and_no_fault():
    (gpu,) = examine_gpu(Machine("linux-x86_64", None, "no driver", None, None, None, None))
    assert gpu.state is State.NOTE
    assert gpu.text == "no driver: networks run on the CPU with ONNX Runtime"


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [("foo", "it must be one of tensorrt, tensorrt_rtx"), ("tensorrt", "not installed")],
)
def test_a_tensorrt_that_cannot_be_chosen_is_one_line_of_a_whole_report(
    tmp_path: Path, chosen: str, reason: str
):
    if chosen == "tensorrt" and isinstance(probe_tensorrt(chosen), Flavour):
        pytest.skip("TensorRT is installed")
    result = doctor(tmp_path, "--json", AVPERCEPTION_TENSORRT=chosen)
    assert result.returncode == 1, result.stderr
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert findings["AVPERCEPTION_TENSORRT"]["state"] == "wrong"
    assert findings["AVPERCEPTION_TENSORRT"]["text"].startswith(f"{chosen!r}: {reason}")
    assert findings["AVPERCEPTION_TENSORRT"]["command"] == "unset AVPERCEPTION_TENSORRT"
    assert {"Python", "ONNX Runtime", "model yolox_nano"} <= set(findings)


def test_a_driver_older_than_the_packages_is_found():
    packages = ["numpy", "cupy-cuda13x", "tensorrt_rtx_cu13_libs", "tensorrt-cu12"]
    (cuda,) = examine_cuda(replace(GPU_MACHINE, cuda="12.4"), packages)
    assert cuda.state is State.WRONG
    assert cuda.text == (
        "the driver is for CUDA 12.4, of CUDA 13 are cupy-cuda13x, tensorrt-rtx-cu13-libs: "
        "driver 580 or newer is needed"
    )
    assert cuda.command == "sudo apt install nvidia-driver-580"
    (cuda,) = examine_cuda(GPU_MACHINE, packages)
    assert cuda.state is State.OK
    assert cuda.text.startswith("13.0, ")


def test_an_engine_where_no_tensorrt_is_wants_it_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "some.fp16.sm86.engine").write_bytes(b"old")
    monkeypatch.setenv("AVPERCEPTION_ENGINES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (finding,) = [f for f in examine_engines(GPU_MACHINE) if "some." in f.what]
    assert finding.command == "pip install 'avperception[tensorrt-rtx]'"
    (finding,) = [
        f for f in examine_engines(replace(GPU_MACHINE, flavour="tensorrt_rtx")) if "some." in f.what
    ]
    assert str(finding.command).startswith("avperception engine build ")

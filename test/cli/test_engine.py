import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from avperception.cli.engine import app
from avperception.doctor.finding import State
from avperception.doctor.networks import examine_engines
from avperception.engines.adapter import TENSORRT_RTX, Flavour, probe
from avperception.engines.check import CheckReport
from avperception.engines.files import locked
from avperception.engines.machine import current_machine
from avperception.errors import AvperceptionError
from avperception.models.library import find_card, locate

without_gpu = pytest.mark.skipif(current_machine().gpu is not None, reason="there is a GPU")
LINE = [sys.executable, "-c", "from avperception.cli.main import main; main()", "engine"]

if sys.platform != "linux" or os.uname().machine != "x86_64":
    pytest.skip("TensorRT-RTX is for Linux on x86-64 only", allow_module_level=True)


@pytest.fixture
def environment(shared_dir: Path, tmp_path: Path) -> dict[str, str]:
    assert isinstance(probe(TENSORRT_RTX), Flavour), f"TensorRT-RTX: {probe(TENSORRT_RTX)}: run `make setup`"
    return {
        **os.environ,
        "AVPERCEPTION_MODELS": str(shared_dir / "models"),
        "AVPERCEPTION_ENGINES": str(tmp_path / "engines"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


def engine(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment)


@pytest.fixture
def built(environment: dict[str, str]) -> Path:
    result = engine(environment, "build", "twinlitenet", "--precision", "fp32", "--target", "sm86,sm89")
    assert result.exit_code == 0, result.output
    path = Path(environment["AVPERCEPTION_ENGINES"]) / "twinlitenet_360x640.fp32.sm86-sm89.engine"
    assert path.is_file()
    assert f"{path}: fp32 for compute capability 8.6, 8.9, " in result.stdout
    assert "tensorrt_rtx" in result.stdout
    return path


def test_an_engine_is_built_listed_and_inspected(built: Path, environment: dict[str, str]):
    rows = json.loads(engine(environment, "list", "--json").stdout)
    assert [row["file"] for row in rows] == [str(built)]
    assert rows[0]["compute_capabilities"] == ["8.6", "8.9"]
    assert rows[0]["model"] == "twinlitenet"
    listed = engine(environment, "list").stdout
    assert built.name in listed

    inspected = engine(environment, "inspect", "twinlitenet")
    assert inspected.exit_code == 0, inspected.output
    assert "ONNX nodes" in inspected.stdout
    assert "fp32" in inspected.stdout
    assert "activations " in inspected.stdout
    everything = json.loads(engine(environment, "inspect", str(built), "--json").stdout)
    assert everything["manifest"]["engine"]["file"] == built.name
    assert len(everything["layers"]) > 20


def test_a_damaged_engine_is_listed_with_the_reason_and_the_command(built: Path, environment: dict[str, str]):
    built.write_bytes(built.read_bytes()[:1000])
    listed = engine(environment, "list")
    assert listed.exit_code == 0
    assert "here: 1000 bytes, it was cut off or replaced" in listed.stdout
    command = "avperception engine build twinlitenet --precision fp32 --target sm86,sm89"
    assert f"build it with `{command}`" in listed.stdout
    again = engine(environment, *command.split()[2:])
    assert again.exit_code == 0
    assert "cut off" not in engine(environment, "list").stdout


@without_gpu
def test_without_a_gpu_the_check_says_what_it_compares(
    built: Path, environment: dict[str, str], shared_dir: Path
):
    images = str(shared_dir / "data" / "kitti" / "training" / "image_2")
    checked = engine(environment, "check", "twinlitenet", "--precision", "fp32", "--images", images)
    assert checked.exit_code == 0, checked.output
    assert "drop of mIoU" in checked.stdout
    assert "NOT the engine itself: " in checked.stdout
    assert "its network ran on ONNX Runtime instead" in checked.stdout
    missing = engine(environment, "check", "twinlitenet", "--precision", "fp16", "--images", images)
    assert "there is no fp16 engine" in str(missing.exception)


@without_gpu
def test_a_check_past_its_limit_fails(environment: dict[str, str], shared_dir: Path):
    images = str(shared_dir / "data" / "kitti" / "training" / "image_2")
    assert engine(environment, "build", "yolox_nano", "--target", "sm86").exit_code == 0
    limits = ("--limit", "50%", "--max-error", "0.000001")
    failed = engine(environment, "check", "yolox_nano", "--images", images, *limits, "--json")
    assert failed.exit_code == 1
    report = json.loads(failed.stdout)
    assert report["on_gpu"] is False
    assert 1e-6 < report["output_errors"]["output"] < 0.5  # FP16 is not FP32
    assert [failure.partition(" is off by ")[0] for failure in report["failures"]] == ["output `output`"]


def test_what_is_past_a_limit_is_named():
    def failures(error: float, drop: float | None) -> list[str]:
        report = CheckReport("e", "r", True, "", 3, {"out": error}, "AP50", drop)
        return report.failures(limit=0.01, max_error=0.02)

    assert failures(0.02, 0.01) == []
    assert failures(0.0, -0.1) == []
    assert failures(0.03, 0.0) == ["output `out` is off by 3.00e-02, 0.02 is allowed"]
    assert failures(0.0, 0.05) == ["AP50 drops by 5.00 %, 1 % is allowed"]
    assert len(failures(float("nan"), float("nan"))) == 2
    assert failures(0.0, None) == ["AP50 cannot be measured: FP32 finds nothing on these images"]


def test_bad_input_is_one_line(environment: dict[str, str], tmp_path: Path):
    (tmp_path / "empty").mkdir()
    build = ("build", "yolox_nano", "--target", "sm86")
    for arguments, reason in [
        (("build", "yolo"), "there is no model 'yolo'"),
        ((*build, "--precision", "fp8"), "it must be one of fp32, fp16, int8"),
        ((*build, "--calibrator", "mean"), "it must be one of max, entropy, percentile"),
        (("build", "yolox_nano", "--target", "ampere"), "--target is 'ampere'"),
        (("build", "yolox_nano", "--target", "sm99"), "knows no 9.9"),
        ((*build, "--workspace", "0"), "--workspace is 0"),
        ((*build, "--shape", "images=1"), "--shape is 'images=1'"),
        ((*build, "--sparse"), "makes no use of 2:4 sparsity"),
        ((*build, "--dla", "0"), "only Jetson"),
        ((*build, "--max-drop", "a lot"), "--max-drop is 'a lot'"),
        ((*build, "--max-drop", "1%"), "choose what is left out of int8, --precision is fp16"),
        ((*build, "--precision", "int8"), "calibration set"),
        ((*build, "--precision", "int8", "--calibration", str(tmp_path / "empty")), "empty"),
        ((*build, "--precision", "int8", "--calibration", str(tmp_path / "absent")), "absent"),
        (("inspect", "yolox_nano"), "run `avperception engine build yolox_nano`"),
        (("inspect", str(tmp_path / "absent.engine")), "is not there"),
        (("check", "yolox_nano", "--images", str(tmp_path), "--limit", "2"), "--limit is '2'"),
    ]:
        result = engine(environment, *arguments)
        assert isinstance(result.exception, AvperceptionError), (arguments, result)
        assert "\n" not in str(result.exception)
        assert reason in str(result.exception), arguments
    assert {path.suffix for path in (tmp_path / "engines").iterdir()} <= {".lock"}


def test_a_build_that_waits_says_so_where_no_bar_is_shown(environment: dict[str, str]):
    file = Path(environment["AVPERCEPTION_ENGINES"]) / "demo_detector.fp32.sm86.engine"
    line = [*LINE, "build", "demo_detector", "--precision", "fp32", "--target", "sm86"]
    with locked(file):
        process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stderr
        assert process.stderr.readline() == f"waiting for another build of {file.name} ...\n".encode()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert output.startswith(str(file).encode())


def test_a_damaged_engine_is_inspected_with_a_warning(built: Path, environment: dict[str, str]):
    built.write_bytes(b"x" + built.read_bytes()[1:])
    inspected = engine(environment, "inspect", str(built))
    assert inspected.exit_code == 0
    assert f"these are the layers as built, {built} is another by now" in inspected.stderr
    built.with_suffix(".layers.json").unlink()
    gone = engine(environment, "inspect", str(built))
    assert "build it anew with `avperception engine build twinlitenet --precision fp32" in str(gone.exception)


def test_ctrl_c_ends_a_build_without_a_traceback(environment: dict[str, str]):
    line = [*LINE, "build", "yolox_nano", "--target", "sm86"]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    folder = Path(environment["AVPERCEPTION_ENGINES"])
    deadline = time.monotonic() + 30
    while not list(folder.glob(".*.lock")):  # the build has begun
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_an_engine_of_another_network_and_one_of_an_own_card_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    card = find_card("demo_detector")
    network = (tmp_path / "own.onnx").resolve()
    network.write_bytes(locate(card).read_bytes())
    own = tmp_path / "own.yaml"
    text = card.path.read_text().replace("demo_detector", "own", 1).replace(card.file, network.name)
    own.write_text(text)
    monkeypatch.delenv("AVPERCEPTION_ENGINES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = CliRunner().invoke(app, ["build", str(own), "--precision", "fp32", "--target", "sm86"])
    assert built.exit_code == 0, (built.output, built.exception)

    def rows(*arguments: str) -> dict[str, dict[str, object]]:
        found = json.loads(CliRunner().invoke(app, ["list", "--json", *arguments]).stdout)
        return {Path(row["file"]).name: row for row in found}

    name = "own.fp32.sm86.engine"
    assert name not in rows()
    assert not any("network" in str(reason) for reason in rows(str(own))[name].get("reasons", []))  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    assert name in rows()
    network.write_bytes(network.read_bytes() + b"\0")
    assert any(str(reason).startswith("network own.onnx") for reason in rows()[name]["reasons"])  # type: ignore[attr-defined]
    (finding,) = [f for f in examine_engines(current_machine()) if f.what == f"engine {name}"]
    assert finding.state is State.WRONG
    assert "network own.onnx" in finding.text

    (tmp_path / "own.fp32.sm86.json").unlink()
    inspected = CliRunner().invoke(app, ["inspect", name])
    assert "build it with `avperception engine build " in str(inspected.exception)


def test_a_network_in_place_of_a_card_is_said_so():
    result = CliRunner().invoke(app, ["build", "net.onnx"])
    assert isinstance(result.exception, AvperceptionError)
    assert "net.onnx is a network, a model card (.yaml) is wanted: copy one of " in str(result.exception)

import json
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest

from avperception.engines.adapter import Flavour
from avperception.engines.builder import BuildRequest, BuildResult, build_engine
from avperception.engines.engine_file import EngineFile, engines_of
from avperception.engines.files import locked, sha256_of_file, write_together
from avperception.engines.manifest import read_manifest
from avperception.engines.options import CompilerOptions
from avperception.errors import EngineError, ModelError
from avperception.models.library import find_card

NETWORKS = {
    "yolox_nano": "yolox_nano_416",
    "twinlitenet": "twinlitenet_360x640",
    "demo_detector": "demo_detector",
    "demo_segmenter": "demo_segmenter",
}
OPTIONS = CompilerOptions(targets=("8.6", "8.9"))

BUILD = """
import sys
from avperception.engines.builder import BuildRequest, build_engine
from avperception.engines.options import CompilerOptions
from avperception.models.library import find_card
def progress(stage, part):
    if sys.argv[1] == "slow":
        print(stage, flush=True)
options = CompilerOptions(targets=("8.6", "8.9"))
result = build_engine(BuildRequest(find_card("yolox_nano"), "fp32", options), progress)
print("built" if result.report else "taken")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "engines"
    monkeypatch.setenv("AVPERCEPTION_ENGINES", str(folder))
    return folder


def build(model: str) -> BuildResult:
    return build_engine(BuildRequest(find_card(model), "fp32", OPTIONS), lambda stage, part: None)


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8 max", "int8 entropy", "int8 percentile"])
def test_a_model_becomes_an_engine_with_its_manifest(
    model: str, kind: str, rtx: Flavour, models: Path, folder: Path, repository: Path
):
    precision, _, calibrator = kind.partition(" ")
    images = models.parent / "data" / "kitti" / "training" / "image_2" if calibrator else None
    request = BuildRequest(
        find_card(model), precision, OPTIONS, calibrator or "entropy", calibration_set=images  # type: ignore[arg-type]
    )  # fmt: skip
    result = build_engine(request, lambda stage, part: None)
    assert result.file.path == folder / f"{NETWORKS[model]}.{precision}.sm86-sm89.engine"
    assert result.manifest == read_manifest(result.file.manifest_path)
    schema = json.loads((repository / "docs" / "engine_manifest.schema.json").read_bytes())
    jsonschema.validate(json.loads(result.file.manifest_path.read_bytes()), schema)
    assert result.manifest.engine.sha256 == sha256_of_file(result.file.path)
    assert result.manifest.request.calibrator == (calibrator or None)
    prepared = result.file.prepared_path
    assert prepared.is_file() == (precision != "fp32")
    if precision != "fp32":
        assert result.manifest.prepared_onnx.sha256 == sha256_of_file(prepared)
    layers = json.loads(result.file.layers_path.read_bytes())
    computing = [layer["precision"] for layer in layers if layer["weight_bytes"] > 1024]
    assert computing.count(precision) > 0.9 * len(computing)
    found = engines_of(models / f"{NETWORKS[model]}.onnx", precision)
    assert [file.path for file in found] == [result.file.path]
    assert {path.suffix for path in folder.iterdir()} <= {".engine", ".json", ".onnx", ".lock"}


def test_the_manifest_is_enough_to_build_the_same_engine_again(
    rtx: Flavour, models: Path, engine: EngineFile, fitting: object
):
    manifest = read_manifest(engine.manifest_path)
    request = BuildRequest.again(manifest, fitting)  # type: ignore[arg-type]
    assert request == BuildRequest(find_card("twinlitenet"), "fp32", OPTIONS)
    again = build_engine(request, lambda stage, part: None)
    assert again.file.path == engine.path
    # Not the very bytes: the builder orders what is equal as it comes.
    assert again.manifest.engine.bytes == pytest.approx(manifest.engine.bytes, rel=0.01)
    assert again.manifest.request == manifest.request
    assert (again.manifest.inputs, again.manifest.outputs) == (manifest.inputs, manifest.outputs)


def test_a_model_that_is_not_here_is_refused_before_anything_is_done(
    rtx: Flavour, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="avperception models pull yolox_nano"):
        build("yolox_nano")
    assert not folder.exists()


def start(mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_builds_at_once_wait_for_each_other(rtx: Flavour, models: Path, folder: Path):
    processes = [start("fast") for _ in range(2)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert sorted(out.strip() for out, _ in results)[0] == "built"
    (engine,) = folder.glob("*.engine")
    assert read_manifest(EngineFile(engine).manifest_path).engine.sha256 == sha256_of_file(engine)


def test_a_build_waits_for_the_lock_and_takes_the_result_of_the_first(
    rtx: Flavour, models: Path, folder: Path
):
    first = build("yolox_nano")
    said: list[str] = []
    results: list[BuildResult] = []
    with locked(first.file.path):
        request = BuildRequest(find_card("yolox_nano"), "fp32", OPTIONS)
        thread = threading.Thread(
            target=lambda: results.append(build_engine(request, lambda stage, part: said.append(stage)))
        )
        thread.start()
        deadline = time.monotonic() + 20
        while not said:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert said == [f"waiting for another build of {first.file.path.name}"]
        assert not results
    thread.join(timeout=60)
    assert results[0].report is None
    assert results[0].manifest == first.manifest


def test_ctrl_c_leaves_nothing_half_written(rtx: Flavour, models: Path, folder: Path):
    process = start("slow")
    assert process.stdout
    assert "TensorRT" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_a_full_disk_is_one_clear_error_and_leaves_what_was_there(rtx: Flavour, models: Path, folder: Path):
    good = build("yolox_nano")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def limit() -> None:  # no file may grow past this: to the program it is a disk that is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    result = subprocess.run(
        [sys.executable, "-c", BUILD, "fast"], preexec_fn=limit, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("avperception.errors.EngineError: ")
    assert f"{good.file.path} cannot be written: File too large: nothing was kept" in last
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "a file").write_bytes(b"")
    with (
        pytest.raises(
            EngineError, match=r"cannot be written: .*: free the disk, or set AVPERCEPTION_ENGINES"
        ),
        locked(tmp_path / "a file" / "x.engine"),
    ):
        pass


def test_several_files_are_written_all_or_none(tmp_path: Path):
    good, bad = tmp_path / "good", tmp_path / "a file" / "bad"
    good.write_bytes(b"old")
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(EngineError, match=r"bad cannot be written: File exists: nothing was kept"):
        write_together({good: b"new", bad: b"new"})
    assert good.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "good"]
    write_together({good: b"new", tmp_path / "sub" / "other": b"other"})
    assert good.read_bytes() == b"new"
    assert (tmp_path / "sub" / "other").read_bytes() == b"other"

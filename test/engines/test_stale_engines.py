"""Every way in which an engine can be the wrong one, each refused with the reason and the command."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avperception.engines import load_engine
from avperception.engines.engine_file import EngineFile, StaleEngineError, verify
from avperception.engines.machine import Gpu, Machine


def flip_byte(engine: EngineFile) -> None:
    data = bytearray(engine.path.read_bytes())
    data[len(data) // 2] ^= 1
    engine.path.write_bytes(data)


def change_manifest(engine: EngineFile, *keys: str, value: object) -> None:
    manifest = json.loads(engine.manifest_path.read_bytes())
    section = manifest
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    engine.manifest_path.write_text(json.dumps(manifest))


DAMAGES: dict[str, tuple[Callable[[EngineFile], object], str]] = {
    "flipped byte": (flip_byte, r"file \(engine: sha256 \w{12}\.\.\.; here: \w{12}\.\.\., it was altered"),
    "truncated": (lambda e: e.path.write_bytes(e.path.read_bytes()[:-1]), "it was cut off or replaced"),
    "empty": (lambda e: e.path.write_bytes(b""), "here: 0 bytes"),
    "not an engine": (lambda e: e.path.write_text("<html>404</html>"), "it was cut off or replaced"),
    "engine missing": (lambda e: e.path.unlink(), "No such file"),
    "manifest missing": (lambda e: e.manifest_path.unlink(), "is not there, so nothing is known"),
    "manifest no JSON": (lambda e: e.manifest_path.write_text("{"), "is no JSON"),
    "manifest of something else": (lambda e: e.manifest_path.write_text("[1]"), "is not an engine's"),
    "manifest incomplete": (
        lambda e: e.manifest_path.write_text('{"format": 1}'),
        "incomplete or altered .*is missing",
    ),
    "manifest newer": (lambda e: change_manifest(e, "format", value=2), "comes from a newer avperception"),
    "built by another version": (
        lambda e: change_manifest(e, "tensorrt", "version", value="1.4.0.76"),
        r"TensorRT version \(engine: 1\.4\.0\.76; here: ",
    ),
    "built by the other flavour": (
        lambda e: change_manifest(e, "tensorrt", "flavour", value="tensorrt"),
        r"TensorRT flavour \(engine: tensorrt; here: tensorrt_rtx\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_engine_is_refused(damage: str, engine: EngineFile, fitting: Machine):
    verify(engine, fitting)
    do_it, reason = DAMAGES[damage]
    do_it(engine)
    with pytest.raises(StaleEngineError, match=reason) as caught:
        verify(engine, fitting)
    check_message(str(caught.value), engine)


MACHINES: dict[str, tuple[dict[str, object], str]] = {
    "other compute capability": (
        {"gpu": Gpu("NVIDIA H200", "9.0", 1 << 37)},
        r"compute capability \(engine: 8\.6 or 8\.9; here: 9\.0 \(NVIDIA H200\)\)",
    ),
    "no GPU": (
        {"gpu": None, "gpu_problem": "no driver"},
        r"GPU \(engine: compute capability 8\.6 or 8\.9; here: no driver\)",
    ),
    "newer TensorRT": ({"version": "99.0.0.1"}, r"TensorRT version .*here: 99\.0\.0\.1"),
    "no TensorRT": ({"flavour": None, "version": None}, r"flavour \(engine: tensorrt_rtx; here: none\)"),
    "other processor": ({"platform": "linux-aarch64"}, r"platform \(.*; here: linux-aarch64\)"),
}  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_an_engine_of_another_machine_is_refused(machine: str, engine: EngineFile, fitting: Machine):
    changes, reason = MACHINES[machine]
    with pytest.raises(StaleEngineError, match=reason) as caught:
        verify(engine, dataclasses.replace(fitting, **changes))  # type: ignore[arg-type]
    check_message(str(caught.value), engine)


def check_message(text: str, engine: EngineFile) -> None:
    assert "\n" not in text
    assert str(engine.path) in text
    assert "build it with `avperception engine build twinlitenet --precision fp32" in text


def test_the_command_names_the_gpu_that_is_here(engine: EngineFile, fitting: Machine):
    other = dataclasses.replace(fitting, gpu=Gpu("NVIDIA H200", "9.0", 1 << 37))
    with pytest.raises(StaleEngineError) as caught:
        verify(engine, other)
    assert caught.value.command == "avperception engine build twinlitenet --precision fp32"
    with pytest.raises(StaleEngineError) as caught:
        verify(engine, dataclasses.replace(fitting, version="1.9"))
    assert caught.value.command.endswith(" --target sm86,sm89")


def test_another_network_and_another_precision_are_refused(
    engine: EngineFile, fitting: Machine, models: Path
):
    network = models / "twinlitenet_360x640.onnx"
    assert verify(engine, fitting, network, "fp32").onnx.file == network.name
    with pytest.raises(
        StaleEngineError, match=r"network twinlitenet_360x640\.onnx \(engine: sha256 f505b56bd7c9"
    ):
        verify(engine, fitting, models / "yolox_nano_416.onnx")
    # A renamed file does not change what is in it.
    for path in engine.path.parent.iterdir():
        path.rename(path.with_name(path.name.replace("fp32", "fp16")))
    renamed = EngineFile(engine.path.with_name(engine.path.name.replace("fp32", "fp16")))
    with pytest.raises(StaleEngineError, match=r"precision \(engine: fp32; here: fp16 asked for\)"):
        verify(renamed, fitting, network, "fp16")


def test_every_difference_is_listed_at_once(engine: EngineFile, fitting: Machine, models: Path):
    flip_byte(engine)
    other = dataclasses.replace(fitting, gpu=Gpu("NVIDIA T4", "7.5", 1 << 34), version="1.0", cuda="12.4")
    with pytest.raises(StaleEngineError) as caught:
        verify(engine, other, models / "yolox_nano_416.onnx", "int8")
    assert [difference.what for difference in caught.value.differences] == [
        "file", "TensorRT version", "compute capability", "network twinlitenet_360x640.onnx", "precision",
    ]  # fmt: skip


def test_a_gpu_of_another_model_is_refused_by_tensorrt_but_not_by_rtx(engine: EngineFile, fitting: Machine):
    change_manifest(engine, "target", "gpu", value="NVIDIA RTX A6000")
    with pytest.raises(StaleEngineError, match=r"GPU \(engine: NVIDIA RTX A6000; here: NVIDIA RTX A4000\)"):
        verify(engine, fitting)


def test_an_older_cuda_than_at_build_time_is_refused(engine: EngineFile, fitting: Machine):
    change_manifest(engine, "build", "cuda", value="13.0")
    verify(engine, dataclasses.replace(fitting, cuda="14.1"))
    with pytest.raises(StaleEngineError, match=r"CUDA of the driver \(engine: 13\.0 or newer; here: 12\.9\)"):
        verify(engine, dataclasses.replace(fitting, cuda="12.9"))


def test_loading_refuses_too(engine: EngineFile, models: Path):
    flip_byte(engine)
    with pytest.raises(StaleEngineError, match="it was altered"):
        load_engine(models / "twinlitenet_360x640.onnx", "tensorrt", precision="fp32")

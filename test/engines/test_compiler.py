import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import DOUBLE, FLOAT, IMAGE, convolution, one_node, open_batch, save
from onnx import helper

from avperception.engines.adapter import Flavour
from avperception.engines.compiler import CompiledTensor, compile_network
from avperception.engines.layers import Layer
from avperception.engines.machine import current_machine
from avperception.engines.options import CompilerOptions, Profile
from avperception.errors import EngineError

TARGETS = ("8.6", "8.9")
NETWORKS = ["yolox_nano_416.onnx", "twinlitenet_360x640.onnx"]


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(EngineError) as caught:
        compile_network(path, CompilerOptions(**{"targets": TARGETS, **options}))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_network_is_built_for_gpus_that_are_not_here(name: str, rtx: Flavour, shared_dir: Path):
    parts: list[float] = []
    network = shared_dir / "models" / name
    compiled = compile_network(
        network, CompilerOptions(targets=TARGETS), lambda part, phase: parts.append(part)
    )
    assert len(compiled.data) > network.stat().st_size
    assert compiled.compute_capabilities == TARGETS
    assert [tensor.name for tensor in compiled.inputs] == ["images"]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    # Its layers hold every weight of the network, as FP32, up to small change for folded shapes.
    held = sum(layer.weight_bytes for layer in compiled.layers)
    assert held == pytest.approx(compiled.memory["weight_bytes"], rel=0.05)
    assert {layer.precision for layer in compiled.layers} <= {"fp32", "int32", "bool", "int64"}
    assert any({"Conv", "Sigmoid", "Mul"} <= operators(layer) for layer in compiled.layers) or "twin" in name


def test_fp32_is_built_without_tf32_whatever_the_environment_says(
    rtx: Flavour, shared_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    """NVIDIA_TF32_OVERRIDE, not the builder's flag, decides over the kernels of TensorRT-RTX."""
    network = shared_dir / "models" / NETWORKS[0]
    built = {}
    for setting in (None, "0", "1"):
        if setting is None:
            monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
        else:
            monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", setting)
        for tf32 in (False, True):
            compiled = compile_network(network, CompilerOptions(targets=TARGETS[:1], tf32=tf32))
            assert compiled.tf32 is tf32
            assert compiled.notes == ()
            built.setdefault(tf32, set()).add(compiled.data)
        assert os.environ.get("NVIDIA_TF32_OVERRIDE") == setting
    assert [len(engines) for engines in built.values()] == [1, 1]
    assert built[False] != built[True]


def test_matrix_products_in_fp32_are_allowed_tf32_and_that_is_said(rtx: Flavour, shared_dir: Path):
    compiled = compile_network(shared_dir / "models" / NETWORKS[1], CompilerOptions(targets=TARGETS[:1]))
    assert compiled.tf32 is True
    assert "has no FP32 kernel for matrix products, such as `/encoder/sa" in compiled.notes[0]


def operators(layer: Layer) -> set[str]:
    """The kinds of the ONNX nodes in a layer; exporters name a node `Conv_41`."""
    return {name.rpartition("_")[0] for name in layer.operators}


def test_an_operator_that_is_not_known_is_named_with_its_node(rtx: Flavour, tmp_path: Path):
    # ONNX itself does not know the first one; the second is ONNX's, but not TensorRT's.
    text = refusal(one_node(tmp_path / "unknown.onnx", "NoSuchOperator", "head/first"))
    assert "NoSuchOperator" in text
    assert "head/first" in text
    text = refusal(one_node(tmp_path / "det.onnx", "Det", "head/second", ("y", FLOAT, (1, 3))))
    assert "operator Det of node `head/second`" in text


def test_a_node_with_wrong_shapes_is_named(rtx: Flavour, tmp_path: Path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="neck/matmul")
    path = save(
        tmp_path / "shapes.onnx", [node], [("x", FLOAT, (1, 7))], [("y", FLOAT, (1, 3))],
        w=np.ones((5, 3), np.float32),
    )  # fmt: skip
    assert "neck/matmul" in refusal(path)


def test_files_that_are_no_networks_are_refused(rtx: Flavour, tmp_path: Path, shared_dir: Path):
    for name, data in [
        ("empty.onnx", b""),
        ("text.onnx", b"not a network"),
        ("cut.onnx", (shared_dir / "models" / NETWORKS[0]).read_bytes()[:-1000]),
    ]:
        (tmp_path / name).write_bytes(data)
        assert str(tmp_path / name) in refusal(tmp_path / name)
    assert "is not there" in refusal(tmp_path / "absent.onnx")


def test_weights_in_a_file_of_their_own_are_refused_and_the_command_mends_it(rtx: Flavour, tmp_path: Path):
    whole = convolution(tmp_path / "whole.onnx", np.ones((4, 4, 3, 3), np.float32))
    parted = tmp_path / "parted.onnx"
    onnx.save(
        onnx.load(str(whole)),
        str(parted),
        save_as_external_data=True,
        location="parted.bin",
        size_threshold=0,
    )
    text = refusal(parted)
    assert "keeps its weights in another file (parted.bin)" in text
    command = text.rpartition("`")[0].rpartition("`")[2].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert compile_network(tmp_path / "WHOLE.onnx", CompilerOptions(targets=TARGETS[:1])).data


def test_double_precision_is_refused_not_rounded(rtx: Flavour, tmp_path: Path):
    relu = helper.make_node("Relu", ["x"], ["y"], name="body/relu")
    path = save(tmp_path / "io.onnx", [relu], [("x", DOUBLE, IMAGE)], [("y", DOUBLE, IMAGE)])
    text = refusal(path)
    assert "FP64" in text
    assert "body/relu" in text
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], name="up", to=DOUBLE),
        helper.make_node("Add", ["wide", "w"], ["sum"], name="body/add"),
        helper.make_node("Cast", ["sum"], ["y"], name="down", to=FLOAT),
    ]
    path = save(tmp_path / "inside.onnx", nodes, [("x", FLOAT, IMAGE)], [("y", FLOAT, IMAGE)], w=np.ones(1))
    assert "FP64" in refusal(path)


def test_an_open_axis_needs_a_profile(rtx: Flavour, tmp_path: Path):
    path = open_batch(tmp_path / "open.onnx")
    text = refusal(path)
    assert "input `x` is ?x3x8x8, open on axis 0" in text
    assert "--shape x=1x3x8x8,1x3x8x8,4x3x8x8" in text
    profile = Profile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    compiled = compile_network(path, CompilerOptions(targets=TARGETS, profiles={"x": profile}))
    assert compiled.inputs == (CompiledTensor("x", "float32", (-1, 3, 8, 8), profile),)
    assert compiled.outputs[0].shape == (-1, 3, 8, 8)
    wrong = Profile((1, 4, 8, 8), (2, 4, 8, 8), (4, 4, 8, 8))
    assert "1x4x8x8 is not an input `x` of ?x3x8x8" in refusal(path, profiles={"x": wrong})
    assert "there is no input `z`: it has x" in refusal(path, profiles={"x": profile, "z": profile})
    fixed = one_node(tmp_path / "fixed.onnx", "Relu", "relu")
    assert "is fixed to 1x3x8x8: leave --shape away" in refusal(fixed, profiles={"x": profile})


def test_a_workspace_that_is_too_small_is_said_with_the_builders_advice(rtx: Flavour, shared_dir: Path):
    text = refusal(shared_dir / "models" / NETWORKS[1], workspace_mib=1)
    assert "a workspace of 1 MiB is too small, the builder says: " in text
    assert "Consider increase the allowed workspace size" in text
    assert "--workspace 256" in text


def test_targets_that_cannot_be_had_are_refused(rtx: Flavour, shared_dir: Path, tmp_path: Path):
    network = one_node(tmp_path / "relu.onnx", "Relu", "relu")
    assert "knows no 9.9: it builds for current, sm75, " in refusal(network, targets=("8.6", "9.9"))
    if current_machine().gpu is None:
        assert "there is no GPU to build for" in refusal(network, targets=("current",))
        assert "--target, such as sm86" in refusal(network, targets=("current",))
    # TwinLiteNet multiplies matrices in FP32.
    text = refusal(shared_dir / "models" / NETWORKS[1], targets=("7.5",))
    assert "FP32 GEMM is not supported" in text
    assert "build it with `--precision fp16`, or leave that target away" in text


def test_what_the_platform_does_not_have_is_refused_with_the_reason(rtx: Flavour, tmp_path: Path):
    network = one_node(tmp_path / "relu.onnx", "Relu", "relu")
    assert "--sparse: TensorRT-RTX" in refusal(network, sparse=True)
    assert "this machine has none, only Jetson" in refusal(network, dla_core=0)


def test_a_build_that_is_interrupted_ends_at_its_next_step(rtx: Flavour, shared_dir: Path):
    network = shared_dir / "models" / NETWORKS[0]

    def interrupt(part: float, phase: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_network(network, CompilerOptions(targets=TARGETS), interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name == "engine-build"]
    assert compile_network(network, CompilerOptions(targets=TARGETS)).data

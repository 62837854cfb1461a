from dataclasses import replace
from pathlib import Path

import pytest

import avperception.engines.loading
import avperception.pipeline.loading
from avperception.engines.engine_file import StaleEngineError
from avperception.engines.machine import Gpu, current_machine
from avperception.errors import ConfigurationError, EngineError
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.loading import Placing, Wanted, load_networks

BOTH = {"detector": Wanted("demo_detector"), "segmenter": Wanted("demo_segmenter")}
NONE = {"detector": Wanted(""), "segmenter": Wanted("")}


def test_networks_by_role_on_the_cpu() -> None:
    networks = load_networks(BOTH, Placing("onnxruntime", threads=1))
    assert networks.detector.card.name == "demo_detector"
    assert networks.segmenter.card.name == "demo_segmenter"
    assert isinstance(networks.device, CpuDevice) and networks.why_cpu is None


def test_auto_says_why_it_is_not_the_gpu_and_tensorrt_refuses() -> None:
    try:
        networks = load_networks(NONE, Placing("tensorrt"))
    except EngineError as error:
        reason = str(error)
    else:
        assert networks.device.name == "cuda"
        pytest.skip("a GPU is here")
    networks = load_networks(NONE, Placing("auto"))
    assert networks.why_cpu is not None and "set backend" not in networks.why_cpu  # that is done
    assert reason.startswith(networks.why_cpu) and reason.endswith("set backend to onnxruntime")
    assert "\n" not in reason
    assert networks.detector is None and networks.segmenter is None


@pytest.mark.parametrize(
    ("wanted", "placing", "message"),
    [
        (BOTH, Placing("quick"), "backend is 'quick': it must be one of auto, tensorrt, onnxruntime"),
        (BOTH, Placing(engine_policy="never"), "engine_policy is 'never'"),
        ({**BOTH, "detector": Wanted("demo_detector", "fp8")}, Placing(), "detector.precision is 'fp8'"),
        ({**BOTH, "segmenter": Wanted("demo_detector")}, Placing(), "choose one for segmentation"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    wanted: dict[str, Wanted], placing: Placing, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_networks(wanted, placing)


@pytest.fixture
def _gpu_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine, told that it has a GPU, TensorRT and CuPy, and no engine: enough to choose one by."""
    facts = {
        "gpu": Gpu("NVIDIA RTX A4000", "8.6", 16 << 30),
        "flavour": "tensorrt_rtx",
        "version": "1.7.1.116",
    }
    machine = replace(current_machine(), gpu_problem=None, **facts)  # type: ignore[arg-type]
    for module in (avperception.engines.loading, avperception.pipeline.loading):
        monkeypatch.setattr(module, "current_machine", lambda: machine)
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AVPERCEPTION_ENGINES", str(tmp_path))


@pytest.mark.usefixtures("_gpu_machine")
def test_a_missing_engine_is_a_fallback_that_auto_explains() -> None:
    networks = load_networks(BOTH, Placing("auto", threads=1))
    assert isinstance(networks.device, CpuDevice)
    assert networks.why_cpu is not None
    assert networks.why_cpu.endswith("`avperception engine build demo_detector --precision fp16`")


@pytest.mark.usefixtures("_gpu_machine")
def test_a_stale_engine_is_an_error_under_auto_even_beside_a_missing_one(tmp_path: Path) -> None:
    network = avperception.pipeline.loading.locate(avperception.pipeline.loading.find_card("demo_segmenter"))
    (tmp_path / f"{network.stem}.fp16.sm86.engine").write_bytes(b"old")
    with pytest.raises(StaleEngineError, match="engine build demo_segmenter --precision fp16"):
        load_networks(BOTH, Placing("auto", threads=1))

import pytest

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
    assert networks.why_cpu == reason and reason.count("\n") == 0
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

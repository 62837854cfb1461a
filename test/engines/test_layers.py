import json
from pathlib import Path

from avperception.engines.layers import Layer, layers_of_inspector, layers_of_listing

# As TensorRT-RTX 1.7 prints them for YOLOX-nano, shortened.
LISTING = """Layers:
Name: entry_0, LayerType: signal, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata:
Name: fused_6, LayerType: runtime_fusion, Inputs: [ { Name: arg_4, Dimensions: [1,16,104,104], \
Strides: [173056,1,1664,16], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], \
Constants: [ { Name: w, Dimensions: [32,16,1,1], Strides: [16,1,16,16], StrideOrder: [3,0,2,1], \
Datatype: Half, Format: (NHWC) Channel major format }], Outputs: [ { Name: arg_5, \
Dimensions: [1,32,104,104], Strides: [346112,1,3328,32], StrideOrder: [3,0,2,1], Datatype: Float, \
Format: (NHWC) Channel major format }], TacticName: , StreamId: 0, \
Metadata: [ONNX Layer: Conv_47][ONNX Layer: Sigmoid_48][ONNX Layer: Mul_49]
"""

# The form that the manual of IEngineInspector shows for ProfilingVerbosity.DETAILED.
INSPECTED = {
    "Layers": [
        {
            "Name": "conv1 + relu1",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "data", "Dimensions": [1, 3, 224, 224], "Format/Datatype": "Linear FP16"}],
            "Outputs": [{"Name": "out", "Dimensions": [1, 64, 112, 112], "Format/Datatype": "INT8 HW32"}],
            "TacticValue": "0x1",
            "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
        },
        "a layer built without details",
    ],
    "Bindings": ["data", "out"],
}  # fmt: skip


# As 1.4 prints them, which leaves the weights out.
OLDER_LISTING = """Layers:
Name: /encoder/conv/Conv_myl0_2, LayerType: correlation, Inputs: [ { Name: in, Dimensions: [1,3,360,640], \
Format/Datatype: Half }], Outputs: [ { Name: out, Dimensions: [1,16,180,320], Format/Datatype: Half }], \
TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: /encoder/conv/Conv]
"""


def test_the_listing_of_an_older_builder_is_read():
    (layer,) = layers_of_listing([OLDER_LISTING])
    assert layer.operators == ("/encoder/conv/Conv",)
    assert (layer.precision, layer.inputs) == ("fp16", ("in 1x3x360x640 fp16",))
    assert layer.outputs == ("out 1x16x180x320 fp16",)


def test_the_builders_listing_is_read():
    assert layers_of_listing(["something else", LISTING]) == (
        Layer(
            name="fused_6",
            kind="runtime_fusion",
            operators=("Conv_47", "Sigmoid_48", "Mul_49"),
            precision="fp16",
            inputs=("arg_4 1x16x104x104 fp16",),
            outputs=("arg_5 1x32x104x104 fp32",),
            weight_bytes=32 * 16 * 2,
        ),
    )
    assert layers_of_listing(["no layers here"]) == ()


def test_the_inspectors_json_is_read():
    convolution, bare = layers_of_inspector(json.dumps(INSPECTED))
    assert convolution.operators == ("conv1", "relu1")
    assert convolution.precision == "int8"
    assert convolution.inputs == ("data 1x3x224x224 fp16",)
    assert bare == Layer("a layer built without details", "", (), "", (), (), 0)


def test_a_real_engines_layers_cover_the_whole_network(built: Path, shared_dir: Path):
    import onnx

    layers = json.loads(built.with_suffix(".layers.json").read_bytes())
    model = onnx.load(str(shared_dir / "models" / "twinlitenet_360x640.onnx"))
    convolutions = {node.name for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")}
    assert convolutions
    assert convolutions <= {name for layer in layers for name in layer["operators"]}

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avperception.engines.engine_file import EngineFile, verify
from avperception.engines.files import sha256_of_file
from avperception.engines.machine import Machine, current_machine
from avperception.engines.manifest import TensorFacts, read_manifest
from avperception.engines.options import CompilerOptions, Profile
from avperception.errors import EngineError


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "docs" / "engine_manifest.schema.json").read_text())


def test_the_manifest_says_what_is_there(engine: EngineFile, models: Path):
    manifest = read_manifest(engine.manifest_path)
    assert manifest.engine.sha256 == sha256_of_file(engine.path)
    assert manifest.engine.bytes == engine.path.stat().st_size
    # ../shared/models/README.md
    assert manifest.onnx.sha256 == "f505b56bd7c9e4e38b2928373aa4daa191a9a398e07e1fb340024b9ce84d4285"
    assert manifest.prepared_onnx == manifest.onnx
    assert manifest.inputs == (TensorFacts("images", "float32", (1, 3, 360, 640)),)
    assert {tensor.name: tensor.shape for tensor in manifest.outputs} == {
        "da": (1, 2, 360, 640),
        "ll": (1, 2, 360, 640),
    }
    assert manifest.target.compute_capabilities == ("8.6", "8.9")
    assert manifest.request.model == "twinlitenet"
    assert manifest.request.tf32 is False
    assert manifest.build.tf32 is True  # its attention has matrix products
    assert (
        "no FP32 kernel for matrix products, such as `/encoder/sa/MatMul`" in manifest.precision["notes"][0]
    )
    assert manifest.build.memory["weight_bytes"] > 1_000_000  # 1.8 MB of ONNX
    assert manifest.options() == CompilerOptions(targets=("8.6", "8.9"))


def test_what_is_written_is_read_back(engine: EngineFile, tmp_path: Path):
    manifest = read_manifest(engine.manifest_path)
    shapes = ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    tensor = TensorFacts("images", "float32", (-1, 3, 8, 8), shapes)
    changed = dataclasses.replace(manifest, inputs=(tensor,))
    path = tmp_path / "changed.json"
    path.write_bytes(changed.as_json())
    assert read_manifest(path) == changed
    assert read_manifest(path).options().profiles == {"images": Profile(*shapes)}


def test_a_manifest_from_before_the_gpu_was_recorded_is_read(engine: EngineFile):
    values = json.loads(engine.manifest_path.read_bytes())
    machine = current_machine()
    assert values["build"].pop("gpu") == (machine.gpu.name if machine.gpu else None)
    engine.manifest_path.write_text(json.dumps(values))
    assert read_manifest(engine.manifest_path).build.gpu is None
    del values["build"]["driver"]
    engine.manifest_path.write_text(json.dumps(values))
    with pytest.raises(EngineError, match="'driver' is missing"):
        read_manifest(engine.manifest_path)


def test_the_manifest_is_what_its_schema_says(engine: EngineFile, schema: dict[str, Any]):
    values = json.loads(engine.manifest_path.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    for key in values:
        with pytest.raises(jsonschema.ValidationError, match=key):
            jsonschema.validate({name: value for name, value in values.items() if name != key}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"format": "1"}, schema)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_manifest_altered_anywhere_is_read_or_refused_in_one_line(
    data: st.DataObject, engine: EngineFile, fitting: Machine, tmp_path: Path
):
    values = json.loads(engine.manifest_path.read_bytes())
    place: Any = values
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        parent, key = place, data.draw(st.sampled_from(keys))
        place = place[key]
        if data.draw(st.booleans()):
            break
    parent[key] = data.draw(st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.just({}))
    altered = EngineFile(tmp_path / engine.path.name)
    altered.path.write_bytes(b"")
    altered.manifest_path.write_text(json.dumps(values))
    machine = dataclasses.replace(fitting, cuda="12.4", gpu=data.draw(st.sampled_from([fitting.gpu, None])))
    with pytest.raises(EngineError) as caught:  # were all else in order, the engine itself is empty
        verify(altered, machine)
    assert "\n" not in str(caught.value)

"""TensorRT 10 does not run without a GPU; its published type stubs say whether it is called rightly."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

# Python's own grammar forbids both: a parameter named `in`, and one without a default after one with.
MISTAKES = {
    r"([(, ])in: list": r"\1in_: list",
    r"channel_axis: int\) -> IScaleLayer": "*, channel_axis: int) -> IScaleLayer",
}
CONFIGURATION = """
[mypy]
strict = true
python_version = 3.10
warn_return_any = false
ignore_missing_imports = true
[mypy-cv2.*,avperception.calibration.*,avperception.engines.precision.*]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stubs with the mistakes mended that keep mypy from reading them."""
    try:
        published = distribution("tensorrt-stubs")
    except PackageNotFoundError:
        pytest.skip("tensorrt-stubs is not installed: run `make setup`")
    assert published.version.startswith("10.13.")
    folder = tmp_path_factory.mktemp("stubs")
    for package in ("tensorrt", "tensorrt_bindings"):
        (folder / package).mkdir()
        for path in Path(str(published.locate_file(package))).glob("*.pyi"):
            shutil.copy(path, folder / package)
    file = folder / "tensorrt_bindings" / "tensorrt.pyi"
    text = file.read_text(encoding="utf-8")
    for mistake, mended in MISTAKES.items():
        text = re.sub(mistake, mended, text)
    file.write_text(text, encoding="utf-8")
    (folder / "mypy.ini").write_text(CONFIGURATION)
    return folder


def complaints(stubs: Path, root: Path) -> list[str]:
    """What mypy says about the engines; the stubs' own flaws are not ours."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(stubs / "mypy.ini")]
    command += ["--cache-dir", str(stubs / "cache"), "--package", "avperception.engines"]
    environment = {"MYPYPATH": str(stubs), "PATH": "", "PYTHONPATH": str(root)}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert "Found" in result.stdout or "Success" in result.stdout, result.stdout + result.stderr
    assert "errors prevented further checking" not in result.stdout, result.stdout
    lines = result.stdout.splitlines()
    return [line for line in lines if line.startswith("avperception/engines/") and ": error: " in line]


def test_tensorrt_10_is_called_as_its_stubs_say(stubs: Path, repository: Path):
    assert complaints(stubs, repository) == []


def test_a_wrong_call_would_be_found(stubs: Path, repository: Path, tmp_path: Path):
    shutil.copytree(repository / "avperception", tmp_path / "avperception")
    compiler = tmp_path / "avperception" / "engines" / "compiler.py"
    text = compiler.read_text()
    assert "builder.create_builder_config()" in text
    compiler.write_text(
        text.replace("builder.create_builder_config()", "builder.create_builder_configuration()")
    )
    (found,) = complaints(stubs, tmp_path)
    assert '"Builder" has no attribute "create_builder_configuration"' in found

"""The layers of the package, and what importing it must not bring along."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("rclpy", "cv_bridge", "sensor_msgs", "vision_msgs", "cupy", "tensorrt", "tensorrt_rtx")
WITH_ROS_OR_GPU = (
    "avperception.nodes",
    "avperception.replay.driver",
    "avperception.ops.gpu",
    "avperception.benchmark.torch_eager",
)

IMPORT_ALL = f"""
import importlib, pkgutil, sys
import avperception

def names(package):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name in {WITH_ROS_OR_GPU!r}:
            continue
        yield module.name
        if module.ispkg:
            yield from names(importlib.import_module(module.name))

imported = [importlib.import_module(name).__name__ for name in names(avperception)]
print(len(imported), *(name for name in {HEAVY!r} if name in sys.modules))
"""


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", command], cwd=tree, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy_of_package(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(repository / "avperception", tree / "avperception")
    shutil.copy(repository / ".importlinter", tree)
    return tree


def test_package_keeps_its_layers(repository: Path) -> None:
    result = lint_imports(repository)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("ops", "avperception.pipeline.camera"),
        ("types", "avperception.ops.cpu"),
        ("pipeline", "avperception.bags.reader"),
        ("pipeline", "rclpy.node"),
        ("bags", "sensor_msgs.msg"),
        ("replay", "vision_msgs.msg"),
        ("ops", "cupy"),
        ("pipeline", "tensorrt"),
    ],
)
def test_a_forbidden_import_is_found(copy_of_package: Path, module: str, imported: str) -> None:
    offender = copy_of_package / "avperception" / f"{module}.py"
    if not offender.exists():
        offender = offender.with_suffix("") / "offender.py"
    before = offender.read_text(encoding="utf-8") if offender.exists() else ""
    offender.write_text(f"{before}\nimport {imported}\n", encoding="utf-8")
    try:
        result = lint_imports(copy_of_package)
    finally:
        offender.write_text(before, encoding="utf-8")
    assert result.returncode == 1
    assert f"-> {imported.split('.')[0]}" in result.stdout


def test_what_needs_no_ros_imports_without_ros_and_gpu(repository: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=repository, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    count, *heavy = result.stdout.split()
    assert int(count) > 20
    assert heavy == []

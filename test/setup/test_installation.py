"""`pip install .` brings the command, the ament index entry and the files of share/avperception."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import avperception

IN_SHARE = ("config", "launch", "engines")


@pytest.fixture(scope="module")
def prefix(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a copy of the checkout was installed."""
    source, prefix = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("prefix")
    for folder in ("avperception", "requirements", "resource", *IN_SHARE):
        if (repository / folder).is_dir():
            shutil.copytree(repository / folder, source / folder)
    for file in ("setup.py", "setup.cfg", "package.xml", "pyproject.toml"):
        shutil.copy(repository / file, source)
    (source / "config" / "nested" / "deeper").mkdir(parents=True)
    (source / "config" / "nested" / "deeper" / "card.yaml").write_text("name: nested\n")
    # Without --ignore-installed pip takes the avperception of this environment away.
    options = ["--ignore-installed", "--no-deps", "--no-build-isolation", "--quiet", "--prefix", prefix]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True, timeout=120)
    return prefix


def test_all_files_are_in_share(prefix: Path, repository: Path) -> None:
    share = prefix / "share" / "avperception"
    wanted = [file for folder in IN_SHARE for file in (repository / folder).rglob("*.yaml")]
    assert wanted
    for file in wanted:
        assert (share / file.relative_to(repository)).read_bytes() == file.read_bytes()
    assert (share / "config" / "nested" / "deeper" / "card.yaml").is_file()
    assert (share / "package.xml").is_file()
    assert (prefix / "share/ament_index/resource_index/packages/avperception").is_file()
    # pip compiles the launch files where it puts them; nothing compiled comes from the checkout.
    assert not [folder for folder in share.rglob("__pycache__") if folder.parent.name != "launch"]


def test_all_modules_are_installed(prefix: Path, repository: Path) -> None:
    (package,) = prefix.rglob("site-packages/avperception")
    source = repository / "avperception"
    wanted = {file.relative_to(source) for file in source.rglob("*.py")}
    assert wanted <= {file.relative_to(package) for file in package.rglob("*.py")}
    assert (package / "py.typed").is_file()


def test_the_command_works(prefix: Path) -> None:
    (package,) = prefix.rglob("site-packages/avperception")
    paths = [str(package.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [prefix / "bin" / "avperception", "--version"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=prefix)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["avperception", avperception.__version__]
    assert (prefix / "bin" / "perception").is_file()

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import KINDS, make_messages

from avperception.bags import BagMessage


@pytest.fixture(scope="session")
def recorded() -> list[BagMessage]:
    """99 messages on /image and /text."""
    return make_messages(99)


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory, recorded: list[BagMessage]) -> dict[str, Path]:
    """The same messages as every kind of recording; not to be changed."""
    made = {}
    for kind, write in KINDS.items():
        made[kind] = write(tmp_path_factory.mktemp(kind.replace(" ", "_")), recorded)
    return made


@pytest.fixture
def bag_copy(bags: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a recording that a test may damage."""

    def copy(kind: str) -> Path:
        target = tmp_path / bags[kind].name
        if bags[kind].is_dir():
            return Path(shutil.copytree(bags[kind], target))
        return Path(shutil.copy(bags[kind], target))

    return copy

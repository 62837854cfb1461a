"""The requirement files fit together: ranges for users, one exact version of each for `make setup`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from environment.packages import FOR_EVERYONE, FOR_WHEELS, requirement_lines
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import avperception


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, Requirement]:
    lines = requirement_lines(repository / "requirements" / "constraints.txt")
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


@pytest.mark.parametrize("name", [*FOR_EVERYONE, *FOR_WHEELS])
def test_every_requirement_is_pinned_within_its_range(
    repository: Path, pins: dict[str, Requirement], name: str
) -> None:
    requirements = list(map(Requirement, requirement_lines(repository / "requirements" / name)))
    assert requirements
    for requirement in requirements:
        (specifier,) = pins[canonicalize_name(requirement.name)].specifier
        assert specifier.operator == "=="
        assert requirement.specifier.contains(specifier.version), requirement


def test_package_xml_has_the_version_of_the_package(repository: Path) -> None:
    assert ElementTree.parse(repository / "package.xml").findtext("version") == avperception.__version__

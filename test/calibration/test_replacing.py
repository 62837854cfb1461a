"""A new set in the place of an old one: whatever goes wrong, one of the two is there and whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avperception.bags import BagReader
from avperception.calibration.collect import collect
from avperception.calibration.set import CalibrationSet
from avperception.errors import ConfigurationError
from avperception.scenes import Scene, default_rig, write_recording


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "day.mcap"
    write_recording(Scene(1, "day", "straight", 0.4, default_rig(1)), path, processes=1)
    return path


def gather(bag: Path, out: Path, count: int, replace: bool = True) -> CalibrationSet:
    return collect([lambda: BagReader(bag)], out, count, replace=replace).set


@pytest.fixture
def old(bag: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "sets" / "city"
    gather(bag, folder, 1)
    return folder


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir())


def test_a_set_is_replaced_from_inside_of_it(bag: Path, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)
    assert len(gather(bag, Path(), 2)) == 2
    assert len(CalibrationSet.load(old)) == 2
    assert only(old) == ["city"]


def test_a_set_is_replaced_by_a_way_through_itself(bag: Path, old: Path) -> None:
    assert len(gather(bag, old / ".." / "city", 2)) == 2
    assert len(CalibrationSet.load(old)) == 2
    assert only(old) == ["city"]


def test_a_link_to_a_set_stays_and_leads_to_the_new_one(bag: Path, old: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(old)
    assert len(gather(bag, link, 2)) == 2
    assert link.is_symlink()
    assert len(CalibrationSet.load(link)) == len(CalibrationSet.load(old)) == 2
    assert only(old) == ["city"]


def test_a_loop_of_links(bag: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(ConfigurationError, match="link"):
        gather(bag, link, 2)


def failing(action: Any, failure: Any, number: int, after: bool) -> Any:
    """The action, but call `number` fails, before it does anything or after."""
    calls = iter(range(100))

    def call(*arguments: Any, **options: Any) -> None:
        fails = next(calls) == number
        if fails and not after:
            raise failure
        action(*arguments, **options)
        if fails:
            raise failure

    return call


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("after", [False, True])
def test_the_old_set_is_put_back(
    bag: Path, old: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, number: int, after: bool
) -> None:
    before = CalibrationSet.load(old).hash
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(os.replace, failure, number, after))
        with pytest.raises((KeyboardInterrupt, ConfigurationError)):
            gather(bag, old, 2)
    assert CalibrationSet.load(old).hash == before
    assert only(old) == ["city"]


@pytest.mark.parametrize("after", [False, True])
def test_ctrl_c_once_the_new_set_is_in_place(
    bag: Path, old: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", failing(shutil.rmtree, KeyboardInterrupt, 0, after))
        assert len(gather(bag, old, 2)) == 2
    assert len(CalibrationSet.load(old)) == 2
    assert only(old) == ["city"]


def test_a_failure_while_collecting_leaves_the_old_set(
    bag: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = CalibrationSet.load(old).hash
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(ConfigurationError, match="nothing was changed"):
        gather(bag, old, 2)
    assert CalibrationSet.load(old).hash == before
    assert only(old) == ["city"]


def test_files_that_are_no_part_of_the_set_are_not_deleted(bag: Path, old: Path) -> None:
    (old / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"no part of its calibration set, such as thesis\.txt"):
        gather(bag, old, 2)
    assert (old / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 7, "images": []}', '{"songs": ["a"]}'])
def test_a_folder_with_another_programs_set_json_is_not_replaced(
    bag: Path, tmp_path: Path, text: str
) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "set.json").write_text(text)
    with pytest.raises(ConfigurationError, match="not the description of a calibration set"):
        gather(bag, folder, 2)
    assert (folder / "set.json").read_text() == text


def test_what_appears_while_collecting_is_not_deleted(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "sets" / "city"

    def another_program(stage: str, done: int, total: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigurationError, match="is not empty"):
        collect([lambda: BagReader(bag)], out, 2, progress=another_program)
    assert (out / "thesis.txt").read_text() == "years of work"
    assert only(out) == ["city"]


def test_an_empty_folder_is_used(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "sets" / "city"
    out.mkdir(parents=True)
    assert len(gather(bag, out, 1, replace=False)) == 1
    assert only(out) == ["city"]

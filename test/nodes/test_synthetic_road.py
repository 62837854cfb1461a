"""The player of the synthetic road: what it renders, keeps, and says to wrong options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avperception.bags import BagReader
from avperception.nodes.synthetic_road import cache_folder, options, render

SCRIPT = "from avperception.nodes.executables import synthetic_road; synthetic_road()"
SHORT = ["--seconds", "0.4", "--frame-rate", "5", "--cameras", "1"]


def test_a_drive_is_rendered_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = options([*SHORT, "--folder", str(tmp_path / "kept")])
    recording = render(wanted)
    assert "2 of 2 frames" in capsys.readouterr().out
    with BagReader(recording) as bag:
        assert {"/front/image_raw", "/points", "/tf_static"} <= {topic.name for topic in bag.topics}
    before = recording.stat().st_mtime_ns
    assert render(wanted) == recording and recording.stat().st_mtime_ns == before
    assert capsys.readouterr().out == ""


def test_recordings_are_kept_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "avperception" / "demo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().is_relative_to(Path.home())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--condition", "snow"], "snow"),
        (["--cameras", "4"], "4 cameras are not possible"),
        (["--seconds", "-1"], "-1 seconds"),
        (["--folder", "/dev/null/kept"], "cannot make the folder"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(arguments: list[str], words: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1] and "Traceback" not in result.stderr

"""How a new calibration set takes the place of an old one, so that one of the two is always whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avperception.calibration.set import FORMAT, SET_FILE
from avperception.errors import ConfigurationError


def real_folder(out: Path) -> Path:
    """The folder that `out` means, without links, `.` and `..`; raises ConfigurationError if none can be."""
    try:
        return out.resolve()
    except (OSError, RuntimeError) as error:  # before Python 3.13 a loop of links is a RuntimeError
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{out} cannot be a folder: {reason}: name another one") from error


def refuse_foreign(out: Path, replace: bool) -> None:
    """Raise ConfigurationError unless `out` is free, empty, or with `replace` a calibration set alone."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigurationError(f"{out} is a file: name a folder for the calibration set")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    if SET_FILE not in names:
        raise ConfigurationError(f"{out} is not empty: name another folder")
    if not replace:
        raise ConfigurationError(f"{out} is not empty: give --force to replace it")
    foreign = sorted(names - _files_of_set(out) - {SET_FILE})
    if foreign:
        raise ConfigurationError(
            f"{out} holds {len(foreign)} files that are no part of its calibration set, such as "
            f"{foreign[0]}: move them away or name another folder"
        )


def _files_of_set(folder: Path) -> set[str]:
    """The images that the folder's set.json lists."""
    path = folder / SET_FILE
    try:
        description = json.loads(path.read_bytes())
        if description["format"] != FORMAT:
            raise ValueError(f"format is {description['format']}, not {FORMAT}")
        return {str(entry["file"]) for entry in description["images"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not the description of a calibration set ({error!r}), so the folder is not replaced: "
            "name another one"
        ) from error


@contextmanager
def replacing(out: Path, replace: bool) -> Iterator[Path]:
    """Give a new folder that takes the place of `out` if the block ends well; else `out` is as it was.

    What `out` may be is looked at once more when the new folder is whole. Raises ConfigurationError.
    """
    new: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(".part", f".{out.name}.", out.parent))
        yield new
        new.chmod(0o755)  # mkdtemp lets nobody else read it
        refuse_foreign(out, replace)
        _take_place(new, out)
    except OSError as error:
        raise ConfigurationError(
            f"calibration set {out} cannot be written: {error.strerror or error}: nothing was changed; "
            "free the disk or name another folder"
        ) from error
    finally:
        if new:
            shutil.rmtree(new, ignore_errors=True)


def _take_place(new: Path, out: Path) -> None:
    """Move the folder `new` to `out`; the old one waits beside it until that is done."""
    if not out.exists():
        os.replace(new, out)
        return
    old = Path(tempfile.mkdtemp(".old", f".{out.name}.", out.parent))
    try:
        os.replace(out, old)
        os.replace(new, out)
    except BaseException:
        _put_back(old, new, out)
        raise
    try:
        shutil.rmtree(old, ignore_errors=True)
    except KeyboardInterrupt:  # too late to go back: the new set is in place
        shutil.rmtree(old, ignore_errors=True)


def _put_back(old: Path, new: Path, out: Path) -> None:
    """Undo as much of `_take_place` as was done."""
    try:
        if not new.exists():
            os.replace(out, new)
        if not out.exists():
            os.replace(old, out)
        else:
            old.rmdir()
    except OSError as error:
        raise ConfigurationError(
            f"calibration set {out} cannot be put back: {error.strerror or error}: the old one is in {old}"
        ) from error

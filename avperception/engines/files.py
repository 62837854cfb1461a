"""Engine files on disk: written whole or not at all, one build of an engine at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from avperception.errors import EngineError

ENGINES_VARIABLE = "AVPERCEPTION_ENGINES"
"""Environment variable with the folder of built engines; without it they lie beside their network."""


def engine_directory(network: Path) -> Path:
    """The folder where the engines of this ONNX file are kept."""
    chosen = os.environ.get(ENGINES_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else network.absolute().parent


def cache_directory() -> Path:
    """The user's folder for what can be made again: `avperception` in `$XDG_CACHE_HOME` or `~/.cache`."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has a relative path ignored.
    base = Path(chosen) if chosen.startswith("/") else Path(os.path.expanduser("~")) / ".cache"
    return base / "avperception"


def sha256_of_file(path: Path) -> str:
    """Digest of a file in 64 hexadecimal digits; raises EngineError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file beside `path`; `waiting` is called once if another process has it.

    The lock ends with its process, however that ends. Raises EngineError if the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error.strerror or error}: {_ELSEWHERE}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_ELSEWHERE = f"free the disk, or set {ENGINES_VARIABLE} to another folder"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for temporary files, gone when the block ends, however it ends.

    Raises EngineError if it cannot be made, and in place of an OSError of the block: its disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="avperception-") as folder:
            yield Path(folder)
    except OSError as error:
        raise EngineError(
            f"temporary files cannot be written to {_temporary_directory()}: {error.strerror or error}: "
            "nothing was kept; free the disk, or set TMPDIR to another folder"
        ) from error


def _temporary_directory() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # none can be written to
        return os.environ.get("TMPDIR", "/tmp")


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files, all complete on the disk before the first takes its place, in their order.

    Raises EngineError if the disk is full or not writable; every file then is what it was.
    """
    temporaries: dict[Path, Path] = {}
    current = next(iter(contents))
    try:
        for current, data in contents.items():
            current.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(".part", f".{current.name}.", current.parent)
            temporaries[current] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # mkstemp lets nobody else read it
                os.fsync(file.fileno())
        for current, temporary in temporaries.items():
            temporary.replace(current)
    except OSError as error:
        raise EngineError(
            f"{current} cannot be written: {error.strerror or error}: nothing was kept; {_ELSEWHERE}"
        ) from error
    finally:
        # Also on Ctrl-C; after the move nothing is left under these names.
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

"""Network files fetched and kept: whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from avperception import __version__
from avperception.errors import ModelError
from avperception.models.card import ModelCard
from avperception.models.library import (
    NetworkState,
    how_to_get,
    network_path,
    network_state,
    pull_destination,
    short,
)

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes so far and the bytes in all, None where the server does not say."""

TIMEOUT_S = 30.0
"""A server that is silent for so long is given up."""

_BLOCK = 1 << 18


@dataclass(frozen=True)
class _Source:
    """Where the bytes come from, for messages and for reading; `size` in bytes if it is known."""

    name: str
    stream: IO[bytes]
    size: int | None


def pull(card: ModelCard, source: Path | None = None, progress: Progress | None = None) -> Path:
    """Bring the card's network here, from its source URL or from the file `source`, and give its path.

    The bytes are written beside their place, verified and only then moved to it, so that whatever
    happens the place holds what it held or the right file. A network that is already right is left
    as it is. Raises ModelError if it cannot be had, is not the card's, or cannot be written.
    """
    present = network_path(card)
    if present and network_state(card) is NetworkState.READY:
        return present
    if source is None and card.source_url is None:
        raise ModelError(f"the card {card.path} has no source_url: {how_to_get(card)}")
    destination = pull_destination(card)
    opened = _open_url(str(card.source_url)) if source is None else _open_file(source)
    with opened as origin, _replacing(destination) as file:
        found = _copy(origin, file, progress or (lambda done, size: None))
        if found != card.sha256:
            raise ModelError(
                f"{origin.name} is not the network of model {card.name}: its sha256 is {short(found)}, "
                f"the card {card.path} says {short(card.sha256)}: nothing was kept; "
                "get the very version that the card names, or write a card of your own for this one"
            )
    return destination


@contextmanager
def _open_file(path: Path) -> Iterator[_Source]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    with stream:
        yield _Source(str(path), stream, path.stat().st_size)


@contextmanager
def _open_url(url: str) -> Iterator[_Source]:
    request = urllib.request.Request(url, headers={"User-Agent": f"avperception/{__version__}"})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"{url}: the server answers {error.code} {error.reason}: {_BY_HAND}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{url} cannot be reached: {_one_line(error)}: {_BY_HAND}") from error
    with response:
        length = response.headers.get("Content-Length", "")
        yield _Source(url, response, int(length) if length.isdecimal() else None)


_BY_HAND = "check the network, or get the file by other means and run the command with `--from FILE`"


def _copy(origin: _Source, file: IO[bytes], progress: Progress) -> str:
    """Copy all bytes, give their sha256; raises ModelError if the source fails, OSError if the disk does."""
    digest = hashlib.sha256()
    done = 0
    while block := _read(origin):
        file.write(block)
        digest.update(block)
        done += len(block)
        progress(done, origin.size)
    if origin.size is not None and done != origin.size:
        raise ModelError(
            f"{origin.name} was cut off after {done} of {origin.size} bytes: nothing was kept, run it again"
        )
    return digest.hexdigest()


def _read(origin: _Source) -> bytes:
    try:
        return origin.stream.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(
            f"{origin.name} was cut off ({_one_line(error)}): nothing was kept, run it again"
        ) from error


@contextmanager
def _replacing(destination: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file in the destination's folder that takes its place if the block ends well."""
    temporary: Path | None = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", f".{destination.name}.", destination.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp lets nobody else read it
            os.fsync(file.fileno())
        temporary.replace(destination)
    except OSError as error:
        raise ModelError(
            f"{destination} cannot be written: {error.strerror or error}: nothing was kept; "
            "free the disk, or set AVPERCEPTION_MODELS to another folder"
        ) from error
    finally:
        # Also on Ctrl-C; after the move nothing is left under this name.
        if temporary:
            temporary.unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()) or type(error).__name__

"""Decompression that keeps what it got when the data ends too early or turns out to be damaged."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PIECE = 1 << 16
CORRUPT = (zstd.ZstdError, RuntimeError, EOFError)


def decompress_chunk(data: bytes, compression: str) -> bytes:
    """Content of an MCAP chunk (`zstd`, `lz4` or empty), as much of it as `data` gives; empty if unknown."""
    if compression == "":
        return data
    if compression not in ("zstd", "lz4"):
        return b""
    decompressor = zstd.ZstdDecompressor() if compression == "zstd" else LZ4FrameDecompressor()
    content = bytearray()
    with suppress(*CORRUPT):
        for begin in range(0, len(data), PIECE):
            if decompressor.eof:
                break
            content += decompressor.decompress(data[begin : begin + PIECE])
    return bytes(content)


def decompress_message(data: bytes) -> bytes:
    """Message of a recording made with `--compression-mode message`, others unchanged.

    Serialized messages begin with the CDR encapsulation header 00 00 or 00 01, so the two cannot be
    mixed up, and no metadata.yaml is needed to tell.
    """
    return zstd.decompress(data) if data[:4] == ZSTD_MAGIC else data


def decompress_file(source: Path, target: Path) -> None:
    """Write the content of a zstd file to `target`, up to its end or its damage."""
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as packed, target.open("wb") as plain, suppress(*CORRUPT):
        while piece := packed.read(PIECE):
            while piece:
                if decompressor.eof:  # one frame may follow another
                    decompressor = zstd.ZstdDecompressor()
                plain.write(decompressor.decompress(piece))
                piece = decompressor.unused_data if decompressor.eof else b""

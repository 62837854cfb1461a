"""SQLite recordings that SQLite itself refuses: read page by page, without the tree that leads to them.

A file that was cut off has lost inner pages of its tree, and with them the way to rows that are still
there. The format: https://www.sqlite.org/fileformat2.html. Messages lie in leaf pages of a table with the
columns id, topic_id, timestamp, data; large ones continue in a chain of overflow pages.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import MessageDefinition

from avperception.bags.compression import decompress_message
from avperception.bags.mcap_records import DEFINITION_FORMATS, parse_offered_qos
from avperception.bags.storage import NO_DEFINITION, BagMessage, BagTopic

MAGIC = b"SQLite format 3\0"
TABLE_LEAF = 0x0D
INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Value = int | float | str | bytes | None


def is_shorter_than_announced(path: Path) -> bool:
    """Whether the end is missing; SQLite itself reads a torn last page as if zeros followed."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100:
        return True
    size = path.stat().st_size
    page_bytes = _page_bytes(header)
    change, pages, valid_for = (struct.unpack_from(">I", header, at)[0] for at in (24, 28, 92))
    announced = pages if change == valid_for else 0
    return size % page_bytes != 0 or size < announced * page_bytes


class _Cell(NamedTuple):
    """One row: where its payload begins, and how long the payload is."""

    rowid: int
    begin: int
    size: int


class _Entry(NamedTuple):
    """A message that can be read whole."""

    stamp_ns: int
    rowid: int
    topic_id: int
    cell: _Cell


class ScannedSqlite3:
    """A torn .db3 file; a `Storage`. The file is scanned once when it is opened."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._buffer = mmap(file.fileno(), 0, access=ACCESS_READ)
        header = self._buffer[:100].ljust(100, b"\0")
        self._page_bytes = _page_bytes(header)
        self._usable = self._page_bytes - header[20]
        self._topics: dict[int, BagTopic] = {}
        self._definitions: dict[str, MessageDefinition] = {}
        self._entries: list[_Entry] = []
        torn = self._scan()
        self._entries.sort()
        counts = Counter(entry.topic_id for entry in self._entries)
        self.topics = tuple(
            replace(
                topic,
                message_count=counts[key],
                definition=self._definitions.get(topic.msgtype, NO_DEFINITION),
            )
            for key, topic in self._topics.items()
        )
        self.message_count = len(self._entries)
        self.start_ns = self._entries[0].stamp_ns if self._entries else 2**63 - 1
        self.end_ns = self._entries[-1].stamp_ns if self._entries else 0
        missing = f", {torn} more are torn" if torn else ""
        self.damage: str | None = f"damaged or cut off: {self.message_count} messages could be read{missing}"

    def close(self) -> None:
        """Close the file."""
        self._buffer.close()

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages of `topics` (None: all) in log-time order."""
        wanted = {key: t for key, t in self._topics.items() if topics is None or t.name in topics}
        for entry in self._entries:
            if (topic := wanted.get(entry.topic_id)) is not None:
                data = _row(self._payload(entry.cell))[3]
                assert isinstance(data, bytes)
                yield BagMessage(topic.name, topic.msgtype, entry.stamp_ns, decompress_message(data))

    def _scan(self) -> int:
        """Find topics and messages; return how many messages are torn."""
        torn = 0
        for cell in self._cells():
            try:
                payload = self._payload(cell)
                row = _row(payload)
            except (IndexError, struct.error, ValueError):
                torn += 1
                continue
            self._take(cell, row)
        self._entries = [entry for entry in self._entries if entry.topic_id in self._topics]
        return torn

    def _take(self, cell: _Cell, row: list[Value]) -> None:
        """Keep a row if it is a message or a topic; the columns tell which table it is from."""
        if len(row) == 4 and isinstance(row[3], bytes):
            if isinstance(row[1], int) and isinstance(row[2], int):
                self._entries.append(_Entry(row[2], cell.rowid, row[1], cell))
        elif 4 <= len(row) <= 6 and all(isinstance(value, str) for value in row[1:]):
            first, second, third, *rest = (str(value) for value in row[1:])
            if first.startswith("/"):
                qos = parse_offered_qos(rest[0]) if rest else ()
                self._topics[cell.rowid] = BagTopic(first, second, 0, qos)
            elif second in DEFINITION_FORMATS:  # table message_definitions
                self._definitions[first] = MessageDefinition(DEFINITION_FORMATS[second], third)

    def _cells(self) -> Iterator[_Cell]:
        """Rows of all table leaf pages, in the order of the file."""
        for page in range(0, len(self._buffer) - self._page_bytes + 1, self._page_bytes):
            header = page + (100 if page == 0 else 0)
            if self._buffer[header] != TABLE_LEAF:
                continue
            (count,) = struct.unpack_from(">H", self._buffer, header + 3)
            count = min(count, (self._page_bytes - 108) // 2)
            for (offset,) in struct.iter_unpack(">H", self._buffer[header + 8 : header + 8 + 2 * count]):
                try:
                    size, at = _varint(self._buffer, page + offset)
                    rowid, at = _varint(self._buffer, at)
                except IndexError:
                    continue
                yield _Cell(rowid, at, size)

    def _payload(self, cell: _Cell) -> bytes:
        """All bytes of a row; raises ValueError if its chain leaves the file."""
        local = self._local_bytes(cell.size)
        page_end = (cell.begin // self._page_bytes + 1) * self._page_bytes
        if cell.begin + local > page_end:
            raise ValueError("row reaches beyond its page")
        parts = [self._buffer[cell.begin : cell.begin + local]]
        missing = cell.size - local
        if missing:
            (page,) = struct.unpack_from(">I", self._buffer, cell.begin + local)
        while missing > 0:
            begin = (page - 1) * self._page_bytes
            if page < 2 or begin + self._page_bytes > len(self._buffer):
                raise ValueError("overflow page is not in the file")
            (page,) = struct.unpack_from(">I", self._buffer, begin)
            part = self._buffer[begin + 4 : begin + 4 + min(missing, self._usable - 4)]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _local_bytes(self, size: int) -> int:
        """Bytes of a payload that lie in the leaf page itself (file format, section 1.6)."""
        most = self._usable - 35
        if size <= most:
            return size
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._usable - 4)
        return local if local <= most else least


def _page_bytes(header: bytes) -> int:
    (size,) = struct.unpack_from(">H", header, 16)
    return 65536 if size == 1 else max(size, 512)


def _varint(buffer: bytes | mmap, at: int) -> tuple[int, int]:
    """Big-endian variable-length integer and the offset behind it; IndexError at the buffer's end."""
    value = 0
    for place in range(9):
        byte = buffer[at + place]
        if place == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    raise AssertionError("unreachable")


def _row(payload: bytes) -> list[Value]:
    """Columns of a record (file format, section 2.1); raises ValueError or IndexError if malformed."""
    header_size, at = _varint(payload, 0)
    begin, row = header_size, []
    while at < header_size:
        kind, at = _varint(payload, at)
        value, begin = _column(payload, kind, begin)
        row.append(value)
    return row


def _column(payload: bytes, kind: int, begin: int) -> tuple[Value, int]:
    if kind in INTEGER_BYTES:
        end = begin + INTEGER_BYTES[kind]
        return int.from_bytes(_exact(payload, begin, end), "big", signed=True), end
    if kind == 7:
        return struct.unpack(">d", _exact(payload, begin, begin + 8))[0], begin + 8
    if kind in (8, 9):
        return kind - 8, begin
    if kind >= 12:
        end = begin + (kind - 12) // 2
        content = _exact(payload, begin, end)
        return content if kind % 2 == 0 else content.decode("utf-8", "replace"), end
    return None, begin


def _exact(payload: bytes, begin: int, end: int) -> bytes:
    content = payload[begin:end]
    if len(content) != end - begin:
        raise ValueError("column reaches beyond its row")
    return content

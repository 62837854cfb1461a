"""MCAP files that have no usable index: read from front to back, as far as they go.

A recorder that was killed leaves no index and a torn last record; some recorders write none at all.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

from avperception.bags import mcap_records as mcap
from avperception.bags.compression import decompress_message
from avperception.bags.mcap_records import Buffer, Channel, Record, Schema
from avperception.bags.storage import NO_DEFINITION, BagMessage, BagTopic

RUN_BYTES = 1 << 22
"""Loose messages are gathered in runs of about this size, so that few are in memory at a time."""


class _Block(NamedTuple):
    """A chunk, or a run of loose messages: where it lies and the first log time in it."""

    first_ns: int
    record: Record
    is_chunk: bool


class ScannedMcap:
    """A torn or unindexed MCAP file; a `Storage`. The file is scanned once when it is opened."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._buffer = mmap(file.fileno(), 0, access=ACCESS_READ)
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._blocks: list[_Block] = []
        self._counts: Counter[int] = Counter()
        self.start_ns, self.end_ns = 2**63 - 1, 0
        self.damage = self._scan()

    @property
    def message_count(self) -> int:
        """Messages that can be read."""
        return sum(self._counts.values())

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """Topics seen so far; one entry a publisher."""
        return tuple(
            BagTopic(
                channel.topic,
                self._msgtype(channel),
                self._counts[channel.id],
                channel.qos,
                self._schemas[channel.schema_id].definition
                if channel.schema_id in self._schemas
                else NO_DEFINITION,
            )
            for channel in self._channels.values()
        )

    def close(self) -> None:
        """Close the file."""
        self._buffer.close()

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages of `topics` (None: all) in log-time order, those of equal time in the file's order."""
        wanted = {c.id: c for c in self._channels.values() if topics is None or c.topic in topics}
        pending: list[tuple[int, int, int, BagMessage]] = []
        for place, block in enumerate(sorted(self._blocks, key=lambda b: (b.first_ns, b.record.begin))):
            while pending and pending[0][0] < block.first_ns:
                yield heapq.heappop(pending)[3]
            for position, message in enumerate(self._read(block, wanted)):
                heapq.heappush(pending, (message.stamp_ns, place, position, message))
        while pending:
            yield heapq.heappop(pending)[3]

    def _read(self, block: _Block, wanted: dict[int, Channel]) -> Iterator[BagMessage]:
        buffer, begin, end = self._buffer_of(block)
        for message in mcap.messages(buffer, begin, end):
            if (channel := wanted.get(message.channel_id)) is not None:
                cdr = decompress_message(bytes(buffer[message.begin : message.end]))
                yield BagMessage(channel.topic, self._msgtype(channel), message.log_ns, cdr)

    def _buffer_of(self, block: _Block) -> tuple[Buffer, int, int]:
        if not block.is_chunk:
            return self._buffer, block.record.begin, block.record.end
        content = mcap.read_chunk(self._buffer, block.record).content
        return content, 0, len(content)

    def _scan(self) -> str | None:
        """Find the blocks and topics; return what is wrong with the file."""
        run: list[Record] = []
        size, end, torn_chunks = len(self._buffer), len(mcap.MAGIC), 0
        finished = False
        for record in mcap.records(self._buffer, end, size):
            finished = record.opcode in (mcap.DATA_END, mcap.FOOTER)
            if finished or record.opcode == 0:  # zeros: space the file system had reserved
                break
            if record.opcode == mcap.CHUNK:
                torn_chunks += not self._add_chunk(record)
            elif record.end > size:
                break
            elif record.opcode == mcap.MESSAGE:
                run.append(record)
                if record.end - run[0].begin > RUN_BYTES:
                    self._add_run(run)
            else:
                self._declare(self._buffer, record)
            end = min(record.end, size)
        self._add_run(run)
        return self._describe(finished, end, torn_chunks)

    def _describe(self, finished: bool, end: int, torn_chunks: int) -> str | None:
        if not finished:
            return f"cut off after {self.message_count} messages (near byte {end} of {len(self._buffer)})"
        if torn_chunks:
            return f"{torn_chunks} damaged chunks; {self.message_count} messages could be read"
        if self._buffer[-len(mcap.MAGIC) :] != mcap.MAGIC:
            return f"the index at its end is cut off; all {self.message_count} messages are there"
        return None

    def _add_chunk(self, record: Record) -> bool:
        """Take note of what is in a chunk; False if it is not whole."""
        content, whole = mcap.read_chunk(self._buffer, record)
        for inner in mcap.records(content, 0, len(content)):
            if inner.opcode != mcap.MESSAGE and inner.end <= len(content):
                self._declare(content, inner)
        self._add_block(record, True, mcap.messages(content, 0, len(content)))
        return whole

    def _add_run(self, run: list[Record]) -> None:
        if run:
            block = Record(mcap.MESSAGE, run[0].begin - mcap.PREFIX, run[-1].end)
            self._add_block(block, False, mcap.messages(self._buffer, block.begin, block.end))
            run.clear()

    def _add_block(self, record: Record, is_chunk: bool, found: Iterator[mcap.Message]) -> None:
        stamps = []
        for message in found:
            if message.channel_id in self._channels:
                stamps.append(message.log_ns)
                self._counts[message.channel_id] += 1
        if stamps:
            self.start_ns = min(self.start_ns, min(stamps))
            self.end_ns = max(self.end_ns, max(stamps))
            self._blocks.append(_Block(min(stamps), record, is_chunk))

    def _declare(self, buffer: Buffer, record: Record) -> None:
        """Take note of a schema or a channel; only CDR channels are of use."""
        content = bytes(buffer[record.begin : record.end])
        try:
            if record.opcode == mcap.SCHEMA:
                schema = mcap.read_schema(content)
                self._schemas[schema.id] = schema
            elif record.opcode == mcap.CHANNEL:
                channel = mcap.read_channel(content)
                if channel.encoding == "cdr":
                    self._channels[channel.id] = channel
        except (ValueError, struct.error):
            return

    def _msgtype(self, channel: Channel) -> str:
        schema = self._schemas.get(channel.schema_id)
        return schema.name if schema else ""

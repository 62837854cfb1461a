"""Records of the MCAP format (https://mcap.dev/spec), read with care from a file that may be torn."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple
from zlib import crc32

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2.metadata import parse_qos

from avperception.bags.compression import decompress_chunk
from avperception.bags.storage import NO_DEFINITION

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
MESSAGE_FIELDS = struct.Struct("<HIQQ")
"""Channel, sequence number, log time and publish time, in front of the message's data."""

PREFIX = 9
"""Bytes in front of every record's content: opcode and size."""

Buffer = bytes | mmap
DEFINITION_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


class Record(NamedTuple):
    """Where a record's content lies; `end` is behind `buffer`'s end where the record is torn."""

    opcode: int
    begin: int
    end: int


class Schema(NamedTuple):
    """A message type and its definition."""

    id: int
    name: str
    definition: MessageDefinition


class Channel(NamedTuple):
    """A topic as one publisher offers it."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    qos: tuple[Qos, ...]


class Chunk(NamedTuple):
    """Content of a chunk; `whole` is False where some of it is missing or its checksum does not fit."""

    content: bytes
    whole: bool


def records(buffer: Buffer, begin: int, end: int) -> Iterator[Record]:
    """Records from `begin` to `end`, a torn one last."""
    while begin + PREFIX <= end:
        (size,) = struct.unpack_from("<Q", buffer, begin + 1)
        record = Record(buffer[begin], begin + PREFIX, begin + PREFIX + size)
        yield record
        begin = record.end


class Message(NamedTuple):
    """A whole message: its channel, its log time in nanoseconds, and where its data lies."""

    channel_id: int
    log_ns: int
    begin: int
    end: int


def messages(buffer: Buffer, begin: int, end: int) -> Iterator[Message]:
    """Whole messages among the records from `begin` to `end`."""
    for record in records(buffer, begin, end):
        data = record.begin + MESSAGE_FIELDS.size
        if record.opcode == MESSAGE and data <= record.end <= end:
            channel_id, _, log_ns, _ = MESSAGE_FIELDS.unpack_from(buffer, record.begin)
            yield Message(channel_id, log_ns, data, record.end)


def read_schema(content: bytes) -> Schema:
    """Schema record; raises ValueError or struct.error if it is malformed."""
    (schema_id,) = struct.unpack_from("<H", content)
    name, at = _string(content, 2)
    encoding, at = _string(content, at)
    text, _ = _string(content, at)
    known = encoding in DEFINITION_FORMATS
    return Schema(
        schema_id, name, MessageDefinition(DEFINITION_FORMATS[encoding], text) if known else NO_DEFINITION
    )


def read_channel(content: bytes) -> Channel:
    """Channel record; raises ValueError or struct.error if it is malformed."""
    channel_id, schema_id = struct.unpack_from("<HH", content)
    topic, at = _string(content, 4)
    encoding, at = _string(content, at)
    (size,) = struct.unpack_from("<I", content, at)
    at, end = at + 4, min(at + 4 + size, len(content))
    qos: tuple[Qos, ...] = ()
    while at < end:
        key, at = _string(content, at)
        value, at = _string(content, at)
        if key == "offered_qos_profiles":
            qos = parse_offered_qos(value)
    return Channel(channel_id, schema_id, topic, encoding, qos)


def parse_offered_qos(text: str) -> tuple[Qos, ...]:
    """QoS profiles as rosbag2 writes them (YAML, names or numbers); empty if they cannot be understood."""
    try:
        return tuple(parse_qos(text))
    except Exception:  # whatever the YAML holds: a strange profile must not cost the recording
        return ()


def read_chunk(buffer: Buffer, record: Record) -> Chunk:
    """Decompressed content of a chunk, as far as the file and the compressed stream go."""
    size = len(buffer)
    if record.begin + 40 > size:
        return Chunk(b"", False)
    _, _, plain_size, checksum, name_size = struct.unpack_from("<QQQII", buffer, record.begin)
    at = record.begin + 32 + name_size
    if name_size > 16 or at + 8 > size:
        return Chunk(b"", False)
    name = bytes(buffer[at - name_size : at]).decode("ascii", "replace")
    (packed_size,) = struct.unpack_from("<Q", buffer, at)
    packed = bytes(buffer[at + 8 : min(at + 8 + packed_size, record.end)])
    content = decompress_chunk(packed, name)
    whole = len(content) == plain_size and checksum in (0, crc32(content))
    return Chunk(content, whole)


def _string(content: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", content, at)
    end = at + 4 + size
    if end > len(content):
        raise ValueError("string reaches beyond its record")
    return content[at + 4 : end].decode("utf-8", "replace"), end

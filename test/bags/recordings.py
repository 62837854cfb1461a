"""Small recordings of every kind that rosbag2 knows, all with the same messages."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from avperception.bags import BagMessage, BagWriter, messages, typestore

FIRST_NS = 1_700_000_000_123_456_789
STRING = "std_msgs/msg/String"


def make_messages(count: int, rows: int = 20, seed: int = 0) -> list[BagMessage]:
    """`count` messages at rising times: every third an image of up to `rows` rows, others short strings."""
    random = np.random.default_rng(seed)
    store = typestore()
    made = []
    for index in range(count):
        stamp_ns = FIRST_NS + index * 1_000_000
        if index % 3 == 0:
            pixels = random.integers(0, 255, (random.integers(1, rows), 40, 3), dtype=np.uint8)
            topic, msgtype = "/image", messages.IMAGE
            message = messages.image(stamp_ns, "camera", pixels, "bgr8")
        else:
            topic, msgtype = "/text", STRING
            message = store.types[STRING](data="x" * int(random.integers(0, 200)))
        made.append(BagMessage(topic, msgtype, stamp_ns, bytes(store.serialize_cdr(message, msgtype))))
    return made


def write_mcap(path: Path, recorded: list[BagMessage], compression: str = "") -> Path:
    """One MCAP file whose chunks are plain, `zstd` or `lz4`."""
    with BagWriter(path, compress=compression == "zstd") as writer:
        if compression == "lz4":  # rosbags reads lz4 but has no switch to write it
            storage = writer._writer.storage
            storage.compression, storage.compressor = "lz4", lz4.frame.compress
        for message in recorded:
            writer.add_topic(message.topic, message.msgtype)
            writer.write_cdr(message.topic, message.stamp_ns, message.cdr)
    return path


def write_folder(
    path: Path,
    recorded: list[BagMessage],
    plugin: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """A rosbag2 folder with metadata.yaml."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, msgtype, typestore=typestore())
            for topic, msgtype in {m.topic: m.msgtype for m in recorded}.items()
        }
        for message in recorded:
            writer.write(connections[message.topic], message.stamp_ns, message.cdr)
    return path


def write_split(path: Path, recorded: list[BagMessage], parts: int = 11) -> Path:
    """A folder of NAME_0.mcap ... NAME_10.mcap, as a recorder with a size limit leaves it."""
    path.mkdir()
    size = -(-len(recorded) // parts)
    names = []
    for part in range(parts):
        names.append(f"{path.name}_{part}.mcap")
        write_mcap(path / names[-1], recorded[part * size : (part + 1) * size])
    (path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: mcap\n  relative_file_paths:\n"
        + "".join(f"    - {name}\n" for name in names)
    )
    return path


def write_unchunked(path: Path, recorded: list[BagMessage]) -> Path:
    """What the recorder's preset `fastwrite` leaves: an MCAP file without chunks and without an index."""

    def string(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode()

    def record(opcode: int, content: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(content)) + content

    file = [b"\x89MCAP0\r\n", record(0x01, string("ros2") + string("test"))]
    ids: dict[str, int] = {}
    for message in recorded:
        if message.topic not in ids:
            key = ids[message.topic] = len(ids) + 1
            definition, _ = typestore().generate_msgdef(message.msgtype, ros_version=2)
            schema = struct.pack("<H", key) + string(message.msgtype) + string("ros2msg")
            file.append(record(0x03, schema + string(definition)))
            channel = struct.pack("<HH", key, key) + string(message.topic) + string("cdr")
            file.append(record(0x04, channel + struct.pack("<I", 0)))
        head = struct.pack("<HIQQ", ids[message.topic], 0, message.stamp_ns, message.stamp_ns)
        file.append(record(0x05, head + message.cdr))
    file += [record(0x0F, bytes(4)), record(0x02, bytes(20)), b"\x89MCAP0\r\n"]
    path.write_bytes(b"".join(file))
    return path


def only_db3(folder: Path) -> Path:
    """The storage file of a sqlite3 recording."""
    return next(folder.glob("*.db3"))


KINDS: dict[str, Callable[[Path, list[BagMessage]], Path]] = {
    "mcap": lambda path, recorded: write_mcap(path / "bag.mcap", recorded),
    "mcap zstd chunks": lambda path, recorded: write_mcap(path / "bag.mcap", recorded, "zstd"),
    "mcap lz4 chunks": lambda path, recorded: write_mcap(path / "bag.mcap", recorded, "lz4"),
    "mcap without chunks": lambda path, recorded: write_unchunked(path / "bag.mcap", recorded),
    "mcap folder": lambda path, recorded: write_folder(path / "bag", recorded, StoragePlugin.MCAP),
    "mcap split folder": lambda path, recorded: write_split(path / "bag", recorded),
    "sqlite3 folder": lambda path, recorded: write_folder(path / "bag", recorded),
    "sqlite3 file": lambda path, recorded: only_db3(write_folder(path / "bag", recorded)),
    "message compression": lambda path, recorded: write_folder(
        path / "bag", recorded, StoragePlugin.MCAP, CompressionMode.MESSAGE
    ),
    "file compression": lambda path, recorded: write_folder(
        path / "bag", recorded, StoragePlugin.SQLITE3, CompressionMode.FILE
    ),
}

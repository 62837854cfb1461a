"""Which files a recording consists of, and what reads each of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import ConnectionExtRosbag2
from rosbags.rosbag2 import Reader, Writer
from rosbags.rosbag2.storage_mcap import McapReader

from avperception.bags import mcap_records, sqlite3_scan
from avperception.bags.compression import ZSTD_MAGIC, decompress_file, decompress_message
from avperception.bags.mcap_scan import ScannedMcap
from avperception.bags.sqlite3_scan import ScannedSqlite3
from avperception.bags.storage import BagMessage, BagTopic, Storage
from avperception.errors import BagError

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
ROS1_MAGIC = b"#ROSBAG V"


class IndexedStorage:
    """A sound storage file, read by rosbags; a `Storage`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.message_count = reader.message_count
        self.start_ns, self.end_ns = reader.start_time, reader.end_time - 1
        self.damage: str | None = None
        self.topics = tuple(
            BagTopic(
                connection.topic,
                connection.msgtype,
                connection.msgcount,
                tuple(connection.ext.offered_qos_profiles)
                if isinstance(connection.ext, ConnectionExtRosbag2)
                else (),
                connection.msgdef,
            )
            for connection in reader.connections
        )

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages of `topics` (None: all) in log-time order."""
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:  # rosbags takes an empty selection for all
            return
        for connection, stamp_ns, data in self._reader.messages(wanted):
            cdr = decompress_message(bytes(data))
            yield BagMessage(connection.topic, connection.msgtype, stamp_ns, cdr)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def find_storage_files(path: Path) -> tuple[list[Path], str | None]:
    """Storage files of a recording in their order, and what is wrong with the folder (None: nothing).

    Raises BagError if `path` is not there, is a folder without storage files, or is of a newer format.
    """
    if not path.exists():
        raise BagError(f"{path} does not exist: give a rosbag2 folder, a .mcap or a .db3 file")
    if not path.is_dir():
        return [path], None
    found = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
    if not found:
        raise BagError(f"{path} is not a rosbag2 folder: it holds no .mcap and no .db3 file")
    metadata = _read_metadata(path)
    if metadata is None:
        return _one_recording(path, found), f"{METADATA} is missing or torn: the recorder was not closed"
    named = [path / Path(str(name)).name for name in metadata.get("relative_file_paths") or []]
    missing = [file.name for file in named if file not in found]
    return [file for file in named if file in found], f"missing: {', '.join(missing)}" if missing else None


def open_storage(path: Path, stack: ExitStack) -> Storage:
    """Open one storage file, by its index or by a scan; what has to be closed goes to `stack`.

    Raises BagError if it is no storage file of a rosbag2.
    """
    magic = _magic(path)
    if magic.startswith(ZSTD_MAGIC):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="avperception_")))
        plain = folder / path.name.removesuffix(".zstd")
        decompress_file(path, plain)  # what it could not decompress shows as a torn storage file
        return open_storage(plain, stack)
    if magic.startswith(mcap_records.MAGIC):
        storage = _open_indexed(path, ".mcap") or ScannedMcap(path)
    elif magic == sqlite3_scan.MAGIC:
        torn = sqlite3_scan.is_shorter_than_announced(path)
        storage = (None if torn else _open_indexed(path, ".db3")) or ScannedSqlite3(path)
    else:
        raise BagError(_not_a_recording(path, magic))
    stack.callback(storage.close)
    return storage


def _open_indexed(path: Path, suffix: str) -> Storage | None:
    """The file with its own index, or None if that is damaged or missing."""
    if path.suffix != suffix:  # rosbags goes by the suffix
        return None
    reader = Reader(path)
    try:
        reader.open()
    except Exception:  # rosbags lets many kinds through on damaged data; the scan finds out what it is
        return None
    storage = reader.storage
    if isinstance(storage, McapReader) and not storage.chunks and reader.message_count:
        reader.close()  # without chunks rosbags refuses messages that are not in the order of time
        return None
    return IndexedStorage(reader)


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise BagError(f"cannot read {path}: {error.strerror}") from error


def _not_a_recording(path: Path, magic: bytes) -> str:
    if not magic:
        return f"{path} is empty: nothing was recorded"
    if magic.startswith(ROS1_MAGIC):
        return f"{path} is a ROS 1 bag: convert it with `rosbags-convert --src {path} --dst {path.stem}`"
    if mcap_records.MAGIC.startswith(magic) or sqlite3_scan.MAGIC.startswith(magic):
        return f"{path} is cut off within its first bytes: nothing can be read"
    return f"{path} is not a rosbag2 recording: give a rosbag2 folder, a .mcap or a .db3 file"


def _read_metadata(folder: Path) -> dict[str, Any] | None:
    """What metadata.yaml says, None where it says nothing; raises BagError if its format is newer."""
    try:
        content = yaml.safe_load((folder / METADATA).read_text("utf-8", "replace"))
        metadata = content["rosbag2_bagfile_information"]
        version = int(metadata["version"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return None
    if version > Writer.VERSION_LATEST:
        raise BagError(
            f"{folder} has rosbag2 format version {version}, newer than {Writer.VERSION_LATEST}, "
            "the newest known here: upgrade with `pip install --upgrade rosbags`"
        )
    return dict(metadata)


def _one_recording(folder: Path, found: list[Path]) -> list[Path]:
    """The files, if by rosbag2's names (NAME_0, NAME_1, ...) they are the parts of one recording."""
    names = {re.sub(r"_\d+(\.[a-z0-9.]+)$", r"\1", file.name) for file in found}
    if len(names) > 1:
        raise BagError(f"{folder} holds several recordings and no {METADATA}: give one of {_names(found)}")
    return found


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files[:5]) + (", ..." if len(files) > 5 else "")

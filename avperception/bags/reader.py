"""Read a rosbag2 recording: MCAP or sqlite3, one file or a folder, whole or cut off."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from avperception.bags.definitions import typestore_with
from avperception.bags.files import find_storage_files, open_storage
from avperception.bags.storage import BagMessage, BagTopic, Storage
from avperception.errors import BagError, MessageError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore


class BagReader:
    """An open recording; use it as a context manager.

    A recording that was cut off is read as far as it goes, and `damage` says what is missing:

    >>> with BagReader("drive.mcap") as bag:  # doctest: +SKIP
    ...     for message in bag.messages(["/points"]):
    ...         cloud = bag.deserialize(message)
    ...     if bag.damage:
    ...         print(bag.damage)

    Raises BagError if `path` is not there, is no rosbag2 recording or holds no message.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._storages: list[tuple[Path, Storage]] = []
        self._damages: list[str] = []
        self._typestore: Typestore | None = None

    def __enter__(self) -> BagReader:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        self._stack.close()
        self._storages.clear()

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """Topics of the recording, sorted by name, one for each name and type."""
        merged: dict[tuple[str, str], BagTopic] = {}
        for topic in (topic for _, storage in self._storages for topic in storage.topics):
            key = (topic.name, topic.msgtype)
            merged[key] = _merge(merged[key], topic) if key in merged else topic
        return tuple(merged[key] for key in sorted(merged))

    @property
    def message_count(self) -> int:
        """Messages of all topics, as far as they can be read."""
        return sum(storage.message_count for _, storage in self._storages)

    @property
    def start_ns(self) -> int:
        """Log time of the first message in nanoseconds."""
        return min(storage.start_ns for _, storage in self._storages)

    @property
    def end_ns(self) -> int:
        """Log time of the last message in nanoseconds."""
        return max(storage.end_ns for _, storage in self._storages)

    @property
    def damage(self) -> str | None:
        """What of the recording could not be read, in one line; final after the last message."""
        found = self._damages + [f"{path.name}: {s.damage}" for path, s in self._storages if s.damage]
        return "; ".join(found) or None

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages of `topics` (None: all) in the order of their log times."""
        streams = [self._until_damage(path, storage, topics) for path, storage in self._storages]
        return heapq.merge(*streams, key=lambda message: message.stamp_ns)

    def deserialize(self, message: BagMessage) -> Any:
        """The message as an object with the fields of its type; sequences of numbers are NumPy arrays.

        Raises BagError if the type is not known, MessageError (`malformed`) if the bytes do not fit it.
        """
        if self._typestore is None:
            self._typestore = typestore_with((topic.msgtype, topic.definition) for topic in self.topics)
        if message.msgtype not in self._typestore.fielddefs:
            raise BagError(
                f"{self.path} holds no definition of {message.msgtype} (topic {message.topic}): "
                "record it again with a ROS 2 that has this package"
            )
        try:
            return self._typestore.deserialize_cdr(memoryview(message.cdr), message.msgtype)
        except Exception as error:  # a damaged definition or message fails in rosbags in a dozen ways
            raise MessageError(
                "malformed", f"{message.topic}: not a serialized {message.msgtype} ({_one_line(error)})"
            ) from error

    def _open(self) -> None:
        files, problem = find_storage_files(self.path)
        if problem:
            self._damages.append(problem)
        for path in files:
            self._storages.append((path, open_storage(path, self._stack)))
        if self.message_count == 0:
            reason = f" ({self.damage})" if self.damage else ""
            raise BagError(f"{self.path} holds no message that can be read{reason}: record it again")

    def _until_damage(
        self, path: Path, storage: Storage, topics: Collection[str] | None
    ) -> Iterator[BagMessage]:
        """Messages of one file; what goes wrong on the way ends it and is kept as damage."""
        count = 0
        announced = sum(t.message_count for t in storage.topics if topics is None or t.name in topics)
        try:
            for message in storage.messages(topics):
                count += 1
                yield message
        except Exception as error:  # SQLite, zstd, lz4 and rosbags each have their own for damaged data
            self._note(f"{path.name}: damaged after {count} messages ({_one_line(error)})")
            return
        if count != announced:
            self._note(f"{path.name}: damaged: announces {announced} messages and holds {count}")

    def _note(self, damage: str) -> None:
        if damage not in self._damages:
            self._damages.append(damage)


def _merge(one: BagTopic, other: BagTopic) -> BagTopic:
    qos = one.qos + tuple(profile for profile in other.qos if profile not in one.qos)
    definition = one.definition if one.definition.data else other.definition
    return BagTopic(one.name, one.msgtype, one.message_count + other.message_count, qos, definition)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

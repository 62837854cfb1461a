"""Write a rosbag2 recording: one MCAP file that `ros2 bag play` takes."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from avperception.bags.definitions import typestore
from avperception.errors import BagError

FORMAT_VERSION: Literal[8] = 8
"""Of the metadata; 8 has QoS as numbers, which Humble and Jazzy both read (Humble fails on 9)."""

FOREVER = QosTime(9_223_372_036, 854_775_807)
"""RMW_DURATION_INFINITE."""


class BagWriter:
    """A recording in the making at `path` (`*.mcap`); use it as a context manager.

    The file appears at `path` when it is complete; after an exception or Ctrl-C there is nothing. With
    `keep_on_error` it lies at `path` from the beginning and is closed properly after an exception, so
    that what was written stays readable: for long recordings. `compress` packs chunks with zstd.

    >>> with BagWriter("drive.mcap") as bag:  # doctest: +SKIP
    ...     bag.add_topic("/tf_static", "tf2_msgs/msg/TFMessage", latched=True)
    ...     bag.write("/tf_static", stamp_ns, message)

    Raises BagError if `path` does not end in .mcap, exists already (without `overwrite`), or cannot be
    written: a missing or read-only folder, a full disk.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        overwrite: bool = False,
        compress: bool = False,
        keep_on_error: bool = False,
    ) -> None:
        self.path = Path(path)
        self.message_count = 0
        self._overwrite, self._compress, self._keep = overwrite, compress, keep_on_error
        self._connections: dict[str, Connection] = {}
        self._torn: BaseException | None = None

    def __enter__(self) -> BagWriter:
        self._check_path()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.stem}.", dir=self.path.parent))
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            self._open()
        except BaseException:
            self._remove_folder()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._torn is not None:
                self._abort()
                if kind is None:  # whoever caught it shall not take the recording for complete
                    raise self._torn
            elif kind is None:
                self._finish()
            elif self._keep:
                with suppress(OSError, WriterError):  # the first exception is the one to tell
                    self._writer.close()
            else:
                self._abort()
        finally:
            self._remove_folder()

    def add_topic(self, topic: str, msgtype: str, *, latched: bool = False) -> None:
        """Declare `topic`; `latched` topics (/tf_static) are kept for late subscribers when played.

        Raises BagError if the message type is not known or the topic was declared with another type.
        """
        if msgtype not in typestore().fielddefs:
            raise BagError(f"{self.path}: {msgtype} (topic {topic}) is not a known message type")
        known = self._connections.get(topic)
        if known is not None and known.msgtype == msgtype:
            return
        if known is not None:
            raise BagError(f"{self.path}: {topic} was declared as {known.msgtype}, not as {msgtype}")
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=typestore(), offered_qos_profiles=[_qos(latched)]
        )

    def write(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Write a message object (of `bags.messages` or `BagReader.deserialize`) at log time `stamp_ns`."""
        connection = self._connection(topic)
        self.write_cdr(topic, stamp_ns, typestore().serialize_cdr(message, connection.msgtype))

    def write_cdr(self, topic: str, stamp_ns: int, cdr: bytes | memoryview) -> None:
        """Write a serialized message at log time `stamp_ns`; raises BagError if the disk is full."""
        connection = self._connection(topic)
        if not 0 <= stamp_ns < 2**63:
            raise BagError(f"{self.path}: {topic} has a stamp of {stamp_ns} ns, which no recording can hold")
        try:
            self._writer.write(connection, stamp_ns, cdr)
        except OSError as error:
            self._torn = self._cannot_write(error)
            raise self._torn from error
        except BaseException as error:
            self._torn = error  # Ctrl-C in the middle of a record: nothing may follow it
            raise
        self.message_count += 1

    def _connection(self, topic: str) -> Connection:
        if topic not in self._connections:
            raise BagError(f"{self.path}: {topic} was not declared with add_topic")
        return self._connections[topic]

    def _check_path(self) -> None:
        if self.path.suffix != ".mcap":
            raise BagError(f"{self.path}: the name of a recording must end in .mcap")
        if self.path.is_dir():
            raise BagError(f"{self.path} is a folder: name a file in it, such as {self.path / 'out.mcap'}")
        if self.path.exists() and not self._overwrite:
            raise BagError(f"{self.path} exists already: give another name, or --force to replace it")
        if not self.path.parent.is_dir():
            raise BagError(f"{self.path.parent} is not a folder: make it with `mkdir -p {self.path.parent}`")

    def _open(self) -> None:
        # rosbags writes a folder STEM with STEM.mcap in it and notes that name in the file's metadata.
        self._writer = Writer(
            self._folder / self.path.stem, version=FORMAT_VERSION, storage_plugin=StoragePlugin.MCAP
        )
        if self._compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self._writer.open()
            if self._keep:
                self._move_into_place()  # an open file can be renamed; writing goes on
        except OSError as error:
            raise self._cannot_write(error) from error

    def _finish(self) -> None:
        try:
            self._writer.close()
            if not self._keep:
                self._move_into_place()
        except OSError as error:
            self._abort()
            raise self._cannot_write(error) from error

    def _abort(self) -> None:
        with suppress(OSError, ValueError):
            self._writer.abort()

    def _move_into_place(self) -> None:
        os.replace(self._folder / self.path.stem / self.path.name, self.path)

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _cannot_write(self, error: OSError) -> BagError:
        kept = f" ({self.message_count} messages were written)" if self._keep else ""
        return BagError(f"cannot write {self.path}: {error.strerror or error}{kept}")


def _qos(latched: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )

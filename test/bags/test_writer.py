from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from recordings import STRING, make_messages
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability

from avperception.bags import BagMessage, BagReader, BagWriter, messages
from avperception.errors import BagError


def write_all(writer: BagWriter, recorded: list[BagMessage]) -> None:
    for message in recorded:
        writer.add_topic(message.topic, message.msgtype)
        writer.write_cdr(message.topic, message.stamp_ns, message.cdr)


def write_file(
    path: Path, recorded: list[BagMessage], error: type[BaseException] | None = None, **options: bool
) -> None:
    """Write messages, then raise `error` while the recording is open."""
    with BagWriter(path, **options) as writer:
        write_all(writer, recorded)
        if error is not None:
            raise error


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_rosbags_reads_what_was_written(
    compress: bool, keep: bool, tmp_path: Path, recorded: list[BagMessage]
) -> None:
    with BagWriter(tmp_path / "out.mcap", compress=compress, keep_on_error=keep) as writer:
        write_all(writer, recorded)
    with AnyReader([tmp_path / "out.mcap"]) as reader:
        read = [BagMessage(c.topic, c.msgtype, stamp, bytes(raw)) for c, stamp, raw in reader.messages()]
    assert read == recorded
    assert [path.name for path in tmp_path.iterdir()] == ["out.mcap"]


def test_compression_makes_a_repetitive_recording_small(tmp_path: Path) -> None:
    grey = messages.image(1, "camera", np.full((200, 300, 3), 128, np.uint8), "bgr8")
    for name, compress in (("plain.mcap", False), ("packed.mcap", True)):
        with BagWriter(tmp_path / name, compress=compress) as writer:
            writer.add_topic("/image", messages.IMAGE)
            writer.write("/image", 1, grey)
    assert (tmp_path / "packed.mcap").stat().st_size < (tmp_path / "plain.mcap").stat().st_size / 20


def test_qos_is_reliable_and_for_latched_topics_transient_local(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out.mcap") as writer:
        for topic, latched in (("/tf_static", True), ("/tf", False)):
            writer.add_topic(topic, messages.TRANSFORMS, latched=latched)
            writer.write(topic, 1, messages.transforms(1, []))
    with BagReader(tmp_path / "out.mcap") as bag:
        tf, tf_static = bag.topics
    assert (tf.latched, tf_static.latched) == (False, True)
    assert tf.qos[0].reliability is tf_static.qos[0].reliability is QosReliability.RELIABLE
    assert tf.qos[0].durability is QosDurability.VOLATILE
    assert b"durability: 1" in (tmp_path / "out.mcap").read_bytes()  # a number, or Humble cannot play it


def test_the_file_appears_only_when_it_is_complete(tmp_path: Path, recorded: list[BagMessage]) -> None:
    with BagWriter(tmp_path / "out.mcap") as writer:
        write_all(writer, recorded)
        assert not (tmp_path / "out.mcap").exists()
    assert (tmp_path / "out.mcap").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_exception_nothing_is_left(
    error: type[BaseException], tmp_path: Path, recorded: list[BagMessage]
) -> None:
    with pytest.raises(error):
        write_file(tmp_path / "out.mcap", recorded, error)
    assert list(tmp_path.iterdir()) == []


def test_after_an_exception_the_file_that_was_to_be_replaced_is_unchanged(
    tmp_path: Path, recorded: list[BagMessage]
) -> None:
    (tmp_path / "out.mcap").write_text("before")
    with pytest.raises(RuntimeError):
        write_file(tmp_path / "out.mcap", recorded, RuntimeError, overwrite=True)
    assert (tmp_path / "out.mcap").read_text() == "before"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_keep_on_error_closes_the_recording_properly(
    error: type[BaseException], tmp_path: Path, recorded: list[BagMessage]
) -> None:
    with pytest.raises(error):
        write_file(tmp_path / "out.mcap", recorded[:50], error, keep_on_error=True)
    with BagReader(tmp_path / "out.mcap") as bag:
        assert list(bag.messages()) == recorded[:50]
        assert bag.damage is None
    assert [path.name for path in tmp_path.iterdir()] == ["out.mcap"]


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    recorded = make_messages(900, rows=100)
    says = r"cannot write .*out\.mcap: File too large$"
    with file_size_limit(1_500_000), pytest.raises(BagError, match=says):
        write_file(tmp_path / "out.mcap", recorded)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_a_long_recording_had_written(tmp_path: Path) -> None:
    recorded = make_messages(900, rows=100)
    says = r"File too large \(\d+ messages were written\)"
    with file_size_limit(1_500_000), pytest.raises(BagError, match=says):
        write_file(tmp_path / "out.mcap", recorded, keep_on_error=True)
    with BagReader(tmp_path / "out.mcap") as bag:
        read = list(bag.messages())
        assert read == recorded[: len(read)]
        assert len(read) > 400


def test_nothing_follows_a_record_that_a_full_disk_has_torn(tmp_path: Path) -> None:
    recorded = make_messages(900, rows=100)
    with pytest.raises(BagError, match="File too large"):
        write_with_a_pause_in_disk_space(tmp_path / "out.mcap", recorded)
    with BagReader(tmp_path / "out.mcap") as bag:
        read = list(bag.messages())
        assert read == recorded[: len(read)]
        assert bag.damage is not None
        assert "cut off" in bag.damage


def write_with_a_pause_in_disk_space(path: Path, recorded: list[BagMessage]) -> None:
    """Write on after the disk was full, as if nothing had happened."""
    with BagWriter(path, keep_on_error=True) as writer, file_size_limit(900_000), suppress(BagError):
        write_all(writer, recorded)


def test_a_disk_that_is_full_at_the_last_moment(tmp_path: Path, recorded: list[BagMessage]) -> None:
    """The only chunk is written when the file is closed."""
    with file_size_limit(50_000), pytest.raises(BagError, match="File too large"):
        write_file(tmp_path / "out.mcap", recorded)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("out.bag", "out.bag: the name of a recording must end in .mcap"),
        ("folder.mcap", "folder.mcap is a folder: name a file in it"),
        ("there.mcap", "there.mcap exists already: give another name, or --force"),
        ("no/such/out.mcap", "no/such is not a folder: make it with `mkdir -p"),
        ("there.mcap/out.mcap", "there.mcap is not a folder"),
    ],
)
def test_a_target_that_cannot_be_is_refused(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "there.mcap").touch()
    (tmp_path / "folder.mcap").mkdir()
    with pytest.raises(BagError, match=says), BagWriter(tmp_path / name):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"there.mcap", "folder.mcap"}


def test_a_folder_that_cannot_be_written_to_is_named() -> None:
    with pytest.raises(BagError, match="cannot write /proc/out"), BagWriter("/proc/out.mcap"):
        pass


def test_topics_have_to_be_declared_with_one_known_type(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out.mcap") as writer:
        writer.add_topic("/text", STRING)
        writer.add_topic("/text", STRING)
        with pytest.raises(BagError, match="/text was declared as std_msgs/msg/String"):
            writer.add_topic("/text", messages.IMAGE)
        with pytest.raises(BagError, match=r"odd_msgs/msg/Odd \(topic /odd\) is not a known message type"):
            writer.add_topic("/odd", "odd_msgs/msg/Odd")
        with pytest.raises(BagError, match="/image was not declared"):
            writer.write_cdr("/image", 1, b"")
        with pytest.raises(BagError, match="stamp of -1 ns"):
            writer.write_cdr("/text", -1, b"")
        assert writer.message_count == 0

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import FIRST_NS, KINDS, STRING, make_messages, write_folder, write_mcap, write_unchunked
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from avperception.bags import BagMessage, BagReader, typestore
from avperception.errors import BagError, MessageError


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_recording_gives_the_same_messages(
    kind: str, bags: dict[str, Path], recorded: list[BagMessage]
) -> None:
    with BagReader(bags[kind]) as bag:
        assert list(bag.messages()) == recorded
        assert bag.damage is None
        assert bag.message_count == 99
        assert (bag.start_ns, bag.end_ns) == (recorded[0].stamp_ns, recorded[-1].stamp_ns)
        assert [(t.name, t.msgtype, t.message_count) for t in bag.topics] == [
            ("/image", "sensor_msgs/msg/Image", 33),
            ("/text", STRING, 66),
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_topics_can_be_chosen(kind: str, bags: dict[str, Path], recorded: list[BagMessage]) -> None:
    with BagReader(bags[kind]) as bag:
        assert list(bag.messages(["/text"])) == [m for m in recorded if m.topic == "/text"]
        assert list(bag.messages(["/nothing"])) == []
        assert bag.damage is None


@pytest.mark.parametrize("kind", KINDS)
def test_messages_are_deserialized(kind: str, bags: dict[str, Path], recorded: list[BagMessage]) -> None:
    with BagReader(bags[kind]) as bag:
        image = bag.deserialize(next(bag.messages(["/image"])))
        text = bag.deserialize(next(bag.messages(["/text"])))
    assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == FIRST_NS
    assert image.data.nbytes == image.step * image.height
    assert set(text.data) <= {"x"}


def test_messages_can_be_read_twice_and_interleaved(
    bags: dict[str, Path], recorded: list[BagMessage]
) -> None:
    with BagReader(bags["mcap"]) as bag:
        pairs = list(zip(bag.messages(), bag.messages(), strict=True))
    assert pairs == [(m, m) for m in recorded]


def test_unordered_messages_without_an_index_come_in_the_order_of_time(tmp_path: Path) -> None:
    recorded = make_messages(30)
    shuffled = recorded[5:] + recorded[:5]
    with BagReader(write_unchunked(tmp_path / "bag.mcap", shuffled)) as bag:
        assert list(bag.messages()) == recorded
        assert bag.damage is None


def test_messages_of_one_stamp_keep_the_order_they_were_written_in(tmp_path: Path) -> None:
    recorded = [m._replace(stamp_ns=5) for m in make_messages(300, rows=400)]  # many chunks
    with BagReader(write_mcap(tmp_path / "bag.mcap", recorded)) as bag:
        assert list(bag.messages()) == recorded


def test_a_type_that_only_the_recording_knows(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("float32 speed\nstd_msgs/Header header", "own_msgs/msg/Wheel"))
    # what an older vision_msgs has: a number where 4.1 has a string
    store.register(get_types_from_msg("int64 class_id\nfloat64 score", "vision_msgs/msg/ObjectHypothesis"))
    header = store.types["std_msgs/msg/Header"](store.types["builtin_interfaces/msg/Time"](1, 2), "wheel")
    wheel = store.types["own_msgs/msg/Wheel"](3.5, header)
    guess = store.types["vision_msgs/msg/ObjectHypothesis"](7, 0.5)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, message in (("/wheel", wheel), ("/guess", guess)):
            msgtype = message.__msgtype__
            connection = writer.add_connection(topic, msgtype, typestore=store)
            writer.write(connection, 1, store.serialize_cdr(message, msgtype))
    with BagReader(tmp_path / "bag") as bag:
        read = {message.topic: bag.deserialize(message) for message in bag.messages()}
    assert (read["/wheel"].speed, read["/wheel"].header.frame_id) == (3.5, "wheel")
    assert (read["/guess"].class_id, read["/guess"].score) == (7, 0.5)


def test_a_type_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/odd", "odd_msgs/msg/Odd", msgdef="int32", rihs01="RIHS01_0")
        writer.write(connection, 1, b"\0\1\0\0")
    with BagReader(tmp_path / "bag") as bag, pytest.raises(BagError, match=r"odd_msgs/msg/Odd.*record it"):
        bag.deserialize(next(bag.messages()))


def test_a_message_that_does_not_fit_its_type_is_named(tmp_path: Path) -> None:
    broken = [BagMessage("/image", "sensor_msgs/msg/Image", 1, b"\0\1\0\0\1\2\3")]
    with BagReader(write_mcap(tmp_path / "bag.mcap", broken)) as bag:
        with pytest.raises(MessageError, match="/image: not a serialized sensor_msgs/msg/Image") as caught:
            bag.deserialize(next(bag.messages()))
        assert caught.value.reason == "malformed"


def _nothing(path: Path) -> Path:
    return path / "nothing.mcap"


def _empty_file(path: Path) -> Path:
    (path / "empty.mcap").touch()
    return path / "empty.mcap"


def _text(path: Path) -> Path:
    (path / "notes.mcap").write_text("this is no recording, whatever its name says")
    return path / "notes.mcap"


def _ros1(path: Path) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path / "old.bag") as writer:
        connection = writer.add_connection("/text", STRING, typestore=store)
        writer.write(connection, 1, store.serialize_ros1(store.types[STRING](data="x"), STRING))
    return path / "old.bag"


def _no_messages(path: Path) -> Path:
    return write_folder(path / "bag", [])


def _empty_folder(path: Path) -> Path:
    (path / "folder").mkdir()
    return path / "folder"


def _newer(path: Path) -> Path:
    folder = write_folder(path / "bag", make_messages(3))
    text = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(text.replace("version: 9", "version: 10"))
    return folder


def _two_recordings(path: Path) -> Path:
    write_mcap(path / "monday.mcap", make_messages(3))
    write_mcap(path / "tuesday.mcap", make_messages(3))
    return path


def _other_database(path: Path) -> Path:
    with sqlite3.connect(path / "shop.db3") as database:
        database.execute("CREATE TABLE goods(id INTEGER, name TEXT)")
        database.execute("INSERT INTO goods VALUES (1, 'apple')")
    database.close()
    return path / "shop.db3"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_nothing, "nothing.mcap does not exist: give a rosbag2"),
        (_empty_file, "empty.mcap is empty"),
        (_text, "notes.mcap is not a rosbag2 recording"),
        (_ros1, "old.bag is a ROS 1 bag: convert it with `rosbags-convert"),
        (_no_messages, "bag holds no message"),
        (_empty_folder, "folder is not a rosbag2 folder"),
        (_newer, "format version 10, newer than 9.*upgrade"),
        (_two_recordings, "several recordings and no metadata.yaml: give one of monday.mcap, tuesday.mcap"),
        (_other_database, "shop.db3 holds no message"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(
    make: Callable[[Path], Path], says: str, tmp_path: Path
) -> None:
    with pytest.raises(BagError, match=says) as caught, BagReader(make(tmp_path)):
        pass
    assert "\n" not in str(caught.value)


def test_the_jazzy_types_serve_where_a_recording_has_no_definitions(tmp_path: Path) -> None:
    """sqlite3 recordings before Iron hold none."""
    recorded = make_messages(6)
    folder = write_folder(tmp_path / "bag", recorded)
    file = folder / "bag.db3"
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM message_definitions")
    database.close()
    with BagReader(file) as bag:
        image = bag.deserialize(next(bag.messages(["/image"])))
    assert type(image) is typestore().types["sensor_msgs/msg/Image"]

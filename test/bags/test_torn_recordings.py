"""Recordings that were cut off or damaged: what is there is read, what is not is said."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import make_messages, only_db3, write_folder, write_mcap
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from avperception.bags import BagMessage, BagReader
from avperception.errors import BagError, MessageError

SINGLE_FILES = ("mcap", "mcap zstd chunks", "mcap lz4 chunks", "mcap without chunks", "sqlite3 file")
SHARE = st.floats(0, 1, exclude_max=True)
"""A place in a file."""
sweep = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def refused_in_one_line_at_worst() -> Iterator[None]:
    try:
        yield
    except (BagError, MessageError) as error:
        if "\n" in str(error):
            raise AssertionError("more than one line") from error


@pytest.mark.parametrize("kind", SINGLE_FILES)
@sweep
@given(share=SHARE)
def test_a_cut_off_file_gives_its_first_messages(
    kind: str, share: float, bags: dict[str, Path], recorded: list[BagMessage], tmp_path: Path
) -> None:
    whole = bags[kind].read_bytes()
    cut = tmp_path / f"cut{bags[kind].suffix}"
    cut.write_bytes(whole[: int(share * len(whole))])
    with refused_in_one_line_at_worst(), BagReader(cut) as bag:
        read = list(bag.messages())
        assert read == recorded[: len(read)]
        assert len(read) == bag.message_count
        assert bag.damage is not None
        assert str(len(read)) in bag.damage


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_what_is_lost_of_a_cut_off_mcap_is_its_end_only(compression: str, tmp_path: Path) -> None:
    recorded = make_messages(900, rows=100)
    file = write_mcap(tmp_path / "bag.mcap", recorded, compression)
    content = file.read_bytes()
    for percent in (25, 50, 75):
        file.write_bytes(content[: len(content) * percent // 100])
        with BagReader(file) as bag:
            bytes_read = sum(len(message.cdr) for message in bag.messages())
        lost = sum(len(m.cdr) for m in recorded) * percent / 100 - bytes_read
        assert lost < 200_000  # a zstd block is 128 KiB


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_chunks_of_a_cut_off_mcap_come_in_the_order_of_time(compression: str, tmp_path: Path) -> None:
    recorded = make_messages(900, rows=200)
    file = write_mcap(tmp_path / "bag.mcap", recorded[300:] + recorded[:300], compression)
    file.write_bytes(file.read_bytes()[:-100])
    with BagReader(file) as bag:
        assert list(bag.messages()) == recorded
        assert bag.damage == "bag.mcap: the index at its end is cut off; all 900 messages are there"


def test_a_cut_off_database_is_read_although_its_tree_is_gone(tmp_path: Path) -> None:
    """With 4,000 rows the tree has inner pages, which SQLite writes again and again towards the end."""
    recorded = make_messages(4000, rows=3)
    file = only_db3(write_folder(tmp_path / "bag", recorded))
    content = file.read_bytes()
    for percent in (25, 50, 75):
        file.write_bytes(content[: len(content) * percent // 100])
        with BagReader(file) as bag:
            read = list(bag.messages())
        assert read == recorded[: len(read)]
        assert len(read) > 4000 * (percent - 5) / 100


def test_rows_of_a_cut_off_database_come_in_the_order_of_time(tmp_path: Path) -> None:
    recorded = make_messages(90)
    file = only_db3(write_folder(tmp_path / "bag", recorded[30:] + recorded[:30]))
    file.write_bytes(file.read_bytes()[:-1])
    with BagReader(file) as bag:
        stamps = [message.stamp_ns for message in bag.messages()]
    assert stamps == sorted(stamps)
    assert stamps[0] == recorded[0].stamp_ns
    assert len(stamps) > 80


def test_a_torn_last_page_is_not_read_as_zeros(bag_copy: Callable[[str], Path]) -> None:
    file = bag_copy("sqlite3 file")
    file.write_bytes(file.read_bytes()[:-3000])
    with BagReader(file) as bag:
        for message in bag.messages():
            bag.deserialize(message)
        assert bag.damage is not None


@pytest.mark.parametrize("kind", SINGLE_FILES)
@sweep
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=5)
)
def test_damaged_bytes_never_give_an_unexplained_error(
    kind: str, flips: list[tuple[float, int]], bags: dict[str, Path], tmp_path: Path
) -> None:
    content = bytearray(bags[kind].read_bytes())
    for share, change in flips:
        content[int(share * len(content))] ^= change
    damaged = tmp_path / f"damaged{bags[kind].suffix}"
    damaged.write_bytes(content)
    with refused_in_one_line_at_worst(), BagReader(damaged) as bag:
        count = 0
        for message in bag.messages():
            count += 1
            if count % 20 == 1:
                with refused_in_one_line_at_worst():
                    bag.deserialize(message)
        assert count == bag.message_count or bag.damage


def test_a_folder_whose_recorder_was_killed_is_read(
    bag_copy: Callable[[str], Path], recorded: list[BagMessage]
) -> None:
    folder = bag_copy("mcap folder")
    (folder / "metadata.yaml").unlink()
    file = folder / "bag.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with BagReader(folder) as bag:
        read = list(bag.messages())
        assert 0 < len(read) < 99
        assert read == recorded[: len(read)]
        assert bag.damage is not None
        assert "metadata.yaml is missing" in bag.damage
        assert "bag.mcap: cut off after" in bag.damage


def test_a_split_recording_lacks_only_the_part_that_is_missing(
    bag_copy: Callable[[str], Path], recorded: list[BagMessage]
) -> None:
    folder = bag_copy("mcap split folder")
    (folder / "bag_1.mcap").unlink()
    with BagReader(folder) as bag:
        assert list(bag.messages()) == recorded[:9] + recorded[18:]
        assert bag.damage == "missing: bag_1.mcap"


def test_parts_without_metadata_are_read_in_the_order_of_their_numbers(
    bag_copy: Callable[[str], Path], recorded: list[BagMessage]
) -> None:
    folder = bag_copy("mcap split folder")
    (folder / "metadata.yaml").unlink()
    with BagReader(folder) as bag:
        assert list(bag.messages()) == recorded


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_cut_off_compressed_recording_gives_its_first_messages(
    mode: CompressionMode, plugin: StoragePlugin, tmp_path: Path
) -> None:
    recorded = make_messages(600, rows=60)
    folder = write_folder(tmp_path / "bag", recorded, plugin, mode)
    file = next(path for path in folder.iterdir() if path.name != "metadata.yaml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 9 // 10])
    with BagReader(folder) as bag:
        read = list(bag.messages())
        assert len(read) > 400
        assert read == recorded[: len(read)]
        assert bag.damage is not None


def test_what_a_killed_process_had_written_can_be_read(tmp_path: Path) -> None:
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from recordings import make_messages
        from avperception.bags import BagWriter
        with BagWriter({str(tmp_path / "out.mcap")!r}, keep_on_error=True) as writer:
            for message in make_messages(900, rows=100):
                writer.add_topic(message.topic, message.msgtype)
                writer.write_cdr(message.topic, message.stamp_ns, message.cdr)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -signal.SIGKILL
    recorded = make_messages(900, rows=100)
    with BagReader(tmp_path / "out.mcap") as bag:
        read = list(bag.messages())
        assert bag.damage is not None
    assert read == recorded[: len(read)]
    pending = sum(len(m.cdr) for m in recorded[len(read) :])
    assert pending < 2_000_000  # of 1.9 MB a chunk and the file's buffer may not have been written
    assert read

import errno
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avperception.errors import ModelError
from avperception.models import find_card, pull
from avperception.models.card import ModelCard

NETWORK = bytes(range(256)) * 4096  # 1 MiB
OLD = b"what was there before"


class Handler(BaseHTTPRequestHandler):
    """Each path is a server with another habit."""

    def do_GET(self) -> None:
        getattr(self, self.path.strip("/").replace(".onnx", ""))()

    def log_message(self, *args: object) -> None:
        pass

    def send(self, body: bytes, length: int | None, status: int = 200) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def good(self) -> None:
        self.send(NETWORK, len(NETWORK))

    def without_length(self) -> None:
        self.send(NETWORK, None)

    def moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/good.onnx")
        self.end_headers()

    def other(self) -> None:
        self.send(b"<html>Sign in first</html>", 26)

    def absent(self) -> None:
        self.send(b"no such file", 12, status=404)

    def cut(self) -> None:
        self.send(NETWORK[: len(NETWORK) // 2], len(NETWORK))

    def cut_chunk(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"100000\r\n" + NETWORK[:1000])
        self.close_connection = True

    def silent(self) -> None:
        self.send(NETWORK[:1000], len(NETWORK))
        threading.Event().wait(3)

    def nonsense(self) -> None:
        self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def card_at(server: str, write_card: Callable[..., Path], model_folder: Path) -> Callable[[str], ModelCard]:
    def card(habit: str) -> ModelCard:
        return find_card(str(write_card(model_folder, "mine", NETWORK, f"{server}/{habit}.onnx")))

    return card


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"mine.yaml"}


@pytest.mark.parametrize("habit", ["good", "without_length", "moved"])
def test_a_network_is_fetched_from_its_source(card_at, model_folder, habit):
    seen = []
    path = pull(card_at(habit), progress=lambda done, size: seen.append((done, size)))
    assert path == model_folder / "mine.onnx"
    assert path.read_bytes() == NETWORK
    assert path.stat().st_mode & 0o777 == 0o644
    assert files(model_folder) == {"mine.onnx"}
    size = None if habit == "without_length" else len(NETWORK)
    assert seen[-1] == (len(NETWORK), size)
    assert len(seen) > 1


def test_a_network_is_taken_from_a_file(card_at, model_folder, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(NETWORK)
    assert pull(card_at("absent"), copy).read_bytes() == NETWORK
    assert files(model_folder) == {"mine.onnx"}


def test_a_network_that_is_right_is_left_and_an_altered_one_replaced(card_at, model_folder):
    path = pull(card_at("good"))
    before = path.stat()
    assert pull(card_at("absent")) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    path.write_bytes(OLD)
    assert pull(card_at("good")).read_bytes() == NETWORK


@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        ("other", "is not the network of model mine: its sha256 is .*nothing was kept"),
        ("absent", "the server answers 404 .*--from FILE"),
        ("cut", f"cut off after {len(NETWORK) // 2} of {len(NETWORK)} bytes: nothing was kept"),
        ("cut_chunk", "cut off .*nothing was kept"),
        ("silent", "cut off .*timed out.*nothing was kept"),
        ("nonsense", "cannot be reached: .*--from FILE"),
    ],
)
@pytest.mark.parametrize("before", [None, OLD], ids=["new", "old file there"])
def test_a_source_that_fails_leaves_what_was_there(
    card_at, model_folder, server, habit, reason, before, monkeypatch
):
    monkeypatch.setattr("avperception.models.store.TIMEOUT_S", 0.3)
    card = card_at(habit)
    if before:
        (model_folder / "mine.onnx").write_bytes(before)
    with pytest.raises(ModelError, match=reason) as caught:
        pull(card)
    assert f"{server}/{habit}.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(model_folder) == ({"mine.onnx"} if before else set())
    if before:
        assert (model_folder / "mine.onnx").read_bytes() == before


def test_no_server_and_no_source_are_errors_that_say_what_to_do(write_card, model_folder):
    card = find_card(str(write_card(model_folder, "mine", NETWORK, "http://127.0.0.1:9/mine.onnx")))
    with pytest.raises(ModelError, match=r"cannot be reached: .*--from FILE"):
        pull(card)
    card = find_card(str(write_card(model_folder, "mine", NETWORK)))
    with pytest.raises(
        ModelError, match="has no source_url: run `avperception models pull mine --from FILE`"
    ):
        pull(card)


def test_a_file_that_is_not_the_network_is_refused(card_at, model_folder, tmp_path):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(NETWORK[:-1])
    with pytest.raises(ModelError, match=r"wrong\.onnx is not the network of model mine: its sha256 is "):
        pull(card_at("good"), wrong)
    for unreadable in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match=f"{unreadable} cannot be read"):
            pull(card_at("good"), unreadable)
    assert files(model_folder) == set()


def test_ctrl_c_leaves_nothing_half_written(card_at, model_folder):
    def interrupt(done: int, size: int | None) -> None:
        assert len(files(model_folder)) == 1  # the temporary file
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(card_at("good"), progress=interrupt)
    assert files(model_folder) == set()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the write fails, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_leaves_what_was_there(card_at, model_folder):
    card = card_at("good")
    (model_folder / "mine.onnx").write_bytes(OLD)
    with file_size_limit(len(NETWORK) // 2), pytest.raises(ModelError, match=r"cannot be written") as caught:
        pull(card)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert files(model_folder) == {"mine.onnx"}
    assert (model_folder / "mine.onnx").read_bytes() == OLD


def test_a_folder_that_cannot_be_made_is_an_error(model_folder, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(blocked / "models"))
    with pytest.raises(ModelError, match=r"cannot be written: .*AVPERCEPTION_MODELS"):
        pull(find_card("yolox_nano"), blocked)

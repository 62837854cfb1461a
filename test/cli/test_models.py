import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NAMES = {"yolox_nano": "yolox_nano_416.onnx", "twinlitenet": "twinlitenet_360x640.onnx"}


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return tmp_path / "networks"


def command(model_folder: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    script = "from avperception.cli.main import main; main()"
    environment = {**os.environ, "AVPERCEPTION_MODELS": str(model_folder)}
    return [sys.executable, "-c", script, "models", *arguments], environment


def models(model_folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line, environment = command(model_folder, *arguments)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)


def row(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if line.split()[:1] == [name])


def test_list_pull_and_check_from_files(shared_dir: Path, model_folder: Path):
    listed = models(model_folder, "list")
    assert listed.returncode == 0
    assert row(listed.stdout, "yolox_nano").split() == [
        "yolox_nano", "detection", "80", "Apache-2.0", "not", "pulled"
    ]  # fmt: skip
    for name, file in NAMES.items():
        pulled = models(model_folder, "pull", name, "--from", str(shared_dir / "models" / file))
        assert pulled.returncode == 0, pulled.stderr
        assert str(model_folder / file) in pulled.stdout
    assert sorted(path.name for path in model_folder.iterdir()) == sorted(NAMES.values())
    assert row(models(model_folder, "list").stdout, "twinlitenet").split()[-1] == "ready"
    checked = models(model_folder, "check")
    assert checked.returncode == 0
    assert "images 1x3x416x416 float32 -> output 1x3549x85 float32" in row(checked.stdout, "yolox_nano:")
    assert row(checked.stdout, "twinlitenet:").split()[1] == "ok:"


def test_an_altered_network_is_listed_fails_its_check_and_is_mended(shared_dir: Path, model_folder: Path):
    model_folder.mkdir()
    good = shared_dir / "models" / NAMES["yolox_nano"]
    network = model_folder / NAMES["yolox_nano"]
    network.write_bytes(good.read_bytes()[:-1] + b"\x00")
    assert row(models(model_folder, "list").stdout, "yolox_nano").split()[-1] == "altered"
    for arguments in (["check"], ["check", "yolox_nano"]):
        checked = models(model_folder, *arguments)
        assert checked.returncode == 1
        line = row(checked.stdout, "yolox_nano:")
        assert "failed" in line
        assert "695e750a5d57" in line  # ../shared/models/README.md
        assert "avperception models pull yolox_nano" in line
    assert models(model_folder, "pull", "yolox_nano", "--from", str(good)).returncode == 0
    assert models(model_folder, "check", "yolox_nano").returncode == 0


def test_a_network_that_is_not_here_fails_only_when_asked_for(model_folder: Path):
    everything = models(model_folder, "check")
    assert everything.returncode == 0
    assert "not pulled" in row(everything.stdout, "yolox_nano:")
    named = models(model_folder, "check", "yolox_nano")
    assert named.returncode == 1
    assert "run `avperception models pull yolox_nano`" in named.stdout


def test_a_card_of_ones_own_is_checked_by_path(shared_dir: Path, model_folder: Path, tmp_path: Path):
    # The shipped detector under a card with a class too few.
    own = tmp_path / "own.yaml"
    source = Path(__file__).resolve().parents[2] / "config" / "models" / "yolox_nano.yaml"
    own.write_text(source.read_text().replace("  - toothbrush\n", ""))
    shutil.copy(shared_dir / "models" / NAMES["yolox_nano"], tmp_path)
    checked = models(model_folder, "check", str(own))
    assert checked.returncode == 1
    assert "output `output` is 1x3549x85, not 1xANCHORSx84 (5 + 79 classes of the card)" in checked.stdout


def test_bad_input_is_one_line_and_exit_code_2(shared_dir: Path, model_folder: Path):
    other = str(shared_dir / "models" / NAMES["twinlitenet"])
    for arguments, reason in [
        (["pull", "yolo"], "there is no model 'yolo'"),
        (["check", "yolo"], "there is no model 'yolo'"),
        (["check", "./absent.yaml"], "cannot be read"),
        (["pull", "yolox_nano", "--from", "/absent.onnx"], "/absent.onnx cannot be read"),
        (["pull", "yolox_nano", "--from", other], "is not the network of model yolox_nano"),
    ]:
        result = models(model_folder, *arguments)
        assert result.returncode == 2, arguments
        assert reason in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not model_folder.exists() or not list(model_folder.iterdir())


def test_a_broken_card_does_not_hide_the_others(shared_dir: Path, model_folder: Path):
    shutil.copytree(shared_dir / "models", model_folder)
    (model_folder / "broken.yaml").write_text("name: broken\ntask: flying\n")
    listed = models(model_folder, "list")
    assert listed.returncode == 1
    assert row(listed.stdout, "broken").split()[-1] == "unusable"
    assert row(listed.stdout, "yolox_nano").split()[-1] == "ready"
    assert "broken.yaml: key `task` is 'flying': it must be detection or segmentation" in listed.stderr
    checked = models(model_folder, "check")
    assert checked.returncode == 1
    assert "failed" in row(checked.stdout, "broken:")
    assert "ok" in row(checked.stdout, "yolox_nano:")


class SlowHandler(BaseHTTPRequestHandler):
    """Sends the first half of a network and then waits."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2000000")
        self.end_headers()
        self.wfile.write(bytes(1_000_000))
        threading.Event().wait(20)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def slow_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/network.onnx"
    server.shutdown()
    server.socket.close()


def test_ctrl_c_in_the_middle_leaves_nothing_half_written(slow_server: str, model_folder: Path):
    model_folder.mkdir()
    digest = hashlib.sha256(bytes(2_000_000)).hexdigest()
    (model_folder / "slow.yaml").write_text(
        f"name: slow\nfile: slow.onnx\nsha256: {digest}\nsource_url: {slow_server}\nlicence: MIT\n"
        "task: detection\ninput: {tensor: x, colour: rgb, resize: stretch}\n"
        "decoder: {name: yolox, output: y}\nclasses: [car]\n"
    )
    line, environment = command(model_folder, "pull", "slow")
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not any(path.stat().st_size > 0 for path in model_folder.glob(".slow.onnx.*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert [path.name for path in model_folder.iterdir()] == ["slow.yaml"]

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avperception import __version__

SCRIPT = "from avperception.cli.main import main; main()"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=60
    )


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    for command in ("models", "convert", "replay"):
        assert command in done.stdout


def test_without_arguments_there_is_help():
    done = run()
    assert "replay" in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"avperception {__version__}", "")


@pytest.mark.parametrize("arguments", [["fly"], ["--fly"], ["replay", "--fly"], ["convert", "fly"]])
def test_what_it_does_not_know_ends_with_exit_code_2(arguments: list[str]):
    done = run(*arguments)
    assert done.returncode == 2 and not done.stdout
    assert "fly" in done.stderr and "Traceback" not in done.stderr


def test_an_error_that_a_user_can_mend_is_one_line_on_stderr(tmp_path: Path):
    """Also where the path holds what a terminal library takes for markup, and is longer than a line."""
    path = tmp_path / ("[bold]" + "long_name_" * 15) / "bag.mcap"
    done = run("replay", str(path), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and not done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert str(path) in line and "Traceback" not in done.stderr


def test_the_command_line_starts_without_ros_and_networks_being_loaded():
    """`--help` must not take seconds, nor fail where ROS is not sourced."""
    script = (
        "import sys\n"
        "sys.argv = ['avperception', '--version']\n"
        "from avperception.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'rclpy', 'onnxruntime', 'cupy', 'tensorrt'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("after_s", [0.1, 0.2, 0.4, 0.8])
def test_ctrl_c_while_it_starts_is_no_traceback(after_s: float):
    """The interpreter itself is up when the word comes; the imports take about a second from there."""
    script = f"print('up', flush=True); {SCRIPT}"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors, errors
    assert process.returncode in (130, 0, 1)  # 0 and 1: a fast machine may have been through


@pytest.mark.parametrize("made_of_it", ["ImportError('initialization failed')", "OSError('Interrupted')"])
def test_ctrl_c_that_a_library_makes_another_error_of_ends_like_any_other(made_of_it: str):
    """As an extension module does that is interrupted while it is imported; rclpy's is one."""
    script = (
        "import signal\n"
        "from avperception.cli import application, main\n"
        "def app():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        f"        raise {made_of_it} from None\n"
        "application.app = app\n"
        "main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")

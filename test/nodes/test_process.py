import subprocess
import sys


def test_the_process_ends_at_once_from_any_thread_with_one_line() -> None:
    script = (
        "import threading, time\n"
        "from avperception.nodes.process import end_at_once\n"
        "threading.Thread(target=end_at_once, args=('the GPU is lost',)).start()\n"
        "time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (3, "perception: the GPU is lost\n")


def test_a_signal_that_a_library_makes_another_error_of_ends_a_start_in_good_order() -> None:
    """As an extension module does that is interrupted while it is imported.

    The signal is raised in the main thread: one sent to the process may reach a thread of NumPy's first,
    and is seen when `make_node` has long come back.
    """
    script = (
        "import signal\n"
        "from avperception.nodes.process import run_node\n"
        "def make_node():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        raise ImportError('initialization failed') from None\n"
        "run_node('perception', make_node)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")

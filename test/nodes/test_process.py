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

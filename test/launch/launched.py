"""A launch under way, and what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

RUN = """
import sys
from pathlib import Path
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [argument.split(":=", 1) for argument in sys.argv[2:]]
service = LaunchService(noninteractive=True)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


class Launch:
    """A launch under way; `until` reads what it says."""

    def __init__(
        self, file: Path, environment: dict[str, str], *arguments: str, prefix: tuple[str, ...] = ()
    ) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", RUN, str(file), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def until(self, pattern: str) -> float:
        """Wait until a line fits; gives the seconds since this was called."""
        begin = time.monotonic()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if re.search(pattern, line):
                return time.monotonic() - begin
        raise AssertionError(f"it ended without {pattern!r}:\n{self.said}")

    def interrupt(self) -> float:
        """Ctrl-C; gives the seconds until all has ended."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.finish()
        return time.monotonic() - begin

    def ctrl_c(self) -> None:
        """What a terminal does: SIGINT for the launch and all that it started."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self, timeout_s: float = 60.0) -> int:
        rest, _ = self.process.communicate(timeout=timeout_s)
        self.said += rest
        return self.process.returncode

#!/usr/bin/env python3
"""Make .venv: ROS 2 (the sourced installation or wheels), its messages, the libraries and avperception.

Run by `make setup`; standard library only. This file has to parse on every Python 3, so that an
unsupported one gets a sentence and not a traceback; the work is in the package `environment` beside it.
"""

import os
import sys

OLDEST = (3, 10)
NEWEST = (3, 13)


def main():
    """Set the environment up; return the exit code: 0 done, 1 a step failed, 2 something is missing first."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = "{} is Python {}.{}".format(sys.executable, *sys.version_info[:2])
        sys.stderr.write(
            "setup: Python 3.10 to 3.13 is needed, " + found + ": try `make setup PYTHON=python3.12`\n"
        )
        return 2
    from environment.setup import run

    return run(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


if __name__ == "__main__":
    sys.exit(main())

"""Where the package's own files (config, launch, engines) are, however it was installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from avperception.errors import ConfigurationError


@lru_cache(maxsize=1)
def share_directory() -> Path:
    """Folder that holds `config/`, `launch/` and `engines/`: the source tree, the ament share or the venv's.

    Raises ConfigurationError if none of them has the files.
    """
    tried = []
    for candidate in _candidates():
        if (candidate / "config" / "models").is_dir():
            return candidate
        tried.append(str(candidate))
    raise ConfigurationError(
        f"avperception's config folder was not found in {', '.join(tried)}: "
        "install the package with `pip install .` or `colcon build`, then source its setup file"
    )


def _candidates() -> Iterator[Path]:
    source_tree = Path(__file__).resolve().parent.parent
    if (source_tree / "package.xml").is_file():
        yield source_tree
    # The ament index raises OSError where no ROS environment is sourced.
    with suppress(ImportError, LookupError, OSError):
        from ament_index_python.packages import get_package_share_directory

        yield Path(get_package_share_directory("avperception"))
    yield Path(sys.prefix) / "share" / "avperception"

"""Where the package's own files (config, launch, engines) are, however it was installed."""

from __future__ import annotations

import sys
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


def _candidates() -> list[Path]:
    source_tree = Path(__file__).resolve().parent.parent
    found = [source_tree] if (source_tree / "package.xml").is_file() else []
    try:
        from ament_index_python.packages import get_package_share_directory

        found.append(Path(get_package_share_directory("avperception")))
    except (ImportError, LookupError):
        pass
    found.append(Path(sys.prefix) / "share" / "avperception")
    return found

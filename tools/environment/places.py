"""Where set-up puts things; all of it lies in .venv, so that removing that folder undoes everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Paths of a checkout whose root is `root`."""

    root: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.venv / "bin" / "python"

    @property
    def work(self) -> Path:
        """Logs, build folders and the record of finished steps."""
        return self.venv / "setup"

    @property
    def record(self) -> Path:
        """The record of finished steps."""
        return self.work / "finished.json"

    @property
    def requirements(self) -> Path:
        """Requirement and constraint files."""
        return self.root / "requirements"

    @property
    def interfaces(self) -> Path:
        """Message packages built for a machine without ROS."""
        return self.root / "interfaces"

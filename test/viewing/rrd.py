"""Reads back what was written for Rerun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class Recording:
    """The rows of a .rrd file: `rows(path, component)` gives (stamp_ns, value) in order."""

    def __init__(self, path: Path) -> None:
        from rerun.chunk import RrdReader

        self._chunks = RrdReader(str(path)).stream().to_chunks()

    @property
    def paths(self) -> set[str]:
        return {chunk.entity_path for chunk in self._chunks}

    def rows(self, path: str, component: str) -> list[tuple[int, Any]]:
        found = []
        for chunk in self._chunks:
            if chunk.entity_path == path and not chunk.is_static:
                batch = chunk.to_record_batch()
                if component in batch.schema.names:
                    stamps = np.asarray(batch.column("stamp")).astype("datetime64[ns]").astype(np.int64)
                    found += zip(map(int, stamps), batch.column(component).to_pylist(), strict=True)
        return sorted(found, key=lambda row: row[0])

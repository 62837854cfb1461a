"""The CUDA sources of the package, complete in themselves."""

from __future__ import annotations

import re
from pathlib import Path

KERNELS = Path(__file__).parent / "kernels"

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)


def cuda_source(file: str, folder: Path = KERNELS) -> str:
    """Read a CUDA source, of the package unless another folder is given, with its headers in their places.

    What is compiled is kept by its text: were a header only named, a change in it would not be seen.
    """
    text = (folder / file).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda include: cuda_source(include[1], folder), text)

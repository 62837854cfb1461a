"""Which Fast DDS transport the process sends its images and clouds through."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from avperception.paths import share_directory

PROFILES_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""What Fast DDS 2 reads (Humble: 2.6, Jazzy: 2.14); Fast DDS 3, from Kilted on, renamed it to FASTDDS_...."""

SEGMENT_BYTES = 72 * 1024 * 1024
"""What one process takes of the shared memory: the 64 MiB of config/fastdds.xml and their book-keeping."""


@dataclass(frozen=True)
class TransportProfile:
    """What is in force: `shared_memory` says whether it is config/fastdds.xml, `detail` says it for people.

    `path` is the profile that Fast DDS will load, None for its built-in transports.
    """

    shared_memory: bool
    path: Path | None
    detail: str


def profile_path() -> Path:
    """Where config/fastdds.xml is installed. Raises ConfigurationError if the package's files are missing."""
    return share_directory() / "config" / "fastdds.xml"


def use_shared_memory_profile(
    environment: MutableMapping[str, str] | None = None,
    shared_memory: Path = Path("/dev/shm"),
) -> TransportProfile:
    """Let this process talk through config/fastdds.xml, unless the user has chosen a transport already.

    Call it before `rclpy.init`, because the profile is read when the first node is made. It sets
    FASTRTPS_DEFAULT_PROFILES_FILE in `environment` (by default `os.environ`), so child processes
    inherit it. Images need it where they are *published*, see docs/transport.md; here it serves what
    this process publishes itself. Where `shared_memory` has no room for the segment the built-in
    transports stay: Fast DDS 2.14 would fall back to UDP alone, 2.6 would refuse to make a node.

    Raises ConfigurationError if the package's own files are missing.
    """
    environment = os.environ if environment is None else environment
    path = profile_path()
    chosen = environment.get(PROFILES_VARIABLE)
    if chosen:
        return _chosen_by_user(Path(chosen), path)
    refusal = _why_not(environment, shared_memory)
    if refusal:
        return TransportProfile(False, None, f"shared-memory profile is not used: {refusal}")
    environment[PROFILES_VARIABLE] = str(path)
    return TransportProfile(True, path, f"shared-memory profile {path}")


def _chosen_by_user(chosen: Path, ours: Path) -> TransportProfile:
    """The profile that the environment names, ours perhaps."""
    if not chosen.is_file():
        detail = f"{PROFILES_VARIABLE} names {chosen}, which does not exist: correct or unset it"
        return TransportProfile(False, None, detail)
    if chosen.samefile(ours):
        return TransportProfile(True, ours, f"shared-memory profile {ours}, set by the environment")
    return TransportProfile(False, chosen, f"Fast DDS profile {chosen}, set by the environment")


def _why_not(environment: MutableMapping[str, str], shared_memory: Path) -> str:
    """The reason to leave the transport alone, or nothing."""
    implementation = environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if not implementation.startswith("rmw_fastrtps"):
        return f"RMW_IMPLEMENTATION is {implementation}"
    if environment.get("FASTDDS_BUILTIN_TRANSPORTS"):
        return f"FASTDDS_BUILTIN_TRANSPORTS={environment['FASTDDS_BUILTIN_TRANSPORTS']} is set"
    try:
        status = os.statvfs(shared_memory)
    except OSError as error:
        return f"{shared_memory} cannot be used ({error.strerror})"
    free = status.f_bavail * status.f_frsize
    if free < SEGMENT_BYTES or not os.access(shared_memory, os.W_OK):
        return (
            f"{shared_memory} has {free // 2**20} MiB to write, {SEGMENT_BYTES // 2**20} are needed; "
            "start the container with --ipc=host or --shm-size=1g, or remove what killed processes left"
        )
    return ""

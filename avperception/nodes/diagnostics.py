"""What `/diagnostics` says of the node, once a second."""

from __future__ import annotations

from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from avperception.nodes.input import Input
from avperception.nodes.source import Source

STALE_S = 1.0
"""A source from which nothing came for this long is a warning."""


class StatusChange:
    """Remembers a source's counts, so that a status tells what happened since the last one."""

    def __init__(self) -> None:
        self._dropped: dict[str, int] = {}

    def newly_dropped(self, source: Source) -> dict[str, int]:
        """Losses by reason since the last call."""
        now = source.dropped
        new = {reason: count - self._dropped.get(reason, 0) for reason, count in now.items()}
        self._dropped = now
        return {reason: count for reason, count in new.items() if count}


def source_status(
    name: str, source: Source, change: StatusChange, inputs: Iterable[Input], latency_stage: str
) -> DiagnosticStatus:
    """Describe a source: OK, or WARN when nothing comes, messages are lost or a publisher cannot match."""
    problems = []
    if source.age_s is None:
        problems.append("nothing received yet")
    elif source.age_s > STALE_S:
        problems.append(f"nothing received for {source.age_s:.1f} s")
    lost = change.newly_dropped(source)
    if lost:
        problems.append("lost: " + ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items())))
    for entry in inputs:
        publishers = entry.incompatible_publishers()
        if publishers:
            problems.append(f"incompatible QoS on {entry.topic}: {', '.join(publishers)}")
    values = {"received": str(source.received), "processed": str(source.processed)}
    values.update({f"dropped {reason}": str(count) for reason, count in sorted(source.dropped.items())})
    values.update({f"noted {reason}": str(count) for reason, count in sorted(source.noted.items())})
    percentiles = source.percentiles_ms(latency_stage, (50, 99))
    if percentiles:
        values["latency p50 [ms]"], values["latency p99 [ms]"] = (f"{value:.2f}" for value in percentiles)
    level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
    return status(name, level, "; ".join(problems) or "ok", values)


def status(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    """Make one status under the node's name."""
    return DiagnosticStatus(
        level=level,
        name=f"perception: {name}",
        message=message,
        hardware_id="avperception",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def diagnostic_array(header: Header, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """Make the message."""
    return DiagnosticArray(header=header, status=statuses)

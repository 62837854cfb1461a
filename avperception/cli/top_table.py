"""The picture of `avperception top`: sources with their figures in columns, then engines and GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from avperception.nodes.diagnostics_listener import HeardStatus

STALE_S = 3.5
"""A status that was not renewed for this long (it comes once a second) is out of date."""

STALE = 3
_LEVELS = {
    0: ("OK", "green"),
    1: ("WARN", "yellow"),
    2: ("ERROR", "bold red"),
    STALE: ("STALE", "bright_black"),
}

_DROPPED, _NOTED, _LAST, _LAST_MESSAGE = "dropped ", "noted ", "last ", "last message [s]"

WIDE = 110
"""From this many columns on there is room for what is wrong beside the figures; below them otherwise."""


def level_at(status: HeardStatus, now_s: float) -> int:
    """The status's level, STALE if it is out of date."""
    return STALE if now_s - status.heard_s > STALE_S else status.level


def draw_top(statuses: Sequence[HeardStatus], now_s: float, waiting: str) -> RenderableType:
    """Draw all statuses; `waiting` is shown while there is none."""
    if not statuses:
        return Text(waiting, style="bright_black")
    nodes = {status.name.partition(": ")[0] for status in statuses}
    if len(nodes) == 1:
        (node,) = nodes
        statuses = [replace(status, name=status.name.removeprefix(f"{node}: ")) for status in statuses]
    flowing = [status for status in statuses if "received" in status.values]
    others = [status for status in statuses if "received" not in status.values]
    headline = _headline(statuses, now_s)
    if nodes != {"perception"} and len(nodes) == 1:
        headline.append(node, "bold")
    parts: list[RenderableType] = [_Flow(flowing, now_s)] if flowing else []
    parts += [_facts(status, now_s) for status in others]
    return Group(headline, *parts)


@dataclass(frozen=True)
class _Flow:
    """What has messages coming in, in a form that fits the terminal."""

    statuses: Sequence[HeardStatus]
    now_s: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_wide = options.max_width >= WIDE
        yield _flow_table(self.statuses, self.now_s, is_wide)
        if not is_wide:
            yield from _wrongs(self.statuses)


def _wrongs(statuses: Iterable[HeardStatus]) -> Iterable[RenderableType]:
    """What is wrong with each source, in the full width."""
    for status in statuses:
        lines = [line for line in (_message(status).plain, *_reasons(status.values)) if line]
        if lines:
            yield Text.assemble("\n", _short(status.name), "  ", lines[0])
            yield from (Text(f"  {line}", style="bright_black") for line in lines[1:])


def _headline(statuses: Sequence[HeardStatus], now_s: float) -> Text:
    levels = [level_at(status, now_s) for status in statuses]
    line = Text()
    for level, (name, style) in _LEVELS.items():
        if count := levels.count(level):
            line.append(f"{count} {name}  ", style)
    return line


def _flow_table(statuses: Iterable[HeardStatus], now_s: float, is_wide: bool) -> Table:
    """What has messages coming in: cameras, the lidar, fusion."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, expand=is_wide)
    for name, justify in (
        ("", "left"), ("level", "left"), ("in Hz", "right"), ("out Hz", "right"), ("p50 ms", "right"),
        ("p99 ms", "right"), ("age ms", "right"), ("lost", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    if is_wide:
        table.add_column("what is wrong", ratio=1)
    for status in statuses:
        values = status.values
        table.add_row(
            _short(status.name),
            _level(status, now_s),
            *(
                values.get(key, "-")
                for key in (
                    "rate in [Hz]",
                    "rate out [Hz]",
                    "latency p50 [ms]",
                    "latency p99 [ms]",
                    "age p99 [ms]",
                )
            ),
            str(_lost(values)),
            *([_message(status)] if is_wide else []),
        )
        for line in _reasons(values) if is_wide else ():
            table.add_row(*[""] * 8, Text(line, style="bright_black"))
    return table


def _facts(status: HeardStatus, now_s: float) -> RenderableType:
    """A status of any other kind: its name, level and message, and its values below."""
    title = Text.assemble("\n", _short(status.name), "  ", _level(status, now_s), "  ", _message(status))
    table = Table(box=None, padding=(0, 1), show_header=False)
    for key, value in status.values.items():
        table.add_row(Text(key, style="bright_black"), Text(value))
    return Group(title, table)


def _short(name: str) -> Text:
    return Text(name, style="bold")


def _level(status: HeardStatus, now_s: float) -> Text:
    return Text(*_LEVELS.get(level_at(status, now_s), (str(status.level), "")))


def _message(status: HeardStatus) -> Text:
    return Text("" if status.message == "ok" else status.message)


def _lost(values: Mapping[str, str]) -> int:
    return sum(int(value) for key, value in values.items() if key.startswith(_DROPPED) and value.isdecimal())


def _reasons(values: Mapping[str, str]) -> Iterable[str]:
    """Losses and notes by reason, one line each kind, and what was said last of each."""
    for kind, word in ((_DROPPED, "lost so far"), (_NOTED, "noted so far")):
        found = [f"{key.removeprefix(kind)} {value}" for key, value in values.items() if key.startswith(kind)]
        if found:
            yield f"{word}: {', '.join(found)}"
    for key, value in values.items():
        if key.startswith(_LAST) and key != _LAST_MESSAGE:
            yield f"{key.removeprefix(_LAST)}: {value}"

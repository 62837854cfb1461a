"""`avperception top`: how a running node is, live in the terminal."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from avperception.cli.top_table import draw_top, level_at
from avperception.errors import ConfigurationError

if TYPE_CHECKING:
    from avperception.nodes.diagnostics_listener import DiagnosticsListener, HeardStatus

EXIT_FAILURES = 1
ERROR = 2
REFRESH_S = 0.25


def top(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what other nodes say on /diagnostics: drivers, for example.")
    ] = False,
    node: Annotated[str, typer.Option(metavar="NAME", help="The perception node.")] = "/perception",
    once: Annotated[bool, typer.Option("--once", help="Wait for one report, print it and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="How long --once and --json wait at most.")
    ] = 5.0,
) -> None:
    """Show rates, latencies, ages, losses and levels of a running perception node; Ctrl-C ends it.

    With --once or --json, and where the output is no terminal, exit code 1 says that something is an
    ERROR, or that no report came.
    """
    wanted = None if everything else f"/{node.lstrip('/')}"
    with _listener() as listener:
        if once or as_json or not Console().is_terminal:
            _report_once(listener, wanted, as_json, timeout)
        else:
            with suppress(KeyboardInterrupt):
                _show(listener, wanted)


def _show(listener: DiagnosticsListener, node: str | None) -> None:
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            listener.spin(REFRESH_S)
            live.update(
                draw_top(_chosen(listener, node), time.monotonic(), _waiting(listener, node)), refresh=True
            )


def _report_once(listener: DiagnosticsListener, node: str | None, as_json: bool, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while not (statuses := _chosen(listener, node)) and time.monotonic() < end_s:
        listener.spin(0.05)
    if as_json:
        typer.echo(json.dumps([_plain(status) for status in statuses], indent=2))
    elif statuses:
        Console().print(draw_top(statuses, time.monotonic(), ""))
    if not statuses:
        typer.echo(f"no report within {timeout_s:g} s: {_waiting(listener, node)}", err=True)
    if not statuses or any(level_at(status, time.monotonic()) >= ERROR for status in statuses):
        raise typer.Exit(EXIT_FAILURES)


def _chosen(listener: DiagnosticsListener, node: str | None) -> list[HeardStatus]:
    """Those of a node, or all without one, in the order in which they are reported."""
    return [status for name, status in listener.statuses.items() if node is None or _node_of(name) == node]


def _node_of(status: str) -> str:
    """Full name of the node whose status this is, by its name."""
    return f"/{status.partition(': ')[0].lstrip('/')}"


def _plain(status: HeardStatus) -> dict[str, object]:
    return {
        "name": status.name,
        "level": status.level,
        "message": status.message,
        "values": status.values,
    }


def _waiting(listener: DiagnosticsListener, node: str | None) -> str:
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    others = sorted({_node_of(name) for name in listener.statuses if name.endswith(": engines")})
    heard = f"; --node may be {', '.join(others)}" if others else ""
    who = f"the perception node {node}" if node else "any node"
    return f"waiting for {who} on /diagnostics of ROS domain {domain} (ROS_DOMAIN_ID) ...{heard}"


def _listener() -> DiagnosticsListener:
    try:
        # Only here: other commands do without ROS.
        from avperception.nodes.diagnostics_listener import DiagnosticsListener
    except ImportError as error:
        raise ConfigurationError(
            f"top needs ROS 2, which cannot be imported ({error}): source its setup.bash, or run `make setup`"
        ) from error
    return DiagnosticsListener()

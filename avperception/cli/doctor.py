"""`avperception doctor`: what is wrong with this machine, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from avperception.doctor import Finding, State, examine

EXIT_FAILURES = 1

_COLOURS = {State.OK: typer.colors.GREEN, State.NOTE: typer.colors.YELLOW, State.WRONG: typer.colors.RED}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Check Python, ROS 2, shared memory, GPU, driver, TensorRT, CuPy, every model and every engine.

    Each line says OK, or what is wrong and the command that mends it. Exit code 1 if anything is wrong.
    """
    findings = list(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _say(finding)
    if any(finding.state is State.WRONG for finding in findings):
        raise typer.Exit(EXIT_FAILURES)


def _say(finding: Finding) -> None:
    state = typer.style(finding.state.value, fg=_COLOURS[finding.state])
    mend = f"\n    {finding.command}" if finding.command else ""
    typer.echo(f"{finding.what}: {state}: {finding.text}{mend}")

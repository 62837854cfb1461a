"""What can stop a set-up; each message says what is wrong and what to do next."""

from __future__ import annotations


class PrerequisiteError(Exception):
    """The machine lacks something that set-up cannot install by itself (exit code 2)."""


class StepError(Exception):
    """A command of a step failed (exit code 1)."""

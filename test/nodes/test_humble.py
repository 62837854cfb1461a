"""ROS 2 Humble has an older rclpy: what it lacks may be imported only where that is caught."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HUMBLE = frozenset(
    [
        "action",
        "callback_groups",
        "client",
        "clock",
        "constants",
        "context",
        "duration",
        "exceptions",
        "executors",
        "expand_topic_name",
        "guard_condition",
        "impl",
        "lifecycle",
        "logging",
        "node",
        "parameter",
        "parameter_service",
        "publisher",
        "qos",
        "qos_event",
        "qos_overriding_options",
        "serialization",
        "service",
        "signals",
        "subscription",
        "task",
        "time",
        "time_source",
        "timer",
        "topic_endpoint_info",
        "topic_or_service_is_hidden",
        "type_support",
        "utilities",
        "validate_full_topic_name",
        "validate_namespace",
        "validate_node_name",
        "validate_parameter_name",
        "validate_topic_name",
        "wait_for_message",
        "waitable",
    ]
)
"""The modules of rclpy 3.3, branch humble of ros2/rclpy."""

LACKING = frozenset({"add_post_set_parameters_callback", "add_pre_set_parameters_callback"})
"""Methods of a node that came after Humble and would be of use here."""


def sources(repository: Path) -> list[Path]:
    found = sorted((repository / "avperception").rglob("*.py"))
    assert len(found) > 100
    return found


def unguarded(tree: ast.AST) -> list[str]:
    """The modules of rclpy that are imported outside of a `try`."""
    guarded = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.Try) for node in ast.walk(outer)}
    modules = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("rclpy.")
            and id(node) not in guarded
        ):
            modules.append(str(node.module).split(".")[1])
    return modules


def test_modules_that_humble_lacks_are_imported_under_a_guard(repository: Path):
    for path in sources(repository):
        lacking = set(unguarded(ast.parse(path.read_text()))) - HUMBLE
        assert not lacking, f"{path} imports rclpy.{lacking}"


@pytest.mark.parametrize("name", sorted(LACKING))
def test_methods_that_humble_lacks_are_asked_for_first(repository: Path, name: str):
    for path in sources(repository):
        text = path.read_text()
        if f".{name}(" in text:
            assert f'hasattr(node, "{name}")' in text, path


def test_the_guard_is_told_from_none():
    """The test before would pass for ever if it saw nothing."""
    assert unguarded(ast.parse("from rclpy.clock_type import ClockType")) == ["clock_type"]
    assert (
        unguarded(ast.parse("try:\n    from rclpy.clock_type import X\nexcept ImportError:\n    pass")) == []
    )

"""The keys of one mapping of a model card, read strictly: a complaint names file, key and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from avperception.errors import ModelError

Choice = TypeVar("Choice", bound=str)


class Fields:
    """One mapping of a card; each key is taken once, and `finish` refuses what nobody took.

    All values are still text: whether a value is a number is for the key to say, not for YAML's
    guesses, which make a boolean of the class name `no` and a number of the name `1e10`.
    """

    def __init__(self, path: Path, value: Any, parent: str = "") -> None:
        self._path = path
        self._parent = parent
        if not isinstance(value, dict):
            place = f"key `{parent}`" if parent else "a model card"
            raise ModelError(f"{path}: {place} must be a mapping of keys to values, found {_shown(value)}")
        for key in value:
            if not isinstance(key, str) or not key.isprintable() or not key.strip():
                raise ModelError(f"{path}: {_shown(key)} is no key of a model card")
        self._values: dict[str, Any] = dict(value)
        self._known: list[str] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that nobody has taken yet, in the order of the file."""
        return tuple(self._values)

    def allow(self, key: str) -> None:
        """Name a key that may be there but is not, for the complaint about an unknown one."""
        self._known.append(key)

    def refuse(self, key: str, value: Any, allowed: str) -> NoReturn:
        """Raise the ModelError for a value that cannot be used; `allowed` says what can."""
        raise ModelError(f"{self._path}: key `{self._full(key)}` is {_shown(value)}: it must be {allowed}")

    def text(self, key: str, allowed: str) -> str:
        """Take a line of printable text."""
        value = self._take(key, allowed)
        if not _is_line(value):
            self.refuse(key, value, allowed)
        return str(value).strip()

    def choice(self, key: str, choices: Sequence[Choice]) -> Choice:
        """Take one of a few words."""
        allowed = " or ".join(choices) if len(choices) < 3 else "one of " + ", ".join(choices)
        value = self._take(key, allowed)
        for choice in choices:
            if value == choice:
                return choice
        self.refuse(key, value, allowed)

    def number(
        self,
        key: str,
        allowed: str,
        default: float | None = None,
        low: float = -math.inf,
        high: float = math.inf,
        above: float = -math.inf,
    ) -> float:
        """Take a finite number, at least `low`, at most `high` and more than `above`."""
        value = self._take(key, allowed, default)
        number = _number(value)
        if number is None or not low <= number <= high or not number > above:
            self.refuse(key, value, allowed)
        return number

    def triple(
        self, key: str, allowed: str, default: tuple[float, float, float], above: float = -math.inf
    ) -> tuple[float, float, float]:
        """Take three finite numbers, one a colour channel, each more than `above`."""
        value = self._take(key, allowed, list(default))
        items = value if isinstance(value, list) else []
        numbers = [number for number in map(_number, items) if number is not None and number > above]
        if len(items) != 3 or len(numbers) != 3:
            self.refuse(key, value, allowed)
        return numbers[0], numbers[1], numbers[2]

    def names(self, key: str, allowed: str) -> tuple[str, ...]:
        """Take a list of one or more names, none of them twice."""
        value = self._take(key, allowed)
        if not isinstance(value, list) or not value:
            self.refuse(key, value, allowed)
        names: list[str] = []
        for item in value:
            if not _is_line(item) or item in names:
                self.refuse(key, item, allowed)
            names.append(item)
        return tuple(names)

    def section(self, key: str, allowed: str) -> Fields:
        """Take a mapping below this one."""
        return Fields(self._path, self._take(key, allowed), self._full(key))

    def finish(self) -> None:
        """Raise ModelError if the file has a key that was not taken."""
        for key in self._values:
            known = ", ".join(self._known)
            raise ModelError(f"{self._path}: key `{self._full(key)}` is unknown: allowed here are {known}")

    def _take(self, key: str, allowed: str, default: Any = None) -> Any:
        self._known.append(key)
        if key in self._values:
            return self._values.pop(key)
        if default is None:
            raise ModelError(f"{self._path}: key `{self._full(key)}` is missing: it must be {allowed}")
        return default

    def _full(self, key: str) -> str:
        return f"{self._parent}.{key}" if self._parent else key


def read_mapping(path: Path) -> Fields:
    """Read a YAML file whose top level is a mapping; raises ModelError."""
    try:
        return Fields(path, yaml.load(path.read_text(encoding="utf-8"), Loader=_TextLoader))
    except OSError as error:
        raise ModelError(f"model card {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"model card {path} is not UTF-8 text, byte {error.start} is not") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ModelError(f"{path}{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        raise ModelError(f"{path}, character {error.position}: not valid YAML: {error.reason}") from error
    except RecursionError as error:
        raise ModelError(f"{path}: nested too deeply to be a model card") from error


class _TextLoader(yaml.BaseLoader):
    """YAML without guessed types (every scalar is text) and without keys that are there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there twice; plain YAML keeps the last one and says nothing."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is not text", key_node.start_mark)
            if key_node.value in seen:
                problem = f"key `{key_node.value}` is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    text = "a mapping" if isinstance(value, dict) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

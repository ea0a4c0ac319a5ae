"""Prompts: a template with `{field}` placeholders, and a task, become messages.

A template is what a config says; the values that go into it are data and are never read as a template themselves. Not here: finding and
reading prompt files (benchmark), and sending anything (model).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_gym.errors import ConfigError, DataError
from pytest_gym.records import Message, Task

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_FIELD = re.compile(r"[^\W\d][\w-]*")
# Text and field names in turn: even places are text to copy, odd ones are names of row fields.
_Parts = tuple[str, ...]


@dataclass(frozen=True)
class Prompt:
    """The messages that open every rollout of a benchmark.

    `system` and `user` are templates: `{question}` stands for the row's field `question`, `{{` and `}}` for single braces.
    `system=""` sends an empty system message, None sends none. `source` says where the text was written (a file, or file and line) and
    begins each error.
    Raises ConfigError on a placeholder that is more than a field name: attributes, indices and format specifications are not supported.
    """

    system: str | None
    user: str | None
    source: str
    _system: _Parts | None = field(init=False, repr=False, compare=False)
    _user: _Parts | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, text in (("system", self.system), ("user", self.user)):
            object.__setattr__(self, f"_{name}", None if text is None else _parse(text, f"{self.source}: prompt {name!r}"))

    @property
    def fields(self) -> frozenset[str]:
        """The row fields that the templates use."""
        return frozenset(name for parts in (self._system, self._user) if parts is not None for name in parts[1::2])

    def render(self, task: Task) -> tuple[Message, ...]:
        """The messages for `task`, every value as `str()` gives it. Raises DataError naming row and field where one is absent or null."""
        messages = []
        if self._system is not None:
            messages.append(Message("system", _fill(self._system, task)))
        if self._user is not None:
            messages.append(Message("user", _fill(self._user, task)))
        return tuple(messages)

    def to_json(self) -> dict[str, Any]:
        """System, user and source as a JSON object."""
        return {"system": self.system, "user": self.user, "source": self.source}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prompt:
        """The prompt that `to_json` wrote."""
        return cls(data["system"], data["user"], data["source"])


def _parse(text: str, where: str) -> _Parts:
    parts, literal, position = [], [], 0
    for match in _TOKEN.finditer(text):
        literal.append(text[position : match.start()])
        position, token = match.end(), match.group()
        if token in ("{{", "}}"):
            literal.append(token[0])
            continue
        if not _FIELD.fullmatch(token[1:-1]):
            line = text.count("\n", 0, match.start()) + 1
            what = f"{token!r} is not a field name in braces" if len(token) > 1 else f"a single {token!r}"
            raise ConfigError(f"{where}, line {line}: {what}; write '{{field}}' for a row's field, and double a brace that shall stay one")
        parts += ["".join(literal), token[1:-1]]
        literal = []
    return (*parts, "".join(literal) + text[position:])


def _fill(parts: _Parts, task: Task) -> str:
    filled = list(parts)
    for index in range(1, len(parts), 2):
        name = parts[index]
        # A loaded row knows its own line and raises a better sentence itself than this one.
        if name not in task.fields and not hasattr(type(task.fields), "__missing__"):
            raise DataError(f"{task.benchmark}, task {task.id!r} (row {task.index + 1}): no field {name!r}, which the prompt needs")
        value = task.fields[name]
        if value is None:
            raise DataError(f"{task.benchmark}, task {task.id!r} (row {task.index + 1}): field {name!r} is null, and the prompt needs it")
        filled[index] = str(value)
    return "".join(filled)

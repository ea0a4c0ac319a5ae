"""Prompts: a template with `{field}` placeholders, and a task, become messages.

A template is what a config says; the values that go into it are data and are never read as a template themselves. Rows may also bring their
messages and tools along (`request`). Not here: finding and reading prompt files (benchmark), and sending anything (model).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from pytest_gym.errors import ConfigError, DataError
from pytest_gym.records import Message, Part, Task
from pytest_gym.request import Request, request_of, tools_of

_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_FIELD = re.compile(r"[^\W\d][\w-]*")
# Text and field names in turn: even places are text to copy, odd ones are names of row fields.
_Parts = tuple[str, ...]


@dataclass(frozen=True)
class Turn:
    """A message of a prompt as a template: its role, and a text or parts ({type, and one of text, url, path}, each a template)."""

    role: str
    content: str | tuple[Mapping[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Role and content."""
        return {"role": self.role, "content": self.content if isinstance(self.content, str) else [dict(part) for part in self.content]}


@dataclass(frozen=True)
class Prompt:
    """The messages that open every rollout of a benchmark, and its tools.

    In this order: `system`, `messages` (worked examples, or parts that are more than text), what the row's field `field` holds (messages as
    they are), `user`. They are templates: `{question}` stands for the row's field `question`, `{{` and `}}` for single braces.
    `system=""` sends an empty system message, None sends none. `tools` names the row's field that holds the tools. `source` says where
    the text was written (a file, or file and line) and begins each error; paths in parts are relative to `folder`.
    Raises ConfigError on a placeholder that is more than a field name: attributes, indices and format specifications are not supported.
    """

    system: str | None
    user: str | None
    source: str
    messages: tuple[Turn, ...] = ()
    field: str | None = None
    tools: str | None = None
    folder: str | None = None
    _parts: Mapping[str, _Parts] = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = {"system": self.system, "user": self.user}
        for number, turn in enumerate(self.messages):
            if isinstance(turn.content, str):
                texts[f"messages[{number}]"] = turn.content
            else:
                for place, part in enumerate(turn.content):
                    texts |= {f"messages[{number}].content[{place}].{key}": text for key, text in part.items() if key != "type"}
        parts = {name: _parse(text, f"{self.source}: prompt {name!r}") for name, text in texts.items() if text is not None}
        object.__setattr__(self, "_parts", parts)

    @property
    def fields(self) -> frozenset[str]:
        """The row fields that the prompt needs."""
        own = [name for name in (self.field,) if name is not None]
        return frozenset([*own, *(name for parts in self._parts.values() for name in parts[1::2])])

    def render(self, task: Task) -> tuple[Message, ...]:
        """The messages for `task`, every value as `str()` gives it. Raises DataError naming row and field where one is absent or null."""
        return self.request(task).messages

    def request(self, task: Task) -> Request:
        """The messages, the tools and the sampling of the row itself. Raises DataError as `render` does."""
        messages = [Message("system", _fill(self._parts["system"], task))] if self.system is not None else []
        for number, turn in enumerate(self.messages):
            messages.append(Message(turn.role, self._content(f"messages[{number}]", turn.content, task)))  # type: ignore[arg-type]
        own = Request(())
        if self.field is not None:
            own = request_of(task[self.field], f"{_where(task)}, field {self.field!r}")
            messages += own.messages
        if self.user is not None:
            messages.append(Message("user", _fill(self._parts["user"], task)))
        tools = own.tools
        if self.tools is not None:
            tools = tools_of(task[self.tools], f"{_where(task)}, field {self.tools!r}")
        return Request(tuple(messages), tools, own.sampling)

    def _content(self, name: str, content: str | tuple[Mapping[str, str], ...], task: Task) -> str | tuple[Part, ...]:
        if isinstance(content, str):
            return _fill(self._parts[name], task)
        parts = []
        for place, part in enumerate(content):
            values = {key: _fill(self._parts[f"{name}.content[{place}].{key}"], task) for key in part if key != "type"}
            if "path" in values:
                values["path"] = self._inside(values["path"], task)
            parts.append(Part(part["type"], **values))  # type: ignore[arg-type]
        return tuple(parts)

    def _inside(self, path: str, task: Task) -> str:
        folder = Path(self.folder or ".").resolve()
        try:
            full = (folder / path).resolve()
        except (ValueError, OSError) as error:
            raise DataError(f"{_where(task)}: {path[:80]!r} is no name that a file can have") from error
        # The path may come from a row: data must not send a file of the user's.
        if full == folder:
            raise DataError(f"{_where(task)}: {path[:80]!r} names no file in the benchmark's folder")
        if not full.is_relative_to(folder):
            raise DataError(f"{_where(task)}: the file {path!r} lies outside the benchmark's folder")
        return str(full)

    def to_json(self) -> dict[str, Any]:
        """All of it but what follows from the rest, as a JSON object."""
        return {**self.content(), "source": self.source, "folder": self.folder}

    def content(self) -> dict[str, Any]:
        """What can move a score: the templates, and the names of the fields."""
        more = {"messages": [turn.to_json() for turn in self.messages], "field": self.field, "tools": self.tools}
        return {"system": self.system, "user": self.user, **{name: value for name, value in more.items() if value}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Prompt:
        """The prompt that `to_json` wrote."""
        turns = []
        for turn in data.get("messages") or ():
            content = turn["content"]
            turns.append(Turn(turn["role"], content if isinstance(content, str) else tuple(dict(part) for part in content)))
        more = {name: data.get(name) for name in ("field", "tools", "folder")}
        return cls(data["system"], data["user"], data["source"], tuple(turns), **more)


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
            raise DataError(f"{_where(task)}: no field {name!r}, which the prompt needs")
        value = task.fields[name]
        if value is None:
            raise DataError(f"{_where(task)}: field {name!r} is null, and the prompt needs it")
        filled[index] = str(value)
    return "".join(filled)


def _where(task: Task) -> str:
    return f"{task.benchmark}, task {task.id!r} (row {task.index + 1})"

"""What a row says of its own request: chat messages as they are, tools, and sampling, in the forms that data sets use.

Chat Completions' messages, OpenAI's Responses items (which NeMo Gym's rows hold as `responses_create_params`), and either form of tools
become our records. Pure: whose words win, and what is sent in the end, is said in `engine` and `model/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_gym.errors import DataError
from pytest_gym.records import Json, Message, Part, ToolCall

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "max_output_tokens": "max_tokens"}
_AUDIO = ("audio_url", "audio_data", "audio_path")
_ELSEWHERE = ("previous_response_id", "prompt", "conversation")


@dataclass(frozen=True)
class Request:
    """The messages that open a rollout, the tools in Chat Completions' form (None: none), and sampling settings of the row itself."""

    messages: tuple[Message, ...]
    tools: tuple[Json, ...] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)


def request_of(value: Any, where: str) -> Request:
    """The request in a row's field: a text, a list of messages or items, or the parameters of a Responses request.

    `where` (benchmark, task, row, field) begins the sentence of the DataError that is raised for anything else.
    """
    if isinstance(value, Mapping):
        for name in _ELSEWHERE:
            if value.get(name) is not None:
                raise DataError(f"{where}: {name!r} refers to what is kept elsewhere; a row must hold its whole prompt")
        messages = _messages(value.get("input"), f"{where}.input")
        messages = _with_audio(messages, value.get("metadata"))
        if isinstance(instructions := value.get("instructions"), str):
            messages = (Message("system", instructions), *messages)
        return Request(messages, tools_of(value.get("tools"), f"{where}.tools"), _sampling(value, where))
    return Request(_messages(value, where))


def tools_of(value: Any, where: str) -> tuple[Json, ...] | None:
    """Tools in Chat Completions' form, from that or from Responses' flat one. None where there are none. Raises DataError."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise DataError(f"{where}: tools must be a list, not {_shown(value)}")
    return tuple(_tool(tool, f"{where}[{number}]") for number, tool in enumerate(value)) or None


def _tool(tool: Any, where: str) -> Json:
    if isinstance(tool, Mapping) and isinstance(function := tool.get("function"), Mapping) and isinstance(function.get("name"), str):
        return {"type": "function", "function": dict(function)}
    if isinstance(tool, Mapping) and tool.get("type", "function") == "function" and isinstance(tool.get("name"), str):
        kept = {key: tool[key] for key in ("name", "description", "parameters", "strict") if tool.get(key) is not None}
        return {"type": "function", "function": kept}
    raise DataError(f'{where}: a tool must be {{"type": "function", "function": {{"name": …}}}} or {{"type": "function", "name": …}}')


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: a prompt must be a text or a list of messages, not {_shown(value)}")
    messages: list[Message] = []
    reasoning: str | None = None
    for number, item in enumerate(value):
        place = f"{where}[{number}]"
        if not isinstance(item, Mapping):
            raise DataError(f"{place}: a message must be an object with role and content, not {_shown(item)}")
        kind = item.get("type", "message")
        if kind == "reasoning":
            reasoning = _reasoning(item)
        elif kind == "function_call":
            call = ToolCall.from_json({"id": item.get("call_id") or item.get("id"), "function": item})
            before = messages[-1] if messages and messages[-1].role == "assistant" else None
            if before is not None:
                messages[-1] = Message("assistant", before.content, before.reasoning, (*before.tool_calls, call))
            else:
                messages.append(Message("assistant", "", reasoning, (call,)))
            reasoning = None
        elif kind == "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
            messages.append(Message("tool", text, tool_call_id=str(item.get("call_id") or "")))
        elif kind == "message":
            messages.append(_message(item, reasoning, place))
            reasoning = None
        else:
            raise DataError(f"{place}: an item of type {kind!r} is not supported; there are message, reasoning and function calls")
    return tuple(messages)


def _message(item: Mapping[str, Any], reasoning: str | None, where: str) -> Message:
    role = _ROLES.get(str(item.get("role")))
    if role is None:
        raise DataError(f"{where}: role must be one of {', '.join(_ROLES)}, not {item.get('role')!r}")
    calls = item.get("tool_calls") or ()
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) for call in calls):
        raise DataError(f"{where}: tool_calls must be a list of objects")
    own = item.get("reasoning_content") or item.get("reasoning")
    return Message(
        role,  # type: ignore[arg-type]
        _content(item.get("content"), where),
        own if isinstance(own, str) else reasoning if role == "assistant" else None,
        tuple(ToolCall.from_json(call) for call in calls),
        item.get("tool_call_id"),
    )


def _content(value: Any, where: str) -> str | tuple[Part, ...]:
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise DataError(f"{where}: content must be a text or a list of parts, not {_shown(value)}")
    parts = tuple(_part(part, f"{where}.content[{number}]") for number, part in enumerate(value))
    return "".join(part.text or "" for part in parts) if all(part.type == "text" for part in parts) else parts


def _part(part: Any, where: str) -> Part:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in ("text", "input_text", "output_text", "refusal"):
        text = part.get("text", part.get("refusal"))
        if isinstance(text, str):
            return Part("text", text=text)
    if kind in ("image_url", "input_image", "image"):
        url = part.get("image_url", part.get("url"))
        url = url.get("url") if isinstance(url, Mapping) else url
        if isinstance(url, str):
            return Part("image", url=url)
    if kind == "input_audio" and isinstance(audio := part.get("input_audio"), Mapping) and isinstance(audio.get("data"), str):
        return Part("audio", url=f"data:audio/{audio.get('format') or 'wav'};base64,{audio['data']}")
    if kind in ("image", "audio", "file") and isinstance(part.get("path"), str):
        return Part(kind, path=part["path"], sha256=part.get("sha256"))
    raise DataError(f"{where}: {_shown(part)} is no part of a message; there are text, image_url, input_text, input_image and input_audio")


def _with_audio(messages: tuple[Message, ...], metadata: Any) -> tuple[Message, ...]:
    """NeMo Gym's side channel: `metadata` names audio, a `data:` url or a file, that belongs to the last user turn."""
    said = [(key, metadata[key]) for key in _AUDIO if isinstance(metadata.get(key), str)] if isinstance(metadata, Mapping) else []
    last = max((number for number, message in enumerate(messages) if message.role == "user"), default=-1)
    if not said or last < 0:
        return messages
    old = messages[last].content
    parts = (Part("text", text=old),) if isinstance(old, str) else old
    heard = tuple(Part("audio", path=value) if key == "audio_path" else Part("audio", url=value) for key, value in said)
    return (*messages[:last], replace(messages[last], content=(*parts, *heard)), *messages[last + 1 :])


def _reasoning(item: Mapping[str, Any]) -> str | None:
    texts = [
        part["text"]
        for name in ("summary", "content")
        for part in item.get(name) or ()
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts) or None


def _sampling(value: Mapping[str, Any], where: str) -> Json:
    found: Json = {ours: value[theirs] for theirs, ours in _SAMPLING.items() if value.get(theirs) is not None}
    for name in ("tool_choice", "parallel_tool_calls"):
        if value.get(name) is not None and value.get("tools"):
            found[name] = value[name]
    text = value.get("text")
    wanted = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(wanted, Mapping) and wanted.get("type") not in (None, "text"):
        inner = {key: item for key, item in wanted.items() if key != "type"}
        found["response_format"] = {"type": wanted["type"], **({"json_schema": inner} if inner else {})}
    extra: Json = {}
    if isinstance(reasoning := value.get("reasoning"), Mapping) and reasoning.get("effort") is not None:
        extra["reasoning_effort"] = reasoning["effort"]
    metadata = value.get("metadata")
    body = metadata.get("extra_body") if isinstance(metadata, Mapping) else None
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            raise DataError(f"{where}.metadata: extra_body is no JSON: {_shown(body)}") from None
    if body is not None and not isinstance(body, Mapping):
        raise DataError(f"{where}.metadata: extra_body must be an object, not {_shown(body)}")
    return found | ({"extra_body": {**extra, **(body or {})}} if extra or body else {})


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def merged_sampling(config: Mapping[str, Any], row: Mapping[str, Any], forced: Sequence[str]) -> Mapping[str, Any]:
    """The sampling of one case: the benchmark's, over it the row's own, over that what the user has set (`forced` names those)."""
    if not row:
        return config
    found = {**config, **{name: value for name, value in row.items() if name not in forced}}
    if "extra_body" in row and "extra_body" in config and "extra_body" not in forced:
        found["extra_body"] = {**config["extra_body"], **row["extra_body"]}
    return found

"""Anthropic's Messages API: Anthropic, vLLM, gateways. Body building and reply reading, no HTTP.

Format: https://platform.claude.com/docs/en/api/messages, …/build-with-claude/streaming, …/handling-stop-reasons, …/structured-outputs;
field names as in the types of Anthropic's Python package (`anthropic.types`). Signed thinking must be sent back unchanged with the tool
calls that followed it (…/extended-thinking): where a reply has both, its blocks are kept in `Message.native` and sent as they came.
The API has no seed and no log probabilities, and takes no audio.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.harnesses import Reply
from pytest_gym.model import attachments
from pytest_gym.model.answer import apart, count_in, text_of, with_calls
from pytest_gym.model.sampling import alternatives, function_of, json_schema, parameters, refusal, tool_choice, with_extra
from pytest_gym.records import FinishReason, Json, Message, Part, ToolCall, Usage

MAX_TOKENS = 4096
"""Sent where `sampling.max_tokens` is not set: the API does not do without."""

VERSION = "2023-06-01"

_NAMES = {"temperature": "temperature", "top_p": "top_p", "max_tokens": "max_tokens", "stop": "stop_sequences"}
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")

# A paused turn would go on by itself after another request, which only server tools make happen: what came is not whole.
FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


class Messages:
    """The wire of `--gym-api=messages`."""

    path = "/messages"

    def headers(self, key: str | None) -> dict[str, str]:
        """The API's version and, where there is one, the key."""
        return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body: model, system prompt, turns, sampling parameters under their names here, then the fields of `extra_body`."""
        first = next((number for number, message in enumerate(messages) if message.role != "system"), len(messages))
        body: dict[str, Any] = {"model": model, "messages": _turns(messages[first:]), "max_tokens": MAX_TOKENS}
        if system := "\n\n".join(text for message in messages[:first] if (text := _system(message))):
            body["system"] = system
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        body.update(parameters(sampling, _NAMES, "Messages"))
        if tools and (choice := tool_choice(sampling)) is not None:
            kinds = {"auto": "auto", "none": "none", "required": "any"}
            body["tool_choice"] = {"type": "tool", "name": choice[1:]} if choice.startswith("=") else {"type": kinds[choice]}
        if tools and sampling.get("parallel_tool_calls") is False:
            body["tool_choice"] = {**body.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
        if isinstance(stop := body.get("stop_sequences"), str):
            body["stop_sequences"] = [stop]
        if alternatives(sampling) is not None:
            raise refusal("logprobs" if sampling.get("logprobs") else "top_logprobs", "Messages")
        kind, inner = json_schema(sampling) or ("text", {})
        if kind == "json_object":
            raise refusal("response_format", "Messages", 'give a schema: {"type": "json_schema", "json_schema": {"name": …, "schema": …}}')
        if kind == "json_schema":
            body["output_config"] = {"format": {"type": "json_schema", "schema": inner["schema"]}}
        if sampling.get("stream"):
            body["stream"] = True
        return with_extra(body, sampling)

    def reply(self, data: Any) -> Reply:
        """The blocks of the content in one message. ValueError says what is missing."""
        blocks = data.get("content") if isinstance(data, dict) else None
        if not isinstance(blocks, list):
            raise ValueError("the reply has no 'content'")
        blocks = [block for block in blocks if isinstance(block, dict)]
        thinking = [text for block in blocks if block.get("type") == "thinking" and (text := text_of(block.get("thinking")))]
        texts = [text for block in blocks if block.get("type") == "text" and (text := text_of(block.get("text")))]
        answer, reasoning = apart("".join(texts), "\n\n".join(thinking) or None)
        calls = tuple(_call(block) for block in blocks if block.get("type") == "tool_use")
        native = calls and any(block.get("type") in ("thinking", "redacted_thinking") for block in blocks)
        return Reply(
            Message("assistant", answer, reasoning, calls, native=tuple(blocks) if native else ()),
            with_calls(FINISH.get(str(data.get("stop_reason")), "stop"), calls),
            _usage(data.get("usage")),
            text_of(data.get("model")),
        )

    def stream(self) -> MessagesStream:
        """A new assembler for one streamed reply."""
        return MessagesStream()


class MessagesStream:
    """Puts the blocks of a message together; implements `pytest_gym.model.Stream`.

    An answer whose reason to stop has come is whole, even where `message_stop` stays away. Events of other types are passed over, as the
    API's rules for its versions ask.
    """

    def __init__(self) -> None:
        self.done = False
        self._message: Json | None = None
        self._blocks: dict[int, Json] = {}
        self._pieces: dict[int, dict[str, list[str]]] = {}

    def event(self, name: str | None, data: Any) -> bool:
        """Take one event; its type stands in it, or is its name. Returns True where it carries text, thinking or a tool call."""
        if data == "[DONE]":
            return False
        if not isinstance(data, dict):
            raise ValueError("a streamed event is no JSON object")
        kind = data.get("type") or name
        if kind == "message_start":
            if not isinstance(data.get("message"), dict):
                raise ValueError("the event 'message_start' has no 'message'")
            self._message = dict(data["message"])
        elif kind == "message_stop":
            self.done = True
        elif kind in ("content_block_start", "content_block_delta", "message_delta"):
            if self._message is None:
                raise ValueError(f"the event {kind!r} came before 'message_start'")
            if kind == "message_delta":
                self._change(self._message, data)
            else:
                return self._start(data) if kind == "content_block_start" else self._add(data)
        return False

    def _change(self, message: Json, data: Json) -> None:
        if isinstance(data.get("delta"), dict):
            message.update(data["delta"])
        if isinstance(data.get("usage"), dict):
            # Counts are cumulative, and what did not change may be left out or null.
            said = {key: value for key, value in data["usage"].items() if value is not None}
            message["usage"] = {**(message.get("usage") or {}), **said}

    def _start(self, data: Json) -> bool:
        block = data.get("content_block")
        if not isinstance(block, dict):
            raise ValueError("the event 'content_block_start' has no 'content_block'")
        self._blocks[data.get("index") or 0] = dict(block)
        return block.get("type") == "tool_use" or bool(block.get("text") or block.get("thinking"))

    def _add(self, data: Json) -> bool:
        index, delta = data.get("index") or 0, data.get("delta")
        if not isinstance(delta, dict) or index not in self._blocks:
            raise ValueError("an event 'content_block_delta' belongs to no block")
        found = False
        for key in ("text", "thinking", "signature", "partial_json"):
            if text := text_of(delta.get(key)):
                self._pieces.setdefault(index, {}).setdefault(key, []).append(text)
                found = found or key != "signature"
        return found

    def body(self) -> Any:
        """The message with its blocks. Raises ValueError where the stream broke off."""
        if self._message is None or not (self.done or self._message.get("stop_reason")):
            raise ValueError("the stream broke off before its end")
        blocks = []
        for index in sorted(self._blocks):
            block, pieces = dict(self._blocks[index]), self._pieces.get(index, {})
            for key, texts in pieces.items():
                if key == "partial_json":
                    block["input"] = _decoded("".join(texts))
                else:
                    block[key] = (block.get(key) or "") + "".join(texts)
            blocks.append(block)
        return {**self._message, "content": blocks}


def _decoded(text: str) -> Any:
    """The input of a tool, or its text where that is no JSON: the model was cut off, or made a mistake."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _call(block: Json) -> ToolCall:
    return ToolCall.from_json({"id": block.get("id"), "function": {"name": block.get("name"), "arguments": block.get("input")}})


def _usage(data: Any) -> Usage:
    """`input_tokens` leaves out what was written to the cache or read from it; the record holds all of the prompt."""
    cached = [count_in(data, key) or 0 for key in ("cache_creation_input_tokens", "cache_read_input_tokens")]
    fresh = count_in(data, "input_tokens")
    return Usage(
        None if fresh is None else fresh + sum(cached),
        count_in(data, "output_tokens"),
        count_in(data, "output_tokens_details", "thinking_tokens"),
        1,
    )


def _system(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    if any(part.type != "text" for part in message.content):
        raise ValueError("Messages takes text only as a system prompt")
    return "".join(part.text or "" for part in message.content)


def _turns(messages: Sequence[Message]) -> list[Json]:
    """User and assistant in turn: the results of tools that were called together stand in one user message, with what follows them."""
    turns: list[Json] = []
    for message in messages:
        if message.role == "system":
            raise ValueError("Messages has one system prompt, before the conversation: a system message cannot stand within it")
        role = "assistant" if message.role == "assistant" else "user"
        content = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = _as_blocks(turns[-1]["content"]) + _as_blocks(content)
        else:
            turns.append({"role": role, "content": content})
    return turns


def _as_blocks(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _blocks(message: Message) -> str | list[Json]:
    if message.native:
        return list(message.native)
    content = message.content if isinstance(message.content, str) else [_part(part) for part in message.content]
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id or "", "content": content}]
    if not message.tool_calls:
        return content
    calls: list[Json] = [{"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)} for call in message.tool_calls]
    # The API refuses empty text blocks.
    return (_as_blocks(content) if content else []) + calls


def _input(call: ToolCall) -> Mapping[str, Any]:
    """The arguments; those that are no object are wrapped as …/agents-and-tools/tool-use/fine-grained-tool-streaming says."""
    return {"INVALID_JSON": call.raw} if call.arguments is None else call.arguments


def _part(part: Part) -> Json:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    if part.type == "audio":
        raise ValueError("Messages takes no audio: use --gym-api=chat")
    kind = "image" if part.type == "image" else "document"
    if part.url is not None:
        return {"type": kind, "source": {"type": "url", "url": part.url}}
    file = attachments.read(part)
    if file.media_type not in (_IMAGES if kind == "image" else ("application/pdf", "text/plain")):
        wanted = "JPEG, PNG, GIF or WebP" if kind == "image" else "PDF or plain text"
        raise ValueError(f"Messages takes {kind}s as {wanted} only; the suffix of {part.path} says {file.media_type}")
    if file.media_type == "text/plain":
        return {"type": kind, "source": {"type": "text", "media_type": file.media_type, "data": file.content.decode("utf-8", "replace")}}
    return {"type": kind, "source": {"type": "base64", "media_type": file.media_type, "data": file.base64}}


def _tool(tool: Mapping[str, Any]) -> Json:
    function = function_of(tool, "Messages")
    kept = {key: function[key] for key in ("name", "description", "strict") if function.get(key) is not None}
    return {**kept, "input_schema": function.get("parameters") or {"type": "object", "properties": {}}}


WIRE = Messages()

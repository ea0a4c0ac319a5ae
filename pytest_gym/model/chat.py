"""OpenAI-compatible Chat Completions: vLLM, SGLang, llama.cpp, hosted APIs. Body building and reply reading, no HTTP.

Format: https://platform.openai.com/docs/api-reference/chat and …/chat-streaming. What servers add: reasoning as `reasoning_content` or
`reasoning` (vLLM, SGLang, DeepSeek, OpenRouter), as parts of type `thinking` (Mistral), or as a `<think>` block in the text.
With tool calls DeepSeek wants that reasoning back (https://api-docs.deepseek.com/guides/thinking_mode), and Gemini the `extra_content` of
the calls (https://ai.google.dev/gemini-api/docs/thought-signatures): both are kept in `Message.native`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.harnesses import Reply
from pytest_gym.model import attachments
from pytest_gym.model.answer import apart, count_in, logprobs_of, text_of, with_calls
from pytest_gym.model.sampling import alternatives, parameters, tool_choice, with_extra
from pytest_gym.records import FinishReason, Json, Message, Part, ToolCall, Usage

_NAMES = {name: name for name in ("temperature", "top_p", "max_tokens", "seed", "stop")}
_REASONING = ("reasoning_content", "reasoning")
_AUDIO = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "m4a"}

# OpenAI documents the first five; the others are written by vLLM, SGLang, Mistral, DeepSeek, GLM, TGI and gateways.
FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "repetition": "length",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
}
BROKEN_OFF = frozenset({"abort", "error", "network_error", "insufficient_system_resource"})
"""What servers say of an answer that they could not finish: no answer of the model, so it is asked for again."""


class Chat:
    """The wire of `--gym-api=chat`."""

    path = "/chat/completions"

    def headers(self, key: str | None) -> dict[str, str]:
        """The key, where there is one, as a bearer token."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body: model, messages, sampling parameters by their names, then the fields of `extra_body`."""
        body: dict[str, Any] = {"model": model, "messages": [_message(message) for message in messages]}
        if tools:
            body["tools"] = list(tools)
        body.update(parameters(sampling, _NAMES, "Chat Completions"))
        if tools and (choice := tool_choice(sampling)) is not None:
            body["tool_choice"] = {"type": "function", "function": {"name": choice[1:]}} if choice.startswith("=") else choice
        if tools and sampling.get("parallel_tool_calls") is not None:
            body["parallel_tool_calls"] = sampling["parallel_tool_calls"]
        if (wanted := sampling.get("response_format")) is not None:
            body["response_format"] = wanted
        if (top := alternatives(sampling)) is not None:
            body["logprobs"] = True
            body.update({"top_logprobs": top} if top else {})
        if sampling.get("stream"):
            body.update(stream=True, stream_options={"include_usage": True})
        return with_extra(body, sampling)

    def reply(self, data: Any) -> Reply:
        """The first choice. ValueError says what is missing."""
        choice = first_choice(data)
        message = choice.get("message")
        if not isinstance(message, dict):
            raise ValueError("the reply's first choice has no 'message'")
        content, thinking = _content(message.get("content"))
        reasoning = next((text for name in _REASONING if (text := text_of(message.get(name)))), thinking)
        answer, reasoning = apart(content, reasoning)
        raw_calls = [call for call in message.get("tool_calls") or () if isinstance(call, dict)]
        calls = tuple(ToolCall.from_json(call) for call in raw_calls)
        finish = with_calls(finish_of(choice), calls)
        if refusal := text_of(message.get("refusal")):
            finish, answer = "refusal", answer or refusal
        logprobs = choice.get("logprobs")
        return Reply(
            Message("assistant", answer, reasoning, calls, native=_native(message, raw_calls)),
            finish,
            usage_of(data),
            text_of(data.get("model")),
            logprobs_of(logprobs.get("content")) if isinstance(logprobs, dict) else None,
        )

    def stream(self) -> ChatStream:
        """A new assembler for one streamed reply."""
        return ChatStream()


class ChatStream:
    """Puts chunks (`chat.completion.chunk`) together; implements `pytest_gym.model.Stream`.

    An answer whose finish reason has come is whole, even where the server leaves out `[DONE]`.
    """

    def __init__(self) -> None:
        self.done = False
        self._top: Json = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: list[Json] = []
        self._at: dict[Any, Json] = {}
        self._logprobs: list[Any] = []
        self._finish: str | None = None
        self._begun = False

    def event(self, name: str | None, data: Any) -> bool:
        """Take one chunk, or `[DONE]`; usage comes in a last chunk without choices. Returns True where it carries tokens."""
        if data == "[DONE]":
            self.done = True
            return False
        choice = chunk_choice(data, self._top)
        if choice is None:
            return False
        self._begun = True
        self._finish = text_of(choice.get("finish_reason")) or self._finish
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            self._logprobs += logprobs["content"]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        content, thinking = _content(delta.get("content"))
        texts = {"content": content, "thinking": thinking, **{key: delta[key] for key in (*_REASONING, "refusal") if delta.get(key)}}
        for key, text in texts.items():
            if isinstance(text, str) and text:
                self._texts.setdefault(key, []).append(text)
        calls = [call for call in delta.get("tool_calls") or () if isinstance(call, dict)]
        for call in calls:
            self._call(call)
        if "reasoning_content" in delta and delta["reasoning_content"] is not None:
            self._texts.setdefault("reasoning_content", [])
        return bool(calls) or any(texts.values())

    def _call(self, delta: Json) -> None:
        call = self._at.get(delta.get("index"))
        # Some servers number every call 0, or none: an id that differs is another call.
        if call is None or (delta.get("id") and call["id"] and delta["id"] != call["id"]):
            call = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            self._calls.append(call)
            self._at[delta.get("index")] = call
        call["id"] = call["id"] or delta.get("id") or ""
        into, function = call["function"], delta.get("function")
        if isinstance(function, dict):
            name, arguments = function.get("name"), function.get("arguments")
            if isinstance(name, str) and name != into["name"]:
                into["name"] += name
            if arguments is not None:
                into["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)
        call.update({key: value for key, value in delta.items() if key not in ("index", "id", "type", "function")})

    def body(self) -> Any:
        """The body with one choice. Raises ValueError where the stream broke off."""
        if not self._begun or (self._finish is None and not self.done):
            raise ValueError("the stream broke off before its end")
        message: Json = {"role": "assistant", "content": None, **{key: "".join(texts) for key, texts in self._texts.items()}}
        if thinking := message.pop("thinking", None):
            message["content"] = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": message["content"] or ""}]
        if self._calls:
            message["tool_calls"] = self._calls
        choice: Json = {"index": 0, "message": message, "finish_reason": self._finish}
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        return {**self._top, "choices": [choice]}


def first_choice(data: Any) -> Json:
    """The first choice of a reply of Chat Completions or Completions. ValueError says what is missing."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("the reply has no 'choices'")
    return choices[0]


def chunk_choice(data: Any, top: Json) -> Json | None:
    """The first choice of a chunk, or None where it has none; `top` takes up the model and the usage. ValueError where it is no chunk."""
    if not isinstance(data, dict):
        raise ValueError("a streamed event is no JSON object")
    top.update({key: data[key] for key in ("id", "model", "usage") if data.get(key)})
    choices = data.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError("the 'choices' of a streamed event have an unknown form")
    return next((choice for choice in choices if not choice.get("index")), None)


def finish_of(choice: Json) -> FinishReason:
    """Why the choice ended; a reason that nobody documents counts as `stop`. ValueError where the server could not finish the answer."""
    reason = str(choice.get("finish_reason") or "stop").lower()
    if reason in BROKEN_OFF:
        raise ValueError(f"the answer was not finished (finish_reason {reason!r})")
    return FINISH.get(reason, "content_filter" if reason.startswith("content_filter") else "stop")


def usage_of(data: Json) -> Usage:
    """Tokens of Chat Completions and Completions; reasoning tokens stand in the details, or (SGLang) beside them."""
    usage = data.get("usage")
    reasoning = count_in(usage, "completion_tokens_details", "reasoning_tokens")
    return Usage(
        count_in(usage, "prompt_tokens"),
        count_in(usage, "completion_tokens"),
        count_in(usage, "reasoning_tokens") if reasoning is None else reasoning,
        1,
    )


def _message(message: Message) -> Json:
    data = message.to_json()
    data.pop("reasoning", None)
    for kept in data.pop("native", ()):
        if name := kept.get("reasoning_name"):
            data[name] = message.reasoning or ""
        if calls := kept.get("tool_calls"):
            data["tool_calls"] = calls
    if not isinstance(message.content, str):
        data["content"] = [_part(part) for part in message.content]
    return data


def _native(message: Json, calls: list[Json]) -> tuple[Json, ...]:
    """Under which name the reasoning goes back (also an empty one), and the calls as they came where they hold more than we read."""
    if not calls:
        return ()
    kept: Json = {}
    if name := next((name for name in _REASONING if isinstance(message.get(name), str)), None):
        kept["reasoning_name"] = name
    if any("extra_content" in call for call in calls):
        kept["tool_calls"] = calls
    return (kept,) if kept else ()


def _part(part: Part) -> Json:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    if part.type == "image":
        return {"type": "image_url", "image_url": {"url": attachments.image_url(part)}}
    if part.url is not None and not part.url.startswith("data:"):
        raise ValueError(f"Chat Completions takes no url for a part of type {part.type!r}: give its path")
    file = attachments.read(part)
    if part.type == "file":
        return {"type": "file", "file": {"filename": file.name, "file_data": file.data_url}}
    if file.media_type not in _AUDIO:
        raise ValueError(f"{part.path or 'a data url'} is no audio that can be sent: it says {file.media_type}")
    return {"type": "input_audio", "input_audio": {"data": file.base64, "format": _AUDIO[file.media_type]}}


def _content(content: Any) -> tuple[str, str | None]:
    """Text and thinking of a message's content, which is a text, null, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", None
    if not isinstance(content, list):
        raise ValueError(f"the reply's content is {type(content).__name__}, not text")
    parts = [part for part in content if isinstance(part, dict)]
    thinking = "".join(_content(part["thinking"])[0] for part in parts if part.get("type") == "thinking" and part.get("thinking"))
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str)), thinking or None


WIRE = Chat()

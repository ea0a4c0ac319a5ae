"""OpenAI-compatible Chat Completions: vLLM, SGLang, llama.cpp, hosted APIs. Body building and reply reading, no HTTP.

Format: https://platform.openai.com/docs/api-reference/chat. Reasoning is taken from `reasoning_content` or `reasoning` (vLLM, SGLang,
OpenRouter), or from a `<think>` block in the text; what is judged is the text after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.extract import remove_thinking
from pytest_gym.harnesses import Reply
from pytest_gym.records import FinishReason, Message, Part, ToolCall, Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class Chat:
    """The wire of `--gym-api=chat`."""

    path = "/chat/completions"

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body: model, messages, sampling parameters by their names, then the fields of `extra_body` as they are."""
        body: dict[str, Any] = {"model": model, "messages": [_message(message) for message in messages]}
        if tools:
            body["tools"] = list(tools)
        extra = sampling.get("extra_body") or {}
        body.update((name, value) for name, value in sampling.items() if name != "extra_body" and value is not None)
        body.update(extra)
        return body

    def reply(self, data: Any) -> Reply:
        """The first choice. ValueError says what is missing."""
        choices = data.get("choices") if isinstance(data, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise ValueError("the reply has no 'choices'")
        choice = choices[0]
        message = choice.get("message")
        if not isinstance(message, dict):
            raise ValueError("the reply's first choice has no 'message'")
        content = _text(message.get("content"))
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        answer = remove_thinking(content)
        if answer != content:
            # What stands before the answer, its tags included, is kept as the reasoning where the server names none.
            reasoning = reasoning if isinstance(reasoning, str) else content[: len(content) - len(answer)]
            answer = answer.lstrip("\n")
        calls = tuple(ToolCall.from_json(call) for call in message.get("tool_calls") or () if isinstance(call, dict))
        finish = _FINISH.get(choice.get("finish_reason") or "stop", "stop")
        if refusal := message.get("refusal"):
            finish, answer = "refusal", answer or str(refusal)
        return Reply(
            Message("assistant", answer, reasoning if isinstance(reasoning, str) and reasoning else None, calls),
            finish,
            _usage(data.get("usage")),
            data["model"] if isinstance(data.get("model"), str) else None,
        )


def _message(message: Message) -> dict[str, Any]:
    data = message.to_json()
    data.pop("reasoning", None)
    if not isinstance(message.content, str):
        data["content"] = [_part(part) for part in message.content]
    return data


def _part(part: Part) -> dict[str, Any]:
    if part.type == "text":
        return {"type": "text", "text": part.text or ""}
    if part.type == "image" and part.url:
        return {"type": "image_url", "image_url": {"url": part.url}}
    raise ValueError(f"a {part.type} part cannot be sent over Chat Completions yet")


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    raise ValueError(f"the reply's content is {type(content).__name__}, not text")


def _usage(data: Any) -> Usage:
    if not isinstance(data, dict):
        return Usage(requests=1)
    details = data.get("completion_tokens_details")
    return Usage(
        _count(data.get("prompt_tokens")),
        _count(data.get("completion_tokens")),
        _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None,
        1,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


WIRE = Chat()
